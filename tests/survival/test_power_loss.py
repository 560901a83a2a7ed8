"""Power cuts: whatever of the unsynced operations a disk has kept, the old release or the new one serves, whole, and life goes on."""

import os
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.fakes.bench import Bench
from tests.fakes.crash_states import Disk, Mark, RecordingFs, crash_states, disk_of, write_disk
from tests.fakes.fake_broker import FakeBroker
from tests.fakes.fault_fs import Crash
from tests.fakes.publisher_sim import PublisherSimulator, Release

from modelcast.consumer.ahead import Ahead
from modelcast.consumer.journal import Rejection
from modelcast.consumer.pointer import TRIES
from modelcast.consumer.probing import Bounded
from modelcast.consumer.runtime import bounded
from modelcast.consumer.store import damage_in
from modelcast.consumer.trust import open_announcement
from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.errors import HostFault, StorageFault
from modelcast.shared.fs import TEMPORARY_PREFIX, Fs
from modelcast.shared.manifest import Artifact
from modelcast.shared.order import Kind
from modelcast.shared.signing import KeyRing, SigningKey

QUICK_STATES = 20
"""Disks of each life that are looked at in every run of the tests; the others are torture."""
REPORT = b"the report"


def files_of(version: str) -> dict[str, bytes]:
    """Three files, one empty, most of it in each version anew."""
    return {"weights/part.bin": f"part of {version} ".encode() * 150, "model.bin": b"abc" * 500 + version.encode() * 100, "empty": b""}


class World:
    """Releases and orders, and where to start from."""

    def __init__(self, memory: Path, key: SigningKey, ring: KeyRing) -> None:
        self.memory, self.ring = memory, ring
        self.road = AmqpRoad(FakeBroker())
        self.sim = PublisherSimulator(self.road, key)
        self.releases: dict[str, Release] = {}
        self.orders: dict[str, bytes] = {}
        for version in ("0.8.0", "0.9.0", "1.0.0", "2.0.0", "3.0.0"):
            self.releases[version] = self.sim.release(version, files_of(version))
            self.orders[version] = self.sim.publish(self.releases[version])
        self.announcement = self.sim.announcement(self.releases["3.0.0"], sequence=5)
        self._count = 0

    def bench(self, root: Path, fs: Fs | None = None, run: Bounded = bounded) -> Bench:
        return Bench(root, self.road, self.ring, fs=fs, run=run)

    def folder(self) -> Path:
        self._count += 1
        return self.memory / str(self._count)

    def after(self, *versions: str) -> Disk:
        """The disk of an instance that has carried out these orders."""
        root = self.folder()
        with self.bench(root) as bench:
            for version in versions:
                bench.carry_out(self.orders[version])
        return disk_of(root)

    def artifact(self, identity: str) -> Artifact:
        return next(release.manifest.artifact for release in self.releases.values() if release.id == identity)

    def rollback(self, version: str) -> bytes:
        return self.sim.order(self.releases[version], kind=Kind.ROLLBACK, sequence=9, chunks_offset=0, oldest_offset=0)


@pytest.fixture
def world(memory: Path, signing_key: SigningKey, key_ring: KeyRing) -> World:
    return World(memory, signing_key, key_ring)


@dataclass
class Life:
    """One life of a process that a power cut ends.

    Attributes:
        base: The disk at its start.
        live: What it does; it marks what it has told others.
        before: What may serve after a cut before the last mark.
        after: What may serve after one behind it.
        order: Carried out in the next life.
        serves: What serves then.
        run: How a model is loaded.
        check: What else must be, given whether the cut came after the last mark.
    """

    base: Disk
    live: Callable[[Bench, RecordingFs], None]
    before: set[str | None]
    after: set[str | None]
    order: bytes
    serves: str
    run: Bounded = bounded
    check: Callable[[Bench, bool], None] = lambda _bench, _told: None


