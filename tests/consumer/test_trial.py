"""A trial: dropped only when asked, and timed also when a step fails."""

import pytest
from tests.fakes.publisher_sim import PublisherSimulator

from modelcast.consumer.trial import Dropped, Trial
from modelcast.consumer.trust import open_order
from modelcast.shared.signing import KeyRing, SigningKey


@pytest.fixture
def trial(signing_key: SigningKey, key_ring: KeyRing) -> Trial:
    sim = PublisherSimulator(None, signing_key)
    return Trial(open_order(sim.order(sim.release("1.0.0")), key_ring, model="fraud", channel="production"))


def test_a_trial_goes_on_until_it_is_dropped(trial: Trial) -> None:
    trial.check()
    trial.dropped = True
    with pytest.raises(Dropped):
        trial.check()


def test_a_stage_is_timed_in_milliseconds_also_when_it_fails(trial: Trial) -> None:
    with trial.timed("good"):
        pass
    with pytest.raises(ValueError, match="boom"), trial.timed("bad"):
        raise ValueError("boom")
    assert list(trial.stages_ms) == ["good", "bad"]
    assert all(0 <= duration < 1000 for duration in trial.stages_ms.values())


def test_each_stage_knows_when_it_was_begun(trial: Trial) -> None:
    for stage in ("first", "second"):
        with trial.timed(stage):
            pass
    assert trial.begun <= trial.begins["first"] <= trial.begins["second"]
