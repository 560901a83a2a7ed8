"""Puts the parts of a consumer together: what it was told goes in, a receiver or a follower comes out.

Decides nothing but defaults that need the host: its Python, its libraries, a name for the instance. Starts nothing. Imports the
other modules of this room.
"""

import platform
import secrets
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, partial
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from modelcast.consumer.active import Slot
from modelcast.consumer.companions import Companions, HostWorkshop
from modelcast.consumer.complaining import Complaining
from modelcast.consumer.complaints import Complaints
from modelcast.consumer.courier import Courier
from modelcast.consumer.fallback import mend
from modelcast.consumer.follower import Follower, ReadingWorkshop
from modelcast.consumer.host_facts import HostFacts
from modelcast.consumer.journal import Journal
from modelcast.consumer.loaders import Loader, available_loaders
from modelcast.consumer.policy import Loading, Policy, Timing
from modelcast.consumer.probing import Validator
from modelcast.consumer.receiver import Receiver
from modelcast.consumer.reporting import Reporter
from modelcast.consumer.rules import Host
from modelcast.consumer.runtime import Runtime, bounded
from modelcast.consumer.sharing import Borrowing, LendingRoad
from modelcast.consumer.store import Store
from modelcast.consumer.tallies import Tallies
from modelcast.consumer.trial import Attempt
from modelcast.consumer.updater import Setting, Updater
from modelcast.consumer.verdicts import Verdicts
from modelcast.consumer.vetoes import Vetoes
from modelcast.consumer.workshop import Tools
from modelcast.shared.digest import digest, same
from modelcast.shared.errors import InvalidName
from modelcast.shared.finding import FindingRoad
from modelcast.shared.fs import Fs
from modelcast.shared.locks import HostLock
from modelcast.shared.names import check_name, name_from_host
from modelcast.shared.road import Road, Target
from modelcast.shared.signing import KeyRing

INSTANCE_FILE, INSTANCE_LOCK = "instance", "instance.lock"


@dataclass(frozen=True, slots=True)
class Blueprint:
    """What a consumer was told.

    Attributes:
        road: Where orders and chunks come from.
        model: Name of the model.
        channel: Name of the channel.
        instance: Id of the instance, or None when the store keeps one.
        store_root: The application's folder; below it is one store for each model and channel.
        policy: What the application accepts.
        timing: Time limits and pauses.
        ring: Trusted keys.
        loaders: The application's own loaders.
        validators: The application's validators.
        slot: Where the model in service is.
        loading: How a model is loaded beside serving threads.
        fallback: Where chunks come from that the road has dropped, or None.
        tallies: What is counted.
        watchers: Who is told of each attempt that ended.
    """

    road: Road
    model: str
    channel: str
    instance: str | None
    store_root: Path
    policy: Policy
    timing: Timing
    ring: KeyRing
    loaders: Mapping[str, Loader]
    validators: Sequence[Validator]
    slot: Slot
    loading: Loading = field(default_factory=Loading)
    fallback: FindingRoad | None = None
    tallies: Tallies = field(default_factory=Tallies)
    watchers: list[Callable[[Attempt], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        import_module("structlog")   # not with this module (70 ms), but before an application forks: see docs/processes.md

    def store(self) -> Store:
        """Return the store, not yet open."""
        return Store(self.store_root / self.model / self.channel, Fs())

    def _tools(self) -> Tools:
        return Tools(
            available_loaders(self.loaders), self.validators, self.timing, self.ring,
            lambda offset, wanted: self.road.chunks(self.model, offset, wanted), bounded, self.loading,
            mend=None if self.fallback is None else partial(mend, self.fallback, self.model),
            borrowing=Borrowing(self.road, self.model) if isinstance(self.road, LendingRoad) else None,
        )

    def _log(self, **facts: object) -> Any:
        import structlog  # noqa: PLC0415 - see __post_init__

        return structlog.get_logger("modelcast.consumer").bind(**facts, model=self.model, channel=self.channel)

    def receiver(self, store: Store, runtime: Runtime) -> Receiver:
        """Return the receiver of an open store."""
        instance = self.instance or kept_instance(self.store_root, store.fs)
        target, log, tools = Target(self.model, self.channel, instance), self._log(instance=instance), self._tools()
        host = Host(platform.python_version(), sys.implementation.name, installed, frozenset(tools.loaders))
        companions = Companions(store, instance, log, aside=runtime.aside)
        facts = HostFacts(installed)
        workshop = HostWorkshop(store, Journal(store.root / "journal", store.fs), self.slot, tools, companions, facts=facts)
        reporter = Reporter(target, host=facts)
        verdicts = Verdicts(reporter, workshop, self.slot, runtime.submit, log, tallies=self.tallies, watchers=self.watchers)
        updater = Updater(Setting(target, self.policy, self.timing, self.ring, host), workshop, verdicts, runtime.submit, log)
        courier = Courier(self.road, target, updater, verdicts, reporter, self.timing, runtime.take_results, log)
        vetoes = Vetoes(self.slot, updater, _complaints(store), runtime.submit, runtime.aside, courier.ring)
        return Receiver(store, courier, updater, verdicts, companions, vetoes, self.timing, runtime.submit, runtime.rest)

    def follower(self, store: Store, runtime: Runtime, take_over: Callable[[], bool]) -> Follower:
        """Return a follower of a store that another process holds."""
        workshop = ReadingWorkshop(store, Journal(store.root / "journal", store.fs), self.slot, self._tools())
        log = self._log(role="follower")
        complaining = Complaining(self.slot, _complaints(store), log)
        return Follower(store, self.slot, workshop, self.timing, runtime.submit, runtime.take_results, take_over, complaining, log)


def _complaints(store: Store) -> Complaints:
    return Complaints(store.root / "complaints", store.fs)


def kept_instance(root: Path, fs: Fs) -> str:
    """Return the instance id kept in the store; made up at the first start, by whichever process comes first."""
    path, lock = root / INSTANCE_FILE, HostLock(root / INSTANCE_LOCK)
    while (kept := read_instance(path, fs)) is None:
        if not lock.take():
            time.sleep(0.01)   # another process makes one up at this moment
            continue
        try:
            if read_instance(path, fs) is None:   # there is none, or it rotted: with another id the instance serves what it has
                name = f"{name_from_host()}-{secrets.token_hex(3)}"
                fs.write_whole(path, f"{name}\n{_check_of(name)}".encode("ascii"))
        finally:
            lock.release()
    return kept


def read_instance(path: Path, fs: Fs) -> str | None:
    """Return the id that a file keeps, or None when there is none, or it rotted; an id alone, written by hand, is taken as it is."""
    if not path.is_file():
        return None
    name, _, check = fs.read_whole(path, 1024).decode("ascii", "replace").strip().partition("\n")
    if check and not same(check.encode(), _check_of(name).encode()):
        return None
    with suppress(InvalidName):
        return check_name("instance", name)
    return None


def _check_of(name: str) -> str:
    return digest(name.encode()).hex()[:16]


@cache
def installed(distribution: str) -> str | None:
    """Return the version of a distribution that is installed, or None."""
    try:
        return metadata.version(distribution)
    except (metadata.PackageNotFoundError, ValueError):   # ValueError: an empty name
        return None