def promotion(world: World) -> Life:
    def live(bench: Bench, fs: RecordingFs) -> None:
        bench.workshop.restore()
        bench.carry_out(world.orders["2.0.0"])
        fs.mark("promoted")

    return Life(world.after("0.9.0", "1.0.0"), live, {"1.0.0", "2.0.0"}, {"2.0.0"}, world.orders["2.0.0"], "2.0.0")


def first_promotion(world: World) -> Life:
    def live(bench: Bench, fs: RecordingFs) -> None:
        bench.workshop.restore()
        bench.carry_out(world.orders["1.0.0"])
        fs.mark("promoted")

    return Life({}, live, {None, "1.0.0"}, {"1.0.0"}, world.orders["1.0.0"], "1.0.0")


def promotion_received_ahead(world: World) -> Life:
    def live(bench: Bench, fs: RecordingFs) -> None:
        bench.workshop.restore()
        announced = open_announcement(world.announcement, world.ring, model="fraud", channel="production")
        bench.workshop.receive_ahead(Ahead(announced))
        bench.carry_out(world.orders["3.0.0"])
        fs.mark("promoted")

    return Life(world.after("0.9.0", "1.0.0"), live, {"1.0.0", "3.0.0"}, {"3.0.0"}, world.orders["3.0.0"], "3.0.0")


def rollback(world: World) -> Life:
    order = world.rollback("0.9.0")

    def live(bench: Bench, fs: RecordingFs) -> None:
        bench.workshop.restore()
        bench.carry_out(order)
        fs.mark("promoted")

    return Life(world.after("0.9.0", "1.0.0"), live, {"1.0.0", "0.9.0"}, {"0.9.0"}, order, "0.9.0")


def rollback_to_a_collected_release(world: World) -> Life:
    order = world.rollback("0.8.0")

    def live(bench: Bench, fs: RecordingFs) -> None:
        bench.carry_out(world.orders["1.0.0"])   # collects the one that is to come back
        bench.carry_out(order)
        fs.mark("promoted")

    base = world.after("0.8.0", "0.9.0")
    return Life(base, live, {"0.9.0", "1.0.0", "0.8.0"}, {"0.8.0"}, order, "0.8.0")


def refusal(world: World) -> Life:
    def live(bench: Bench, fs: RecordingFs) -> None:
        bench.workshop.restore()
        trial = bench.trial(world.orders["2.0.0"])
        for step in bench.steps()[:3]:
            step(trial)
        bench.journal.end_try()
        name = bench.workshop.reject(trial, Rejection(trial.trusted.id, "samples-not-reproduced", "no", "2.0.0"), REPORT)
        fs.mark("rejected")
        bench.journal.forget_report(name)

    def check(bench: Bench, told: bool) -> None:
        remembered = bench.journal.rejections()
        assert all(body == REPORT for _, body in bench.journal.reports())
        assert remembered or not told, "a refusal was told and is forgotten"

    orders = world.orders
    return Life(world.after("0.9.0", "1.0.0"), live, {"1.0.0"}, {"1.0.0"}, orders["3.0.0"], "3.0.0", check=check)


def start_with_a_damaged_release(world: World) -> Life:
    base = dict(world.after("0.9.0", "1.0.0"))
    path = f"releases/{world.releases['1.0.0'].id}/files/model.bin"
    base[path] = b"X" + (base[path] or b"")[1:]

    def live(bench: Bench, fs: RecordingFs) -> None:
        bench.workshop.restore()
        fs.mark("fell back")

    return Life(base, live, {"0.9.0"}, {"0.9.0"}, world.orders["1.0.0"], "1.0.0")


def ends_the_process(_call: object, _seconds: float, what: str) -> None:
    raise Crash(what)


