"""The table of states: whatever happens, a model is promoted only after every check, in their order."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from modelcast.consumer.lifecycle import TABLE, Action, Event, State, mermaid, step
from modelcast.shared.errors import MisuseError

CHECKS = [Action.RECEIVE, Action.VERIFY, Action.LOAD, Action.PROBE]
LONGEST = 8
OUTCOMES = {Action.ACCEPT, Action.REJECT, Action.RETRY_LATER, Action.SET_ASIDE}


def paths() -> list[list[Action]]:
    """The actions of every legal path from IDLE of up to ``LONGEST`` events."""
    found: list[list[Action]] = []
    ahead: list[tuple[State, list[Action]]] = [(State.IDLE, [])]
    while ahead:
        state, actions = ahead.pop()
        found.append(actions)
        if len(actions) < LONGEST:
            ahead += [(after, [*actions, action]) for (before, _), (after, action) in TABLE.items() if before is state]
    return found


def test_exactly_one_edge_promotes() -> None:
    assert [edge for edge, (_, action) in TABLE.items() if action is Action.PROMOTE] == [(State.PROBING, Event.PROBED)]


def test_every_promotion_comes_right_after_all_checks_in_their_order() -> None:
    promoting = [(path, at) for path in paths() for at, action in enumerate(path) if action is Action.PROMOTE]
    assert promoting
    for path, at in promoting:
        assert path[at - 4 : at] == CHECKS


def test_only_what_was_promoted_is_accepted() -> None:
    for path in paths():
        for at, action in enumerate(path):
            assert action is not Action.ACCEPT or path[at - 1] is Action.PROMOTE


def test_every_state_can_be_reached_and_every_state_but_the_last_can_be_left() -> None:
    reached = {State.IDLE} | {after for after, _ in TABLE.values()}
    assert reached == set(State)
    assert {before for before, _ in TABLE} == set(State) - {State.STOPPED}


def test_every_event_and_every_action_is_used() -> None:
    assert {event for _, event in TABLE} == set(Event)
    assert {action for _, action in TABLE.values()} == set(Action)


def test_a_promotion_that_was_begun_is_neither_rejected_nor_superseded() -> None:
    """The pointer may be on disk already; going back would need a second commit."""
    left = {event for (state, event) in TABLE if state is State.PROMOTING}
    assert left == {Event.PROMOTED, Event.FAULTED, Event.STOP_REQUESTED}


def test_every_way_out_of_work_says_what_became_of_the_order() -> None:
    for (before, event), (after, action) in TABLE.items():
        assert after is not State.IDLE or action in OUTCOMES or before is State.AHEAD, event


def test_receiving_ahead_leads_to_no_check_but_by_an_order() -> None:
    left = {event: after for (before, event), (after, _) in TABLE.items() if before is State.AHEAD}
    assert left == {
        Event.ORDER_CHOSEN: State.RECEIVING, Event.AHEAD_ENDED: State.IDLE, Event.STOP_REQUESTED: State.STOPPED,
    }


@pytest.mark.parametrize(
    ("state", "event"), [(s, e) for s in State for e in Event if (s, e) not in TABLE], ids=lambda value: value.name.lower()
)
def test_an_edge_that_is_not_in_the_table_raises(state: State, event: Event) -> None:
    before = dict(TABLE)
    with pytest.raises(MisuseError, match=str(event)) as raised:
        step(state, event)
    assert str(state) in str(raised.value)
    assert before == TABLE


def test_the_diagram_shows_every_edge_and_nothing_else() -> None:
    lines = mermaid().splitlines()
    assert lines[0] == "stateDiagram-v2"
    edges = {f"    {before} --> {after}: {event} / {action}" for (before, event), (after, action) in TABLE.items()}
    assert set(lines[1:]) == edges | {"    [*] --> idle", "    stopped --> [*]"}
    assert len(lines) == len(TABLE) + 3


class AnyLife(RuleBasedStateMachine):
    """Any events in any order, as a shell with bugs would send them."""

    def __init__(self) -> None:
        super().__init__()
        self.state = State.IDLE
        self.passed: list[Action] = []
        self.has_stopped = False

    @rule(event=st.sampled_from(Event))
    def something_happens(self, event: Event) -> None:
        before = self.state
        try:
            self.state, action = step(self.state, event)
        except MisuseError:
            assert (before, event) not in TABLE
            return
        assert not self.has_stopped
        if action is Action.PROMOTE:
            assert self.passed == CHECKS
        self.passed = [*self.passed, action] if action in CHECKS else []
        self.has_stopped = self.state is State.STOPPED

    @precondition(lambda self: self.state not in {State.STOPPED, State.PROMOTING})
    @rule()
    def it_can_always_be_stopped(self) -> None:
        assert step(self.state, Event.STOP_REQUESTED) == (State.STOPPED, Action.NOTHING)

    @invariant()
    def what_was_passed_is_a_prefix_of_the_checks(self) -> None:
        assert self.passed == CHECKS[: len(self.passed)]


TestAnyLife = AnyLife.TestCase
