"""What a register says of rollouts: records in, state out."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelcast.publisher.catalog import Catalog, Ordered
from modelcast.publisher.recording import record
from modelcast.publisher.rollout.plan import Amount, RolloutPlan, waves_of
from modelcast.publisher.rollout.records import OVER, Begun, Phase, Rollout, Sent, Step, Stepped
from modelcast.shared.turns import TURNS

PLAN = RolloutPlan(waves_of("1,12.5%,100%"), 1.5, 60, Amount(percent=5), 2, rolls_back=True)
BEGUN = Begun("production", 7, "ab" * 32, "1.1.0", PLAN, 1000)


def stepped(step: Step, driver: str = "me", **fields: Any) -> Stepped:
    return Stepped("production", 7, step, 2000, driver, **fields)


def order(sequence: int, **fields: Any) -> Ordered:
    return Ordered("production", sequence, "ab" * 32, 1000, order="cd" * 32, **fields)


def last(*records: Begun | Stepped | Ordered) -> Rollout:
    catalog = Catalog(each.to_bytes() for each in records)
    assert catalog.foreign == 0
    found = catalog.rollouts.last("production")
    assert found is not None
    return found


def test_a_rollout_is_read_as_it_was_written() -> None:
    found = last(BEGUN, stepped(Step.DRIVEN))
    assert (found.begun, found.plan, found.phase, found.driver) == (BEGUN, PLAN, Phase.RUNNING, "me")
    assert (found.up_to, found.sent, found.accepted, found.is_over) == (-1, {}, 0, False)


def test_waves_are_known_by_their_orders_and_accepted_in_their_turn() -> None:
    found = last(
        BEGUN, stepped(Step.DRIVEN), order(7, rollout=7, wave=0, up_to=50), stepped(Step.ACCEPTED, wave=0), stepped(Step.ACCEPTED, wave=0),
        stepped(Step.ACCEPTED, wave=2), order(8, rollout=7, wave=1, up_to=90),
    )
    assert (found.accepted, found.up_to) == (1, 90)
    assert found.sent == {0: Sent(7, 50, 1000, "cd" * 32), 1: Sent(8, 90, 1000, "cd" * 32)}
    assert last(BEGUN, order(7, rollout=7, wave=0)).up_to is None


def test_an_order_of_a_wave_is_a_change_of_it() -> None:
    sent = Ordered("production", 7, "ab" * 32, 5000, "cd" * 32, rollout=7, wave=0)
    assert (last(BEGUN).changed_ms, last(BEGUN, sent).changed_ms) == (1000, 5000)
    assert last(BEGUN, replace(sent, issued_ms=3)).changed_ms == 1000   # a clock that was behind


def test_an_order_that_may_not_have_been_sent_is_no_wave_yet() -> None:
    intended = Ordered("production", 7, "ab" * 32, 1000, rollout=7, wave=0, up_to=50)
    assert last(BEGUN, intended).sent == {}
    assert last(BEGUN, intended).may_be_out
    assert not last(BEGUN).may_be_out


def test_an_order_of_others_that_may_have_been_sent_leaves_it_behind() -> None:
    theirs = Ordered("production", 8, "cd" * 32, 1000)
    assert (last(BEGUN, stepped(Step.DRIVEN), theirs).phase, last(BEGUN, theirs).left_by) == (Phase.SUPERSEDED, 8)


@pytest.mark.parametrize(("step", "phase"), [
    (Step.PAUSED, Phase.PAUSED), (Step.HALTED, Phase.HALTED), (Step.ABORTED, Phase.ABORTED), (Step.COMPLETED, Phase.COMPLETED),
    (Step.ACCEPTED, Phase.RUNNING), (Step.DRIVEN, Phase.RUNNING),
])
def test_each_step_leads_to_its_phase(step: Step, phase: Phase) -> None:
    found = last(BEGUN, stepped(Step.DRIVEN), stepped(step, "you", why="because"))
    assert found.phase is phase
    assert found.why == ("" if step is Step.ACCEPTED else "because")
    assert found.driver == ("you" if step is Step.DRIVEN else "me")


def test_who_goes_on_may_allow_more() -> None:
    found = last(BEGUN, stepped(Step.HALTED), stepped(Step.DRIVEN, max_failures=Amount(3), max_vetoes=9))
    assert (found.phase, found.plan.max_failures, found.plan.max_vetoes) == (Phase.RUNNING, Amount(3), 9)
    assert (found.plan.waves, found.begun.plan) == (PLAN.waves, PLAN)


@pytest.mark.parametrize("over", [Step.ABORTED, Step.COMPLETED])
def test_what_is_over_stays_over(over: Step) -> None:
    found = last(BEGUN, stepped(over), stepped(Step.DRIVEN, "you"), stepped(Step.ACCEPTED, wave=0))
    assert (found.is_over, found.driver, found.accepted) == (True, "", 0)


def test_an_order_of_others_leaves_it_behind_and_an_older_one_does_not() -> None:
    assert last(order(6), BEGUN, stepped(Step.DRIVEN)).phase is Phase.RUNNING
    left = last(BEGUN, stepped(Step.DRIVEN), order(7, rollout=7, wave=0, up_to=1), order(8), order(9))
    assert (left.phase, left.left_by) == (Phase.SUPERSEDED, 8)
    halted = last(BEGUN, stepped(Step.HALTED), order(8))
    assert (halted.phase, halted.left_by) == (Phase.HALTED, 8)


def test_a_wave_up_to_a_turn_that_nobody_has_counts_as_foreign() -> None:
    catalog = Catalog([BEGUN.to_bytes(), order(7, rollout=7, wave=0, up_to=TURNS).to_bytes()])   # no order could be made of the next one
    found = catalog.rollouts.last("production")
    assert found is not None
    assert (catalog.foreign, found.sent, found.up_to) == (1, {}, -1)


def test_a_new_rollout_takes_the_place_of_the_last_and_each_channel_has_its_own() -> None:
    newer = Begun("production", 9, "ef" * 32, "1.2.0", PLAN, 3000)
    assert last(BEGUN, stepped(Step.HALTED), newer, stepped(Step.PAUSED)).phase is Phase.RUNNING   # the step was about the one before
    assert Catalog([BEGUN.to_bytes()]).rollouts.last("staging") is None


@pytest.mark.parametrize("damage", [
    {"waves": "1,100%"}, {"waves": ["1"]}, {"waves": [1]}, {"max_failures": "many"}, {"soak_ms": -1}, {"rolls_back": 1}, {"sequence": "7"},
])
def test_a_damaged_record_counts_as_foreign(damage: dict[str, object]) -> None:
    fields: dict[str, object] = {
        "channel": "production", "sequence": 7, "release": "ab" * 32, "version": "1.1.0", "at_ms": 0, "waves": ["1", "100%"], "soak_ms": 0,
        "verdict_ms": 0, "max_failures": "0", "max_vetoes": 0, "rolls_back": False,
    }
    assert Catalog([record("rollout", **fields)]).foreign == 0
    assert Catalog([record("rollout", **(fields | damage))]).foreign == 1
    step: dict[str, object] = {"channel": "production", "sequence": 7, "step": "gone", "at_ms": 0, "driver": "", "wave": None, "why": ""}
    assert Catalog([record("rollout-step", **step, max_failures=None, max_vetoes=None)]).foreign == 1
    assert Catalog([record("rollout-step", **(step | {"step": "driven"}), max_failures="x", max_vetoes=None)]).foreign == 1


@given(st.lists(st.tuples(st.sampled_from(Step), st.integers(0, 3)), max_size=12))
def test_whatever_happens_nothing_that_is_over_goes_on_and_no_wave_is_skipped(steps: list[tuple[Step, int]]) -> None:
    rollout, was_over = Rollout(BEGUN, PLAN), False
    for step, wave in steps:
        before = rollout.accepted
        rollout.add(stepped(step, wave=wave))
        assert rollout.accepted - before in {0, 1}
        assert not was_over or rollout.is_over
        was_over = rollout.phase in OVER
