"""What an application accepts when it says nothing, and how long things may take."""

import math
from dataclasses import FrozenInstanceError, fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelcast.consumer.policy import BUILT_IN_FORMATS, Collector, Dependencies, Loading, Policy, Timing, pause_seconds
from modelcast.shared.errors import MisuseError
from modelcast.shared.limits import DEFAULT_LIMITS
from modelcast.shared.names import Version


def test_any_version_and_every_built_in_format_is_accepted_unless_the_application_says_otherwise() -> None:
    policy = Policy()
    assert policy.accept.allows(Version("0.0.1"))
    assert policy.accept.allows(Version("99.0.0-rc.1"))
    assert policy.formats == BUILT_IN_FORMATS
    assert policy.dependencies is Dependencies.MINOR
    assert policy.max_artifact_bytes == DEFAULT_LIMITS.artifact_bytes


def test_a_policy_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Policy().formats = ()   # type: ignore[misc]


def test_every_duration_has_its_unit_in_its_name_and_is_positive() -> None:
    for field in fields(Timing):
        assert field.name.endswith("_seconds")
        assert getattr(Timing(), field.name) > 0


def test_knowledge_outlives_a_heartbeat() -> None:
    timing = Timing()
    assert timing.fresh_seconds > timing.heartbeat_seconds
    assert timing.retry_first_seconds < timing.retry_most_seconds


def test_a_load_changes_nothing_for_good_in_the_process_unless_the_application_asks() -> None:
    assert Loading().collector == Collector.PAUSE
    assert Loading().check_memory


@pytest.mark.parametrize("seconds", [-1.0, float("nan")])
def test_a_shortage_that_lasts_no_time_at_all_is_refused(seconds: float) -> None:
    with pytest.raises(MisuseError, match="not possible"):
        Loading(shortage_seconds=seconds)


def test_a_rule_for_the_collector_that_nobody_knows_is_refused() -> None:
    assert [Loading(collector=rule).collector for rule in Collector] == ["leave", "pause", "freeze"]
    with pytest.raises(MisuseError, match="'never' is no rule") as raised:
        Loading(collector="never")
    assert raised.value.hint == "Use one of leave, pause, freeze."


@given(count=st.integers(1, 100), first=st.floats(0.001, 10), most=st.floats(0.001, 100))
def test_pauses_double_up_to_their_bound_and_are_never_zero(count: int, first: float, most: float) -> None:
    bound = min(most, first * 2 ** min(count - 1, 16))
    seconds = pause_seconds(Timing(retry_first_seconds=first, retry_most_seconds=most), count)
    assert bound / 4 <= seconds <= bound or math.isclose(seconds, bound)


def test_pauses_differ_so_that_a_fleet_does_not_come_back_at_once() -> None:
    assert len({pause_seconds(Timing(), 5) for _ in range(20)}) > 10
