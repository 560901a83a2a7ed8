"""A driver's hands on a rollout: only while it is his, and only when the road is there."""

from pathlib import Path

import pytest
from tests.contract.conftest import road_of
from tests.fakes.life import Life

from modelcast.publisher.rollout import desk as module
from modelcast.publisher.rollout.desk import Desk, driver_name
from modelcast.publisher.rollout.plan import RolloutPlan, waves_of
from modelcast.publisher.rollout.records import Begun, Phase, Step, Stepped
from modelcast.publisher.sessions import Sessions
from modelcast.shared.errors import BrokerUnreachable, NotFound
from modelcast.shared.publishing_road import PublisherRoad


@pytest.fixture
def desk(request: pytest.FixtureRequest, tmp_path: Path, signing_key) -> Desk:
    """A rollout of 1.1.0 in production, driven by this desk."""
    life = Life(road_of("file", request, tmp_path), tmp_path, signing_key)
    released = life.publisher.publish({"a": 1}, model="fraud", version="1.1.0", channel="staging")
    desk = Desk(life.road, Sessions(life.road, 5.0), signing_key, "fraud", "production", rest=lambda _s: None)
    session = opened(desk)
    begun = Begun("production", 7, released.release, "1.1.0", RolloutPlan(waves_of("1,100%")), 0)
    session.register.append(begun.to_bytes())
    session.register.append(Stepped("production", 7, Step.DRIVEN, 0, desk.driver).to_bytes())
    session.close()
    return desk


def opened(desk: Desk) -> PublisherRoad:
    """A session of somebody else."""
    return desk.sessions.open("fraud", "production", sends=True)


def test_a_wave_is_ordered_once_whoever_asks(desk: Desk) -> None:
    first = desk.order(0, 5)
    assert first is not None
    assert (first.up_to, desk.order(0, 9)) == (5, first)
    assert desk.look().sent == {0: first}


def test_once_somebody_else_drives_it_nothing_is_noted_and_nothing_ordered(desk: Desk) -> None:
    session = opened(desk)
    session.register.append(Stepped("production", 7, Step.DRIVEN, 0, driver_name()).to_bytes())
    session.close()
    assert not desk.is_mine(desk.look())
    assert (desk.order(0, 5), desk.step(Step.COMPLETED)) == (None, False)
    assert (desk.look().phase, desk.look().sent) == (Phase.RUNNING, {})


def test_a_road_that_is_away_is_waited_for_and_not_for_ever(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    opens, fails = desk.road.publish, [3]

    def sometimes(model: str, channel: str, *, sends: bool):
        if fails[0]:
            fails[0] -= 1
            raise BrokerUnreachable("away")
        return opens(model, channel, sends=sends)

    desk.road.publish = sometimes   # type: ignore[method-assign]
    assert desk.step(Step.ACCEPTED, wave=0)
    records, fails[0] = desk.road.records, 0

    def seldom(model: str):
        if looked.append(1) or len(looked) < 3:
            raise BrokerUnreachable("away")
        return records(model)

    looked: list[int] = []
    desk.road.records = seldom   # type: ignore[method-assign]
    assert desk.look_patiently().accepted == 1
    desk.road.records = records   # type: ignore[method-assign]
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.0)
    fails[0] = 1
    with pytest.raises(BrokerUnreachable):
        desk.step(Step.ACCEPTED, wave=1)
    assert desk.look().accepted == 1


def test_another_publisher_of_the_model_is_waited_for(desk: Desk) -> None:
    theirs = opened(desk)   # brings the next version to staging, say
    desk.sessions = Sessions(desk.road, 0.0)
    desk.rest = lambda _seconds: theirs.close()
    assert desk.step(Step.ACCEPTED, wave=0)


def test_a_release_that_was_pruned_meanwhile_says_so(desk: Desk) -> None:
    session = opened(desk)
    session.register.append(Begun("production", 8, "ef" * 32, "1.2.0", RolloutPlan(waves_of("1,100%")), 0).to_bytes())
    session.register.append(Stepped("production", 8, Step.DRIVEN, 0, desk.driver).to_bytes())
    session.close()
    with pytest.raises(NotFound, match=r"fraud 1\.2\.0 is not on this road any more"):
        desk.order(0, 5)


def test_where_there_is_no_rollout_it_says_how_to_begin_one(desk: Desk) -> None:
    desk.channel = "elsewhere"
    with pytest.raises(NotFound, match="was ever rolled out") as missing:
        desk.look()
    assert "--waves" in (missing.value.hint or "")


def test_each_driver_has_a_name_of_its_own() -> None:
    assert len({driver_name() for _ in range(20)}) == 20
