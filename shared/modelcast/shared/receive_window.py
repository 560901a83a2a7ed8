"""The buffer of a stream connection: filled at one end, let go of at the other, used again.

Decides how far ahead is read, when bytes are moved, and how large it grows: to the largest piece that was asked for and what is read
ahead. Does no I/O. Imports the limits.
"""

import mmap

from modelcast.shared.limits import KIB, MIB

FIRST_BYTES = 320 * KIB
"""The buffer at first; a chunk of 1 MiB makes it grow once."""
AHEAD_BYTES = 4 * MIB
"""Most that is read beyond what was asked for, if it is there already: messages come many at a time; docs/adr/0014 has figures."""
LITTLE_BYTES = 64 * KIB
"""So much is moved in the buffer rather than received with less room; and of what nobody wants so much is read at a time."""


class ReceiveWindow:
    """A buffer that is filled at one end and let go of at the other; what is shown stays in one piece."""

    def __init__(self, first_bytes: int = FIRST_BYTES) -> None:
        self._bytes = _fresh(first_bytes)
        self._start = self._end = 0

    @property
    def held(self) -> int:
        """How many bytes are there."""
        return self._end - self._start

    @property
    def capacity(self) -> int:
        """How many bytes of memory it takes."""
        return len(self._bytes)

    def room(self, count: int) -> memoryview:
        """Return where to receive, so that ``count`` bytes come to lie in one piece; old views end here."""
        is_cramped = self.held < LITTLE_BYTES and len(self._bytes) - self._end < LITTLE_BYTES
        if self._start + count > len(self._bytes) or is_cramped or self._start == self._end:
            held = self._bytes[self._start : self._end]
            if count > len(self._bytes):
                self._bytes = _fresh(count + AHEAD_BYTES)
            self._bytes[: len(held)] = held
            self._start, self._end = 0, len(held)
        return self._bytes[self._end : min(len(self._bytes), self._start + count + AHEAD_BYTES)]

    def filled(self, count: int) -> None:
        """Take note that ``count`` bytes were received."""
        self._end += count

    def view(self, count: int) -> memoryview:
        """Return the first ``count`` bytes."""
        return self._bytes[self._start : self._start + count]

    def take(self, count: int) -> None:
        """Let go of the first ``count`` bytes; views of them stay good until ``room``."""
        self._start += count


def _fresh(count: int) -> memoryview:
    """Return bytes that nobody has touched: a ``bytearray`` is filled with zeros while no other thread can run."""
    return memoryview(mmap.mmap(-1, count, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
