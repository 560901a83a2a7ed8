"""The consumer that an application embeds, over the main road on a broker in memory: everything but the network is real."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.fakes.bench import Hang
from tests.fakes.faulty_broker import CutAfter, Fault, FaultyBroker
from tests.fakes.publisher_sim import withheld
from tests.fakes.stage import LONG, QUEUE, QUICK, Doubler, Stage

from modelcast.consumer import ModelConsumer, Timing, companions
from modelcast.publisher.sampling import SampleSet
from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.errors import (
    InvalidName,
    InvalidVersion,
    MissingPath,
    MisuseError,
    NotReady,
    StorageFault,
    StoreInUse,
)
from modelcast.shared.fs import Fs
from modelcast.shared.order import Kind
from modelcast.shared.road import ArrivedOrder, Bookmark, Target
from modelcast.shared.topology import DEAD, REPORTS, chunks_name, history_name, orders_name

ROOT = Path(__file__).parents[2]


@pytest.fixture
def stage(tmp_path: Path, signing_key) -> Iterator[Stage]:
    stage = Stage(tmp_path, signing_key)
    yield stage
    stage.stop()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("modelcast fraud")]


# --------------------------------------------------------------------------- verdicts


def test_a_published_model_is_served_reported_and_acknowledged(stage: Stage) -> None:
    samples = SampleSet([[1.0], [2.0]], np.array([[2.0], [4.0]]), "predict")
    consumer = stage.joined()
    stage.sim.publish(stage.sim.pickled("1.0.0", Doubler(), samples=samples))
    active = consumer.wait_until_ready(LONG)
    assert active.model.predict([3]).tolist() == [6]
    stage.serves(consumer, "1.0.0")
    stage.eventually(stage.reports)
    report = stage.reports()[0]
    assert (report.instance, report.verdict, report.version, report.active_version) == ("a", "promoted", "1.0.0", "1.0.0")
    status = consumer.status()
    assert (status.live, status.ready, status.fresh, status.connected, status.promoted) == (True, True, True, True, 1)
    assert (status.detail, status.fault) == ("Serves 1.0.0; connected.", None)


def test_a_refused_release_is_reported_then_kept_as_a_dead_letter_and_the_old_model_serves(stage: Stage) -> None:
    consumer = stage.joined()
    stage.sim.publish(stage.sim.release("1.0.0"))
    stage.serves(consumer, "1.0.0")
    body = stage.sim.publish(stage.sim.release("2.0.0"), withheld(0))
    stage.eventually(lambda: DEAD in stage.broker.node.queues and stage.broker.node.queues[DEAD].depth == 1)
    assert [(r.version, r.verdict, r.reason) for r in stage.reports()][-1] == ("2.0.0", "rejected", "chunks-missing")
    letter = next(iter(stage.road.dead_letters(1)))
    assert (letter.body, letter.target.instance, letter.cause) == (body, "a", "rejected")
    status = consumer.status()
    assert (status.version, status.rejected, status.last_verdict.reason) == ("1.0.0", 1, "chunks-missing")


class Overheard(Fault):
    """Writes down what is asked of links."""

    def __init__(self) -> None:
        self.operations: list[str] = []

    def before(self, operation: str) -> None:
        self.operations.append(operation)


def test_the_report_is_confirmed_before_the_order_is_refused(stage: Stage) -> None:
    heard = Overheard()
    stage.started(road=AmqpRoad(FaultyBroker(stage.broker, heard)), timing=Timing(heartbeat_seconds=3600))
    stage.eventually(lambda: QUEUE in stage.broker.node.queues)
    stage.post(orders_name("fraud", "production"), b"noise")
    stage.eventually(lambda: "refuse" in heard.operations)
    before = heard.operations[: heard.operations.index("refuse")]
    told = [operation for operation in before if operation in {"post", "is_confirmed"}]
    assert "post" in told
    assert told[-1] == "is_confirmed"
    assert len(stage.reports()) == 1


def test_an_own_validator_has_the_last_word(stage: Stage) -> None:
    consumer = stage.consumer()

    @consumer.validator
    def small(candidate: Any, manifest: Any) -> bool:
        return candidate.factor < 3

    stage.joined(consumer)
    stage.sim.publish(stage.sim.pickled("1.0.0", Doubler()))
    stage.serves(consumer, "1.0.0")
    stage.sim.publish(stage.sim.pickled("2.0.0", Doubler(5.0)))
    stage.eventually(lambda: consumer.status().rejected)
    assert consumer.status().last_verdict.message == "Validator small returned False."
    assert consumer.active.model.factor == 2.0


def test_who_joins_late_serves_the_best_release_that_is_good(stage: Stage) -> None:
    stage.sim.publish(stage.sim.release("1.0.0"))
    stage.sim.publish(stage.sim.release("1.1.0"))
    stage.sim.publish(stage.sim.release("1.2.0"), withheld(0))
    consumer = stage.started()
    stage.eventually(lambda: consumer.status().version == "1.1.0")
    stage.eventually(lambda: (consumer.status().rejected, consumer.status().promoted) == (1, 1))
    assert consumer.status().superseded == 0   # what was ordered before it came is nobody's business to hear of
    assert consumer.active.generation == 1


def test_a_better_release_takes_the_place_of_one_that_is_still_being_tried(stage: Stage) -> None:
    hang, entered = Hang(), threading.Event()
    consumer = stage.consumer()

    @consumer.validator
    def slow(_candidate: Any, manifest: Any) -> None:
        if manifest.version == "1.0.0":
            entered.set()
            hang()

    stage.joined(consumer)
    stage.sim.publish(stage.sim.release("1.0.0"))
    assert entered.wait(LONG)
    stage.sim.publish(stage.sim.release("2.0.0"))
    stage.eventually(lambda: consumer._running.role.updater._trial.dropped)
    hang.let_go()
    stage.serves(consumer, "2.0.0")
    stage.eventually(lambda: len(stage.reports()) == 2)
    assert {(r.version, r.verdict) for r in stage.reports()} == {("1.0.0", "superseded"), ("2.0.0", "promoted")}


def test_a_rollback_goes_back_and_the_next_version_goes_on(stage: Stage) -> None:
    consumer, one = stage.joined(), stage.sim.release("1.0.0")
    stage.sim.publish(one)
    stage.serves(consumer, "1.0.0")
    stage.sim.publish(stage.sim.release("2.0.0"))
    stage.serves(consumer, "2.0.0")
    stage.sim.announce(stage.sim.order(one, kind=Kind.ROLLBACK))
    stage.serves(consumer, "1.0.0")
    stage.sim.publish(stage.sim.release("1.0.1"))
    stage.serves(consumer, "1.0.1")


def test_the_same_order_many_times_is_carried_out_once_and_every_copy_is_settled(stage: Stage) -> None:
    consumer = stage.joined()
    body = stage.sim.publish(stage.sim.release("1.0.0"))
    for _ in range(40):   # more than the prefetch
        stage.sim.announce(body)
    stage.serves(consumer, "1.0.0")
    stage.sim.publish(stage.sim.release("1.1.0"))
    stage.serves(consumer, "1.1.0")
    assert consumer.active.generation == 2


# --------------------------------------------------------------------------- connections


def test_a_link_that_is_cut_while_a_model_is_tried_does_not_stop_the_work(stage: Stage) -> None:
    hang, entered = Hang(), threading.Event()
    consumer = stage.consumer()
    tries: list[str] = []

    @consumer.validator
    def slow(_candidate: Any, manifest: Any) -> None:
        tries.append(manifest.version)
        entered.set()
        hang()

    stage.joined(consumer)
    stage.sim.publish(stage.sim.release("1.0.0"))
    assert entered.wait(LONG)
    for losses in (1, 2):
        stage.broker.drop_links()
        stage.eventually(lambda losses=losses: consumer.status().reconnects == losses and consumer.status().connected)
    hang.let_go()
    stage.serves(consumer, "1.0.0")
    assert (tries, consumer.active.generation) == (["1.0.0"], 1)
    assert [report.verdict for report in stage.reports()] == ["promoted"]


@pytest.mark.parametrize("operations", range(0, 40, 2))
def test_a_link_that_is_cut_anywhere_costs_nothing_but_time(stage: Stage, operations: int) -> None:
    cut = CutAfter(operations)
    stage.sim.publish(stage.sim.release("1.0.0"))
    consumer = stage.started(road=AmqpRoad(FaultyBroker(stage.broker, cut)))
    stage.eventually(lambda: consumer.status().version == "1.0.0")
    stage.sim.publish(stage.sim.release("1.1.0"))
    stage.serves(consumer, "1.1.0")
    assert cut.happened
    assert consumer.status().rejected == 0


def test_a_broker_that_is_away_at_the_start_does_not_keep_the_model_from_being_served(stage: Stage) -> None:
    consumer = stage.joined()
    stage.sim.publish(stage.sim.release("1.0.0"))
    stage.serves(consumer, "1.0.0")
    consumer.stop()
    stage.broker.stop()
    again = stage.started()
    assert again.wait_until_ready(LONG).version == "1.0.0"
    status = again.status()
    assert (status.live, status.ready, status.fresh, status.connected) == (True, True, False, False)
    stage.broker.start()
    stage.sim.publish(stage.sim.release("1.1.0"))
    stage.serves(again, "1.1.0")


def test_a_queue_that_was_deleted_is_made_again_and_what_was_missed_is_found_in_the_history(stage: Stage) -> None:
    consumer = stage.joined()
    stage.sim.publish(stage.sim.release("1.0.0"))
    stage.serves(consumer, "1.0.0")
    stage.broker.delete_queue(QUEUE)
    stage.sim.publish(stage.sim.release("1.1.0"))
    stage.eventually(lambda: consumer.status().version == "1.1.0")


# --------------------------------------------------------------------------- strangers


def test_random_bytes_anywhere_are_counted_or_refused_and_survived(stage: Stage) -> None:
    consumer = stage.joined()
    stage.sim.publish(stage.sim.release("1.0.0"))
    stage.serves(consumer, "1.0.0")
    node = stage.broker.node
    for number in range(20):
        noise = os.urandom(number * 7)
        stage.post(orders_name("fraud", "production"), noise)   # into the queue and the history
        stage.post(chunks_name("fraud"), noise)
        stage.post(REPORTS, noise)
    stage.sim.publish(stage.sim.release("1.1.0"))
    stage.serves(consumer, "1.1.0")
    stage.eventually(lambda: node.queues[DEAD].depth == 20)
    status = consumer.status()
    assert (status.rejected, status.live, status.promoted) == (20, True, 2)
    late = stage.started(instance="b")   # sees the noise in the history only
    stage.eventually(lambda: late.status().version == "1.1.0")
    assert late.status().foreign == 20
    assert late.status().rejected == 0


def test_an_order_of_an_unknown_key_is_refused_and_nothing_of_it_is_fetched(stage: Stage, other_key) -> None:
    consumer = stage.joined()
    stage.sim.publish(stage.sim.release("1.0.0", key=other_key), key=other_key)
    stage.eventually(lambda: consumer.status().rejected)
    assert consumer.status().last_verdict.reason == "unknown-key"
    assert list((consumer._blueprint.store_root / "fraud" / "production" / "incoming").iterdir()) == []
    with pytest.raises(NotReady, match="No model is in service yet"):
        _ = consumer.active


def test_an_order_with_an_empty_name_among_its_libraries_is_refused_not_repeated_for_ever(stage: Stage) -> None:
    consumer = stage.joined()
    release = stage.sim.release("1.0.0")
    environment = release.manifest.environment.model_copy(update={"dependencies": {"": "1", "a\0b": "2"}})
    stage.sim.publish(stage.sim.release("1.0.0", environment=environment))
    stage.eventually(lambda: consumer.status().rejected)
    assert consumer.status().last_verdict.reason == "incompatible-environment"
    assert consumer.status().reconnects == 0


# --------------------------------------------------------------------------- restarts


def test_sequence_and_floor_survive_a_restart(stage: Stage) -> None:
    consumer = stage.joined()
    old = stage.sim.publish(stage.sim.release("1.0.0"))
    stage.serves(consumer, "1.0.0")
    stage.sim.publish(stage.sim.release("2.0.0"))
    stage.serves(consumer, "2.0.0")
    consumer.stop()
    again = stage.joined()
    stage.sim.announce(old)   # replayed
    stage.sim.publish(stage.sim.release("1.9.0"))
    stage.eventually(lambda: again.status().rejected == 1)
    stage.eventually(stage.is_settled)
    assert [report.reason for report in stage.reports() if report.verdict == "rejected"] == ["version-downgrade"]
    assert (again.active.version, again.status().promoted) == ("2.0.0", 0)


def test_a_bit_that_flips_on_disk_costs_a_fetch_and_nothing_else(stage: Stage) -> None:
    consumer = stage.joined()
    for version in ("1.0.0", "2.0.0"):
        stage.sim.publish(stage.sim.release(version))
        stage.serves(consumer, version)
    active = consumer.active
    consumer.stop()
    path = consumer._blueprint.store_root / "fraud" / "production" / "releases" / active.release / "files" / "model.bin"
    path.write_bytes(b"X" + path.read_bytes()[1:])
    again = stage.started()
    assert again.wait_until_ready(LONG).version in {"1.0.0", "2.0.0"}   # the one before, until the order was found again
    stage.eventually(lambda: again.status().version == "2.0.0")
    assert path.read_bytes().startswith(b"model 2.0.0")
    assert again.status().rejected == 0


def test_a_store_that_cannot_be_read_at_the_start_is_read_again_until_it_can(stage: Stage) -> None:
    consumer = stage.joined()
    stage.sim.publish(stage.sim.release("1.0.0"))
    stage.serves(consumer, "1.0.0")
    consumer.stop()
    pointer = consumer._blueprint.store_root / "fraud" / "production" / "current"
    pointer.rename(pointer.with_name("elsewhere"))
    pointer.symlink_to(pointer.with_name("elsewhere"))   # never followed: as good as a disk that cannot be read
    again = stage.started()
    with pytest.raises(NotReady):
        again.wait_until_ready(0.2)
    assert "The store could not be read" in again.status().detail
    assert (again.status().live, again.status().connected) == (True, False)
    pointer.with_name("elsewhere").replace(pointer)
    assert again.wait_until_ready(LONG).version == "1.0.0"
    stage.eventually(lambda: again.status().connected)


def test_after_a_fall_back_nothing_that_was_passed_over_comes_back_as_a_conflict(stage: Stage) -> None:
    """The lost order's number minus one may have belonged to an order that was never carried out here."""
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        stage.sim.publish(stage.sim.release(version))
    consumer = stage.started()
    stage.eventually(lambda: consumer.status().promoted == 1)
    active = consumer.active
    consumer.stop()
    (consumer._blueprint.store_root / "fraud" / "production" / "releases" / active.release / "files" / "model.bin").write_bytes(b"")
    again = stage.started()
    stage.eventually(lambda: again.status().version == "1.2.0")
    assert again.status().rejected == 0


