"""What was announced to an instance and is not ordered yet: which of it is listened to, and what ends it. Used by the I/O thread.

Decides so that nothing that was announced keeps an order waiting, and that who repeats old announcements gets nowhere: each one that
is listened to is later than the one before, and later than every order. Imports ahead and trust.
"""

from modelcast.consumer.ahead import Ahead
from modelcast.consumer.trust import TrustedOrder


class Announcements:
    """The announcements of one instance.

    Attributes:
        running: What is being received ahead, or None.
    """

    def __init__(self) -> None:
        self.running: Ahead | None = None
        self._waiting: Ahead | None = None
        self._last = (0, 0)
        self._ordered = 0

    def add(self, announced: TrustedOrder) -> bool:
        """Take note of an announcement that is trusted and allowed; returns whether it is listened to."""
        order = announced.order
        if order.sequence <= self._ordered or (order.sequence, order.issued_ms) <= self._last:
            return False   # repeated, or over
        self._last = (order.sequence, order.issued_ms)
        ahead, running = Ahead(announced), self.running
        if running is not None and running.layout == ahead.layout and not running.dropped:
            return False   # published anew after an interruption: what is being read goes on to its end
        if running is not None:
            running.dropped = True
        self._waiting = ahead
        return True

    def begin(self) -> Ahead | None:
        """Return what is to be received ahead now; nothing must be running."""
        self.running, self._waiting = self._waiting, None
        return self.running

    @property
    def is_waiting(self) -> bool:
        """Whether something could begin."""
        return self._waiting is not None and self.running is None

    def note(self, trusted: TrustedOrder) -> None:
        """Take note of an order, whatever will become of it: what was announced up to it is over."""
        self._ordered = max(self._ordered, trusted.order.sequence)
        if self._waiting is not None and self._waiting.sequence <= self._ordered:
            self._waiting = None

    def make_way_for(self, trusted: TrustedOrder) -> None:
        """Let what is running end for an order that is to be carried out: by itself when it is its own, at once otherwise."""
        if self.running is None:
            return
        if self.running.fits(trusted.manifest):
            self.running.ordered_release = trusted.release
        else:
            self.running.dropped = True

    def make_room_for_a_verdict(self, trusted: TrustedOrder | None) -> None:
        """Let the worker come to a short job; what was announced goes on afterwards, unless its own order was decided."""
        if self.running is None:
            return
        self.running.is_interrupted = True
        if trusted is not None and trusted.order.sequence >= self.running.sequence:
            self.running.dropped = True

    def drop(self) -> None:
        """Listen to nothing any more."""
        self._waiting = None
        if self.running is not None:
            self.running.dropped = True

    def end(self) -> Ahead | None:
        """Take note that the worker came back; returns what it was doing."""
        ended, self.running = self.running, None
        is_wanted = ended is not None and not ended.dropped and ended.ordered_release is None and ended.sequence > self._ordered
        if ended is not None and is_wanted and ended.is_interrupted and self._waiting is None:
            ended.is_interrupted = False
            self._waiting = ended
        return ended
