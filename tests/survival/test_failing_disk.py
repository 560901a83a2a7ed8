"""A disk that fails at any operation, once or from then on: the old model serves, and once it is healed all goes on by itself."""

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.fakes.bench import Bench, Desk
from tests.fakes.fake_broker import FakeBroker
from tests.fakes.fault_fs import FaultFs
from tests.fakes.publisher_sim import PublisherSimulator

from modelcast.consumer.companions import at_once as in_place
from modelcast.consumer.complaints import Complaints
from modelcast.consumer.vetoes import Vetoes
from modelcast.publisher.sampling import SampleSet
from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.fs import TEMPORARY_PREFIX
from modelcast.shared.order import Kind
from modelcast.shared.report import Verdict
from modelcast.shared.signing import KeyRing, SigningKey

ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT)
STEPS_OF_A_LASTING_FAULT = 12
"""Jobs of the worker that fail before the disk is healed: each order is tried again at least once."""
LAST = "4.0.0"


class Echo:
    """A model that gives back what it is asked."""

    def predict(self, inputs: object) -> np.ndarray:
        return np.asarray(inputs)


class Life:
    """A store that serves 1.0.0, and what it is ordered: a promotion, one to refuse, a rollback, a promotion that collects."""

    def __init__(self, memory: Path, key: SigningKey, ring: KeyRing) -> None:
        self.memory, self.ring = memory, ring
        self.road = AmqpRoad(FakeBroker())
        sim = PublisherSimulator(self.road, key)
        one = sim.release("1.0.0", {"a.bin": b"one" * 500, "b/b.bin": b"b" * 900})
        first = [sim.publish(sim.release("0.9.0")), sim.publish(one)]
        wrong = SampleSet([[1.0]], np.array([[9.0]]), "predict")
        self.orders = [
            sim.publish(sim.release("2.0.0", {"a.bin": b"two" * 500, "b/b.bin": b"b" * 900})),
            sim.publish(sim.pickled("2.1.0", Echo(), samples=wrong)),
            sim.publish(one, kind=Kind.ROLLBACK),
            sim.publish(sim.release("3.0.0")),
        ]
        self.last = sim.publish(sim.release(LAST))
        self.base = memory / "base"
        with self.bench(self.base) as bench:
            for body in first:
                bench.carry_out(body)

    def bench(self, root: Path, fs: FaultFs | None = None) -> Bench:
        return Bench(root, self.road, self.ring, fs=fs)

    def play(self, fs: FaultFs, root: Path) -> None:
        """Live with a disk that fails somewhere; ``fs`` knows where."""
        with self.bench(root, fs) as bench:
            fs.heal()
            bench.workshop.restore()
            desk = Desk(bench)
            fs.arm()
            for body in self.orders:
                desk.deliver(body)
                for _ in range(STEPS_OF_A_LASTING_FAULT):
                    desk.updater.dispatch()
                    if not desk.jobs:
                        break
                    desk.do_one()
                    assert bench.version in {"1.0.0", "2.0.0", "3.0.0"}
                desk.verdicts.tell(desk.road)
            happened = fs.happened
            fs.heal()
            desk.work()
            desk.deliver(self.last)
            desk.work()
            for _ in range(2):
                desk.tell()
            self._check(desk)
        self.happened = happened
        assert fs.synced_again == []
        with self.bench(root) as again:
            assert again.workshop.restore() is None
            assert again.version == LAST
            assert again.journal._tries_of("any") == 0

    def _check(self, desk: Desk) -> None:
        bench = desk.bench
        assert (bench.version, desk.updater.fault) == (LAST, None)
        verdicts = {report.version: report.verdict for report in desk.road.reports}
        assert len({report.order for report in desk.road.reports}) == len(self.orders) + 1, "an order has no verdict"
        assert len(desk.road.settled) == len(self.orders) + 1
        assert {version for version, verdict in verdicts.items() if verdict == "rejected"} <= {"2.1.0"}
        assert verdicts[LAST] == "promoted"
        root, pointer = bench.store.root, bench.store.pointer()
        assert pointer is not None
        assert set(os.listdir(root / "releases")) == {pointer.release, pointer.previous}
        assert [path.name for path in root.rglob("*") if path.name.startswith(TEMPORARY_PREFIX)] == os.listdir(root / "incoming") == []


class FailingFs(FaultFs):
    """Fails at a step of the part of a life that counts."""

    def __init__(self, root: Path, step: int, number: int, *, lasting: bool) -> None:
        super().__init__(root)
        self._arm = step, number, lasting

    def arm(self) -> None:
        step, number, lasting = self._arm
        self.fail_at(step, number, lasting=lasting)


@pytest.fixture
def life(memory: Path, signing_key: SigningKey, key_ring: KeyRing) -> Life:
    return Life(memory, signing_key, key_ring)


def fail_everywhere(life: Life, number: int, *, lasting: bool, first: int, stride: int) -> int:
    """Fail at each ``stride``-th operation until a life is clean; returns how many lives there were."""
    for count, step in enumerate(range(first, 10_000, stride)):
        root = life.memory / "here"
        shutil.copytree(life.base, root)
        fs = FailingFs(root, step, number, lasting=lasting)
        try:
            life.play(fs, root)
        except BaseException as problem:
            problem.add_note(f"operation {step}: {fs.steps[step] if len(fs.steps) > step else 'not reached'}")
            raise
        finally:
            fs.close()
        shutil.rmtree(root)
        if not life.happened:
            return count
    raise AssertionError("there was no end of operations")


