"""A server that says what a test wants it to say: on loopback, byte by byte, wrong or not at all.

Decides nothing about the protocol: requests are taken apart here once more, apart from the code under test.
"""

import json
import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from threading import Event, Thread

from modelcast.shared.http_line import Line, Server
from modelcast.shared.http_url import HttpUrl
from modelcast.shared.packing import pack

WORDS = {200: "OK", 204: "No Content", 206: "Partial Content"}


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    connection: int


class Cut(bytes):
    """Bytes after which the connection is closed."""


Answering = Callable[[Request], bytes | None]
"""From a request to the bytes that are sent; None hangs up."""


def reply(status: int = 200, body: bytes = b"", headers: Mapping[str, str] | None = None, *, length: int | None = None) -> bytes:
    """Return an answer; ``length`` is what it claims to have."""
    lines = [f"HTTP/1.1 {status} {WORDS.get(status, 'Else')}", *(f"{name}: {value}" for name, value in (headers or {}).items())]
    lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def told(**message: object) -> bytes:
    return reply(200, pack(message), {"Content-Type": "application/vnd.modelcast"})


def problem(status: int, headers: Mapping[str, str] | None = None, **texts: str) -> bytes:
    return reply(status, json.dumps(texts).encode(), {"Content-Type": "application/problem+json", **(headers or {})})


class HttpPeer:
    """Listens until it is closed.

    Args:
        answering: What it says.
        tls: How it proves who it is, or None.
    """

    def __init__(self, answering: Answering, tls: ssl.SSLContext | None = None) -> None:
        self._answering, self._tls = answering, tls
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.requests: list[Request] = []
        self.connections = 0
        self._open: list[socket.socket] = []
        self.closed = Event()
        Thread(target=self._listen, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http{'s' if self._tls else ''}://localhost:{self.port}"

    def server(self, token: str | None = None, options: str = "") -> Server:
        return Server(HttpUrl.parse(self.url + options), token)

    def line(self, token: str | None = None) -> Line:
        return self.server(token).line()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                self.connections += 1
                Thread(target=self._serve, args=(connection, self.connections), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        with suppress(OSError, ValueError):
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            self._open.append(connection)
            file = connection.makefile("rb")
            while (request := _request(file, number)) is not None:
                self.requests.append(request)
                said = self._answering(request)
                if said is not None:
                    connection.sendall(said)
                if said is None or isinstance(said, Cut):
                    break
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()

    def hold(self, seconds: float = 20.0) -> None:
        """Say nothing for some time, then hang up."""
        self.closed.wait(seconds)

    def hang_up(self) -> None:
        """Close every connection."""
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def close(self) -> None:
        self.closed.set()
        self._listening.close()
        self.hang_up()


def _request(file: object, number: int) -> Request | None:
    first = file.readline().decode().split()  # type: ignore[attr-defined]
    if len(first) != 3:
        return None
    headers = {}
    while (line := file.readline().decode().rstrip("\r\n")):  # type: ignore[attr-defined]
        name, _, value = line.partition(": ")
        headers[name.lower()] = value
    body = file.read(int(headers.get("content-length", 0)))  # type: ignore[attr-defined]
    return Request(first[0], first[1], headers, body, number)
