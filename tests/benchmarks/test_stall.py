"""The benchmarks of stalls and of memory run: small, once, never timed."""

import json
from pathlib import Path
from threading import Event

import pytest
from tests.benchmarks import memory, page, stall
from tests.benchmarks.contender import MIB
from tests.benchmarks.pauses import Pauses, overlap
from tests.benchmarks.stall_watch import Watch


@pytest.mark.torture
def test_a_serving_thread_is_watched_through_all_phases(tmp_path: Path) -> None:
    plan = stall.Plan(["objects"], ["modelcast", "naive"], ["full", "steady"], MIB, 2_000, 1, "pause", False, tmp_path)
    document = stall.run(plan)
    json.dumps(document)
    assert [(row["mode"], row["way"]) for row in document["measurements"]] == [
        (mode, way) for mode in ("full", "steady") for way in ("modelcast", "naive")
    ]
    for row in document["measurements"]:
        assert row["requests"] > 100
        assert row["p50_ms"] <= row["p99_ms"] <= row["p99.9_ms"] <= row["longest_ms"]
        assert row["longest_with_a_core_ms"] <= row["longest_ms"]
        assert "load" in row["phases_ms"]
    assert "2,000 entries" in stall.tables(document)[0][0]
    assert "| modelcast | full speed |" in page.body("stall", document)
    assert not list(tmp_path.iterdir())


def test_a_request_that_takes_long_is_noted_with_what_it_was_spent_on() -> None:
    reached = Event()

    def serve(number: int) -> object:
        if number == 100:
            sum(range(1_000_000))
            reached.set()
        return self_same

    self_same = object()
    with Watch(serve, 0) as watch:
        assert reached.wait(20)
    found = watch.result({"all": (0, 2**63)})
    own = max(gap["own_work_ms"] for gap in found["longest_gaps"])
    assert own > 1
    assert found["longest_ms"] >= own / 2   # a clock of its own, which counts pauses of the machine as well
    assert all(gap["phase"] == "all" for gap in found["longest_gaps"])
    assert watch.swaps == []


def test_what_of_a_gap_lies_in_pauses_of_the_machine_is_counted_for_the_core_that_had_most() -> None:
    assert overlap([(0, 10), (20, 30)], 5, 25) == 10
    pauses = Pauses()
    pauses.by_core = [[(0, 10)], [(4, 30)], []]
    assert pauses.within(5, 20) == 15
    with Pauses() as watched:
        pass
    assert watched.is_watching == bool(watched.by_core)


@pytest.mark.torture
def test_the_memory_of_an_instance_is_watched(tmp_path: Path) -> None:
    document = memory.run(tmp_path, [1])
    assert [row["what"] for row in document["measurements"]] == ["files", "arrays"]
    assert all(row["most_mib"] > 0 for row in document["measurements"])   # looked at now and then, so "after" may be more
    assert "| 1 | files |" in page.body("memory", document)
    json.dumps(document)