def test_a_key_that_is_no_longer_trusted_takes_its_models_out_of_service(stage: Stage, other_key) -> None:
    consumer = stage.joined()
    stage.sim.publish(stage.sim.release("1.0.0"))
    stage.serves(consumer, "1.0.0")
    consumer.stop()
    again = stage.started(trust=[other_key.trusted()])
    stage.eventually(lambda: again.status().connected and again.status().foreign)
    assert not again.status().ready
    assert "is not trusted here" in str(again._running.role.verdicts.workshop.restore())
    stage.sim.publish(stage.sim.release("2.0.0", key=other_key), key=other_key)
    stage.serves(again, "2.0.0")


class NotingRoad:
    """A road that notes where a consumer begins to read the history, and what it reads there."""

    def __init__(self, road: AmqpRoad) -> None:
        self._road = road
        self.begun: list[Bookmark | None] = []
        self.read: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._road, name)

    def join(self, target: Target, *, bookmark: Bookmark | None = None) -> "NotingInstanceRoad":
        self.begun.append(bookmark)
        return NotingInstanceRoad(self._road.join(target, bookmark=bookmark), self.read)


class NotingInstanceRoad:
    """See ``NotingRoad``."""

    def __init__(self, joined: Any, read: list[int]) -> None:
        self._joined, self._read = joined, read

    def __getattr__(self, name: str) -> Any:
        return getattr(self._joined, name)

    def next_order(self, seconds: float) -> ArrivedOrder | None:
        arrived: ArrivedOrder | None = self._joined.next_order(seconds)
        self._read += [arrived.offset] if arrived is not None and arrived.offset is not None else []
        return arrived


