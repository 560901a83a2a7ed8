"""A follower on a bench: what it does in each turn, with a worker that is the test; and that it never writes the store."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog
from tests.fakes.bench import Bench
from tests.fakes.fake_broker import FakeBroker
from tests.fakes.publisher_sim import PublisherSimulator
from tests.fakes.stage import Doubler

from modelcast.consumer import follower as module
from modelcast.consumer.active import Slot
from modelcast.consumer.complaining import Complaining
from modelcast.consumer.complaints import Complaints
from modelcast.consumer.follower import Follower, ReadingWorkshop
from modelcast.consumer.journal import Journal
from modelcast.consumer.notice import Notice
from modelcast.consumer.policy import Timing
from modelcast.consumer.store import Store
from modelcast.publisher.sampling import SampleSet
from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.fs import Fs
from modelcast.shared.signing import KeyRing

AT_ONCE = Timing(retry_first_seconds=0, retry_most_seconds=0)
LATER = Timing(retry_first_seconds=3600, retry_most_seconds=3600)


class Rig:
    """A receiver's bench, and a follower of its store whose jobs are done by ``turn``."""

    def __init__(self, root: Path, sim: PublisherSimulator, ring: KeyRing) -> None:
        self.sim, self.bench, self.ring = sim, Bench(root, sim._road, ring).open(), ring
        self.slot, self.validators = Slot(), list[Callable[..., object]]()
        self.jobs: deque[tuple[Callable[[], Any], Callable[[Any, BaseException | None], None]]] = deque()
        self.done: deque[tuple[Callable[[Any, BaseException | None], None], Any, BaseException | None]] = deque()
        self.attempts, self.place_is_free = 0, False
        self.follower = self.make()

    def make(self, timing: Timing = AT_ONCE, ring: KeyRing | None = None) -> Follower:
        store = Store(self.bench.store.root, Fs())
        tools = Bench(store.root, self.sim._road, ring or self.ring, validators=self.validators)._tools
        workshop = ReadingWorkshop(store, Journal(store.root / "journal", store.fs), self.slot, tools)
        return Follower(
            store, self.slot, workshop, timing, lambda job, then: self.jobs.append((job, then)), self._take_results,
            self._take_over, Complaining(self.slot, Complaints(store.root / "complaints", store.fs), structlog.get_logger()),
            structlog.get_logger(),
        )

    def _take_results(self) -> None:
        while self.done:
            then, result, error = self.done.popleft()
            then(result, error)

    def _take_over(self) -> bool:
        self.attempts += 1
        return self.place_is_free

    def turn(self, times: int = 1) -> None:
        for _ in range(times):
            self.follower.ring()
            self.follower._bell = AlreadyRung()   # type: ignore[assignment]
            self.follower.turn()
            while self.jobs:
                job, then = self.jobs.popleft()
                try:
                    self.done.append((then, job(), None))
                except Exception as error:  # noqa: BLE001 - handed on, as the runtime does
                    self.done.append((then, None, error))

    def say(self, candidate: str | None = None, connected_since_ms: int | None = None) -> None:
        self.bench.store.post(Notice(4711, "a", candidate, connected_since_ms))

    def received(self, version: str, model: object = None, **options: Any) -> str:
        """Receive and verify, as a receiver does before it names a candidate; returns the release."""
        trial = self.bench.trial(self.sim.publish(self.sim.pickled(version, Doubler() if model is None else model, **options)))
        self.bench.workshop.receive(trial)
        self.bench.workshop.verify(trial)
        self.trial = trial
        return trial.trusted.release

    def promote(self) -> None:
        for step in self.bench.steps()[2:]:
            step(self.trial)

    @property
    def version(self) -> str | None:
        return self.slot.active.version if self.slot.active else None


class AlreadyRung:
    """A bell that nobody has to wait for."""

    def wait(self, _seconds: float | None = None) -> bool:
        return True

    def set(self) -> None:
        """Nothing."""

    def clear(self) -> None:
        """Nothing."""


@pytest.fixture
def rig(tmp_path: Path, signing_key, key_ring) -> Iterator[Rig]:
    rig = Rig(tmp_path / "store", PublisherSimulator(AmqpRoad(FakeBroker()), signing_key), key_ring)
    rig.say()
    yield rig
    rig.follower.store.followers.release()
    rig.bench.close()


def files_of(root: Path) -> dict[str, tuple[int, int]]:
    return {
        os.path.join(folder, name): (os.stat(os.path.join(folder, name)).st_ino, os.stat(os.path.join(folder, name)).st_mtime_ns)
        for folder, _, names in os.walk(root) for name in names if name != "followers"
    }


def test_started_before_any_release_it_waits_and_then_serves_the_first(rig: Rig) -> None:
    rig.turn(3)
    assert (rig.version, rig.follower.fault) == (None, None)
    rig.received("1.0.0")
    rig.promote()
    rig.turn(4)
    assert rig.version == "1.0.0"


