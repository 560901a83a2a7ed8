"""The benchmarks of stalls and of memory run: small, once, never timed."""

import json
from pathlib import Path

from tests.benchmarks import memory, stall
from tests.benchmarks.contender import MIB


def test_a_serving_thread_is_watched_through_all_phases(tmp_path: Path) -> None:
    plan = stall.Plan(["objects"], ["modelcast", "naive"], ["full", "steady"], MIB, 2_000, 1, "pause", False, 0, tmp_path)
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
    assert not list(tmp_path.iterdir())


def test_the_memory_of_an_instance_is_watched(tmp_path: Path) -> None:
    document = memory.run(tmp_path, [1])
    assert [row["what"] for row in document["measurements"]] == ["files", "arrays"]
    assert all(row["most_mib"] > 0 for row in document["measurements"])   # looked at now and then, so "after" may be more
    json.dumps(document)