def serving(stage: Stage, *versions: str, **options: Any) -> ModelConsumer:
    """Return a consumer that took one version after the other."""
    consumer = stage.joined(**options)
    for version in versions:
        stage.sim.publish(stage.sim.release(version))
        stage.serves(consumer, version)
    return consumer


def test_after_a_restart_the_history_is_read_from_the_order_in_service_on(stage: Stage) -> None:
    serving(stage, "1.0.0", "1.1.0", "1.2.0").stop()
    stage.sim.publish(stage.sim.release("1.3.0"))
    stage.broker.delete_queue(QUEUE)
    road = NotingRoad(stage.road)
    again = stage.started(road=road)
    stage.eventually(lambda: again.status().version == "1.3.0")
    assert road.read == [2, 3]   # the order in service, and the one that was missed


def test_after_a_lost_connection_the_history_is_read_from_the_last_order_on(stage: Stage) -> None:
    road = NotingRoad(stage.road)
    consumer = serving(stage, "1.0.0", "1.1.0", road=road)
    stage.sim.publish(stage.sim.release("0.9.0"))   # refused, and not read a third time
    stage.eventually(lambda: consumer.status().rejected == 1)
    stage.broker.drop_links()
    stage.eventually(lambda: len(road.begun) == 2)
    stage.sim.publish(stage.sim.release("1.2.0"))
    stage.serves(consumer, "1.2.0")
    assert (road.read, consumer.status().rejected) == ([0, 1, 2, 2, 3], 1)


