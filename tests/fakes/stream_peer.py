"""A node of the stream protocol that says what a test wants it to say: on loopback, byte by byte, wrong or not at all.

Decides nothing about the protocol: the frames are written here once more, apart from the code under test.
"""

import socket
import ssl
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from threading import Thread

PEER, SASL, LOGIN, TUNE, OPEN, SUBSCRIBE, DELIVER, CREDIT, METADATA, UPDATE, CLOSE, HEARTBEAT = (
    0x11, 0x12, 0x13, 0x14, 0x15, 0x07, 0x08, 0x09, 0x0F, 0x10, 0x16, 0x17,
)
Answers = Callable[[int, int, bytes], bytes | None]
"""From key, correlation number and content of a request to the bytes that are sent; None hangs up."""


def text(value: str) -> bytes:
    return struct.pack(">H", len(value.encode())) + value.encode()


def frame(key: int, content: bytes, version: int = 1) -> bytes:
    return struct.pack(">IHH", 4 + len(content), key, version) + content


def answer(key: int, correlation: int, code: int = 1, rest: bytes = b"") -> bytes:
    return frame(0x8000 | key, struct.pack(">IH", correlation, code) + rest)


def words(pairs: Mapping[str, str]) -> bytes:
    return struct.pack(">I", len(pairs)) + b"".join(text(key) + text(value) for key, value in pairs.items())


def placement(correlation: int, nodes: Iterable[tuple[str, int]], leader: int, replicas: Iterable[int], code: int = 1) -> bytes:
    nodes, replicas = list(nodes), list(replicas)
    content = struct.pack(">I", len(nodes)) + b"".join(
        struct.pack(">H", number) + text(host) + struct.pack(">I", port) for number, (host, port) in enumerate(nodes)
    )
    content += struct.pack(">I", 1) + text("s") + struct.pack(">HHI", code, leader, len(replicas))
    return frame(0x8000 | METADATA, struct.pack(">I", correlation) + content + b"".join(struct.pack(">H", n) for n in replicas))


def value(item: str | int | bytes) -> bytes:
    """Encode as RabbitMQ does: short texts, small numbers."""
    if isinstance(item, int):
        return b"\x71" + struct.pack(">i", item)
    code, raw = (0xA1, item.encode()) if isinstance(item, str) else (0xA0, item)
    return bytes([code, len(raw)]) + raw if len(raw) < 256 else bytes([code + 0x10]) + struct.pack(">I", len(raw)) + raw


def message(body: bytes, properties: Mapping[str, str | int] | None = None) -> bytes:
    """An AMQP 1.0 message: annotations, application properties, data."""
    pairs = b"".join(value(key) + value(item) for key, item in (properties or {}).items())
    count = 2 * len(properties or {})
    applied = b"\x00\x53\x74\xd1" + struct.pack(">II", len(pairs) + 4, count) + pairs
    annotated = b"\x00\x53\x72\xc1\x0e\x02\xa3\x0ax-exchange\x40"
    return annotated + applied + b"\x00\x53\x75" + value(body)


def entry(stored: bytes) -> bytes:
    return struct.pack(">I", len(stored)) + stored


def batch(records: int, data: bytes, compression: int = 1) -> bytes:
    return struct.pack(">BHII", 0x80 | compression << 4, records, len(data), len(data)) + data


def chunk(first: int, entries: Iterable[bytes], *, records: int | None = None, crc: int | None = None, subscription: int = 0,
          magic: int = 0x50, kind: int = 0, data_bytes: int | None = None, trailer: bytes = b"") -> bytes:
    """Return the content of a Deliver frame."""
    entries = list(entries)
    data = b"".join(entries)
    head = struct.pack(
        ">BBBHIqQQIIII", subscription, magic, kind, len(entries), len(entries) if records is None else records, 0, 1, first,
        zlib.crc32(data) if crc is None else crc, len(data) if data_bytes is None else data_bytes, len(trailer), 0,
    )
    return head + data + trailer


def deliver(first: int, *stored: bytes) -> bytes:
    return frame(DELIVER, chunk(first, [entry(one) for one in stored]))


class GoodNode:
    """Answers as a node does; ``delivered`` is what follows the subscription. Tests replace single answers.

    Args:
        delivered: Bytes that are sent after the answer to Subscribe.
        heartbeat: What the node proposes, in seconds.
        instead: Bytes (or None, to hang up) in place of the answer to a request, by its key.
    """

    def __init__(self, delivered: bytes = b"", *, heartbeat: int = 60, instead: Mapping[int, bytes | None] | None = None) -> None:
        self.delivered, self.heartbeat, self.instead = delivered, heartbeat, dict(instead or {})
        self.heard: list[tuple[int, bytes]] = []
        self.advertised, self.nodes, self.leader, self.replicas = ("node", 5552), [("node", 5552)], 0, list[int]()

    def __call__(self, key: int, correlation: int, content: bytes) -> bytes | None:
        self.heard.append((key, content))
        if key in self.instead:
            return self.instead[key]
        host, port = self.advertised
        answers = {
            PEER: lambda: answer(PEER, correlation, rest=words({"product": "RabbitMQ"})),
            SASL: lambda: answer(SASL, correlation, rest=struct.pack(">I", 2) + text("PLAIN") + text("AMQPLAIN")),
            LOGIN: lambda: answer(LOGIN, correlation) + frame(TUNE, struct.pack(">II", 1 << 20, self.heartbeat)),
            OPEN: lambda: answer(OPEN, correlation, rest=words({"advertised_host": host, "advertised_port": str(port)})),
            METADATA: lambda: placement(correlation, self.nodes, self.leader, self.replicas),
            SUBSCRIBE: lambda: answer(SUBSCRIBE, correlation) + self.delivered,
        }
        return answers[key]() if key in answers else b""


class StreamPeer:
    """Listens on loopback and answers each frame by ``answers``; every connection has a thread, which ends with it.

    Args:
        answers: What is said to a request.
        tls: Speak TLS.
        greeting: Sent before anything was heard.
    """

    def __init__(self, answers: Answers, *, tls: ssl.SSLContext | None = None, greeting: bytes = b"") -> None:
        self._answers, self._tls, self._greeting = answers, tls, greeting
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._threads = [Thread(target=self._listen)]
        self._threads[0].start()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            self._threads.append(Thread(target=self._serve, args=(connection,)))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
                self._open.append(connection)
            connection.sendall(self._greeting)
            with connection.makefile("rb") as stream:
                while len(size := stream.read(4)) == 4:
                    request = stream.read(int.from_bytes(size, "big"))
                    key, = struct.unpack(">H", request[:2])
                    said = self._answers(key, int.from_bytes(request[4:8], "big"), request[4:])
                    if said is None:
                        return
                    connection.sendall(said)
        except OSError:
            return   # the reader left
        finally:
            connection.close()

    def hang_up(self) -> None:
        """Cut every connection."""
        for connection in self._open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def close(self) -> None:
        """Cut every connection and stop listening."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()
        for thread in self._threads:
            thread.join(10)
        for connection in self._open:
            connection.close()
