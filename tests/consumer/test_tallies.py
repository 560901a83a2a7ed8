"""What is counted adds up, and reading it while it is written finds whole values."""

import threading
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelcast.consumer.tallies import AMOUNTS, BUCKETS, STAGES, Durations, Tallies
from modelcast.shared.reasons import Reason
from modelcast.shared.report import Verdict


@given(st.lists(st.floats(0, 2000)))
def test_every_duration_is_in_the_first_bucket_that_holds_it(seconds: list[float]) -> None:
    durations = Durations()
    for each in seconds:
        durations = durations.and_one_of(each)
    assert durations.up_to() == [(bound, sum(each <= bound for each in seconds)) for bound in (*BUCKETS, float("inf"))]
    assert durations.seconds == pytest.approx(sum(seconds))


def test_all_that_can_be_counted_stands_there_before_it_happens() -> None:
    tallies = Tallies()
    assert set(tallies.verdicts) == {("promoted", ""), ("superseded", ""), ("deferred", ""), *(("rejected", reason.value) for reason in Reason)}
    assert set(tallies.durations) == set(STAGES)
    assert not sum(tallies.verdicts.values()) + sum(tallies.amounts.values()) + sum(tallies.fetched_bytes.values())


@given(st.lists(st.sampled_from([*Verdict, None])))
def test_failures_in_a_row_end_with_a_promotion(events: list[Verdict | None]) -> None:
    tallies, expected = Tallies(), 0
    for event in events:
        if event is None:
            tallies.put_off()
        else:
            tallies.decided(event.value, "load-failed" if event is Verdict.REJECTED else None)
        expected = 0 if event is Verdict.PROMOTED else expected + (event not in {Verdict.SUPERSEDED, Verdict.DEFERRED})
    assert tallies.failures == expected
    assert tallies.retries == events.count(None)
    assert sum(tallies.verdicts.values()) == len(events) - tallies.retries


def test_the_work_of_attempts_is_summed_up_by_the_road_that_it_came_over() -> None:
    tallies = Tallies()
    amounts: dict[str, int | str] = dict.fromkeys(AMOUNTS, 2)
    tallies.worked({"received": 1500.0, "loaded": 5.0}, amounts | {"fetched_bytes": 10, "source": "stream", "ahead_bytes": 3})
    tallies.worked({"received": 500.0}, amounts | {"fetched_bytes": 5, "source": "amqp, http"})
    tallies.worked({}, amounts | {"fetched_bytes": 0})
    tallies.worked({"loaded": 5.0}, {})
    assert tallies.fetched_bytes == {"amqp": 0, "file": 0, "http": 0, "stream": 10, "amqp, http": 5}
    assert tallies.amounts == dict.fromkeys(AMOUNTS, 6)
    assert (tallies.durations["received"].seconds, tallies.durations["loaded"].up_to()[0]) == (2.0, (0.01, 2))


def test_what_nobody_knew_of_when_this_was_written_is_counted_all_the_same() -> None:
    tallies = Tallies()
    tallies.worked({"polished": 1.0}, {"source": "pigeon", "fetched_bytes": 1})
    tallies.decided("rejected", "new-reason")
    assert (tallies.durations["polished"].seconds, tallies.fetched_bytes["pigeon"], tallies.verdicts["rejected", "new-reason"]) == (0.001, 1, 1)


def test_who_reads_while_it_is_written_finds_sums_that_fit_their_counts() -> None:
    tallies, is_done, wrong = Tallies(), threading.Event(), list[object]()

    def read() -> None:
        while not is_done.is_set():
            found = replace(tallies.durations["loaded"])
            if sum(found.counts) != found.seconds:
                wrong.append(found)
            sum(dict(tallies.fetched_bytes).values())

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(5_000):
        tallies.worked({"loaded": 1000.0}, {"fetched_bytes": 1, "source": f"road {number}"})
    is_done.set()
    reader.join()
    assert not wrong
    assert tallies.durations["loaded"].up_to()[-1][1] == 5_000
