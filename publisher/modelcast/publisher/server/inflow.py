"""Large bodies straight into memory that is used again: uvicorn's way copies each byte three times and takes new memory for each.

Decides how a connection's bytes are diverted until a body of known size is there, and how many buffers are kept. Imports the size of a
batch.
"""

import asyncio
import mmap
from collections.abc import Callable, Generator
from contextlib import contextmanager

from modelcast.shared.http_sending import BATCH_BYTES

KEPT = 4
"""Buffers that are kept for the next bodies: publishers that send at once, of different models, are few."""
MOST = 16
"""Buffers that are lent at once: what clients cost that claim to send much, and do not. Further bodies grow as they come."""


class Inflow(asyncio.BufferedProtocol):
    """Takes a transport's bytes until a buffer is full; then, or when the connection ends, the protocol before it goes on.

    Args:
        transport: The connection.
        buffer: What is to be filled; at least one byte.
        when_full: Called with the last byte, before the protocol before gets another one.

    Attributes:
        full: Done when the buffer is full; raises ConnectionError when the connection ended before.
    """

    def __init__(self, transport: asyncio.Transport, buffer: memoryview, when_full: Callable[[], None]) -> None:
        self._transport, self._left, self._when_full = transport, buffer, when_full
        self._before, self._has_left = transport.get_protocol(), False
        self.full = asyncio.get_running_loop().create_future()
        transport.set_protocol(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where the next bytes go: never behind the body, so that the next request is left to the protocol before."""
        del sizehint
        return self._left

    def buffer_updated(self, nbytes: int) -> None:
        """Note that so many bytes came."""
        self._left = self._left[nbytes:]
        if not self._left:
            self._when_full()   # at once: TLS hands on the next bytes before whoever waits for `full` has a turn
            self.leave()
            if not self.full.done():
                self.full.set_result(None)

    def leave(self) -> None:
        """Let the protocol before go on."""
        if not self._has_left:
            self._has_left = True
            self._transport.set_protocol(self._before)

    def connection_lost(self, exc: Exception | None) -> None:
        """Hand on that the connection ended."""
        self._has_left = True   # a transport of TLS that was closed has no protocol any more
        if not self.full.done():
            self.full.set_exception(ConnectionError("The connection ended within the body."))
        self._before.connection_lost(exc)

    def pause_writing(self) -> None:
        """Hand it on."""
        self._before.pause_writing()

    def resume_writing(self) -> None:
        """Hand it on."""
        self._before.resume_writing()


class Buffers:
    """Memory for bodies, used again."""

    def __init__(self) -> None:
        self._free: list[memoryview] = []
        self._lent = 0

    @contextmanager
    def one(self) -> Generator[memoryview | None]:
        """Lend a buffer that any body of chunks fits in, or None when ``MOST`` are lent; what is in it is of no value.

        One whose borrower ends with an error is not lent again: a thread may still write from it.
        """
        if self._lent == MOST:
            yield None
            return
        buffer = self._free.pop() if self._free else memoryview(mmap.mmap(-1, BATCH_BYTES))   # no page before it is filled
        self._lent += 1
        try:
            yield buffer
        finally:
            self._lent -= 1
        if len(self._free) < KEPT:
            self._free.append(buffer)