def test_a_candidate_is_prepared_before_and_swapped_with_the_pointer(rig: Rig) -> None:
    rig.received("1.0.0")
    rig.promote()
    rig.turn(4)
    release = rig.received("1.1.0", Doubler(3.0))
    rig.say(release)
    rig.turn(3)
    assert (rig.version, rig.follower.following.shadow) == ("1.0.0", release)
    rig.promote()
    rig.turn()
    assert (rig.version, rig.slot.active.model.factor, rig.slot.active.generation) == ("1.1.0", 3.0, 2)   # type: ignore[union-attr]


def test_it_holds_up_the_receiver_until_the_candidate_is_prepared_and_holds_no_other_model_after_the_swap(rig: Rig) -> None:
    everybody = rig.bench.store.followers
    rig.turn()
    assert not everybody.take()
    rig.say(rig.received("1.0.0"))
    rig.turn()
    assert not everybody.take()
    rig.turn(2)
    assert everybody.take()
    everybody.release()
    rig.promote()
    rig.turn(2)
    assert (rig.version, rig.follower._shadow) == ("1.0.0", None)
    rig.say(None)
    rig.turn()
    assert not everybody.take()


def test_a_candidate_that_was_refused_is_let_go(rig: Rig) -> None:
    rig.say(rig.received("1.0.0"))
    rig.turn(3)
    assert rig.follower._shadow is not None
    rig.say(None)
    rig.turn()
    assert (rig.follower._shadow, rig.version) == (None, None)


def test_it_never_writes_the_store(rig: Rig) -> None:
    rig.received("1.0.0")
    rig.promote()
    before = files_of(rig.bench.store.root)
    rig.turn(5)
    assert rig.version == "1.0.0"
    assert files_of(rig.bench.store.root) == before


def two_served(rig: Rig, *, keeps: bool) -> None:
    rig.slot.keeps = lambda _manifest: keeps
    for version in ("1.0.0", "1.1.0"):
        rig.received(version)
        rig.promote()
        rig.turn(4)
    assert rig.version == "1.1.0"


@pytest.mark.parametrize("keeps", [True, False], ids=["at hand", "loaded again"])
def test_what_is_reported_bad_here_is_left_at_once_and_complained_of(rig: Rig, keeps: bool) -> None:
    two_served(rig, keeps=keeps)
    bad = rig.slot.active
    assert bad is not None
    assert rig.follower.report_bad(bad, "drifts") is keeps
    assert rig.version == ("1.0.0" if keeps else "1.1.0")
    rig.turn(4)
    assert rig.version == "1.0.0"
    (complaint,) = Complaints(rig.bench.store.root / "complaints", Fs()).read()
    pointer = rig.bench.store.pointer()
    assert pointer is not None
    assert (complaint.release, complaint.sequence, complaint.reason) == (bad.release, pointer.sequence, "drifts")
    generation = rig.slot.active.generation   # type: ignore[union-attr]
    rig.bench.workshop.take_out(bad.release)
    rig.turn(4)
    assert (rig.version, rig.slot.active.generation) == ("1.0.0", generation)   # type: ignore[union-attr]


def test_a_new_order_for_what_was_reported_bad_is_followed(rig: Rig) -> None:
    two_served(rig, keeps=True)
    rig.follower.report_bad(rig.slot.active, "drifts")   # type: ignore[arg-type]
    rig.turn()
    rig.promote()   # the same trial again, as if it had been ordered again
    pointer = rig.bench.store.pointer()
    assert pointer is not None
    rig.bench.store.point(replace(pointer, sequence=pointer.sequence + 1))
    rig.turn(4)
    assert rig.version == "1.1.0"


def test_a_damaged_release_is_neither_unpickled_nor_removed_here(rig: Rig) -> None:
    release = rig.received("1.0.0")
    path = next(path for path in rig.bench.store.folder(release).rglob("*") if path.is_file())
    path.write_bytes(b"X" + path.read_bytes()[1:])
    rig.say(release)
    rig.turn(3)
    assert path.exists()
    assert rig.follower.following.failures_of(release) >= 1
    assert rig.version is None


def test_a_release_whose_key_this_process_does_not_trust_is_not_loaded(rig: Rig, other_key) -> None:
    rig.follower = rig.make(ring=KeyRing([other_key.trusted()]))
    rig.received("1.0.0")
    rig.promote()
    rig.turn(3)
    assert rig.version is None
    assert "not trusted" in (rig.follower.fault or "")


