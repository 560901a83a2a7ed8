"""Long work in small pieces, so that serving threads have the interpreter in between.

Decides how long a piece may last and how long the rest after it. A thread that wants Python's interpreter lock waits until the
one that has it lets go, or is told to after ``sys.getswitchinterval()`` (5 ms), and then still for the end of its call into C. A
rest of no length does not help: the lock is taken again before the other thread wakes up. Imports the standard library.
"""

import time

PIECE_SECONDS = 0.001
"""Longest piece of work; five of them are the longest stall that a serving thread should ever see."""
REST_SECONDS = 0.00005
"""Long enough for a waiting thread to wake up and take the lock; the system adds about as much."""


class Breather:
    """Called often during long work, rests now and then. Used by one thread."""

    __slots__ = ("_since",)

    def __init__(self) -> None:
        self._since = time.thread_time()

    def breathe(self) -> None:
        """Rest for a moment if this thread has worked for a while since the last rest; waiting for the lock is no work."""
        if time.thread_time() - self._since >= PIECE_SECONDS:
            time.sleep(REST_SECONDS)
            self._since = time.thread_time()
