"""Rollouts on every road: waves in their turn, halts, pauses, and somebody else who goes on."""

import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.contract.conftest import road_of
from tests.fakes.life import Life
from tests.fakes.stage import LONG

from modelcast.consumer import ModelConsumer
from modelcast.publisher import Operator, RolloutPlan, Rollouts, RolloutStatus, ordering
from modelcast.publisher.rollout import driver
from modelcast.publisher.rollout.driver import Happening, unwatched
from modelcast.publisher.rollout.records import Phase
from modelcast.shared.errors import MisuseError, NotFound, Withdrawn
from modelcast.shared.failpoints import Point
from modelcast.shared.signing import SigningKey
from modelcast.shared.turns import turn_of

FOUR = sorted(("a", "b", "c", "d"), key=turn_of)
"""Four instances by their turns."""


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(driver, "POLL_SECONDS", 0.05)


@pytest.fixture(params=["rabbitmq", "file", "http"])
def life(request: pytest.FixtureRequest, tmp_path: Path, signing_key: SigningKey) -> Iterator[Life]:
    life = Life(road_of(request.param, request, tmp_path), tmp_path, signing_key)
    yield life
    life.stop()


@pytest.fixture
def rollouts(life: Life, signing_key: SigningKey) -> Rollouts:
    return Rollouts(life.road, order_key=signing_key)


@pytest.fixture
def fleet(life: Life) -> dict[str, ModelConsumer]:
    """Four instances that serve 1.0.0, by their turns; 1.1.0 is in the channel ``staging``."""
    found = {name: life.started(instance=name) for name in FOUR}
    life.eventually(lambda: all(consumer.status().connected for consumer in found.values()))
    publish(life, "1.0.0")
    for consumer in found.values():
        life.serves(consumer, "1.0.0")
    publish(life, "1.1.0", channel="staging")
    return found


def publish(life: Life, version: str, **options: Any) -> None:
    weights = {"weights": np.random.default_rng(len(version)).standard_normal(2048), "version": version}
    life.publisher.publish(weights, model="fraud", version=version, **options)


def plan(waves: str = "1,50%,100%", **options: Any) -> RolloutPlan:
    return RolloutPlan.of(waves, **({"verdict_seconds": LONG} | options))


def versions(fleet: dict[str, ModelConsumer]) -> list[str | None]:
    return [consumer.status().version for consumer in fleet.values()]


class Driving:
    """A rollout that is driven by another thread, as by another command."""

    def __init__(self, drive: Callable[[Callable[[Happening], None]], RolloutStatus]) -> None:
        self.seen: list[Happening] = []
        self.status: RolloutStatus | None = None
        self._thread = threading.Thread(target=self._run, args=(drive,))
        self._thread.start()

    def _run(self, drive: Callable[[Callable[[Happening], None]], RolloutStatus]) -> None:
        self.status = drive(self.seen.append)

    def did(self, what: str, wave: int = 0) -> bool:
        return any((happening.what, happening.wave) == (what, wave) for happening in self.seen)

    def ended(self) -> RolloutStatus:
        self._thread.join(LONG)
        assert self.status is not None
        return self.status


# --------------------------------------------------------------------------- through