def test_who_trusts_other_keys_than_before_reads_all_of_the_history(stage: Stage, signing_key, other_key) -> None:
    consumer = stage.joined()
    strange = stage.sim.release("3.0.0", key=other_key)
    stage.sim.sequence = 10
    stage.sim.publish(strange, key=other_key)
    stage.sim.sequence = 0   # as another publisher would number its orders
    stage.sim.publish(stage.sim.release("1.0.0"))
    stage.serves(consumer, "1.0.0")
    consumer.stop()
    for rejection in (consumer._blueprint.store_root / "fraud/production/journal").glob("rejected-*"):
        rejection.unlink()   # as if it had been in the history only
    road = NotingRoad(stage.road)
    again = stage.started(road=road, trust=[signing_key.trusted(), other_key.trusted()])
    stage.eventually(lambda: again.status().version == "3.0.0")
    assert (road.begun, road.read[:2]) == ([None], [0, 1])


def test_a_pointer_that_is_torn_takes_its_bookmark_with_it(stage: Stage) -> None:
    consumer = serving(stage, "1.0.0", "1.1.0")
    consumer.stop()
    (consumer._blueprint.store_root / "fraud/production/current").write_bytes(b"torn")
    road = NotingRoad(stage.road)
    again = stage.started(road=road)
    stage.eventually(lambda: again.status().version == "1.1.0")
    assert [None if each is None else each.offset for each in road.begun] == [0]


