"""The measurement of many instances runs: few of them, once, never timed; and its arithmetic is arithmetic."""

import json
from pathlib import Path

import pytest
from tests.benchmarks.contender import MIB
from tests.benchmarks.scale import Plan, run
from tests.benchmarks.scale_tables import fleet_lines, slope, units


@pytest.mark.torture
def test_instances_join_decide_idle_and_come_back_after_a_restart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = Plan([1, 2], 1, 1, idle_seconds=1.0, beat_seconds=0.2, storms=2, past=2, bulk_counts=[2], bulk_bytes=MIB, options="", directory=tmp_path)
    document = run(plan)
    point = document["points"][-1]
    assert (point["sight"]["connections"], point["sight"]["channels"]) == (4, 6)
    assert all(order["ok"] for order in [*point["orders"], *document["bulk"]])
    assert document["storms"][0]["losses"] > 0
    assert document["beat"]["reports"] > 0
    assert document["know"]["promoted"] == 2
    cost = units(document)
    assert (round(cost.connections), round(cost.queues)) == (2, 1)
    assert fleet_lines(cost)[0][1:] == ["200", "2,000", "20,000"]
    json.dumps(document)
    assert "What one costs" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())   # nothing is left on the disk


def test_a_slope_is_what_one_more_adds_and_nothing_when_there_is_only_one_number() -> None:
    assert slope([(1, 10.0), (10, 28.0), (100, 208.0)]) == pytest.approx(2.0)
    assert slope([(5, 3.0)]) == 0.0
