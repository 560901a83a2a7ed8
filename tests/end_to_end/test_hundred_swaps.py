"""After a hundred promotions an instance has the memory, the threads and the descriptors that it had after a few."""

import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.end_to_end.conftest import InstanceProcess

from modelcast.publisher import Publisher
from modelcast.shared.limits import MIB

FIRST, LAST = 10, 100
TOLERANCE_BYTES = 24 * MIB
"""Ninety models that were never freed would be 180 MiB; an allocator keeps some of what it was given back."""
PATIENCE_SECONDS = 20.0


def model(number: int) -> dict[str, object]:
    """Two MiB of small objects, and weights that are mapped."""
    return {"table": [[number, index] for index in range(15_000)], "weights": np.full((64, 1024), number, np.float64)}


def mapped(pid: int) -> int:
    """Return how many models are mapped: one, once the one before has been freed."""
    return Path(f"/proc/{pid}/maps").read_text().count("model.buffers")


def footprint(pid: int) -> dict[str, int]:
    """Return bytes of anonymous memory, threads and descriptors."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {
        "anonymous": int(fields["RssAnon"].split()[0]) * 1024, "threads": int(fields["Threads"]),
        "descriptors": len(list(Path(f"/proc/{pid}/fd").iterdir())),
    }


def wait_until(condition: Callable[[], bool]) -> bool:
    pause, waited = threading.Event(), 0.0
    while not condition() and waited < PATIENCE_SECONDS:
        pause.wait(0.05)
        waited += 0.05
    return condition()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_hundred_promotions_leave_nothing_behind(
    broker_url: str, keys: tuple[Path, Path], start_instance: Callable[..., InstanceProcess],
) -> None:
    publisher, instance = Publisher(broker_url, signing_key=keys[0]), start_instance()
    pid, after_few = instance._process.pid, dict[str, int]()
    for number in range(1, LAST + 1):
        publisher.publish(model(number), model="fraud", version=f"{number}.0.0", lineage={})
        instance.serves(f"{number}.0.0")
        if number == FIRST:
            assert wait_until(lambda: mapped(pid) == 1)
            after_few = footprint(pid)
    assert wait_until(lambda: mapped(pid) == 1)

    def is_as_before() -> bool:
        now = footprint(pid)
        return now["anonymous"] <= after_few["anonymous"] + TOLERANCE_BYTES and all(
            now[what] <= after_few[what] for what in ("threads", "descriptors")
        )

    assert wait_until(is_as_before), (after_few, footprint(pid))