def test_waves_reach_the_instances_in_their_turn_and_each_promotes_once(
    life: Life, rollouts: Rollouts, fleet: dict[str, ModelConsumer]
) -> None:
    seen: list[tuple[str, int, tuple[str, ...], list[str | None]]] = []

    def watch(happening: Happening) -> None:
        if happening.what in {"ordered", "accepted", "completed"}:
            seen.append((happening.what, happening.wave, happening.instances, versions(fleet)))

    status = rollouts.begin("fraud", "1.1.0", plan=plan(), watch=watch)
    assert (status.rollout.phase, status.exit_code, status.promoted) == (Phase.COMPLETED, 0, ("a", "b", "c", "d"))
    assert [(what, wave) for what, wave, _, _ in seen] == [
        ("ordered", 0), ("accepted", 0), ("ordered", 1), ("accepted", 1), ("ordered", 2), ("accepted", 2), ("completed", 2),
    ]
    assert [names for what, _, names, _ in seen if what == "ordered"] == [tuple(FOUR[:1]), tuple(FOUR[:2]), tuple(FOUR)]
    assert [found for what, _, _, found in seen if what == "accepted"] == [
        ["1.1.0", "1.0.0", "1.0.0", "1.0.0"], ["1.1.0", "1.1.0", "1.0.0", "1.0.0"], ["1.1.0"] * 4,
    ]
    assert [consumer.status().promoted for consumer in fleet.values()] == [2] * 4   # 1.0.0, and 1.1.0 once
    assert [consumer.status().deferred for consumer in fleet.values()] == [0, 1, 2, 2]
    assert life.letters() == []
    last = {name: life.verdicts(name)[-1] for name in FOUR}
    assert last == dict.fromkeys(FOUR, ("1.1.0", "promoted", None))


def test_a_small_fleet_skips_waves_that_would_reach_nobody_new(rollouts: Rollouts, fleet: dict[str, ModelConsumer]) -> None:
    ordered: list[int] = []
    rollouts.begin(
        "fraud", "1.1.0", plan=plan("1,2%,20%,100%"),
        watch=lambda happening: ordered.append(happening.wave) if happening.what == "ordered" else None,
    )
    assert ordered == [0, 3]
    assert versions(fleet) == ["1.1.0"] * 4


def test_who_joins_in_between_takes_what_its_turn_says(life: Life, rollouts: Rollouts, fleet: dict[str, ModelConsumer]) -> None:
    early = next(name for number in range(1000) if turn_of(name := f"joined-{number}") < turn_of(FOUR[0]))
    late = next(name for number in range(1000) if turn_of(name := f"joined-{number}") > turn_of(FOUR[-1]))
    driving = Driving(lambda watch: rollouts.begin("fraud", "1.1.0", plan=plan(soak_seconds=3600), watch=watch))
    life.eventually(lambda: driving.did("soaking"))
    life.serves(life.started(instance=late), "1.0.0")
    life.serves(life.started(instance=early), "1.1.0")
    rollouts.pause("fraud")
    assert driving.ended().rollout.phase is Phase.PAUSED


# --------------------------------------------------------------------------- halts


def test_it_halts_where_more_refuse_than_may_and_goes_on_when_somebody_allows_it(
    life: Life, rollouts: Rollouts, signing_key: SigningKey
) -> None:
    refuses = FOUR[1]
    fleet = {name: life.started(instance=name, accept="<1.1" if name == refuses else "*") for name in FOUR}
    life.eventually(lambda: all(consumer.status().connected for consumer in fleet.values()))
    publish(life, "1.0.0")
    for consumer in fleet.values():
        life.serves(consumer, "1.0.0")
    publish(life, "1.1.0", channel="staging")
    status = rollouts.begin("fraud", "1.1.0", plan=plan())
    assert (status.rollout.phase, status.exit_code, status.rollout.accepted) == (Phase.HALTED, 37, 1)
    assert versions(fleet) == ["1.1.0", "1.0.0", "1.0.0", "1.0.0"]
    assert list(status.failed) == [refuses]
    assert status.rollout.why.startswith(f"1 of 2 failed, 0 may: {refuses}: version-out-of-range: ")
    again = rollouts.status("fraud")
    assert (again.rollout.phase, again.waves, again.failed) == (Phase.HALTED, status.waves, status.failed)
    assert [again.state_of(number) for number in range(3)] == ["accepted", "ordered", "waits"]
    halted_at_once = rollouts.resume("fraud")
    assert (halted_at_once.rollout.phase, halted_at_once.rollout.accepted) == (Phase.HALTED, 1)
    ended = rollouts.resume("fraud", max_failures=1)
    assert (ended.rollout.phase, str(ended.rollout.plan.max_failures)) == (Phase.COMPLETED, "1")
    assert versions(fleet) == ["1.1.0", "1.0.0", "1.1.0", "1.1.0"]


