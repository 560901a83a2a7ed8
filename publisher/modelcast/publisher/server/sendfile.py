"""sendfile(2) from an event loop: bytes of a file into a connection, without a copy and without a task for each piece.

Decides when a client is too slow. The loop's own ``sendfile`` stops and starts the reading of the connection around each call, and
makes a future each time the socket is full; at 1 MiB a call that costs more than all the rest of a request
(``docs/adr/0026-http-server.md``). Linux and macOS; imports nothing of ours.
"""

import asyncio
import os
import socket


class FileSender:
    """Sends files over one connection, one after the other.

    Args:
        transport: The connection; plain TCP, with nothing left to write.
        stall_seconds: A client that takes nothing for so long is given up.
    """

    def __init__(self, transport: asyncio.Transport, stall_seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        connection: socket.socket = transport.get_extra_info("socket")
        # A descriptor of our own for the same connection: the loop refuses to watch the one that is its transport's.
        self._descriptor = os.dup(connection.fileno())
        self._stall_seconds = stall_seconds
        self._file, self._offset, self._left = -1, 0, 0
        self._done: asyncio.Future[bool] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_watching = False

    async def send(self, file: int, offset: int, count: int) -> bool:
        """Send ``count`` bytes of an open file; returns whether all of them were sent: else the connection is of no more use."""
        self._file, self._offset, self._left = file, offset, count
        done = self._done = self._loop.create_future()
        self._go_on()
        if done.done():
            return bool(done.result())
        self._watch_progress()
        try:
            return bool(await done)
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self._end(is_sent=False)

    def _look(self, left: int) -> None:
        if self._left == left:
            self._end(is_sent=False)
        else:
            self._watch_progress()

    def _watch_progress(self) -> None:
        self._timer = self._loop.call_later(self._stall_seconds, self._look, self._left)

    def _go_on(self) -> None:
        try:
            sent = os.sendfile(self._descriptor, self._file, self._offset, self._left)
        except (BlockingIOError, InterruptedError):
            sent = None
        except OSError:   # it has gone
            self._end(is_sent=False)
            return
        if sent == 0:   # somebody cut the file off
            self._end(is_sent=False)
            return
        if sent is not None:
            self._offset, self._left = self._offset + sent, self._left - sent
        if not self._left:
            self._end(is_sent=True)
        elif not self._is_watching:
            self._loop.add_writer(self._descriptor, self._go_on)
            self._is_watching = True

    def _end(self, *, is_sent: bool) -> None:
        if self._is_watching:
            self._loop.remove_writer(self._descriptor)
            self._is_watching = False
        done, self._done = self._done, None
        if done is not None and not done.done():
            done.set_result(is_sent)

    def close(self) -> None:
        """Let go of the connection; what is being sent ends. Never raises."""
        self._end(is_sent=False)
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
