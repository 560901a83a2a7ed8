"""What surrounds an instance in the simulation: keys, time, and a road on which things come late."""

import random
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.road import Confirmed, Target
from modelcast.shared.signing import KeyRing, TrustedKey

if TYPE_CHECKING:
    from tests.simulation.world import World


class RememberingRing(KeyRing):
    """Remembers what it opened: a quarter of a life is otherwise spent on verifying the same signatures again."""

    def __init__(self, keys: Iterable[TrustedKey]) -> None:
        super().__init__(keys)
        self._opened: dict[tuple[bytes, str], tuple[bytes, TrustedKey]] = {}

    def open(self, body: bytes, payload_type: str, *, what: str) -> tuple[bytes, TrustedKey]:
        known = self._opened.get((body, payload_type))
        if known is None:
            known = self._opened[body, payload_type] = super().open(body, payload_type, what=what)
        return known


class Clock:
    """The time, in place of the module ``time``: it stands still unless somebody moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time_ns(self) -> int:
        return int(self.now * 1e9)


class Gated:
    """An inbox whose messages are late: each time somebody looks, chance decides whether one has arrived."""

    def __init__(self, inbox: Any, chance: random.Random, world: "World") -> None:
        self._inbox, self._random, self._world = inbox, chance, world

    def receive(self, _seconds: float) -> Any:
        if self._random.random() < self._world.lateness:
            self._inbox._check()
            return None
        return self._inbox.receive(0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inbox, name)


class GatedRoad:
    """One instance's road: nothing waits, and what it is told comes late."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.inner: Any = None

    def join(self, target: Target, *, bookmark: Any = None) -> "GatedRoad":
        self.inner = AmqpRoad(self._world.broker).join(target, bookmark=bookmark)
        for name, owner in (("_inbox", self.inner._history), ("_orders", self.inner)):
            setattr(owner, name, Gated(getattr(owner, name), self._world.random, self._world))
        return self

    def next_order(self, _seconds: float) -> Any:
        return self.inner.next_order(0)

    def report(self, body: bytes) -> Confirmed:
        confirmed, world = self.inner.report(body), self._world
        return lambda: world.random.random() >= world.lateness and confirmed()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class AlwaysRung:
    """A bell that never makes anybody wait."""

    def wait(self, _seconds: float) -> bool:
        return True

    def set(self) -> None: ...

    def clear(self) -> None: ...
