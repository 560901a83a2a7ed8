"""Sessions of a road, one at a time for each model: somebody else's is waited for, and one's own is acted in.

Decides how often is looked whether the other one has ended, and that whoever waits is told. Imports the catalog and the road's
protocols.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from modelcast.publisher.catalog import Catalog
from modelcast.shared.errors import PublisherBusy
from modelcast.shared.road import PublisherRoad, Road

BUSY_RETRY_SECONDS = 0.5
TOLD_AT = 3
"""Whoever notes one thing, as those do who carry on a rollout, has ended before this look."""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Sessions:
    """Opens a publisher's sessions.

    Args:
        road: Of this road.
        busy_seconds: How long to wait for another publisher of the same model.
        on_busy: Is told in a sentence that somebody is waited for, and how long; once for each wait.
    """

    road: Road
    busy_seconds: float = 60.0
    on_busy: Callable[[str], None] | None = None

    def open(self, model: str, channel: str) -> PublisherRoad:
        """Open a session; waits for another one of the same model to end.

        Raises:
            PublisherBusy: It did not end.
            HostFault: The road is away.
        """
        deadline, looks = time.monotonic() + self.busy_seconds, 0
        while True:
            try:
                return self.road.publish(model, channel)
            except PublisherBusy:
                if time.monotonic() >= deadline:
                    raise
            looks += 1
            if looks == TOLD_AT and self.on_busy is not None:
                self.on_busy(
                    f"Somebody is publishing {model} right now: waiting up to {self.busy_seconds:g} s for the end of it. "
                    f"A publisher that is stopped and started again sends only what is missing."
                )
            time.sleep(BUSY_RETRY_SECONDS)

    def act(self, model: str, channel: str, act: Callable[[PublisherRoad, Catalog], Result]) -> Result:
        """Open a session, act in it by what its register says, and close it; raises like ``open``, and what ``act`` raises."""
        session = self.open(model, channel)
        try:
            return act(session, Catalog(session.register.read()))
        finally:
            session.close()
