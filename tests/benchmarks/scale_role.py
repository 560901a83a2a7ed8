"""The processes of ``scale``: ``crowd`` simulates many instances, ``publish`` publishes and waits for their verdicts.

Every simulated instance is a whole one: a consumer with its store, its threads, its connections. What is told comes as a line of
JSON, what was seen goes back as a mark. Decides how moments are seen from outside; looks inside the consumer for that, and to
set the pause between two reports of the state while it runs. Imports task.
"""

import json
import logging
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.benchmarks.measuring import now_ns
from tests.benchmarks.task import Mark, Task

PATIENCE_SECONDS = 300.0
POLL_SECONDS = 0.02
STACK_BYTES = 512 * 1024
"""A thread's stack: address space, not memory, but a thousand threads add up."""
QUIET_SECONDS = 3600.0


class Crowd:
    """The instances that one process simulates.

    Args:
        task: What the process is told; ``task.number`` is the first part of the instances' names.
    """

    def __init__(self, task: Task) -> None:
        self._task, self._members = task, list[Any]()
        self._reports = 0

    def grow(self, to: int) -> dict[str, Any]:
        """Start instances until there are so many, and wait until all are connected."""
        from modelcast.consumer import ModelConsumer
        from modelcast.consumer.policy import Timing

        server, begun_ms = self._task.server, time.time() * 1e3
        for number in range(len(self._members), to):
            name = f"p{self._task.number}-{number}"
            member = ModelConsumer(
                server["url"], model=self._task.label, trust=[server["trust"]], store=Path(self._task.folder) / name, instance=name,
                timing=Timing(heartbeat_seconds=QUIET_SECONDS),
            )
            member.start()
            self._members.append(member)
        return {"begun_ms": begun_ms} | self.connected(0)

    def connected(self, after_ms: float) -> dict[str, Any]:
        """Wait until every instance has connected after a moment; return when each did, and how often they failed before."""
        self._await(lambda: all((courier.connected_since_ms or 0) > after_ms for courier in self._couriers()))
        return {
            "connected_ms": [courier.connected_since_ms for courier in self._couriers()],
            "losses": sum(courier.losses for courier in self._couriers()),
        }

    def serve(self, version: str) -> dict[str, Any]:
        """Wait until every instance serves a version."""
        self._await(lambda: all(member.status().version == version for member in self._members))
        return {}

    def beat(self, seconds: float) -> dict[str, Any]:
        """Let every instance report its state so often, beginning within that time; returns the bytes of a report."""
        from modelcast.consumer.reporting import now_ms

        def counted() -> int:
            self._reports += 1
            return now_ms()

        sizes = []
        for number, courier in enumerate(self._couriers()):
            sizes.append(len(courier.reporter.state(courier.verdicts.slot.active)))
            courier.reporter = replace(courier.reporter, clock_ms=counted)
            courier.timing = replace(courier.timing, heartbeat_seconds=seconds)
            courier._next_state = time.monotonic() + seconds * (1 + number / max(1, len(self._members)))
        return {"report_bytes": max(sizes, default=0)}

    def look(self) -> dict[str, Any]:
        """Return how many descriptors and threads this process has, and how many reports of the state were sent."""
        return {"descriptors": len(os.listdir("/proc/self/fd")), "threads": threading.active_count(), "reports": self._reports}

    def end(self) -> dict[str, Any]:
        """Stop all instances."""
        for member in self._members:
            member.stop(0)
        return {}

    def _couriers(self) -> list[Any]:
        return [member._running.role.courier for member in self._members]

    @staticmethod
    def _await(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError("instances did not get there in time")
            time.sleep(POLL_SECONDS)


class Update:
    """The update service.

    Args:
        task: What the process is told.
    """

    def __init__(self, task: Task) -> None:
        from modelcast.publisher import Publisher

        self._task = task
        self._publisher = Publisher(task.server["url"], signing_key=task.server["key"])
        self._last: Any = None

    def publish(self, version: str, size: int, instances: int) -> dict[str, Any]:
        """Publish random bytes, and wait for the verdicts of all instances if there are any."""
        model, called_ns, verdicts = {"weights": os.urandom(size)}, now_ns(), list[int]()
        self._last = self._publisher.publish(model, model=self._task.label, version=version, lineage={}, dependencies={})
        published_ns = now_ns()
        if not instances:
            return {"publish_seconds": (published_ns - called_ns) / 1e9}
        outcome = self._publisher.wait(
            self._last, instances=instances, timeout_seconds=PATIENCE_SECONDS, on_verdict=lambda _report: verdicts.append(now_ns())
        )
        after = [(at_ns - called_ns) / 1e9 for at_ns in verdicts]
        reports = outcome.promoted.values()
        return {
            "ok": outcome.ok, "rejected": len(outcome.rejected), "publish_seconds": (published_ns - called_ns) / 1e9,
            "first_seconds": after[0], "median_seconds": after[len(after) // 2], "last_seconds": after[-1],
            "wire_bytes": self._last.wire_bytes, "sources": sorted({str(report.transfer.get("source")) for report in reports}),
        }

    def look(self) -> dict[str, Any]:
        """Return nothing: the mark says what was used."""
        return {}

    def know(self, share: float) -> dict[str, Any]:
        """Wait for a share of the known instances: read what was reported in the last minutes."""
        begun_ns = now_ns()
        outcome = self._publisher.wait(self._last, share=share, timeout_seconds=PATIENCE_SECONDS)
        return {"seconds": (now_ns() - begun_ns) / 1e9, "promoted": len(outcome.promoted), "silent": len(outcome.silent)}


def obey(actor: Crowd | Update) -> Iterator[Mark]:
    """Do what is told until the harness says the end, or is gone."""
    yield Mark.now("ready")
    for line in iter(sys.stdin.readline, ""):
        if line.strip() == "end":
            return
        told = json.loads(line)
        name, mark = told.pop("do"), told.pop("mark")
        yield Mark.now(mark, **getattr(actor, name)(**told))


def main() -> None:
    """Play the role."""
    import structlog

    role, text = sys.argv[1:3]
    channel, sys.stdout = sys.stdout, sys.stderr   # whatever a library prints must not look like a mark
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    threading.stack_size(STACK_BYTES)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    actor = (Crowd if role == "crowd" else Update)(Task.from_json(text))
    for mark in obey(actor):
        print(mark.to_json(), file=channel, flush=True)
    if isinstance(actor, Crowd):
        actor.end()
    os._exit(0)   # hundreds of goodbyes are no part of what is measured


if __name__ == "__main__":
    main()