each_fault = pytest.mark.parametrize(
    ("number", "lasting"), [(number, lasting) for number in ERRORS for lasting in (False, True)],
    ids=lambda value: errno.errorcode[value] if not isinstance(value, bool) else "from then on" if value else "once",
)


@each_fault
def test_whatever_operation_fails_the_old_model_serves_and_all_orders_get_their_verdict(life: Life, number: int, lasting: bool) -> None:
    assert fail_everywhere(life, number, lasting=lasting, first=(number + lasting) % 30, stride=30) > 3


@pytest.mark.torture
@pytest.mark.timeout(1800)
@each_fault
def test_every_operation_may_fail(life: Life, number: int, lasting: bool) -> None:
    print(errno.errorcode[number], lasting, fail_everywhere(life, number, lasting=lasting, first=0, stride=1))


# --------------------------------------------------------------------------- what the system's calls may do


def test_what_is_written_in_small_pieces_is_written_whole(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    """pwrite(2) may write less than it was given, at every call."""
    pwrite, pieces = os.pwrite, []

    def short(descriptor: int, content: bytes | memoryview, offset: int) -> int:
        pieces.append(len(content))
        return pwrite(descriptor, content[: 1 + len(content) // 3], offset)

    monkeypatch.setattr(os, "pwrite", short)
    root = life.memory / "here"
    shutil.copytree(life.base, root)
    life.play(FailingFs(root, 10_000, errno.EIO, lasting=False), root)
    assert len(pieces) > 200


class FailingClose:
    """close(2) closes and reports an error all the same, at the call with this number; see NFS and EDQUOT."""

    def __init__(self, root: Path, number: int) -> None:
        self._root, self._number, self.count = str(root), number, 0
        self._close = os.close

    def __call__(self, descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        self._close(descriptor)
        if path.startswith(self._root) and not os.path.isdir(path) and not path.endswith(("lock", "followers")):
            self.count += 1
            if self.count - 1 == self._number:
                raise OSError(errno.EIO, os.strerror(errno.EIO))


def close_everywhere(life: Life, monkeypatch: pytest.MonkeyPatch, first: int, stride: int) -> int:
    """Fail at each ``stride``-th close until a life is clean; returns how many lives there were."""
    for number in range(first, 10_000, stride):
        root = life.memory / "here"
        shutil.copytree(life.base, root)
        close = FailingClose(root, number)
        fs = FailingFs(root, 10_000, errno.EIO, lasting=False)
        begin = fs.arm
        fs.arm = lambda begin=begin, close=close: (begin(), monkeypatch.setattr(os, "close", close))   # type: ignore[method-assign]
        try:
            life.play(fs, root)
        except BaseException as problem:
            problem.add_note(f"close {number}")
            raise
        finally:
            monkeypatch.undo()
        shutil.rmtree(root)
        if close.count <= number:
            return number // stride
    raise AssertionError("there was no end of closes")


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="this system does not tell what a descriptor is")
def test_a_close_that_fails_costs_a_retry_at_most(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    assert close_everywhere(life, monkeypatch, first=2, stride=13) > 3


@pytest.mark.torture
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="this system does not tell what a descriptor is")
def test_every_close_may_fail(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    print(close_everywhere(life, monkeypatch, first=0, stride=1))


@each_fault
def test_a_release_that_was_reported_as_bad_is_left_for_good_once_the_disk_holds_it(life: Life, number: int, lasting: bool) -> None:
    put_off = 0
    for step in range(10_000):
        root = life.memory / "here"
        shutil.copytree(life.base, root)
        fs = FaultFs(root)
        with life.bench(root, fs) as bench:
            assert bench.workshop.restore() is None
            desk, bad = Desk(bench), bench.slot.active
            assert bad is not None
            vetoes = Vetoes(bench.slot, desk.updater, Complaints(root / "complaints", fs), desk.verdicts.submit, in_place, lambda: None)
            fs.fail_at(step, number, lasting=lasting)
            vetoes.report_bad(bad, "drifts")
            while desk.jobs:
                desk.do_one()
            happened, is_told_of = fs.happened, desk.updater.fault is not None
            fs.heal()
            vetoes.turn()
            while desk.jobs:
                desk.do_one()
            desk.tell()
            assert desk.updater.fault is None, fs.steps
            assert desk.verdicts.counts[Verdict.REJECTED] == 1
            last, pointer = desk.road.reports[-1], bench.store.pointer()
            assert (last.version, last.reason, last.order) == ("1.0.0", "reported-bad", bad.order)
            assert pointer is not None
            assert pointer.bad == (bad.release,)
            put_off += is_told_of
        with life.bench(root) as again:
            assert again.workshop.restore() is None
            assert again.version == "0.9.0"
            if is_told_of:
                assert again.journal.rejections()[bad.order or ""].reason == "reported-bad"
        fs.close()
        shutil.rmtree(root)
        if not happened:
            assert put_off > 3
            return