def test_orders_of_a_history_that_was_made_anew_are_found(stage: Stage) -> None:
    serving(stage, "1.0.0").stop()
    for queue in (QUEUE, history_name("fraud", "production")):
        stage.broker.delete_queue(queue)
    stage.sim.publish(stage.sim.release("1.1.0"))
    again = stage.started()
    stage.eventually(lambda: again.status().version == "1.1.0")


def test_the_instance_keeps_the_name_that_was_made_up_for_it(stage: Stage) -> None:
    names = set()
    for _ in range(2):
        consumer = ModelConsumer(
            stage.road, model="fraud", trust=[stage.sim.key.trusted()], store=stage._folder / "unnamed", timing=QUICK
        )
        with consumer:
            names.add(consumer.status().instance)
    assert len(names) == 1
    assert names.pop()


# --------------------------------------------------------------------------- start and stop


def test_starting_twice_is_starting_once(stage: Stage) -> None:
    consumer = stage.started()
    threads = threading.active_count()
    consumer.start()
    assert threading.active_count() == threads
    assert consumer.status().live


def test_a_consumer_can_be_stopped_before_it_started_and_twice_and_started_again(stage: Stage) -> None:
    consumer = stage.consumer()
    assert consumer.stop()
    assert consumer.status().state == "stopped"
    for version in ("1.0.0", "1.1.0"):
        stage.joined(consumer)
        stage.sim.publish(stage.sim.release(version))
        stage.serves(consumer, version)
        assert consumer.stop()
        assert consumer.stop()
        assert consumer.active.version == version   # what serves stays readable
        assert (consumer.status().live, consumer.status().ready) == (False, True)