def test_a_validator_that_refuses_here_leaves_the_old_model_and_is_asked_again(rig: Rig) -> None:
    answers = [False, False, True]
    rig.received("1.0.0")
    rig.promote()
    rig.turn(3)   # what the receiver proved is taken as it is when there is nothing else
    rig.validators.append(lambda *_: answers.pop(0))
    rig.received("1.1.0")
    rig.promote()
    rig.turn(2)
    assert (rig.version, rig.follower.fault) == ("1.0.0", "Validator <lambda> returned False.")
    rig.turn(5)
    assert (rig.version, rig.follower.fault, answers) == ("1.1.0", None, [])


def test_samples_are_answered_in_this_process_too(rig: Rig) -> None:
    import numpy as np

    rig.received("1.0.0")
    rig.promote()
    rig.turn(3)
    samples = SampleSet([[1.0]], np.array([[5.0]]), "predict")   # the doubler says 2
    rig.follower.timing = LATER
    rig.say(rig.received("1.1.0", samples=samples))
    rig.turn(4)
    assert rig.follower._shadow is None
    assert rig.follower.fault is None   # a candidate is no promise
    assert rig.bench.store.followers.take()   # and the receiver does not wait for one that fails
    rig.bench.store.followers.release()


def test_with_a_damaged_release_and_nothing_in_service_it_serves_the_one_before(rig: Rig) -> None:
    rig.received("1.0.0")
    rig.promote()
    release = rig.received("1.1.0")
    rig.promote()
    rig.bench.store.remove(release)
    rig.follower.timing = LATER
    rig.turn(6)
    assert rig.version == "1.0.0"
    assert "is not in the store" in (rig.follower.fault or "")


def test_a_release_that_was_removed_meanwhile_is_no_fault_once_the_pointer_names_another(rig: Rig) -> None:
    release = rig.received("1.0.0")
    rig.promote()
    rig.follower._look()
    rig.follower._step()   # about to load it
    rig.received("1.1.0")
    rig.promote()
    rig.bench.store.remove(release)
    rig.turn(6)
    assert (rig.version, rig.follower.fault) == ("1.1.0", None)


def test_a_model_whose_files_were_removed_goes_on_serving(rig: Rig) -> None:
    import numpy as np

    release = rig.received("1.0.0", np.arange(100_000.0))
    rig.promote()
    rig.turn(4)
    rig.bench.store.remove(release)
    assert rig.slot.active is not None
    assert rig.slot.active.model[-1] == 99_999.0


def test_it_tries_to_take_over_now_and_then_and_at_once_when_the_notice_is_gone(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.turn(5)
    assert rig.attempts == 1
    (rig.bench.store.root / "notice").unlink()
    rig.turn(4)
    assert rig.attempts == 5
    rig.say()
    rig.turn(2)
    monkeypatch.setattr(module, "TAKE_OVER_SECONDS", 0.0)
    rig.follower._next_attempt = 0.0
    attempts = rig.attempts
    rig.turn(3)
    assert rig.attempts == attempts + 3


def test_it_does_not_take_over_while_its_worker_is_busy(rig: Rig) -> None:
    rig.received("1.0.0")
    rig.promote()
    rig.follower._look()
    rig.follower._step()
    rig.follower._bell = AlreadyRung()   # type: ignore[assignment]
    (rig.bench.store.root / "notice").unlink()
    for _ in range(3):
        rig.follower.turn()
    assert rig.attempts == 0
    rig.place_is_free = True
    rig.turn(2)
    assert (rig.attempts, rig.version) == (0, "1.0.0")   # what is prepared is put into service first
    rig.turn()
    assert rig.attempts == 1


def test_what_the_receiver_says_of_its_connection_is_believed_while_it_is_heard(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.turn()
    assert (rig.follower.hears_receiver, rig.follower.last_contact) == (True, None)
    rig.say(connected_since_ms=5)
    rig.turn()
    assert rig.follower.last_contact is not None
    monkeypatch.setattr(module, "SILENT_SECONDS", -1.0)
    assert not rig.follower.hears_receiver


def test_a_disk_that_cannot_be_read_is_told_and_survived(rig: Rig) -> None:
    (rig.bench.store.root / "current").symlink_to("nowhere/at/all")
    (rig.bench.store.root / "current").unlink()
    (rig.bench.store.root / "current").mkdir()
    rig.received("1.0.0")
    rig.turn(2)
    (rig.bench.store.root / "current").rmdir()
    rig.promote()
    rig.turn(4)
    assert rig.version == "1.0.0"


def test_an_unexpected_error_is_told_and_survived(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(module.Following, "next", broken)
        rig.turn()
        assert rig.follower.fault == "Following the store failed: a bug"
    rig.turn()
    assert rig.follower.fault is None


def test_at_the_end_it_lets_go_of_what_it_prepared(rig: Rig) -> None:
    rig.say(rig.received("1.0.0"))
    rig.turn(3)
    rig.follower.end()
    assert rig.follower._shadow is None