def start_that_crashes(world: World) -> Life:
    """The process ends in each of its starts, until none is left for this release; the one before is taken then."""

    def live(bench: Bench, fs: RecordingFs) -> None:
        for left in range(TRIES - 1, -1, -1):
            with pytest.raises(Crash):
                bench.workshop.restore()
            fs.mark(f"crashed, {left} left")
            pointer = bench.store.pointer()
            assert pointer is not None
            assert pointer.tries_left == left
        with pytest.raises(Crash):   # this one ends it, too
            bench.workshop.restore()

    def check(bench: Bench, told: bool) -> None:
        standing = bench.workshop.standing()
        assert not told or standing.bad == (world.releases["1.0.0"].id,)

    base = world.after("0.9.0", "1.0.0")
    return Life(base, live, {"1.0.0", "0.9.0"}, {"0.9.0"}, world.orders["2.0.0"], "2.0.0", run=ends_the_process, check=check)


MakeLife = Callable[[World], Life]
LIVES: tuple[MakeLife, ...] = (
    promotion, first_promotion, promotion_received_ahead, rollback, rollback_to_a_collected_release, refusal,
    start_with_a_damaged_release, start_that_crashes,
)


def record(world: World, life: Life, fs_type: type[RecordingFs] = RecordingFs) -> RecordingFs:
    """Live once, and write it down."""
    root = world.folder()
    write_disk(life.base, root)
    fs = fs_type(root)
    with world.bench(root, fs, life.run) as bench:
        life.live(bench, fs)
        assert disk_of(root) == fs.now(), "something was done to the disk that was not written down"
    return fs


def states(recorded: RecordingFs, *, exhaustive_to: int, sample: int) -> Iterator[tuple[int, Disk]]:
    """Every legal disk once for each thing that had been told by then."""
    seen: set[tuple[int, frozenset[tuple[str, bytes | None]]]] = set()
    for moment in range(len(recorded.trace) + 1):
        told = sum(isinstance(operation, Mark) for operation in recorded.trace[:moment])
        for disk in crash_states(recorded, moment, exhaustive_to=exhaustive_to, sample=sample):
            state = told, frozenset(disk.items())
            if state not in seen:
                seen.add(state)
                yield moment, disk


def survive(world: World, life: Life, told: bool, disk: Disk) -> str | None:
    """Live on what a power cut left; returns what served first."""
    root = world.folder()
    write_disk(disk, root)
    with world.bench(root) as bench:
        problem = bench.workshop.restore()
        served = bench.version
        assert served in (life.after if told else life.before), problem
        assert_whole(bench)
        life.check(bench, told)
        try:
            bench.carry_out(life.order)
        except StorageFault as fault:   # half removed when the power went: it is thrown away, and fetched at the next try
            assert "reads back otherwise" in str(fault)   # noqa: PT017
            bench.carry_out(life.order)
        assert bench.version == life.serves
        assert_whole(bench)
        assert_tidy(world, bench)
    with world.bench(root) as bench:
        assert bench.workshop.restore() is None
        assert bench.version == life.serves
    shutil.rmtree(root)
    return served


def assert_whole(bench: Bench) -> None:
    """What serves has the bytes of its version, all of them and no others."""
    active = bench.slot.active
    if active is not None:
        files = [path for path in active.model.rglob("*") if path.is_file()]
        assert {path.relative_to(active.model).as_posix(): path.read_bytes() for path in files} == files_of(active.version)


def assert_tidy(world: World, bench: Bench) -> None:
    """There are the release in service and the one before, both whole, and nothing else."""
    root, pointer = bench.store.root, bench.store.pointer()
    assert pointer is not None
    assert set(os.listdir(root / "releases")) == {pointer.release, pointer.previous} - {None}
    assert [path.name for path in root.rglob("*") if path.name.startswith(TEMPORARY_PREFIX)] == os.listdir(root / "incoming") == []
    for release in bench.store.releases():
        assert damage_in(bench.store.folder(release), world.artifact(release)) is None


