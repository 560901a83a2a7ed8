"""The life of a release in an instance, as one table: every state, every edge, and what to do on it.

Every rule about states lives here. Pure: an event goes in, the next state and an action come out; an event that has no
edge raises and changes nothing. ``docs/how-it-works.md`` draws the diagram from ``TABLE``, held together by a test.
"""

from enum import StrEnum

from modelcast.shared.errors import MisuseError


class State(StrEnum):
    """Where the release in hand is."""

    IDLE = "idle"
    AHEAD = "ahead"
    """What was announced is being received, ahead of its order."""
    RECEIVING = "receiving"
    VERIFYING = "verifying"
    LOADING = "loading"
    PROBING = "probing"
    PROMOTING = "promoting"
    STOPPED = "stopped"


class Event(StrEnum):
    """What happened."""

    ANNOUNCED = "release announced"
    AHEAD_ENDED = "nothing more to receive ahead"
    ORDER_CHOSEN = "order chosen"
    RECEIVED = "artifact received"
    VERIFIED = "artifact verified"
    LOADED = "model loaded"
    PROBED = "probes passed"
    PROMOTED = "pointer written"
    REJECTED = "sender's fault"
    FAULTED = "host's fault"
    SUPERSEDED = "a better order came"
    STOP_REQUESTED = "stop requested"


class Action(StrEnum):
    """What to do on an edge."""

    RECEIVE_AHEAD = "receive ahead"
    RECEIVE = "receive"
    VERIFY = "verify"
    LOAD = "load"
    PROBE = "probe"
    PROMOTE = "promote"
    ACCEPT = "accept"
    REJECT = "reject"
    RETRY_LATER = "retry later"
    SET_ASIDE = "set aside"
    NOTHING = "nothing"


_BUSY = (State.RECEIVING, State.VERIFYING, State.LOADING, State.PROBING)

TABLE: dict[tuple[State, Event], tuple[State, Action]] = {
    (State.IDLE, Event.ANNOUNCED): (State.AHEAD, Action.RECEIVE_AHEAD),
    (State.AHEAD, Event.AHEAD_ENDED): (State.IDLE, Action.NOTHING),
    (State.AHEAD, Event.ORDER_CHOSEN): (State.RECEIVING, Action.RECEIVE),
    (State.IDLE, Event.ORDER_CHOSEN): (State.RECEIVING, Action.RECEIVE),
    (State.RECEIVING, Event.RECEIVED): (State.VERIFYING, Action.VERIFY),
    (State.VERIFYING, Event.VERIFIED): (State.LOADING, Action.LOAD),
    (State.LOADING, Event.LOADED): (State.PROBING, Action.PROBE),
    (State.PROBING, Event.PROBED): (State.PROMOTING, Action.PROMOTE),
    (State.PROMOTING, Event.PROMOTED): (State.IDLE, Action.ACCEPT),
    (State.PROMOTING, Event.FAULTED): (State.IDLE, Action.RETRY_LATER),
    (State.PROMOTING, Event.STOP_REQUESTED): (State.STOPPED, Action.NOTHING),
    (State.IDLE, Event.STOP_REQUESTED): (State.STOPPED, Action.NOTHING),
    (State.AHEAD, Event.STOP_REQUESTED): (State.STOPPED, Action.NOTHING),
    **{(state, Event.REJECTED): (State.IDLE, Action.REJECT) for state in _BUSY},
    **{(state, Event.FAULTED): (State.IDLE, Action.RETRY_LATER) for state in _BUSY},
    **{(state, Event.SUPERSEDED): (State.IDLE, Action.SET_ASIDE) for state in _BUSY},
    **{(state, Event.STOP_REQUESTED): (State.STOPPED, Action.NOTHING) for state in _BUSY},
}


def step(state: State, event: Event) -> tuple[State, Action]:
    """Return the next state and the action for an event.

    Raises:
        MisuseError: The table has no such edge.
    """
    try:
        return TABLE[state, event]
    except KeyError:
        raise MisuseError(f"Nothing is planned for '{event}' while {state}.") from None


def mermaid() -> str:
    """Return the table as a Mermaid state diagram, for the docs."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.IDLE}"]
    lines += [f"    {state} --> {after}: {event} / {action}" for (state, event), (after, action) in TABLE.items()]
    return "\n".join([*lines, f"    {State.STOPPED} --> [*]"])
