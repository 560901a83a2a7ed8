"""The receiver's role: what it recalls before it connects, what it shows to the others, what it leaves behind."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog
from tests.fakes.bench import Bench, Desk
from tests.fakes.fake_broker import FakeBroker
from tests.fakes.publisher_sim import PublisherSimulator

from modelcast.consumer.companions import Companions, at_once
from modelcast.consumer.complaints import Complaint, Complaints
from modelcast.consumer.courier import Courier
from modelcast.consumer.policy import Timing
from modelcast.consumer.receiver import Receiver
from modelcast.consumer.vetoes import Vetoes
from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.errors import StorageFault

Job = tuple[Callable[[], Any], Callable[[Any, BaseException | None], None]]


class Rig:
    """A receiver whose worker is the test."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.desk, self.jobs, self.rests = bench, Desk(bench), deque[Job](), list[float]()
        updater, verdicts = self.desk.updater, self.desk.verdicts
        self.complaints = Complaints(bench.store.root / "complaints", bench.fs)
        courier = Courier(
            bench.road, updater.setting.target, updater, verdicts, verdicts.reporter, Timing(), lambda: None, structlog.get_logger()
        )
        self.receiver = Receiver(
            bench.store, courier, updater, verdicts, Companions(bench.store, "a", structlog.get_logger()),
            Vetoes(bench.slot, updater, self.complaints, self.submit, at_once, lambda: None), Timing(), self.submit, self.rests.append,
        )

    def submit(self, job: Callable[[], Any], then: Callable[[Any, BaseException | None], None]) -> None:
        self.jobs.append((job, then))

    def work(self) -> None:
        job, then = self.jobs.popleft()
        try:
            then(job(), None)
        except StorageFault as error:
            then(None, error)


@pytest.fixture
def sim(signing_key) -> PublisherSimulator:
    return PublisherSimulator(AmqpRoad(FakeBroker()), signing_key)


@pytest.fixture
def rig(tmp_path: Path, sim, key_ring) -> Iterator[Rig]:
    with Bench(tmp_path / "store", sim._road, key_ring) as bench:
        yield Rig(bench)


def test_it_loads_what_the_pointer_names_and_recalls_the_rest(rig: Rig, sim) -> None:
    standing = rig.bench.carry_out(sim.publish(sim.release("1.0.0")))
    rig.bench.journal.add_report(b"unsent")
    rig.bench.slot.active = None
    rig.receiver.begin()
    rig.work()
    assert rig.bench.version == "1.0.0"
    assert rig.receiver.courier.restored
    assert rig.receiver.updater.standing == standing
    assert list(rig.receiver.verdicts.ledger.unsent.values()) == [b"unsent"]


def test_what_is_in_service_already_is_not_loaded_again(rig: Rig, sim) -> None:
    rig.bench.carry_out(sim.publish(sim.release("1.0.0")))
    rig.receiver.begin()
    rig.work()
    assert rig.bench.slot.active is not None
    assert rig.bench.slot.active.generation == 1


def test_what_a_follower_put_into_service_has_its_order_when_it_receives(rig: Rig, sim) -> None:
    rig.bench.carry_out(sim.publish(sim.release("1.0.0")))
    served, pointer = rig.bench.slot.active, rig.bench.store.pointer()
    assert served is not None
    assert pointer is not None
    rig.bench.slot.active = replace(served, sequence=0, order=None)   # as a follower swaps
    rig.receiver.begin()
    rig.work()
    assert rig.bench.slot.active == served
    assert rig.bench.slot.active.sequence == pointer.sequence > 0
    assert rig.receiver.report_bad(replace(served, sequence=0, order=None), "drift") is False   # held since before
    assert len(rig.jobs) == 1   # and it is taken out all the same


def test_an_older_model_in_service_gives_way_to_what_the_pointer_names(rig: Rig, sim) -> None:
    rig.bench.carry_out(sim.publish(sim.release("1.0.0")))
    older = rig.bench.slot.active
    rig.bench.carry_out(sim.publish(sim.release("1.1.0")))
    rig.bench.slot.active = older
    rig.receiver.begin()
    rig.work()
    assert rig.bench.version == "1.1.0"


def test_what_was_complained_of_is_not_loaded_again_and_reported(rig: Rig, sim) -> None:
    rig.bench.carry_out(sim.publish(sim.release("1.0.0")))
    rig.bench.carry_out(sim.publish(sim.release("1.1.0")))
    bad, loaded = rig.bench.slot.active, list[str]()
    assert bad is not None
    rig.complaints.leave(Complaint(bad.release, bad.sequence, "drifts"))
    rig.bench.slot.active = None
    load = rig.bench.workshop._load_model
    rig.bench.workshop._load_model = lambda manifest, folder: loaded.append(manifest.version) or load(manifest, folder)
    rig.receiver.begin()
    rig.work()
    assert (rig.bench.version, loaded) == ("1.0.0", ["1.0.0"])
    assert rig.complaints.read()   # kept until the report is
    assert not rig.receiver.courier.restored   # no order comes in before
    while rig.jobs:
        rig.work()
    rig.desk.work()
    assert rig.receiver.verdicts.last is not None
    assert (rig.receiver.verdicts.last.reason, rig.receiver.verdicts.last.version) == ("reported-bad", "1.1.0")
    assert not rig.complaints.read()
    assert rig.receiver.courier.restored


def test_a_store_that_cannot_be_read_is_told_and_tried_again(rig: Rig, sim, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.bench.carry_out(sim.publish(sim.release("1.0.0")))

    def broken() -> None:
        raise StorageFault("The disk is broken.")

    with monkeypatch.context() as patch:
        patch.setattr(rig.bench.store, "pointer", broken)
        rig.receiver.begin()
        rig.work()
    assert (rig.receiver.courier.restored, rig.receiver.courier.fault) == (False, "The store could not be read: The disk is broken.")
    rig.work()
    assert rig.receiver.courier.restored
    assert rig.rests == [Timing().retry_most_seconds]


def test_an_end_in_order_is_no_crash(rig: Rig) -> None:
    rig.bench.journal.begin_try("0" * 64)
    rig.receiver.leave()
    assert rig.bench.journal.begin_try("0" * 64) == 1
