"""The benchmark of several processes runs: small, once, never timed; bare and under gunicorn."""

import json
from pathlib import Path

import pytest
from tests.benchmarks import processes
from tests.benchmarks.contender import MIB

pytestmark = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="it reads Linux's own files")


@pytest.mark.torture
def test_processes_and_workers_of_gunicorn_are_measured_and_share_the_model(tmp_path: Path) -> None:
    document = processes.run(tmp_path, mebibytes=4, processes=2, swaps=2, idle_seconds=0.1)
    for values in document["values"].values():
        assert len(values["spread_ms"]) == 2
        assert len(values["follower_cpu"]) == len(values["receiver_cpu"]) == 1
        assert 3 * MIB < values["pss_mapped_bytes"] < 6 * MIB   # mapped by both, in memory once
    assert {bar["unit"] for bar in document["bars"]} == {"", "ms", "% of a core"}
    json.dumps(document)
