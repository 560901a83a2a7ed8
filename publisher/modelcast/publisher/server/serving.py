"""From an address and a port to a running server.

Decides how uvicorn is set up: one process (what instances and publishers are connected is in its memory), asyncio's own loop (it has
sendfile), its logs without headers. Refuses to serve without tokens to anybody but this host. Imports uvicorn.
"""

import asyncio
import ctypes
import ipaddress
import os
import resource
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any

import uvicorn

from modelcast.publisher.server.app import Application
from modelcast.publisher.server.protocol import Connection
from modelcast.publisher.server.service import Service
from modelcast.publisher.server.settings import ServerLimits
from modelcast.shared.errors import MissingPath, MisuseError
from modelcast.shared.file_url import FileUrl
from modelcast.shared.limits import MIB

STOP_SECONDS = 20
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Names of glibc's ``malloc.h``."""
BACKLOG = 1024


@dataclass(frozen=True, slots=True)
class Listening:
    """Where and how the server listens.

    Attributes:
        host: Address.
        port: Port; 0 is any that is free.
        tls_cert: File of the certificate chain, PEM, or None.
        tls_key: File of its private key, PEM, or None.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    tls_cert: str | None = None
    tls_key: str | None = None

    @property
    def is_loopback(self) -> bool:
        """Whether only this host can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


class ModelcastServer(uvicorn.Server):
    """uvicorn's server; it ends long polls when it is to stop."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop in order."""
        self._service.stop()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop at a signal; that it was one is nothing that the process has to die of."""
        super().handle_exit(sig, frame)
        if sig in {signal.SIGTERM, signal.SIGINT}:
            self._captured_signals.clear()


def make_server(
    url: FileUrl, listening: Listening, limits: ServerLimits | None = None, *, needs_tokens: bool = True, logs_requests: bool = False
) -> tuple[ModelcastServer, socket.socket]:
    """Return a server and the socket that it is to listen on, bound already.

    Raises:
        MisuseError: Anybody could connect without a token, or the port is taken.
        MissingPath: A file for TLS cannot be read.
        HostFault: The depot cannot be used.
    """
    if not needs_tokens and not listening.is_loopback:
        raise MisuseError(
            f"Without tokens anybody who reaches {listening.host} could publish.",
            hint="Listen on 127.0.0.1, or leave --insecure-no-tokens out and make tokens: modelcast tokens create.",
        )
    limits = limits or ServerLimits()
    _raise_descriptors()
    service = Service(url, limits, needs_tokens=needs_tokens)
    options: dict[str, Any] = {} if listening.tls_cert is None else {
        "ssl_certfile": _readable(listening.tls_cert), "ssl_keyfile": _readable(listening.tls_key or listening.tls_cert),
    }
    config = uvicorn.Config(
        Application(service), http=Connection.for_limits(limits), ws="none", loop="asyncio", lifespan="on", log_config=None,
        access_log=logs_requests, server_header=False, proxy_headers=False, timeout_keep_alive=round(limits.idle_seconds),
        timeout_graceful_shutdown=STOP_SECONDS, backlog=BACKLOG, **options,
    )
    return ModelcastServer(config, service), _bound(listening)


def _bound(listening: Listening) -> socket.socket:
    try:
        family = socket.getaddrinfo(listening.host, listening.port, type=socket.SOCK_STREAM)[0][0]
    except OSError as error:
        raise MisuseError(f"{listening.host} is no address of this host.", hint="Use --host 127.0.0.1, or 0.0.0.0 for all.") from error
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)   # named, or asyncio leaves Nagle's algorithm on
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((listening.host, listening.port))
        bound.listen(BACKLOG)   # who connects from now on is answered as soon as the server runs
    except OSError as error:
        bound.close()
        raise MisuseError(
            f"Cannot listen on {listening.host}:{listening.port}: {error.strerror or error}.",
            hint="Is the port taken? Use --port.",
        ) from error
    return bound


def _readable(path: str) -> str:
    if not os.access(path, os.R_OK):
        raise MissingPath(f"Cannot read {path}.", hint="--tls-cert and --tls-key name PEM files.")
    return path


def _raise_descriptors() -> None:
    """Each instance holds a connection and a lock; the usual soft limit of 1,024 is for another time."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 65_536)), hard))


def keep_memory() -> None:
    """Let glibc keep what a chunk took for the next one, instead of giving it back to the kernel: a third of an upload's CPU.

    For a process of its own only, not for a library in somebody else's. Values of ``mallopt(3)``; other C libraries have none.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(M_TRIM_THRESHOLD, 256 * MIB)
        library.mallopt(M_MMAP_THRESHOLD, 32 * MIB)


def run(server: ModelcastServer, bound: socket.socket) -> None:
    """Serve until a signal comes."""
    asyncio.run(server.serve(sockets=[bound]))
