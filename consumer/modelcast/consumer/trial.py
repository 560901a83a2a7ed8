"""One order being tried: what the steps hand on to each other. A value with two writers, each for its own fields.

The worker writes everything but ``dropped``, which the I/O thread sets when a better order came or the host stops, and
``bookmark``, which it sets before the last step: from where on the history matters once this order is carried out. ``Attempt`` is
what remains of it for whoever watches.
"""

import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from modelcast.consumer.trust import TrustedOrder
from modelcast.shared.road import Bookmark


class Dropped(Exception):
    """Raised inside a step when its trial was dropped."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt at an update that ended; see ``ModelConsumer.on_attempt``.

    Attributes:
        outcome: ``promoted``, ``rejected``, ``superseded``, ``deferred``, or ``put off`` when a fault of the host ended
            it and it is made again.
        facts: What the line of the log says about it, by the same names.
        trace: The ``traceparent`` that its order carried, or None.
        begun_ns: When it was begun, nanoseconds since 1970 UTC.
        ended_ns: When it ended.
        stages: Each stage with its begin and its end, likewise.
    """

    outcome: str
    facts: Mapping[str, Any]
    trace: str | None
    begun_ns: int
    ended_ns: int
    stages: tuple[tuple[str, int, int], ...] = ()


class Trial:
    """The work on one order.

    Args:
        trusted: The order.
        floor_lifted: Whether a rollback that it leaves behind took away the floor that was there before.

    Attributes:
        begun: When it was begun, by the monotonic clock.
        begins: When each stage was begun, likewise.
    """

    def __init__(self, trusted: TrustedOrder, *, floor_lifted: bool = False) -> None:
        self.trusted, self.floor_lifted = trusted, floor_lifted
        self.model: Any = None
        self.bookmark: Bookmark | None = None
        self.stages_ms: dict[str, float] = {}
        self.begins: dict[str, float] = {}
        self.transfer: dict[str, int | str] = {}
        self.dropped = False
        self.begun = time.monotonic()

    def check(self) -> None:
        """Raise Dropped when nobody wants the result any more."""
        if self.dropped:
            raise Dropped

    @contextmanager
    def timed(self, stage: str) -> Generator[None]:
        """Measure a stage in milliseconds, also when it fails."""
        begin = self.begins[stage] = time.monotonic()
        try:
            yield
        finally:
            self.stages_ms[stage] = round((time.monotonic() - begin) * 1000, 3)