def test_a_veto_while_it_is_watched_halts_it_and_everybody_goes_back(
    life: Life, rollouts: Rollouts, fleet: dict[str, ModelConsumer]
) -> None:
    first = fleet[FOUR[0]]
    driving = Driving(
        lambda watch: rollouts.begin("fraud", "1.1.0", plan=plan("2,100%", soak_seconds=3600, rolls_back=True), watch=watch)
    )
    life.eventually(lambda: driving.did("soaking"))
    first.report_bad("answers drift")
    status = driving.ended()
    assert (status.rollout.phase, status.exit_code) == (Phase.HALTED, 37)
    assert status.vetoed == {FOUR[0]: "reported-bad: answers drift"}
    assert status.rollout.why == f"1 of 2 reported it as bad, 0 may: {FOUR[0]}: reported-bad: answers drift."
    assert status.went_back is not None
    assert status.went_back.version == "1.0.0"
    for consumer in fleet.values():
        life.serves(consumer, "1.0.0")
    with pytest.raises(Withdrawn, match="answers drift"):
        rollouts.begin("fraud", "1.1.0", plan=plan())


def test_a_veto_that_is_allowed_stops_nothing_and_its_instance_is_not_asked_again(
    life: Life, rollouts: Rollouts, fleet: dict[str, ModelConsumer]
) -> None:
    driving = Driving(lambda watch: rollouts.begin("fraud", "1.1.0", plan=plan(max_vetoes=1, soak_seconds=1), watch=watch))
    life.eventually(lambda: driving.did("soaking"))
    fleet[FOUR[0]].report_bad("answers drift")
    status = driving.ended()
    assert (status.rollout.phase, list(status.vetoed)) == (Phase.COMPLETED, [FOUR[0]])
    assert versions(fleet) == ["1.0.0", "1.1.0", "1.1.0", "1.1.0"]


def test_who_does_not_decide_in_time_has_failed(life: Life, rollouts: Rollouts, fleet: dict[str, ModelConsumer]) -> None:
    slow = threading.Event()
    fleet[FOUR[0]].validator(lambda _candidate, _manifest: slow.wait(LONG))
    try:
        status = rollouts.begin("fraud", "1.1.0", plan=plan(verdict_seconds=1))
        assert status.rollout.why == f"1 of 1 failed, 0 may: {FOUR[0]}: has not decided."
        assert (status.rollout.phase, status.undecided) == (Phase.HALTED, (FOUR[0],))
    finally:
        slow.set()


# --------------------------------------------------------------------------- others go on


def test_paused_elsewhere_the_driver_ends_and_somebody_else_goes_on(
    life: Life, rollouts: Rollouts, fleet: dict[str, ModelConsumer], signing_key: SigningKey
) -> None:
    driving = Driving(lambda watch: rollouts.begin("fraud", "1.1.0", plan=plan(soak_seconds=3600), watch=watch))
    life.eventually(lambda: driving.did("soaking"))
    Rollouts(life.road).pause("fraud", why="looking")   # without a key
    assert driving.ended().rollout.phase is Phase.PAUSED
    assert driving.seen[-1].why == "it is paused: looking"
    with pytest.raises(MisuseError, match=r"The rollout of 1\.1\.0 in production is paused"):
        rollouts.pause("fraud")
    with pytest.raises(MisuseError, match=r"1\.1\.0 is being rolled out in production: paused, 0 of 3 waves"):
        rollouts.begin("fraud", "1.1.0", plan=plan())
    with pytest.raises(MisuseError, match="-1 vetoes cannot be allowed"):
        rollouts.resume("fraud", max_vetoes=-1)
    another = Driving(lambda watch: Rollouts(life.road, order_key=signing_key).resume("fraud", watch=watch))
    life.eventually(lambda: another.did("soaking"))
    third = Driving(lambda watch: rollouts.resume("fraud", watch=watch))
    relieved = another.ended()
    assert relieved.rollout.phase is Phase.RUNNING
    assert another.seen[-1].why == f"{relieved.rollout.driver} carries it on"
    ended = rollouts.abort("fraud", why="enough")
    assert third.ended().rollout.phase is Phase.ABORTED
    assert (ended.rollout.why, ended.exit_code) == ("enough", 37)
    assert ended.went_back is not None
    assert ended.went_back.version == "1.0.0"
    life.serves(fleet[FOUR[0]], "1.0.0")
    life.eventually(lambda: rollouts.status("fraud").promoted == ())
    assert rollouts.status("fraud").failed == {}   # who went back was told to
    with pytest.raises(MisuseError, match="is aborted"):
        rollouts.resume("fraud")


