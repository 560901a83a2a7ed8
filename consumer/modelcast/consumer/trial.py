"""One order being tried: what the steps hand on to each other. A value with two writers, each for its own fields.

The worker writes everything but ``dropped``, which the I/O thread sets when a better order came or the host stops, and
``bookmark``, which it sets before the last step: from where on the history matters once this order is carried out.
"""

import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from modelcast.consumer.trust import TrustedOrder
from modelcast.shared.road import Bookmark


class Dropped(Exception):
    """Raised inside a step when its trial was dropped."""


class Trial:
    """The work on one order.

    Args:
        trusted: The order.
        floor_lifted: Whether a rollback that it leaves behind took away the floor that was there before.

    Attributes:
        begun: When it was begun, by the monotonic clock.
    """

    def __init__(self, trusted: TrustedOrder, *, floor_lifted: bool = False) -> None:
        self.trusted, self.floor_lifted = trusted, floor_lifted
        self.model: Any = None
        self.bookmark: Bookmark | None = None
        self.stages_ms: dict[str, float] = {}
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
        begin = time.monotonic()
        try:
            yield
        finally:
            self.stages_ms[stage] = round((time.monotonic() - begin) * 1000, 3)
