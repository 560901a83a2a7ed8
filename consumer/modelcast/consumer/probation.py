"""Probation: the first minutes or requests of a model in service, in which too many failed requests take it out again. Pure.

Decides when it is over and when the rule is broken. The clock comes in as an argument. Imports active and errors.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

from modelcast.consumer.active import ActiveModel
from modelcast.shared.errors import MisuseError


@dataclass(frozen=True, slots=True)
class Probation:
    """What a model must prove after its promotion.

    Attributes:
        seconds: How long it is on probation, from its first request on,
        requests: and for how many requests at most, whichever ends first.
        max_error_rate: Share of failed requests from which on it is taken out of service, above 0 and up to 1.
        min_requests: So many requests are waited for before the share means anything.
    """

    seconds: float = 600.0
    requests: int = 1000
    max_error_rate: float = 0.05
    min_requests: int = 20

    def __post_init__(self) -> None:
        counts_fit = 1 <= self.min_requests <= self.requests
        if not (self.seconds > 0 and 0 < self.max_error_rate <= 1 and counts_fit):
            raise MisuseError(
                f"{self} cannot be kept.",
                hint="Such as Probation(seconds=600, requests=1000, max_error_rate=0.05, min_requests=20).",
            )


@dataclass(slots=True)
class Watch:
    """Counts the requests of the model in service, for as long as it is on probation. Any thread may count.

    Args:
        rule: The rule.
        clock: A monotonic clock in seconds.
    """

    rule: Probation
    clock: Callable[[], float] = time.monotonic
    _generation: int = 0
    _until: float = 0.0
    _counted: int = 0
    _failed: int = 0
    _over: int = 0
    _lock: Lock = field(default_factory=Lock)

    def record(self, active: ActiveModel, *, ok: bool) -> str | None:
        """Count a request that ``active`` answered, or failed to.

        Returns:
            Why it is to be taken out, in a sentence, once; or None.
        """
        generation = active.generation
        if self._over >= generation:
            return None   # the usual case: one comparison
        with self._lock:
            if self._over >= generation or generation < self._generation:
                return None
            if generation > self._generation:
                self._generation, self._until = generation, self.clock() + self.rule.seconds
                self._counted = self._failed = 0
            self._counted += 1
            self._failed += not ok
            is_broken = self._counted >= self.rule.min_requests and self._failed >= self.rule.max_error_rate * self._counted and not ok
            if is_broken or self._counted >= self.rule.requests or self.clock() >= self._until:
                self._over = generation
            if not is_broken:
                return None
            share = f"{self.rule.max_error_rate:.3g} is the share that ends it"
            return f"{self._failed} of {self._counted} requests failed on probation; {share}."