def test_aborted_it_may_leave_who_has_the_release_with_it(life: Life, rollouts: Rollouts, fleet: dict[str, ModelConsumer]) -> None:
    driving = Driving(lambda watch: rollouts.begin("fraud", "1.1.0", plan=plan(soak_seconds=3600), watch=watch))
    life.eventually(lambda: driving.did("soaking"))
    assert Rollouts(life.road).abort("fraud", keeps=True).went_back is None
    driving.ended()
    assert versions(fleet) == ["1.1.0", "1.0.0", "1.0.0", "1.0.0"]


def test_a_rollout_that_went_back_or_was_left_goes_back_no_further_when_it_is_aborted(
    life: Life, rollouts: Rollouts, fleet: dict[str, ModelConsumer], signing_key: SigningKey
) -> None:
    publish(life, "1.0.1")
    for consumer in fleet.values():
        life.serves(consumer, "1.0.1")
    driving = Driving(lambda watch: rollouts.begin("fraud", "1.1.0", plan=plan(soak_seconds=3600, rolls_back=True), watch=watch))
    life.eventually(lambda: driving.did("soaking"))
    fleet[FOUR[0]].report_bad("answers drift")
    went_back = driving.ended().went_back
    assert went_back is not None
    assert went_back.version == "1.0.1"
    with pytest.raises(MisuseError, match=rf"is halted, and order {went_back.sequence} was given to the channel since"):
        rollouts.resume("fraud")
    ended = rollouts.abort("fraud")
    assert (ended.rollout.phase, ended.rollout.left_by, ended.went_back) == (Phase.ABORTED, went_back.sequence, None)
    with pytest.raises(MisuseError, match="is aborted, and order"):
        rollouts.abort("fraud")
    assert Operator(life.road, order_key=signing_key).promote("fraud", "1.0.1").was_current


def test_who_halts_goes_back_to_what_all_ran_not_to_a_release_that_halted_before(
    life: Life, rollouts: Rollouts, fleet: dict[str, ModelConsumer]
) -> None:
    for version, rolls_back in (("1.1.0", False), ("1.2.0", True)):
        publish(life, version, channel="staging")
        driving = Driving(lambda watch, version=version, rolls_back=rolls_back: rollouts.begin(   # type: ignore[misc]
            "fraud", version, plan=plan(soak_seconds=3600, rolls_back=rolls_back), watch=watch
        ))
        life.eventually(partial(driving.did, "soaking"))
        fleet[FOUR[0]].report_bad("answers drift")
        status = driving.ended()
        assert status.rollout.phase is Phase.HALTED
    assert status.went_back is not None
    assert status.went_back.version == "1.0.0"


