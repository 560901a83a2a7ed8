"""The status in one sentence: what is served, what is done, what is wrong; never fine when a thread is dead."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from tests.fakes.bench import Bench, Desk
from tests.fakes.fake_broker import FakeBroker
from tests.fakes.publisher_sim import PublisherSimulator

from modelcast.consumer.complaining import Complaining
from modelcast.consumer.complaints import Complaints
from modelcast.consumer.courier import Courier
from modelcast.consumer.follower import Follower, ReadingWorkshop
from modelcast.consumer.lifecycle import State
from modelcast.consumer.notice import Notice
from modelcast.consumer.overview import LIVE_WITHIN_SECONDS, overview, overview_of_follower
from modelcast.consumer.policy import Timing
from modelcast.consumer.status import Status
from modelcast.shared.amqp_road import AmqpRoad


class Pulse:
    """Stands for the threads: alive, dead or in another process."""

    def __init__(self) -> None:
        self.alive, self.forked, self.asked = True, False, list[float]()

    def is_live(self, within_seconds: float) -> bool:
        self.asked.append(within_seconds)
        return self.alive and not self.forked


class Scene:
    """A consumer's parts in any state."""

    def __init__(self, desk: Desk) -> None:
        self.desk, self.pulse = desk, Pulse()
        self.courier = Courier(
            desk.bench.road, desk.updater.setting.target, desk.updater, desk.verdicts, desk.verdicts.reporter, Timing(),
            lambda: None, structlog.get_logger(),
        )

    def status(self) -> Status:
        return overview(self.courier, self.desk.updater, self.desk.verdicts, self.pulse, Timing())   # type: ignore[arg-type]

    def connected(self) -> None:
        self.courier.connected_since_ms, self.courier.last_contact, self.courier.last_contact_ms = 5, time.monotonic(), 7


@pytest.fixture
def sim(signing_key) -> PublisherSimulator:
    return PublisherSimulator(AmqpRoad(FakeBroker()), signing_key)


@pytest.fixture
def scene(tmp_path: Path, sim, key_ring) -> Iterator[Scene]:
    with Bench(tmp_path / "store", sim._road, key_ring) as bench:
        yield Scene(Desk(bench))


def test_before_the_first_connection_it_is_live_and_neither_ready_nor_fresh(scene: Scene) -> None:
    status = scene.status()
    assert (status.live, status.ready, status.fresh, status.connected) == (True, False, False, False)
    assert status.detail == "Serves nothing yet; not connected: connecting"
    assert scene.pulse.asked == [LIVE_WITHIN_SECONDS]


def test_a_connected_instance_that_serves_says_both(scene: Scene, sim) -> None:
    scene.desk.deliver(sim.publish(sim.release("1.0.0")))
    scene.desk.work()
    scene.connected()
    status = scene.status()
    assert (status.ready, status.fresh, status.connected, status.version) == (True, True, True, "1.0.0")
    assert (status.connected_since_ms, status.last_contact_ms, status.promoted, status.unsent_reports) == (5, 7, 1, 1)
    assert status.detail == "Serves 1.0.0; connected."
    scene.desk.tell()
    assert scene.status().unsent_reports == 0


def test_what_is_in_hand_is_named_with_its_state(scene: Scene, sim) -> None:
    scene.connected()
    scene.desk.deliver(sim.publish(sim.release("1.0.0")))
    scene.desk.until(State.LOADING)
    assert (scene.status().state, scene.status().detail) == ("loading", "Serves nothing yet; loading 1.0.0.")


def test_what_is_received_ahead_of_its_order_is_named(scene: Scene, sim) -> None:
    scene.connected()
    scene.desk.hear(sim.announcement(sim.release("1.0.0")))
    scene.desk.updater.dispatch()
    status = scene.status()
    assert (status.state, status.detail) == ("ahead", "Serves nothing yet; receives 1.0.0 ahead of its order.")
    scene.desk.updater.stop()


def test_a_fault_of_the_host_is_told_whether_connected_or_not(scene: Scene) -> None:
    scene.courier.fault = "Nobody answers."
    assert scene.status().detail == "Serves nothing yet; not connected: Nobody answers."
    scene.connected()
    scene.courier.fault, scene.desk.updater.fault = None, "The disk is full."
    assert (scene.status().detail, scene.status().fault) == ("Serves nothing yet; The disk is full.", "The disk is full.")


def test_knowledge_gets_old(scene: Scene) -> None:
    scene.connected()
    scene.courier.last_contact = time.monotonic() - Timing().fresh_seconds
    assert not scene.status().fresh


