"""Several consumers on one store, over a broker in memory: one receives, the others follow, and one takes the receiver's place."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.bench import Hang
from tests.fakes.stage import LONG, QUEUE, Doubler, Stage

from modelcast.consumer import ModelConsumer, companions
from modelcast.consumer.notice import Notice
from modelcast.shared.topology import DEAD


@pytest.fixture
def stage(tmp_path: Path, signing_key) -> Iterator[Stage]:
    stage = Stage(tmp_path, signing_key)
    yield stage
    stage.stop()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("modelcast fraud")]


def roles(*consumers: ModelConsumer) -> list[str | None]:
    return [consumer.status().role for consumer in consumers]


def all_serve(stage: Stage, version: str, *consumers: ModelConsumer) -> None:
    stage.eventually(lambda: all(consumer.status().version == version for consumer in consumers))


def test_one_receives_for_all_and_the_broker_sees_only_one(stage: Stage) -> None:
    first = stage.joined()
    others = [stage.started() for _ in range(3)]
    assert roles(first, *others) == ["receiver", "follower", "follower", "follower"]
    for version in ("1.0.0", "1.1.0"):
        stage.sim.publish(stage.sim.release(version))
        all_serve(stage, version, first, *others)
    assert len(stage.broker.node.queues[QUEUE].consumers) == 1
    stage.eventually(lambda: len(stage.reports()) == 2)


def test_a_follower_says_whom_it_follows_and_is_as_fresh_as_that_one(stage: Stage) -> None:
    import os

    first, second = stage.joined(), stage.started()
    stage.sim.publish(stage.sim.release("1.0.0"))
    all_serve(stage, "1.0.0", first, second)
    stage.eventually(lambda: second.status().connected)
    status = second.status()
    assert (status.live, status.ready, status.fresh, status.instance, status.fault) == (True, True, True, "a", None)
    assert status.detail == f"Serves 1.0.0; follows process {os.getpid()} of this host, which receives."
    assert status.connected_since_ms == first.status().connected_since_ms
    stage.broker.stop()
    stage.eventually_without_broker(lambda: not second.status().connected)
    assert second.status().detail.endswith("which is not connected.")
    stage.broker.start()


def test_a_follower_started_before_any_release_waits_for_the_first(stage: Stage) -> None:
    stage.joined()
    second = stage.started()
    waiting = threading.Thread(target=second.wait_until_ready, args=(LONG,))
    waiting.start()
    stage.eventually_without_broker(lambda: second.status().detail.startswith("Serves nothing yet; follows process "))
    stage.sim.publish(stage.sim.release("1.0.0"))
    waiting.join(LONG)
    assert second.active.version == "1.0.0"


def test_a_follower_started_later_serves_what_the_pointer_names(stage: Stage) -> None:
    first = stage.joined()
    stage.sim.publish(stage.sim.release("1.0.0"))
    stage.serves(first, "1.0.0")
    assert stage.started().wait_until_ready(LONG).version == "1.0.0"


def test_when_the_receiver_ends_a_follower_takes_its_place_and_its_queue(stage: Stage) -> None:
    first = stage.joined()
    others = [stage.started() for _ in range(2)]
    stage.sim.publish(stage.sim.release("1.0.0"))
    all_serve(stage, "1.0.0", first, *others)
    first.stop()
    stage.eventually_without_broker(lambda: "receiver" in roles(*others))
    stage.sim.publish(stage.sim.release("1.1.0"))
    all_serve(stage, "1.1.0", *others)
    assert sorted(map(str, roles(*others))) == ["follower", "receiver"]
    stage.eventually(stage.is_settled)
    assert [consumer.active.generation for consumer in others] == [2, 2]   # the model in service stayed
    first.start()   # comes back as what is needed
    assert first.status().role == "follower"
    all_serve(stage, "1.1.0", first)


def test_a_refused_release_is_refused_once_for_all(stage: Stage) -> None:
    first, second = stage.consumer(), stage.consumer()

    @first.validator
    def small(candidate: Any, _manifest: Any) -> bool:
        return candidate.factor < 3

    stage.joined(first)
    second.start()
    stage.sim.publish(stage.sim.pickled("1.0.0", Doubler()))
    all_serve(stage, "1.0.0", first, second)
    stage.sim.publish(stage.sim.pickled("2.0.0", Doubler(5.0)))
    stage.eventually(lambda: DEAD in stage.broker.node.queues and stage.broker.node.queues[DEAD].depth == 1)
    assert (second.status().version, second.status().fault) == ("1.0.0", None)


def test_a_follower_whose_validator_refuses_keeps_its_model_and_says_so(stage: Stage) -> None:
    first, second, refuses = stage.joined(), stage.consumer(), threading.Event()
    refuses.set()

    @second.validator
    def picky(_candidate: Any, manifest: Any) -> bool:
        return not (refuses.is_set() and manifest.version == "1.1.0")

    second.start()
    stage.sim.publish(stage.sim.release("1.0.0"))
    all_serve(stage, "1.0.0", first, second)
    stage.sim.publish(stage.sim.release("1.1.0"))
    all_serve(stage, "1.1.0", first)
    stage.eventually(lambda: second.status().fault)
    assert second.status().version == "1.0.0"
    assert second.status().detail == "Serves 1.0.0; cannot follow: Validator picky returned False."
    stage.eventually(lambda: [report.verdict for report in stage.reports()] == ["promoted", "promoted"])
    refuses.clear()
    all_serve(stage, "1.1.0", second)
    assert second.status().fault is None


def test_a_follower_that_hangs_does_not_keep_the_release_from_the_others(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(companions.Companions.__init__, "__defaults__", (0.05,))
    first, second, hang = stage.joined(), stage.consumer(), Hang()
    stage.sim.publish(stage.sim.release("1.0.0"))
    stage.serves(first, "1.0.0")

    @second.validator
    def hangs(*_: object) -> None:
        hang()

    second.start()
    second.wait_until_ready(LONG)
    stage.sim.publish(stage.sim.release("1.1.0"))
    all_serve(stage, "1.1.0", first)
    assert second.status().version == "1.0.0"
    hang.let_go()
    all_serve(stage, "1.1.0", second)


def test_an_heir_that_served_an_older_release_first_loads_the_one_that_the_pointer_names(stage: Stage) -> None:
    first, second = stage.joined(), stage.consumer()

    @second.validator
    def picky(_candidate: Any, manifest: Any) -> bool:
        return manifest.version != "1.1.0"

    second.start()
    stage.sim.publish(stage.sim.release("1.0.0"))
    all_serve(stage, "1.0.0", first, second)
    stage.sim.publish(stage.sim.release("1.1.0"))
    all_serve(stage, "1.1.0", first)
    assert second.status().version == "1.0.0"
    first.stop()
    stage.eventually_without_broker(lambda: second.status().role == "receiver" and second.status().version == "1.1.0")
    stage.sim.publish(stage.sim.release("1.2.0"))
    stage.serves(second, "1.2.0")


def test_the_notice_of_a_killed_receiver_of_another_instance_keeps_nobody_out(stage: Stage) -> None:
    first = stage.joined()
    path = first._blueprint.store_root / "fraud/production/notice"
    own = path.read_bytes()
    path.write_bytes(Notice(1, "gone").to_bytes())
    second = stage.consumer()
    starting = threading.Thread(target=second.start)
    starting.start()
    path.write_bytes(own)
    starting.join(LONG)
    assert second.status().role == "follower"


def test_a_receiver_that_waits_for_a_follower_can_be_stopped(stage: Stage) -> None:
    first, second, hang, entered = stage.joined(), stage.consumer(), Hang(), threading.Event()
    stage.sim.publish(stage.sim.release("1.0.0"))
    stage.serves(first, "1.0.0")

    @second.validator
    def hangs(*_: object) -> None:
        entered.set()
        hang()

    second.start()
    second.wait_until_ready(LONG)
    stage.sim.publish(stage.sim.release("1.1.0"))
    assert entered.wait(LONG)
    assert first.stop(LONG)
    assert first.active.version == "1.0.0"
    hang.let_go()
    stage.eventually_without_broker(lambda: second.status().version == "1.1.0")   # received by itself


def test_a_follower_can_be_stopped_and_its_store_is_left_alone(stage: Stage) -> None:
    first, second = stage.joined(), stage.started()
    assert second.stop(LONG)
    assert (second.status().state, second.status().role) == ("stopped", None)
    stage.sim.publish(stage.sim.release("1.0.0"))
    stage.serves(first, "1.0.0")
    folder = first._blueprint.store_root / "fraud/production"
    stage.eventually_without_broker(lambda: not list(folder.glob(".tmp-*")))   # the receiver writes its notice at its own pace