def survive_all(world: World, life: Life, recorded: RecordingFs, disks: list[tuple[int, Disk]]) -> Counter[str | None]:
    """Look at all these disks; returns how often which version served first."""
    last = max(at for at, operation in enumerate(recorded.trace) if isinstance(operation, Mark))
    served: Counter[str | None] = Counter()
    for moment, disk in disks:
        try:
            served[survive(world, life, moment > last, disk)] += 1
        except (AssertionError, HostFault) as problem:
            problem.add_note(f"the power went after {recorded.trace[moment - 1] if moment else 'nothing'}, operation {moment}")
            raise
    return served


each_life = pytest.mark.parametrize("make", LIVES, ids=lambda make: make.__name__.replace("_", " "))


@each_life
def test_what_a_power_cut_leaves_serves_the_old_release_or_the_new_one_and_takes_the_order_again(world: World, make: MakeLife) -> None:
    life = make(world)
    recorded = record(world, life)
    disks = list(states(recorded, exhaustive_to=64, sample=8))
    assert len(disks) > 60
    survive_all(world, life, recorded, random.Random(1).sample(disks, QUICK_STATES))


@pytest.mark.torture
@pytest.mark.timeout(1800)
@each_life
def test_every_disk_that_a_power_cut_may_leave_is_survived(world: World, make: MakeLife) -> None:
    life = make(world)
    recorded = record(world, life)
    disks = list(states(recorded, exhaustive_to=4096, sample=64))
    served = survive_all(world, life, recorded, disks)
    print(f"{make.__name__}: {len(recorded.trace)} operations, {len(disks)} disks, served first {dict(served)}")
    assert set(served) == life.before | life.after, "some of what may serve never did: too few disks"


@pytest.mark.torture
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("make", [promotion, rollback_to_a_collected_release, start_with_a_damaged_release], ids=lambda make: make.__name__)
def test_a_power_cut_while_a_power_cut_is_recovered_from_is_survived_too(world: World, make: MakeLife) -> None:
    life = make(world)
    first = record(world, life)
    last = max(at for at, operation in enumerate(first.trace) if isinstance(operation, Mark))
    disks, count = list(states(first, exhaustive_to=64, sample=8)), 0
    for moment, disk in random.Random(2).sample(disks, 12):
        def live(bench: Bench, fs: RecordingFs) -> None:
            bench.workshop.restore()
            try:
                bench.carry_out(life.order)
            except StorageFault:
                bench.carry_out(life.order)
            fs.mark("promoted")

        before = (life.after if moment > last else life.before) | {life.serves}
        again = Life(disk, live, before, {life.serves}, life.order, life.serves)
        second = record(world, again)
        count += survive_all(world, again, second, list(states(second, exhaustive_to=64, sample=4))).total()
    print(f"{make.__name__}: {count} disks of twelve recoveries")


# --------------------------------------------------------------------------- the enumeration finds what is missing


class WithoutFolderSyncs(RecordingFs):
    """Forgets that names are to be synced."""

    def sync_folder(self, path: Path) -> None:
        """Nothing."""


class WithoutFileSyncs(RecordingFs):
    """Forgets that content is to be synced."""

    def sync(self, descriptor: int, path: Path) -> None:
        """Nothing."""


class WithoutSyncOfThePointersName(RecordingFs):
    """Forgets the sync of one folder after a rename."""

    def sync_folder(self, path: Path) -> None:
        if path != self.root:
            super().sync_folder(path)


class RemovesTooEarly(RecordingFs):
    """Removes the release before when a new one gets its name: before the pointer is written."""

    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        if target.parent.name == "releases":
            for other in target.parent.iterdir():
                if other != target:
                    self.remove_tree(other)


@pytest.mark.parametrize("forgetful", [WithoutFolderSyncs, WithoutFileSyncs, WithoutSyncOfThePointersName, RemovesTooEarly])
def test_a_sync_that_is_left_out_is_found(world: World, forgetful: type[RecordingFs]) -> None:
    life = promotion(world)
    recorded = record(world, life, forgetful)
    disks = list(states(recorded, exhaustive_to=64, sample=8))
    with pytest.raises((AssertionError, HostFault)):
        survive_all(world, life, recorded, random.Random(3).sample(disks, len(disks)))