def test_a_consumer_can_be_stopped_from_any_thread(stage: Stage) -> None:
    consumer = stage.started()
    outcomes: list[bool] = []
    threads = [threading.Thread(target=lambda: outcomes.append(consumer.stop(LONG))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert outcomes == [True] * 4


def test_a_validator_that_stops_the_consumer_does_not_wait_for_itself_for_ever(stage: Stage) -> None:
    consumer, outcomes, done = stage.consumer(), list[bool](), threading.Event()

    @consumer.validator
    def stops(*_: object) -> None:
        outcomes.append(consumer.stop(0.05))
        done.set()

    consumer.start()
    stage.sim.publish(stage.sim.release("1.0.0"))
    assert done.wait(LONG)
    assert outcomes == [False]
    for thread in threading.enumerate():
        if thread.name.startswith("modelcast"):
            thread.join(LONG)
    assert not consumer.status().ready


def test_a_consumer_of_another_instance_on_the_same_store_is_refused_and_the_first_goes_on(stage: Stage) -> None:
    first = stage.started()
    second = stage.consumer(instance="b", store=first._blueprint.store_root)
    with pytest.raises(StoreInUse, match="belongs to the instance a") as raised:
        second.start()
    assert "a store of its own" in (raised.value.hint or "")
    assert not second.status().live
    stage.sim.publish(stage.sim.release("1.0.0"))
    stage.serves(first, "1.0.0")
    first.stop()
    second.start()   # the store is free; what it holds is this instance's now
    assert second.wait_until_ready(LONG).version == "1.0.0"


def test_a_store_that_cannot_be_written_is_told_at_once(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    consumer = stage.consumer(store=tmp_path / "file")
    with pytest.raises(StorageFault):
        consumer.start()
    assert not consumer.status().live


def test_waiting_in_vain_says_what_the_consumer_was_doing(stage: Stage) -> None:
    consumer = stage.consumer()
    with pytest.raises(NotReady, match="The consumer is not started"):
        consumer.wait_until_ready(0.01)
    stage.broker.stop()
    consumer.start()
    with pytest.raises(NotReady, match="Serves nothing yet"):
        consumer.wait_until_ready(0.01)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"model": "Fraud"}, InvalidName), ({"channel": "chunks"}, InvalidName), ({"instance": "a b"}, InvalidName),
        ({"accept": "about 2"}, InvalidVersion), ({"dependencies": "some"}, MisuseError), ({"trust": []}, MisuseError),
        ({"trust": ["/nowhere/key.pub"]}, MissingPath),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_cannot_work_is_refused_before_anything_starts(stage: Stage, options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        stage.consumer(**options)


# --------------------------------------------------------------------------- never fine when it is not


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")   # it is what the test is about
def test_a_dead_thread_is_never_called_live(stage: Stage) -> None:
    class Deadly:
        def join(self, _target: object, **_: object) -> object:
            raise SystemExit

    consumer = stage.started(road=Deadly())
    consumer._running.runtime._threads[1].join(LONG)
    status = consumer.status()
    assert (status.live, status.fresh, status.connected, status.state) == (False, False, False, "dead")
    assert "its threads are dead or stuck" in status.detail
    assert consumer.stop()


FORK = """
import os, sys, warnings
from pathlib import Path
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.fakes.fake_broker import FakeBroker
from tests.fakes.publisher_sim import PublisherSimulator
from modelcast.consumer import ModelConsumer
from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.errors import ForkedProcess
from modelcast.shared.signing import SigningKey

warnings.simplefilter("ignore", DeprecationWarning)   # of 3.12 on: fork in a process with threads is what this is about
key, road = SigningKey(Ed25519PrivateKey.generate()), AmqpRoad(FakeBroker())
sim = PublisherSimulator(road, key)
consumer = ModelConsumer(road, model="fraud", trust=[key.trusted()], store=sys.argv[1], instance="a")
consumer.start()
sim.publish(sim.release("1.0.0"))
consumer.wait_until_ready(30)
child = os.fork()
if child == 0:
    failed = []
    def check(what, holds):
        if not holds:
            failed.append(what)
    status = consumer.status()
    check("live", status.live is False)
    check("ready", status.ready is True)
    check("sentence", "forked child without threads" in status.detail)
    check("active", consumer.active.version == "1.0.0")
    for name, call in [("start", consumer.start), ("wait", lambda: consumer.wait_until_ready(30))]:
        try:
            call()
        except ForkedProcess as error:
            check(name + " hint", "after the fork" in (error.hint or ""))
        else:
            failed.append(name)
    check("stop", consumer.stop(30) is True)
    consumer.start()
    check("role", consumer.status().role == "follower")   # the store's lock is still the parent's
    check("stop again", consumer.stop(30) is True)
    check("still readable", consumer.active.version == "1.0.0")
    sys.stderr.write(repr(failed))
    sys.stderr.flush()
    os._exit(len(failed))
_, status = os.waitpid(child, 0)
sim.publish(sim.release("1.1.0"))
with road._broker.node.changed:
    road._broker.node.changed.wait_for(lambda: consumer.status().version == "1.1.0", 30)
sys.stderr.write(f" {os.waitstatus_to_exitcode(status)} {consumer.status().live} {consumer.active.version}")
consumer.stop()
"""


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True, timeout=120, cwd=ROOT
    )


def test_a_forked_child_says_what_it_is_and_leaves_its_parent_alone(tmp_path: Path) -> None:
    assert run(FORK, str(tmp_path / "store")).stderr == "[] 0 True 1.1.0"


def test_importing_starts_no_thread_and_opens_nothing() -> None:
    program = """
import os, sys, threading
before = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()
import modelcast.consumer
from modelcast.consumer import ModelConsumer
after = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()
print(threading.active_count(), len(after - before))
"""
    assert run(program).stdout == "1 0\n"


HEAVY = ("pika", "pydantic", "cryptography", "structlog", "msgpack", "blake3", "importlib.metadata", "ssl", "numpy", "sklearn", "joblib")


def test_importing_the_class_loads_no_library_that_only_a_consumer_at_work_needs() -> None:
    program = f"""
import sys
from modelcast.consumer import ActiveModel, LastVerdict, Loading, ModelConsumer, Status, Timing
print([name for name in {HEAVY!r} if name in sys.modules])
import modelcast.consumer.member
print("pydantic" in sys.modules, [name for name in ("pika", "structlog", "numpy", "sklearn", "joblib") if name in sys.modules])
"""
    assert run(program).stdout == "[]\nTrue []\n"


def test_building_a_consumer_touches_neither_broker_nor_disk(stage: Stage, tmp_path: Path) -> None:
    class Untouchable:
        def __getattr__(self, name: str) -> object:
            raise AssertionError(name)

    consumer = stage.consumer(road=Untouchable(), store=tmp_path / "not yet")
    consumer.status()
    consumer.stop()
    assert not (tmp_path / "not yet").exists()
    with pytest.raises(NotReady):
        _ = consumer.active


def test_whichever_thread_stops_it_the_store_is_free_afterwards(stage: Stage) -> None:
    consumer = stage.started()
    stopped: list[bool] = []
    stopper = threading.Thread(target=lambda: stopped.append(consumer.stop(LONG)))
    stopper.start()
    stopper.join(LONG)
    assert stopped == [True]
    consumer.start()   # not StoreInUse
    assert consumer.stop(LONG)


def test_a_store_whose_worker_outlives_the_stop_is_freed_when_that_ends(stage: Stage) -> None:
    hang, entered = Hang(), threading.Event()
    consumer = stage.consumer()

    @consumer.validator
    def slow(_candidate: Any, _manifest: Any) -> None:
        entered.set()
        hang()

    stage.joined(consumer)
    stage.sim.publish(stage.sim.release("1.0.0"))
    assert entered.wait(LONG)
    threads = consumer._running.runtime._threads
    assert not consumer.stop(0.05)
    hang.let_go()
    for thread in threads:
        thread.join(LONG)
    assert stage.started() is not None


def test_a_disk_that_hangs_holds_up_neither_reports_nor_orders(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    consumer, hang = stage.joined(), Hang()
    stage.sim.publish(stage.sim.release("1.0.0"))
    stage.serves(consumer, "1.0.0")
    monkeypatch.setattr(companions, "BEAT_SECONDS", 0.0)
    monkeypatch.setattr(Fs, "post", lambda *_: hang())
    assert hang.entered.wait(LONG)
    told = len(stage.broker.node.queues[REPORTS]._held)
    stage.eventually(lambda: len(stage.broker.node.queues[REPORTS]._held) >= told + 3)
    assert consumer.status().live
    hang.let_go()


def test_an_orderly_stop_while_a_model_is_tried_is_no_crash(stage: Stage) -> None:
    stage.joined().stop()   # its queue exists from here on
    stage.sim.publish(stage.sim.release("1.0.0"))
    for _ in range(4):
        hang, entered = Hang(), threading.Event()
        consumer = stage.consumer()

        @consumer.validator
        def slow(_candidate: Any, _manifest: Any, hang: Hang = hang, entered: threading.Event = entered) -> None:
            entered.set()
            hang()

        consumer.start()
        assert entered.wait(LONG)
        threads = consumer._running.runtime._threads
        consumer.stop(0.0)
        hang.let_go()
        for thread in threads:
            thread.join(LONG)
    last = stage.started()
    stage.serves(last, "1.0.0")
    assert last.status().rejected == 0
