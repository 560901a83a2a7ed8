"""A status is a plain value."""

import json
from dataclasses import FrozenInstanceError

import pytest

from modelcast.consumer.status import LastVerdict, Status

STATUS = Status(
    live=True, ready=True, fresh=False, state="idle", detail="Serves 1.0.0; connected.", instance="a", model="fraud",
    channel="production", last_verdict=LastVerdict("rejected", "2.0.0", "load-failed", "It did not load.", 1),
)


def test_a_status_can_be_given_out_as_json() -> None:
    told = json.loads(json.dumps(STATUS.to_dict()))
    assert (told["live"], told["detail"], told["last_verdict"]["reason"]) == (True, "Serves 1.0.0; connected.", "load-failed")
    assert set(told) == set(Status.__dataclass_fields__)


def test_a_status_does_not_change_after_it_was_given_out() -> None:
    with pytest.raises(FrozenInstanceError):
        STATUS.live = False   # type: ignore[misc]


def test_what_is_not_known_is_not_made_up() -> None:
    bare = Status(live=False, ready=False, fresh=False, state="stopped", detail="", instance="", model="m", channel="c")
    assert (bare.version, bare.connected, bare.last_contact_ms, bare.last_verdict, bare.fault) == (None, False, None, None, None)
