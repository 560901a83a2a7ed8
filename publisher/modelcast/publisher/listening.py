"""Listening to reports for longer than a connection lasts: a report source that opens another one when its own is lost.

Decides how far back to read, at first and again. What is read twice is told apart by whoever counts (``waiting``). Imports the
road's protocols and errors; clock and sleep come in as arguments.
"""

import math
from collections.abc import Callable

from modelcast.shared.errors import BrokerUnreachable, HostFault
from modelcast.shared.road import ReportSource

KNOWN_MINUTES = 5
"""An instance counts as known if it reported later than this before the order; it reports its state every minute."""
MOST_MINUTES = 24 * 60
"""Farther back nothing is looked for: ten thousand instances write 8 GiB of reports a day. What it serves an instance says anew."""
OVERLAP_MINUTES = 1
"""Read again after a loss: what came just before it may not have been handed on."""
MARK_SECONDS = 20.0
"""So long after the last time that nothing was left to read, nothing is waited for once: where thousands report there is no pause."""
REOPEN_SECONDS = 1.0
"""Between two attempts to come back."""


def minutes_to_read(issued_ms: int, now_ms: int) -> int:
    """Return how many minutes of reports matter for an order that was issued at ``issued_ms``."""
    return min(max(0, now_ms - issued_ms) // 60_000 + KNOWN_MINUTES, MOST_MINUTES)


class LastingReports:
    """See ``road.ReportSource``. A loss is no error: nothing comes until the road is back, then what came meanwhile.

    Args:
        open_source: Opens the reports of so many last minutes.
        since_minutes: How many, at first.
        clock: A monotonic clock in seconds.
        rest: Sleeps for so many seconds.

    Raises:
        HostFault: The road is there and refuses; one that is away is waited for.

    Attributes:
        fault: Why the road is away, or None.
    """

    def __init__(
        self, open_source: Callable[[int], ReportSource], since_minutes: int, *, clock: Callable[[], float],
        rest: Callable[[float], None],
    ) -> None:
        self._open_source, self._since_minutes, self._clock, self._rest = open_source, since_minutes, clock, rest
        self.fault: str | None = None
        self._source: ReportSource | None = None
        self._read_until = clock()
        """Everything that was reported before is read, but for the last ``since_minutes``."""
        self._next_attempt = 0.0
        try:
            self._open()
        except BrokerUnreachable as error:
            self._lose(error)

    def _open(self) -> None:
        minutes = self._since_minutes + math.ceil((self._clock() - self._read_until) / 60)
        self._source = self._open_source(min(minutes, MOST_MINUTES))
        self.fault = None

    def _lose(self, error: HostFault) -> None:
        self.close()
        self.fault, self._next_attempt = str(error), self._clock() + REOPEN_SECONDS

    @property
    def is_caught_up(self) -> bool:
        """See ``road.ReportSource.is_caught_up``; not while the road is away, nor until what came meanwhile is read."""
        return self._source is not None and self._source.is_caught_up

    def receive(self, seconds: float) -> bytes | None:
        """See ``road.ReportSource.receive``."""
        try:
            if self._source is None:
                pause = self._next_attempt - self._clock()
                if pause > 0:
                    self._rest(min(pause, seconds))
                    return None
                self._open()
            assert self._source is not None
            began = self._clock()
            is_due = self._source.is_caught_up and began - self._read_until >= MARK_SECONDS
            body = self._source.receive(0.0 if is_due else seconds)
            if body is None and self._source.is_caught_up:   # a process that was held up has more to read than it knows
                self._read_until, self._since_minutes = began, OVERLAP_MINUTES
        except HostFault as error:   # refused also counts as away now: it was let in before, and a node that starts refuses much
            self._lose(error)
            return None
        return body

    def close(self) -> None:
        """See ``road.ReportSource.close``."""
        source, self._source = self._source, None
        if source is not None:
            source.close()
