"""A channel's history by AMQP: from a bookmark on if that very order still stands there, otherwise all of it.

Decides when a bookmark is good for nothing: another order stands there (the stream was deleted and made anew, or this is another
broker), or nothing comes (the stream ends before it). Then it begins again from the first; a wrong bookmark costs time and no
order. Decides too when an order of the instance's own queue may be judged: when it came by here, and with it all that was ordered
before it. Imports link, the order's identity and the road's values; the clock comes in as an argument.
"""

from collections.abc import Callable

from modelcast.shared.link import Delivery, Link
from modelcast.shared.order import order_id
from modelcast.shared.road import ArrivedOrder, Bookmark

ORDERS_AHEAD = 16
"""Orders are few; this only bounds what a flood of them can put into memory."""
PATIENCE_SECONDS = 15.0
"""Silence after which the bookmark counts as beyond the stream's end, and the history as read. A stream that has it sends it at
once; a broker to which hundreds come back at once needs seconds, and reading everything would make that worse."""
MOST_PATIENCE_SECONDS = 20 * PATIENCE_SECONDS
"""After this an order of the queue is judged, whatever still comes by."""
HELD_UP_SECONDS = 5.0
"""A pause between two looks that says that nobody served the connection meanwhile."""
MOST_PASSED = 1024
"""Orders that are remembered as read, until an order of the queue is among them."""


class AmqpHistory:
    """The orders of a history stream, oldest first, then as they come.

    Args:
        link: The connection.
        stream: Name of the stream.
        bookmark: Where to begin, or None for the oldest that is kept.
        clock: A monotonic clock in seconds.
    """

    def __init__(self, link: Link, stream: str, bookmark: Bookmark | None, clock: Callable[[], float]) -> None:
        self._link, self._stream, self._unproven, self._clock = link, stream, bookmark, clock
        self._inbox = link.inbox(stream, prefetch=ORDERS_AHEAD, offset="first" if bookmark is None else bookmark.offset)
        self._heard_at = self._asked_at = self._opened_at = clock()
        self._passed: dict[str, None] | None = {}   # an ordered set; None when the past was read

    def is_read_until(self, order: bytes) -> bool:
        """Whether all that was ordered before an order of the queue was read here, or never comes.

        Every order goes to the queue and into this stream. One that came by the queue while the older ones are on their way would
        be judged without them: a rollback before it would be taken for one that came after.

        Args:
            order: The body of the order.
        """
        if self._passed is not None and self._unproven is None:
            is_late = self._clock() - self._opened_at >= MOST_PATIENCE_SECONDS   # a flood must not hold it back for ever
            if order_id(order) in self._passed or self._is_silent or is_late:
                self._passed = None   # from here on both bring what is new, in the same order
        return self._passed is None

    @property
    def _is_silent(self) -> bool:
        return self._clock() - self._heard_at >= PATIENCE_SECONDS

    @property
    def is_proven(self) -> bool:
        """Whether it is known from where the history is read."""
        return self._unproven is None

    def next(self) -> ArrivedOrder | None:
        """Return the next order that is here, or None.

        Raises:
            HostFault: The link broke, or the broker ended the subscription.
        """
        now = self._clock()
        if now - self._asked_at > HELD_UP_SECONDS:   # this process was held up: what came meanwhile lies in the connection
            self._heard_at = now
        self._asked_at = now
        past = self._inbox.receive(0)
        if self._unproven is not None and (past is not None or self._is_silent):
            if past is None or not _stands_in(past, self._unproven):
                self._inbox.close()
                self._inbox = self._link.inbox(self._stream, prefetch=ORDERS_AHEAD, offset="first")
                past = self._inbox.receive(0)
                self._heard_at = self._clock()
            self._unproven = None
        if past is None:
            return None
        self._inbox.accept(past)
        self._note(past.body)
        return ArrivedOrder(past.body, offset=past.offset)

    def _note(self, body: bytes) -> None:
        self._heard_at = self._clock()
        if self._passed is not None:
            self._passed[order_id(body)] = None
            if len(self._passed) > MOST_PASSED:
                del self._passed[next(iter(self._passed))]


def _stands_in(past: Delivery, bookmark: Bookmark) -> bool:
    return past.offset == bookmark.offset and order_id(past.body) == bookmark.order
