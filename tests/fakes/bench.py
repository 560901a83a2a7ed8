"""One instance's store and workshop on a bench: the worker's steps, called one after the other, without a courier."""

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from modelcast.consumer.active import Slot
from modelcast.consumer.fs import Fs
from modelcast.consumer.journal import Journal
from modelcast.consumer.loaders import Loader, available_loaders
from modelcast.consumer.policy import Timing
from modelcast.consumer.probing import Bounded, Validator
from modelcast.consumer.receiving import OpenSource
from modelcast.consumer.rules import Standing
from modelcast.consumer.runtime import bounded
from modelcast.consumer.store import Store
from modelcast.consumer.trial import Trial
from modelcast.consumer.trust import TrustedOrder, open_order
from modelcast.consumer.workshop import Tools, Workshop
from modelcast.shared.road import Road
from modelcast.shared.signing import KeyRing

QUICK = Timing(load_seconds=20, probe_seconds=20, chunk_idle_seconds=0.5)


class Bench:
    """See the module. Open it before use, close it after.

    Args:
        root: The store's folder.
        road: Where chunks come from.
        ring: Trusted keys.
        fs: Operations on the disk.
        validators: The application's validators.
        loaders: The application's loaders.
        timing: Time limits.
        open_source: Opens the chunk stream, if not the road does.
        run: Runs a function with a time limit.
    """

    def __init__(
        self, root: Path, road: Road, ring: KeyRing, *, fs: Fs | None = None, validators: Sequence[Validator] = (),
        loaders: Mapping[str, Loader] | None = None, timing: Timing = QUICK, open_source: OpenSource | None = None,
        run: Bounded = bounded,
    ) -> None:
        self.fs, self.road, self.ring, self.slot = fs or Fs(), road, ring, Slot()
        self.store = Store(root, self.fs)
        self._tools = Tools(
            available_loaders(loaders or {}), validators, timing, ring,
            open_source or (lambda offset: road.chunks("fraud", offset)), run,
        )

    def open(self) -> Self:
        """Open the store."""
        self.store.open()
        self.journal = Journal(self.store.root / "journal", self.fs)
        self.workshop = Workshop(self.store, self.journal, self.slot, self._tools)
        return self

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    def trust(self, body: bytes) -> TrustedOrder:
        """Open an order message."""
        return open_order(body, self.ring, model="fraud", channel="production")

    def trial(self, body: bytes) -> Trial:
        """Begin with an order."""
        return Trial(self.trust(body))

    def carry_out(self, body: bytes) -> Standing:
        """Do every step for an order."""
        trial = self.trial(body)
        for work in self.steps():
            work(trial)
        return self.workshop.standing()

    def steps(self) -> list[Callable[[Trial], Any]]:
        """The steps in the order of the table."""
        workshop = self.workshop
        return [workshop.receive, workshop.verify, workshop.load, workshop.probe, workshop.promote]

    @property
    def version(self) -> str | None:
        """The version in service."""
        return self.slot.active.version if self.slot.active else None


def never() -> None:
    """What ``stopped`` does when nobody wants to stop."""


class Hang:
    """Hangs until it is let go: no test sleeps, and no thread is left behind."""

    def __init__(self) -> None:
        self._free = threading.Event()

    def __call__(self, *_: object) -> None:
        self._free.wait(60)

    def let_go(self) -> None:
        """End it."""
        self._free.set()
