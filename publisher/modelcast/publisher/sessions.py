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

BUSY_SECONDS = 60.0
BUSY_RETRY_SECONDS = 0.5

Result = TypeVar("Result")
OnBusy = Callable[[str], None]
"""Is told in a sentence that another publisher is waited for, and for how long; once for each wait."""


def unheard(_sentence: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Sessions:
    """Opens a publisher's sessions.

    Args:
        road: Of this road.
        busy_seconds: How long to wait for another publisher of the same model.
        on_busy: Who is told of such a wait.
    """

    road: Road
    busy_seconds: float = BUSY_SECONDS
    on_busy: OnBusy = unheard

    def open(self, model: str, channel: str) -> PublisherRoad:
        """Open a session; waits for another one of the same model to end.

        Raises:
            PublisherBusy: It did not end.
            HostFault: The road is away.
        """
        deadline, is_told = time.monotonic() + self.busy_seconds, False
        while True:
            try:
                return self.road.publish(model, channel)
            except PublisherBusy:
                if time.monotonic() >= deadline:
                    raise
            if not is_told:
                is_told = True
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
