"""One instance's store and workshop on a bench: the worker's steps, called one after the other, without a courier."""

import platform
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Self

import structlog

from modelcast.consumer.active import Slot
from modelcast.consumer.fallback import Mend
from modelcast.consumer.headroom import Headroom, read_headroom
from modelcast.consumer.journal import Journal
from modelcast.consumer.lifecycle import State
from modelcast.consumer.loaders import Loader, available_loaders
from modelcast.consumer.policy import Loading, Policy, Timing
from modelcast.consumer.probing import Bounded, Validator
from modelcast.consumer.receiving import OpenSource
from modelcast.consumer.reporting import Reporter
from modelcast.consumer.rules import Host, Standing
from modelcast.consumer.runtime import bounded
from modelcast.consumer.sharing import Borrowing
from modelcast.consumer.store import Store
from modelcast.consumer.trial import Trial
from modelcast.consumer.trust import TrustedOrder, open_order
from modelcast.consumer.updater import Setting, Updater
from modelcast.consumer.verdicts import Verdicts
from modelcast.consumer.workshop import Tools, Workshop
from modelcast.shared.errors import BrokerUnreachable
from modelcast.shared.fs import Fs
from modelcast.shared.report import Report
from modelcast.shared.road import ArrivedOrder, Road, Target
from modelcast.shared.signing import KeyRing

QUICK = Timing(load_seconds=20, probe_seconds=20, chunk_idle_seconds=0.5)


@cache
def _built_in_loaders() -> Mapping[str, Callable[[], Loader]]:
    return available_loaders({})   # it looks through all that is installed; some tests open a thousand benches


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
        loading: How gently a model is loaded.
        headroom: Reads how much memory is left.
        mend: Fetches from a fallback.
        borrowing: Shares blocks with the road's own files.
    """

    def __init__(
        self, root: Path, road: Road, ring: KeyRing, *, fs: Fs | None = None, validators: Sequence[Validator] = (),
        loaders: Mapping[str, Loader] | None = None, timing: Timing = QUICK, open_source: OpenSource | None = None,
        run: Bounded = bounded, loading: Loading | None = None, headroom: Callable[[], list[Headroom]] = read_headroom,
        mend: Mend | None = None, borrowing: Borrowing | None = None,
    ) -> None:
        self.fs, self.road, self.ring, self.slot = fs or Fs(), road, ring, Slot()
        self.store = Store(root, self.fs)
        self._tools = Tools(
            available_loaders(loaders) if loaders else dict(_built_in_loaders()), validators, timing, ring,
            open_source or (lambda offset, wanted: road.chunks("fraud", offset, wanted)), run, loading or Loading(), headroom, mend,
            borrowing,
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
        self._free, self.entered = threading.Event(), threading.Event()

    def __call__(self, *_: object) -> None:
        self.entered.set()
        self._free.wait(60)

    def let_go(self) -> None:
        """End it."""
        self._free.set()


class RecordingRoad:
    """An instance's road that writes down what it is told; ``cut_after`` reports it breaks."""

    def __init__(self, cut_after: int | None = None) -> None:
        self.reports: list[Report] = []
        self.settled: list[tuple[ArrivedOrder, bool]] = []
        self.told: list[str] = []
        self._cut_after = cut_after

    def next_order(self, seconds: float) -> ArrivedOrder | None:
        """See ``road.InstanceRoad``."""
        return None

    def settle(self, arrived: ArrivedOrder, *, accept: bool) -> None:
        """See ``road.InstanceRoad``."""
        self.settled.append((arrived, accept))
        self.told.append("settle")

    def report(self, body: bytes) -> Callable[[], bool]:
        """See ``road.InstanceRoad``."""
        if self._cut_after is not None and len(self.reports) >= self._cut_after:
            raise BrokerUnreachable("cut")
        self.reports.append(Report.parse(body))
        self.told.append("report")
        return lambda: True

    def close(self) -> None:
        """See ``road.InstanceRoad``."""


class Desk:
    """An updater on a bench whose worker is the test: jobs are done when it says so, in its own thread."""

    def __init__(self, bench: Bench, *, policy: Policy | None = None, timing: Timing | None = None, now_ms: int = 0) -> None:
        self.bench, self.jobs = bench, deque[tuple[Callable[[], Any], Callable[[Any, BaseException | None], None]]]()
        self.now_ms = now_ms
        target, log = Target("fraud", "production", "a"), structlog.get_logger()
        reporter = Reporter(target, boot="0" * 16, clock_ms=lambda: self.now_ms)
        host = Host(platform.python_version(), sys.implementation.name, lambda _name: None, frozenset(available_loaders({})))
        setting = Setting(target, policy or Policy(), timing or Timing(retry_first_seconds=0, retry_most_seconds=0), bench.ring, host)
        self.verdicts = Verdicts(reporter, bench.workshop, bench.slot, lambda job, then: self.jobs.append((job, then)), log)
        self.updater = Updater(setting, bench.workshop, self.verdicts, self.verdicts.submit, log)
        self.road = RecordingRoad()
        self.updater.remember(bench.workshop.standing(), bench.journal.rejections(), bench.journal.reports())

    def deliver(self, body: bytes, *, from_history: bool = False, replay: str | None = None) -> ArrivedOrder:
        """Let an order message arrive; ``replay`` names the time that an operator sent it back."""
        arrived = ArrivedOrder(body, None if from_history else object(), replay=replay)
        self.updater.on_order(arrived)
        return arrived

    def hear(self, body: bytes) -> None:
        """Let an announcement arrive."""
        self.updater.on_announcement(ArrivedOrder(body, object(), is_announcement=True))

    def do_one(self) -> None:
        """Dispatch, then let the worker do one job."""
        self.updater.dispatch()
        job, then = self.jobs.popleft()
        try:
            result, error = job(), None
        except Exception as caught:  # noqa: BLE001 - handed on, as the runtime does
            result, error = None, caught
        then(result, error)

    def until(self, state: State) -> None:
        """Work until a state is reached."""
        while self.updater.state is not state:
            self.do_one()

    def work(self) -> float | None:
        """Work until nothing is left to do; returns the pause that the updater asks for."""
        while True:
            pause = self.updater.dispatch()
            if not self.jobs:
                return pause
            self.do_one()

    def tell(self) -> None:
        """Tell the road what is due, and do what follows from it."""
        self.verdicts.tell(self.road)
        self.work()

    def verdict_reports(self) -> list[tuple[str | None, str | None, str | None]]:
        """What was reported: version, verdict, reason."""
        return [(report.version, report.verdict, report.reason) for report in self.road.reports]
