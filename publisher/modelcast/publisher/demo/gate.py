"""A door on the way from an instance to the broker or the server: the demo shows what an instance does without a connection.

Decides whether connections come through: closed, the port refuses them as that of a dead broker does; open, every byte goes
through unchanged. A gate opens once. It has one thread. Imports the standard library and the broker's address.
"""

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from threading import Event, Thread
from urllib.parse import urlsplit

from modelcast.shared.broker_url import BrokerUrl
from modelcast.shared.errors import MisuseError
from modelcast.shared.http_url import HttpUrl

PIECE_BYTES = 64 * 1024


class Gate:
    """A door to the broker or the server, closed until ``open`` is called.

    Args:
        url: Its address, ``amqp://`` or ``http://``.

    Raises:
        MisuseError: The address is one of TLS, whose certificate names another host than the gate.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"amqp", "http"}:
            raise MisuseError(
                "The demo puts a gate in front of the broker, and TLS would refuse it as the wrong host.",
                hint="Name a broker with amqp://, or unset MODELCAST_AMQP_URL to use a private one.",
            )
        there = BrokerUrl.parse(url) if parts.scheme == "amqp" else HttpUrl.parse(url)
        self._there = (there.host, there.port)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.bind(("127.0.0.1", 0))   # bound but not listening: the port is ours, and connections are refused
        user = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
        self.url = parts._replace(netloc=f"{user}127.0.0.1:{self._socket.getsockname()[1]}").geturl()
        self.passed = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end = asyncio.Event()
        self._connections: set[asyncio.Task[None]] = set()
        self._thread: Thread | None = None

    def open(self) -> None:
        """Let connections through; returns when the port accepts them."""
        runs = Event()
        self._thread = Thread(target=lambda: asyncio.run(self._serve(runs)), name="gate", daemon=True)
        self._thread.start()
        runs.wait()

    def close(self) -> None:
        """Cut every connection and give the port back. A second call does nothing."""
        if self._thread is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._end.set)
            self._thread.join()
            self._thread = None
        self._socket.close()

    async def _serve(self, runs: Event) -> None:
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._arrived, sock=self._socket)
        runs.set()
        await self._end.wait()
        server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _arrived(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.get_running_loop().create_task(self._carry(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with _closing(writer):
            try:
                far_reader, far_writer = await asyncio.open_connection(*self._there)
            except OSError:
                return   # the broker is away; the instance sees a connection that ends
            self.passed += 1
            async with _closing(far_writer):
                pumps = [asyncio.create_task(_pump(reader, far_writer)), asyncio.create_task(_pump(far_reader, writer))]
                try:
                    await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for pump in pumps:
                        pump.cancel()
                    await asyncio.gather(*pumps, return_exceptions=True)


@asynccontextmanager
async def _closing(writer: asyncio.StreamWriter) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
    except OSError:
        return   # one side broke; the other is closed by whoever waits for this
