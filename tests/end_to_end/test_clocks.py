"""Clocks that jump or are wrong: what is decided by time is decided as the host's clock says, and nothing waits by it."""

import time
from pathlib import Path

import pytest
from tests.end_to_end.harness import Harness

DAY = 86_400


def _set(clock: Path, seconds: int) -> None:
    """Put an instance's clock off, at once: one that reads while a file is being written would read nothing."""
    written = clock.with_suffix(".new")
    written.write_text(str(seconds))
    written.replace(clock)


def test_a_clock_that_jumps_by_a_day_changes_nothing(broker_url: str, run: Harness, tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    instance = run.joined("one", broker_url, clock=clock)
    for seconds in (0, DAY, -DAY, 10 * 365 * DAY, 0):
        _set(clock, seconds)
        publication = run.publish(broker_url)
        status = instance.serves(publication.version)
        assert (status["live"], status["fresh"], status["reconnects"], status["fault"]) == (True, True, 0, None)
    run.finish(broker_url)


def test_an_order_that_expired_by_the_hosts_clock_is_refused_and_says_by_how_much(broker_url: str, run: Harness, tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    instance = run.joined("one", broker_url, clock=clock)
    run.publish(broker_url)
    instance.serves("1.1.0")
    _set(clock, DAY)
    late = run.publish(broker_url, expires_seconds=3600)
    status = instance.wait_for(lambda status: status["rejected"] == 1, "a refusal")
    assert (status["version"], status["last_verdict"]["reason"]) == ("1.1.0", "expired")
    assert status["last_verdict"]["message"].startswith("The order expired 82")   # a day less an hour: 82800 s
    run.evidence.attempts[late.version].is_good = False   # this host was right to refuse it
    _set(clock, 0)
    run.finish(broker_url)


@pytest.mark.parametrize("seconds", [DAY, -DAY, 40 * 365 * DAY], ids=["a day ahead", "a day behind", "forty years ahead"])
def test_a_publisher_whose_clock_was_wrong_does_not_lock_out_the_next(
    broker_url: str, run: Harness, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    instance = run.joined("one", broker_url)
    run.publish(broker_url)
    wall_ns = time.time_ns
    with monkeypatch.context() as wrong:
        wrong.setattr(time, "time_ns", lambda: wall_ns() + seconds * 1_000_000_000)
        amiss = run.publish(broker_url)
    instance.serves(amiss.version)
    right = run.publish(broker_url)
    instance.serves(right.version)
    assert right.sequence == amiss.sequence + 1 or (seconds < 0 and right.sequence > amiss.sequence)
    run.finish(broker_url)
