"""Probation: a model that fails too many of its first requests is taken out, once; after that nothing is counted."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.specimens import manifest
from tests.fakes.stage import LONG, Doubler, Stage

from modelcast.consumer.active import ActiveModel
from modelcast.consumer.probation import Probation, Watch
from modelcast.shared.errors import MisuseError
from modelcast.shared.report import Verdict


def active(generation: int) -> ActiveModel:
    return ActiveModel("model", "1.0.0", "ab" * 32, manifest(), generation)


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_too_many_failures_end_it_once_and_say_how_many() -> None:
    watch = Watch(Probation(max_error_rate=0.1, min_requests=10), Time())
    said = [watch.record(active(1), ok=number % 5 != 0) for number in range(30)]
    assert [text for text in said if text] == ["3 of 11 requests failed on probation; 0.1 is the share that ends it."]


def test_a_few_failures_among_many_requests_are_no_breach() -> None:
    watch = Watch(Probation(requests=500, max_error_rate=0.05, min_requests=20), Time())
    assert not any(watch.record(active(1), ok=number % 50 != 49) for number in range(600))


def test_after_the_time_or_the_requests_nothing_is_counted() -> None:
    time = Time()
    watch = Watch(Probation(seconds=10, requests=30, min_requests=5), time)
    assert watch.record(active(1), ok=True) is None
    time.now = 11
    assert not any(watch.record(active(1), ok=False) for _ in range(50))
    assert not any(watch.record(active(2), ok=True) for _ in range(30))
    assert not any(watch.record(active(2), ok=False) for _ in range(50))


def test_each_model_has_a_probation_of_its_own_and_late_answers_of_the_one_before_do_not_count() -> None:
    watch = Watch(Probation(min_requests=3), Time())
    assert not any(watch.record(active(1), ok=False) for _ in range(2))
    watch.record(active(2), ok=True)
    assert not any(watch.record(active(1), ok=False) for _ in range(10))
    assert watch.record(active(2), ok=False) is None
    assert watch.record(active(2), ok=False) is not None


@given(st.lists(st.booleans(), max_size=80), st.integers(1, 30), st.floats(0.01, 1))
def test_it_ends_when_the_rule_says_so_and_never_otherwise(answers: list[bool], least: int, rate: float) -> None:
    watch, failed = Watch(Probation(requests=100, max_error_rate=rate, min_requests=least), Time()), 0
    for count, ok in enumerate(answers, 1):
        failed += not ok
        is_due = not ok and count >= least and failed >= rate * count
        assert (watch.record(active(1), ok=ok) is not None) == is_due
        if is_due:
            return


@pytest.mark.parametrize("options", [
    {"seconds": 0}, {"requests": 0}, {"max_error_rate": 0}, {"max_error_rate": 1.1}, {"min_requests": 0}, {"min_requests": 5, "requests": 4},
    {"seconds": float("nan")},
])
def test_a_rule_that_cannot_be_kept_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(MisuseError, match="cannot be kept"):
        Probation(**options)   # type: ignore[arg-type]


@pytest.fixture
def stage(tmp_path: Path, signing_key) -> Iterator[Stage]:
    stage = Stage(tmp_path, signing_key)
    yield stage
    stage.stop()


def test_a_model_that_fails_its_first_requests_gives_way_to_the_one_before_by_itself(stage: Stage) -> None:
    consumer = stage.joined(probation=Probation(min_requests=10, max_error_rate=0.5))
    for version in ("1.0.0", "1.1.0"):
        stage.sim.publish(stage.sim.pickled(version, Doubler(2.0)))
        stage.serves(consumer, version)
    for _ in range(5):
        consumer.record(ok=True)
    served = consumer.active

    def fails() -> None:
        for _ in range(20):
            consumer.record(ok=False, active=served)

    threads = [threading.Thread(target=fails) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    stage.eventually(lambda: consumer.active.version == "1.0.0")
    stage.eventually(lambda: [report for report in stage.reports() if report.verdict is Verdict.REJECTED])
    (refusal,) = [report for report in stage.reports() if report.verdict is Verdict.REJECTED]
    assert (refusal.version, refusal.reason) == ("1.1.0", "reported-bad")
    assert "requests failed on probation" in (refusal.message or "")


def test_without_a_rule_nothing_is_counted(stage: Stage) -> None:
    consumer = stage.joined()
    consumer.record(ok=False)   # nothing is in service either
    stage.sim.publish(stage.sim.pickled("1.0.0", Doubler(2.0)))
    stage.serves(consumer, "1.0.0")
    for _ in range(100):
        consumer.record(ok=False)
    assert consumer.active.version == "1.0.0"