@pytest.mark.parametrize(("forked", "words"), [(False, "its threads are dead or stuck"), (True, "is a forked child without threads")])
def test_dead_threads_are_never_live_fresh_or_connected(scene: Scene, sim, forked: bool, words: str) -> None:
    scene.desk.deliver(sim.publish(sim.release("1.0.0")))
    scene.desk.work()
    scene.connected()
    scene.pulse.alive, scene.pulse.forked = False, forked
    status = scene.status()
    assert (status.live, status.fresh, status.connected, status.connected_since_ms, status.state) == (False, False, False, None, "dead")
    assert status.ready   # the model is there all the same
    assert words in status.detail
    assert status.detail.startswith("Serves 1.0.0, but ")


# --------------------------------------------------------------------------- a follower


def follower_in(scene: Scene, **facts: Any) -> Follower:
    """A follower that saw what ``facts`` say."""
    store, tools = scene.desk.bench.store, scene.desk.bench._tools
    workshop = ReadingWorkshop(store, scene.desk.bench.journal, scene.desk.bench.slot, tools)
    follower = Follower(
        store, scene.desk.bench.slot, workshop, Timing(), scene.desk.verdicts.submit, lambda: None, lambda: False,
        Complaining(scene.desk.bench.slot, Complaints(store.root / "complaints", store.fs), structlog.get_logger()), structlog.get_logger(),
    )
    for name, value in facts.items():
        setattr(follower, name, value)
    return follower


def status_of(scene: Scene, follower: Follower, instance: str | None = None) -> Status:
    return overview_of_follower(follower, scene.pulse, Timing(), ("fraud", "production", instance))   # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({}, "Serves nothing yet; is about to receive."),
        ({"notice": Notice(7, "web")}, "Serves nothing yet; follows process 7 of this host, which is not connected."),
        ({"notice": Notice(7, "web", None, 5)}, "Serves nothing yet; follows process 7 of this host, which receives."),
        ({"notice": Notice(7, "web", None, 5), "_heard": -1e9}, "Serves nothing yet; follows process 7 of this host, which is stuck: restart that one."),
        ({"notice": Notice(7, "web", None, 5), "fault": "Too big."}, "Serves nothing yet; cannot follow: Too big."),
    ],
    ids=["no receiver", "not connected", "connected", "stuck", "fault"],
)
def test_a_follower_says_whom_it_follows_or_what_is_wrong(scene: Scene, facts: dict[str, Any], sentence: str) -> None:
    status = status_of(scene, follower_in(scene, **facts))
    assert (status.detail, status.role, status.live) == (sentence, "follower", True)


def test_a_follower_is_as_connected_as_the_one_that_it_hears(scene: Scene) -> None:
    follower = follower_in(scene, notice=Notice(7, "web", None, 5), last_contact=time.monotonic(), last_contact_ms=9)
    status = status_of(scene, follower)
    assert (status.connected, status.fresh, status.connected_since_ms, status.last_contact_ms, status.instance) == (True, True, 5, 9, "web")
    follower._heard, follower.last_contact = -1e9, time.monotonic() - Timing().fresh_seconds
    status = status_of(scene, follower, "own")
    assert (status.connected, status.fresh, status.connected_since_ms, status.instance) == (False, False, None, "own")


@pytest.mark.parametrize("forked", [False, True])
def test_a_follower_without_threads_is_never_fine(scene: Scene, forked: bool) -> None:
    scene.pulse.alive, scene.pulse.forked = False, forked
    status = status_of(scene, follower_in(scene, notice=Notice(7, "web", None, 5), last_contact=time.monotonic()))
    assert (status.live, status.fresh, status.connected, status.state) == (False, False, False, "dead")
    assert ("forked child" in status.detail) is forked


def test_what_is_in_hand_for_long_can_be_seen(scene: Scene, sim) -> None:
    assert scene.status().in_hand_seconds == 0
    scene.desk.deliver(sim.publish(sim.release("1.0.0")))
    scene.desk.until(State.LOADING)
    in_hand = scene.desk.updater.in_hand
    assert in_hand is not None
    in_hand.begun -= 100
    assert 100 <= scene.status().in_hand_seconds < 130
    scene.desk.work()
    assert scene.status().in_hand_seconds == 0


def test_failures_in_a_row_are_told_for_connection_and_updates_each(scene: Scene, sim) -> None:
    scene.courier.failures = 3
    scene.desk.deliver(b"noise")
    assert (scene.status().connection_failures, scene.status().update_failures) == (3, 1)
    scene.desk.deliver(sim.publish(sim.release("1.0.0")))
    scene.desk.work()
    assert scene.status().update_failures == 0


def test_the_model_in_service_is_told_with_its_age(scene: Scene, sim) -> None:
    before = time.time_ns() // 1_000_000
    assert (scene.status().created, scene.status().active_since_ms) == (None, None)
    scene.desk.deliver(sim.publish(sim.release("1.0.0")))
    scene.desk.work()
    status = scene.status()
    assert status.created == "2025-01-01T00:00:00Z"
    assert before <= (status.active_since_ms or 0) <= time.time_ns() // 1_000_000
