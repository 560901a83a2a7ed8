"""Sessions of a road: somebody else's is waited for, and one's own is acted in.

Decides how often is looked whether the other one has ended, and that whoever waits is told. Imports the catalog and the road's
protocols.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from modelcast.publisher.catalog import Catalog
from modelcast.shared.errors import HostFault, PublisherBusy
from modelcast.shared.publishing_road import PublisherRoad
from modelcast.shared.road import Road

BUSY_RETRY_SECONDS = 0.5
REJOIN_SECONDS = 180.0
"""What was sent for an hour is not given up for a command: one may read reports for two minutes, or was killed and keeps its place."""
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

    def open(self, model: str, channel: str, *, sends: bool) -> PublisherRoad:
        """Open a session; waits for another one of the same model that keeps it out to end.

        Raises:
            PublisherBusy: It did not end.
            HostFault: The road is away.
        """
        told = f"Somebody is publishing or ordering {model} right now: waiting up to {self.busy_seconds:g} s for the end of it."
        if sends:
            told += " A publisher that is stopped and started again sends only what is missing."
        return self._when_free(lambda: self.road.publish(model, channel, sends=sends), self.busy_seconds, told)

    def rejoin(self, session: PublisherRoad) -> None:
        """End a session's time apart; waits for whoever is ordering.

        Raises:
            HostFault: The other one did not end, or the road is away.
        """
        seconds = max(self.busy_seconds, REJOIN_SECONDS)
        try:
            self._when_free(session.rejoin, seconds, f"Somebody is ordering right now: waiting up to {seconds:g} s for the end of it.")
        except PublisherBusy as busy:
            raise HostFault(
                f"The release is sent and not ordered: somebody else has been ordering for {seconds:g} s.",
                hint="Is a command held up somewhere? A second attempt sends nothing of it again, unless it is told to resend.",
                facts=busy.facts,
            ) from busy

    def _when_free(self, attempt: Callable[[], Result], seconds: float, told: str) -> Result:
        deadline, looks = time.monotonic() + seconds, 0
        while True:
            try:
                return attempt()
            except PublisherBusy:
                if time.monotonic() >= deadline:
                    raise
            looks += 1
            if looks == TOLD_AT and self.on_busy is not None:
                self.on_busy(told)
            time.sleep(BUSY_RETRY_SECONDS)

    def act(self, model: str, channel: str, act: Callable[[PublisherRoad, Catalog], Result]) -> Result:
        """Open a session that only orders, act in it by what its register says, and close it.

        Raises like ``open``, and what ``act`` raises.
        """
        session = self.open(model, channel, sends=False)
        try:
            return act(session, Catalog(session.register.read()))
        finally:
            session.close()