@pytest.mark.parametrize("where", [Point.BEFORE_ORDER, Point.AFTER_ORDER])
def test_killed_between_its_records_a_wave_may_be_out_and_abort_goes_back_from_it(
    where: Point, life: Life, rollouts: Rollouts, fleet: dict[str, ModelConsumer], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(point: Point) -> None:
        if point is where:
            raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(ordering, "reach", killed)
        with pytest.raises(KeyboardInterrupt):
            rollouts.begin("fraud", "1.1.0", plan=plan())
    if where is Point.AFTER_ORDER:
        life.serves(fleet[FOUR[0]], "1.1.0")
    status = rollouts.abort("fraud", why="it was killed")
    assert status.went_back is not None
    assert status.went_back.version == "1.0.0"
    for consumer in fleet.values():
        life.serves(consumer, "1.0.0")
    with pytest.raises(Withdrawn, match="it was killed"):
        rollouts.begin("fraud", "1.1.0", plan=plan())


def test_killed_before_it_went_back_abort_may_be_called_again(
    life: Life, rollouts: Rollouts, fleet: dict[str, ModelConsumer], monkeypatch: pytest.MonkeyPatch
) -> None:
    driving = Driving(lambda watch: rollouts.begin("fraud", "1.1.0", plan=plan(soak_seconds=3600), watch=watch))
    life.eventually(lambda: driving.did("soaking"))

    def dead(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(Operator, "leave_rollout", dead)
        with pytest.raises(KeyboardInterrupt):
            rollouts.abort("fraud")
    driving.ended()
    again = rollouts.abort("fraud")
    assert again.went_back is not None
    life.serves(fleet[FOUR[0]], "1.0.0")


def test_another_order_ends_a_rollout(
    life: Life, rollouts: Rollouts, fleet: dict[str, ModelConsumer], signing_key: SigningKey
) -> None:
    driving = Driving(lambda watch: rollouts.begin("fraud", "1.1.0", plan=plan(soak_seconds=3600), watch=watch))
    life.eventually(lambda: driving.did("soaking"))
    everywhere = Operator(life.road, order_key=signing_key).promote("fraud", "1.1.0")
    assert not everywhere.was_current   # one wave is not all
    status = driving.ended()
    assert (status.rollout.phase, status.exit_code, status.rollout.left_by) == (Phase.SUPERSEDED, 38, everywhere.sequence)
    for consumer in fleet.values():
        life.serves(consumer, "1.1.0")
    with pytest.raises(MisuseError, match="is superseded"):
        rollouts.resume("fraud")


# --------------------------------------------------------------------------- what cannot be


def test_without_instances_or_a_release_or_a_key_nothing_begins(life: Life, rollouts: Rollouts, fleet: dict[str, ModelConsumer]) -> None:
    with pytest.raises(NotFound, match="No instance of fraud in elsewhere has reported lately"):
        rollouts.begin("fraud", "1.1.0", channel="elsewhere", plan=plan())
    with pytest.raises(NotFound, match=r"There is no release fraud 9\.0\.0"):
        rollouts.begin("fraud", "9.0.0", plan=plan())
    with pytest.raises(MisuseError, match="no key was given"):
        Rollouts(life.road).begin("fraud", "1.1.0", plan=plan(), watch=unwatched)
    with pytest.raises(NotFound, match="was ever rolled out gradually"):
        rollouts.status("fraud")
    with pytest.raises(NotFound, match="was ever rolled out gradually"):
        rollouts.pause("fraud")
    with pytest.raises(NotFound, match=r"1\.1\.0 was never ordered for canary"):
        rollouts.begin("fraud", "1.1.0", plan=plan(), from_channel="canary")


def test_what_all_run_already_is_rolled_out_only_if_somebody_insists(
    rollouts: Rollouts, fleet: dict[str, ModelConsumer]
) -> None:
    assert rollouts.begin("fraud", "1.1.0", plan=plan("100%")).rollout.phase is Phase.COMPLETED
    with pytest.raises(MisuseError, match=r"1\.1\.0 is what production runs already"):
        rollouts.begin("fraud", "1.1.0", plan=plan("100%"))
    assert rollouts.begin("fraud", "1.1.0", plan=plan("100%"), again=True).rollout.phase is Phase.COMPLETED


def test_a_preview_says_who_is_in_which_wave_and_orders_nothing(rollouts: Rollouts, fleet: dict[str, ModelConsumer]) -> None:
    assert rollouts.preview("fraud", plan=plan()) == [tuple(FOUR[:1]), tuple(FOUR[1:2]), tuple(FOUR[2:])]
    with pytest.raises(NotFound):
        rollouts.status("fraud")
    with pytest.raises(NotFound, match=r"There is no release fraud 9\.0\.0"):
        rollouts.preview("fraud", "9.0.0", plan=plan())
    assert versions(fleet) == ["1.0.0"] * 4
