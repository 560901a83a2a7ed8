"""One HTTP connection: uvicorn's own protocol, with the bounds in time and number that it leaves to a proxy, and sendfile(2).

Decides when a client is cut off: headers that are too large or do not end, connections beyond the limit, a client that takes
nothing. Offers ASGI's zero copy send, which uvicorn does not have. Imports uvicorn; the parts of it that are used here are no public
interface, so a test holds them to the version that is installed.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from modelcast.publisher.server.inflow import Inflow
from modelcast.publisher.server.problems import bare
from modelcast.publisher.server.sendfile import FileSender
from modelcast.publisher.server.settings import ServerLimits

ZERO_COPY = "http.response.zerocopysend"
"""https://asgi.readthedocs.io/en/latest/extensions.html#zero-copy-send"""
FILE_FOLLOWS = "modelcast.file_follows"
"""In the message that begins an answer: its headers may wait for the first bytes of a file, so that both go in one packet."""
LINE = "modelcast.line"
"""Name of our own extension: the connection itself, for those who want to know when it ends."""


class _TooLarge(Exception):
    """The headers are over the limit."""


class Connection(HttpToolsProtocol):
    """See ``HttpToolsProtocol``; the limits come from ``for_limits``."""

    limits = ServerLimits()

    @classmethod
    def for_limits(cls, limits: ServerLimits) -> type["Connection"]:
        """Return the same class with other limits: uvicorn makes the objects."""
        return type("Connection", (cls,), {"limits": limits})

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._header_bytes: int | None = None
        """Of the request that is arriving; None between two."""
        self._header_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._sender: FileSender | None = None
        self._is_corked = False
        self._gather_bytes = 0
        self._is_too_large = False
        self._farewells: dict[object, Callable[[], None]] = {}

    # ------------------------------------------------------------------- begin and end

    def connection_made(self, transport: asyncio.Transport) -> None:   # type: ignore[override]
        """Begin, unless there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            self._end_with(503, "There are too many connections.")
            return
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """End; whoever asked for it hears of it."""
        for timer in (self._header_timer, self._stall_timer):
            if timer is not None:
                timer.cancel()
        if self._sender is not None:
            self._sender.close()
        super().connection_lost(exc)
        for farewell in self._farewells.values():
            farewell()
        self._farewells.clear()

    def when_lost(self, name: object, call: Callable[[], None]) -> None:
        """Call something when this connection ends; a later call under the same name takes its place."""
        self._farewells[name] = call

    def _end_with(self, status: int, detail: str) -> None:
        if not self.transport.is_closing():
            self.transport.write(bare(status, detail))
            self.transport.close()

    # ------------------------------------------------------------------- headers

    def _await_headers(self) -> None:
        self._header_timer = self.loop.call_later(
            self.limits.header_seconds, self._end_with, 408, "The headers did not come to an end in time."
        )

    def data_received(self, data: bytes) -> None:
        """Take bytes; those of headers are counted."""
        cycle: Any = self.cycle   # None before the first request, whatever uvicorn's annotation says
        if self._header_timer is None and (cycle is None or cycle.response_complete):
            self._await_headers()   # the next request of a kept connection
        if self._header_bytes is not None:
            self._count(0)
        super().data_received(data)
        if self._header_bytes is not None and not self.transport.is_closing():
            self._header_bytes += len(data)   # of a line that has not ended yet
            if self._header_bytes > 2 * self.limits.header_bytes:
                self._end_with(431, f"At most {self.limits.header_bytes} bytes of headers are taken.")

    def _count(self, size: int) -> None:
        self._header_bytes = (self._header_bytes or 0) + size
        if self._header_bytes > self.limits.header_bytes:
            self._is_too_large = True
            raise _TooLarge

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._header_bytes = self._gather_bytes = 0
        extensions: dict[str, Any] = {LINE: self}
        if self.scheme == "http":
            extensions[ZERO_COPY] = {}
        self.scope["extensions"] = extensions

    def on_url(self, url: bytes) -> None:
        """Its line."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One of its headers."""
        self._count(len(name) + len(value) + 4)   # a colon, a space and the end of the line
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Its headers are there: it is given to the application."""
        self._header_bytes = None
        self._stop_waiting()
        super().on_headers_complete()
        cycle: Any = self.cycle
        if cycle is not None:
            send = cycle.send

            async def sending(message: Any) -> None:
                """Send an answer's part; a file's by sendfile(2)."""
                if FILE_FOLLOWS in message:
                    self._cork(True)
                elif message["type"] == "http.response.body":
                    self._cork(False)
                if message["type"] == ZERO_COPY:
                    await self._send_file(cycle, message)
                    message = {"type": "http.response.body", "body": b"", "more_body": message.get("more_body", False)}
                    self._cork(False)
                await send(message)

            cycle.send = sending

    def gather(self, max_bytes: int) -> None:
        """Take up to so many bytes of this request's body before the application is woken: each wake costs more than 64 KiB do."""
        self._gather_bytes = max_bytes

    def can_fill(self, scope: object) -> bool:
        """Whether the body of a request is still on its way, and nothing stands between it and memory of our choice."""
        cycle: Any = self.cycle   # of the request that came last: those before it are there with their bodies
        is_coming = cycle.scope is scope and cycle.more_body and not cycle.waiting_for_100_continue
        return is_coming and cycle.keep_alive and not self.transport.is_closing()

    async def fill(self, buffer: memoryview) -> None:
        """Receive the body of a request that ``can_fill``, which has exactly the size of ``buffer``.

        Raises:
            ConnectionError: The connection ended before.
        """
        cycle: Any = self.cycle
        came = len(cycle.body)
        buffer[:came] = cycle.body
        inflow = Inflow(self.transport, buffer[came:], self._filled)
        self.flow.resume_reading()
        try:
            await inflow.full
        except BaseException:
            inflow.leave()
            del inflow   # it has the error, which has this frame: the buffer would wait for the collector
            cycle.keep_alive = False   # the parser waits for bytes that it will not see
            raise

    def _filled(self) -> None:
        """The whole body is there, and the parser has not seen it: another one, set as uvicorn sets it, reads what follows."""
        parser: Any = type(self.parser)
        self.parser = parser(self)
        with suppress(AttributeError):   # of an older httptools
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        cycle: Any = self.cycle
        cycle.body = bytearray()
        self.on_message_complete()

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        cycle = self.cycle
        if not cycle.response_complete and len(cycle.body) + len(body) <= self._gather_bytes:
            cycle.body += body
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The whole request is there; what came of it after its answer was thrown away, and had as long as headers have."""
        self._stop_waiting()
        super().on_message_complete()

    def _stop_waiting(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request."""
        if self._is_too_large:
            self._end_with(431, f"At most {self.limits.header_bytes} bytes of headers are taken.")
        else:
            self._end_with(400, msg)

    # ------------------------------------------------------------------- answers

    def pause_writing(self) -> None:
        """The client takes less than we send: it has so long to go on."""
        super().pause_writing()
        self._stall_timer = self.loop.call_later(self.limits.stall_seconds, self._cut_off)

    def resume_writing(self) -> None:
        """It goes on."""
        super().resume_writing()
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def _cork(self, is_corked: bool) -> None:
        """Hold back what does not fill a packet, or let it go; Linux only, elsewhere headers go alone."""
        option = getattr(socket, "TCP_CORK", None)
        if option is None or is_corked == self._is_corked or self.scheme == "https" or self.transport.is_closing():
            return
        self.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, option, is_corked)
        self._is_corked = is_corked

    async def _send_file(self, cycle: Any, message: Any) -> None:
        if cycle.scope["method"] == "HEAD" or cycle.disconnected or self.transport.is_closing():
            return
        count = message["count"]
        if count > cycle.expected_content_length:
            raise RuntimeError("Response content longer than Content-Length")
        if self.transport.get_write_buffer_size():   # the headers are still on their way
            await self.flow.drain()
        if self._sender is None:
            self._sender = FileSender(self.transport, self.limits.stall_seconds)
        if await self._sender.send(message["file"].fileno(), message["offset"], count):
            cycle.expected_content_length -= count
        else:   # gone, too slow, or the file was cut off: better no answer than one that looks complete
            self._cut_off()
            cycle.disconnected = True

    def _cut_off(self) -> None:
        """End it with a reset: what the kernel still holds for a client that takes nothing is thrown away as well."""
        connection = self.transport.get_extra_info("socket")
        if connection is not None:
            with suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()
