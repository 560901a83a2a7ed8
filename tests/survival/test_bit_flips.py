"""Rot: whatever byte of whatever file of a store a disk alters, it is found at the start, and what serves is what was published."""

import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from tests.fakes.bench import Bench
from tests.fakes.crash_states import Disk, disk_of, write_disk
from tests.fakes.fake_broker import FakeBroker
from tests.fakes.publisher_sim import PublisherSimulator

from modelcast.consumer.journal import Rejection
from modelcast.consumer.notice import Notice
from modelcast.publisher.sampling import SampleSet
from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.signing import KeyRing, SigningKey

REPORT = b"the report"
REJECTION = Rejection("ab" * 32, "load-failed", "It does not load.", "1.5.0")
NOTICE = Notice(1, "one", "cd" * 32)
FACTORS = {"1.0.0": 2.0, "2.0.0": 3.0, "3.0.0": 4.0}


class Scaler:
    """A model whose weights stand beside its pickle."""

    def __init__(self, version: str) -> None:
        self.version, self.factor, self.weights = version, FACTORS[version], np.arange(1024, dtype="float64") * FACTORS[version]

    def predict(self, inputs: object) -> np.ndarray:
        return np.asarray(inputs) * self.factor


class Rot(NamedTuple):
    """One alteration of one file."""

    path: str
    what: str
    content: bytes


class Store:
    """A store that a process left in mid-life: two releases, a third on its way, and a journal with one file of each kind."""

    def __init__(self, memory: Path, key: SigningKey, ring: KeyRing) -> None:
        self.memory, self.ring = memory, ring
        self.road = AmqpRoad(FakeBroker())
        sim = PublisherSimulator(self.road, key)
        releases = {
            version: sim.pickled(version, Scaler(version), samples=SampleSet([[1.0]], np.array([[factor]]), "predict"))
            for version, factor in FACTORS.items()
        }
        self.ids = {version: release.id for version, release in releases.items()}
        self.orders = {version: sim.publish(release) for version, release in releases.items()}

    def bench(self, root: Path, **more: object) -> Bench:
        return Bench(root, self.road, self.ring, **more)   # type: ignore[arg-type]

    def left(self, *, is_started_again: bool) -> Disk:
        """What it left. After another start both pointers name the release in service."""
        root = self.memory / "left"
        with self.bench(root) as bench:
            for version in ("1.0.0", "2.0.0"):
                bench.carry_out(self.orders[version])
            if is_started_again:
                bench.workshop.restore()
            bench.journal.add_report(REPORT)
            bench.journal.remember(REJECTION)
            trial = bench.trial(self.orders["3.0.0"])
            bench.workshop.receive(trial)
            bench.journal.begin_try(trial.trusted.id)
            bench.store.post(NOTICE)
            left = disk_of(root)
        shutil.rmtree(root)
        return left


@pytest.fixture
def store(memory: Path, signing_key: SigningKey, key_ring: KeyRing) -> Store:
    return Store(memory, signing_key, key_ring)


def rots(disk: Disk, few: int) -> Iterator[Rot]:
    """Flip a bit in each byte, or in ``few`` bytes, of each file; and cut it, fill it with zeros, make it longer."""
    chance = random.Random(5)
    for path, content in sorted(disk.items()):
        if content is None:
            continue
        places = range(len(content)) if len(content) <= few else sorted(chance.sample(range(len(content)), few))
        for at in places:
            yield Rot(path, f"byte {at}", content[:at] + bytes([content[at] ^ 1 << chance.randrange(8)]) + content[at + 1 :])
        for what, altered in (("empty", b""), ("half", content[: len(content) // 2]), ("zeros", bytes(len(content))), ("longer", content + b"x")):
            if altered != content:
                yield Rot(path, what, altered)


def assert_right(bench: Bench) -> str:
    """What serves is a model of its version, to the last weight."""
    active = bench.slot.active
    assert active is not None
    assert (active.model.version, active.model.predict([1.0]).tolist()) == (active.version, [FACTORS[active.version]])
    assert (active.model.weights == np.arange(1024) * FACTORS[active.version]).all()
    return str(active.version)


def start_on(store: Store, disk: Disk, rot: Rot) -> str:
    """Start on a rotten store, then take an order; returns what served first."""
    root = store.memory / "rotten"
    write_disk({**disk, rot.path: rot.content}, root)
    with store.bench(root) as bench:
        notice = bench.store.notice()
        assert notice in {None, NOTICE}
        problem = bench.workshop.restore()
        first = assert_right(bench)
        assert (problem is not None) == (first == "1.0.0" and not rot.path.startswith("current")), problem
        assert {body for _, body in bench.journal.reports()} <= {REPORT}
        assert set(bench.journal.rejections().values()) <= {REJECTION}
        assert bench.workshop.standing().active_release == store.ids[first]
        for version in ("2.0.0", "3.0.0")[first == "2.0.0" :]:   # the one that was lost, and the one that was on its way
            bench.carry_out(store.orders[version])
            assert assert_right(bench) == version
    with store.bench(root) as bench:
        assert bench.workshop.restore() is None
        assert assert_right(bench) == "3.0.0"
    shutil.rmtree(root)
    return first


def expected(store: Store, rot: Rot, *, is_started_again: bool) -> set[str]:
    """What may serve: the release before where the one in service, or what names it, is gone."""
    if rot.path == "current":
        return {"2.0.0"} if is_started_again else {"1.0.0"}
    if rot.path == f"releases/{store.ids['2.0.0']}/manifest":
        return {"1.0.0", "2.0.0"}   # the name of the key is a hint that may be wrong
    return {"1.0.0"} if rot.path.startswith(f"releases/{store.ids['2.0.0']}/") else {"2.0.0"}


def survive_all(store: Store, *, is_started_again: bool, few: int, sample: int | None = None) -> Counter[str]:
    disk = store.left(is_started_again=is_started_again)
    served: Counter[str] = Counter()
    found = list(rots(disk, few))
    assert {Path(rot.path).name.partition("-")[0] for rot in found} == {
        "current", "current.old", "notice", "manifest", "model.pickle", "model.buffers", "model.layout", "samples.msgpack", "report", "rejected",
        "trying",
    }
    if sample is not None:   # half of them of what takes the release in service away
        taken = [rot for rot in found if expected(store, rot, is_started_again=is_started_again) == {"1.0.0"}]
        chance = random.Random(6)
        found = [*chance.sample(taken, sample // 2), *chance.sample([rot for rot in found if rot not in taken], sample // 2)]
    for rot in found:
        try:
            first = start_on(store, disk, rot)
            assert first in expected(store, rot, is_started_again=is_started_again)
        except BaseException as problem:
            problem.add_note(f"{rot.path}: {rot.what}")
            raise
        served[first] += 1
    return served


@pytest.mark.parametrize("is_started_again", [False, True], ids=["after a promotion", "after another start"])
def test_what_a_disk_altered_is_found_at_the_start_and_never_served(store: Store, is_started_again: bool) -> None:
    served = survive_all(store, is_started_again=is_started_again, few=3, sample=20)
    assert min(served["1.0.0"], served["2.0.0"]) > 3


@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("is_started_again", [False, True], ids=["after a promotion", "after another start"])
def test_every_byte_that_a_disk_may_alter_is_found(store: Store, is_started_again: bool) -> None:
    print(survive_all(store, is_started_again=is_started_again, few=400))
