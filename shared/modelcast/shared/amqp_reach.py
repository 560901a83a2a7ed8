"""Whether an instance's queue still gets what is ordered. Pure but for the clock that comes in.

An exchange that is deleted takes its bindings along, and nobody tells the queues behind it; the next publisher makes the exchange
again, but not their bindings. Every order comes by the history too, whose binding the publisher makes: what comes there and not by
the queue tells of it. Decides when the bindings are made again. Imports the order's identity.
"""

from collections.abc import Callable

from modelcast.shared.order import order_id

MISSED_SECONDS = 5.0
"""How long the queue may take to bring what the history brought; usually they are milliseconds apart."""
DOUBT_SECONDS = 600.0
"""Announcements are in no history, so that nothing tells of their binding: it is made again now and then, at next to no cost."""


class Reach:
    """Compares what comes by the history with what comes by the queue.

    Args:
        clock: A monotonic clock in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._by_queue: str | None = None
        self._missed: str | None = None
        self._doubtful_at = clock() + DOUBT_SECONDS

    def by_history(self, body: bytes) -> None:
        """Note an order of the history; the newest is the one that counts."""
        order = order_id(body)
        if order not in {self._by_queue, self._missed}:
            self._missed = order
            self._doubtful_at = min(self._doubtful_at, self._clock() + MISSED_SECONDS)

    def by_queue(self, body: bytes) -> None:
        """Note an order, or an announcement, of the queue."""
        self._by_queue = order_id(body)
        if self._by_queue == self._missed:
            self.begin()

    def begin(self) -> None:
        """Note that the bindings are there."""
        self._missed, self._doubtful_at = None, self._clock() + DOUBT_SECONDS

    @property
    def is_doubtful(self) -> bool:
        """Whether the bindings should be made again."""
        return self._clock() >= self._doubtful_at
