"""One rollout in the hands of one who drives it: every change is made under the ordering lock, and only while nobody took it over.

Decides nothing about waves. Imports the catalog, ordering and the records of rollouts.
"""

import os
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from modelcast.publisher.catalog import Catalog
from modelcast.publisher.ordering import Instruction, Wave, send_order
from modelcast.publisher.rollout.records import Phase, Rollout, Sent, Step, Stepped
from modelcast.publisher.sessions import Sessions
from modelcast.shared.errors import HostFault, NotFound, PublisherBusy
from modelcast.shared.operating_road import RecordRoad
from modelcast.shared.publishing_road import PublisherRoad
from modelcast.shared.road import Road
from modelcast.shared.signing import SigningKey

PAUSE_SECONDS = 2.0
PATIENCE_SECONDS = 600.0
"""A road that is away, or busy, is waited for so long; then the rollout stays as it is, and somebody may go on with it."""

Result = TypeVar("Result")


class RolloutRoad(Road, RecordRoad, Protocol):
    """A road with all that a rollout needs of it."""


def driver_name() -> str:
    """Return a name for whoever drives a rollout from this process: for people, and told apart from every other."""
    return f"{socket.gethostname()[:40]}:{os.getpid()}:{secrets.token_hex(4)}"


def now_ms() -> int:
    """Return the wall clock, milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000


def patiently(act: Callable[[], Result], rest: Callable[[float], None]) -> Result:
    """Act once the road is there and nobody else publishes the model, which may take a while.

    Raises:
        HostFault: The road stayed away.
        PublisherBusy: The other publisher did not end.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return act()
        except (HostFault, PublisherBusy):
            if time.monotonic() >= deadline:
                raise
        rest(PAUSE_SECONDS)


@dataclass(slots=True)
class Desk:
    """What one driver does to the rollout of a channel.

    Args:
        road: The road.
        sessions: Opens a publisher's session of the model.
        key: Signs the orders; None where nothing is ordered.
        model: Name of the model.
        channel: Name of the channel.
        driver: Its name.
        rest: Sleeps for so many seconds.
    """

    road: RolloutRoad
    sessions: Sessions
    key: SigningKey | None
    model: str
    channel: str
    driver: str = field(default_factory=driver_name)
    rest: Callable[[float], None] = time.sleep

    def look(self) -> Rollout:
        """Return how the rollout stands; nobody is kept from publishing.

        Raises:
            NotFound: There is none.
            HostFault: The road is away.
        """
        return self._last(Catalog(self.road.records(self.model)))

    def look_patiently(self) -> Rollout:
        """Return how the rollout stands; a road that is away is waited for."""
        return patiently(self.look, self.rest)

    def _last(self, catalog: Catalog) -> Rollout:
        rollout = catalog.rollouts.last(self.channel)
        if rollout is None:
            raise NotFound(
                f"No release of {self.model} was ever rolled out gradually in {self.channel}.",
                hint="modelcast promote MODEL VERSION --waves 1,10%,100% begins it.",
            )
        return rollout

    def is_mine(self, rollout: Rollout) -> bool:
        """Whether the rollout runs, and nobody else took it over."""
        return rollout.phase is Phase.RUNNING and rollout.driver == self.driver

    def step(self, step: Step, *, wave: int | None = None, why: str = "") -> bool:
        """Note what happened; returns False when the rollout is somebody else's, and nothing was noted."""
        def act(session: PublisherRoad, _catalog: Catalog, rollout: Rollout) -> bool:
            """Write it down."""
            stepped = Stepped(self.channel, rollout.begun.sequence, step, now_ms(), self.driver, wave, why)
            session.register.append(stepped.to_bytes())
            return True

        return self._while_mine(act) is not None

    def order(self, number: int, up_to: int | None) -> Sent | None:
        """Order a wave, unless it was ordered already; returns None when the rollout is somebody else's."""
        def act(session: PublisherRoad, catalog: Catalog, rollout: Rollout) -> Sent:
            """Send it."""
            begun = rollout.begun
            if number in rollout.sent:
                return rollout.sent[number]
            known = catalog.by_id(begun.release)
            if known is None or known.is_pruned:
                raise NotFound(
                    f"{self.model} {begun.version} is not on this road any more.",
                    hint="Publish the same bytes again, then: modelcast rollout resume.",
                )
            assert self.key is not None
            wave = Wave(begun.sequence, number, up_to)
            instruction = Instruction(self.model, self.channel, known.release, known.record, wave=wave)
            ordered = send_order(session, catalog, instruction, self.key, now_ms())
            return Sent(ordered.sequence, ordered.up_to, ordered.issued_ms, ordered.order)

        return self._while_mine(act)

    def _while_mine(self, act: Callable[[PublisherRoad, Catalog, Rollout], Result]) -> Result | None:
        """Act under the lock if the rollout is this driver's; a road that is away, and another publisher, are waited for."""
        def once(session: PublisherRoad, catalog: Catalog) -> Result | None:
            """Look and act."""
            rollout = self._last(catalog)
            return act(session, catalog, rollout) if self.is_mine(rollout) else None

        return patiently(lambda: self.sessions.act(self.model, self.channel, once), self.rest)
