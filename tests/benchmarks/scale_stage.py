"""The stage of ``scale``: a node, the processes that simulate instances, an update service; the acts that are measured.

Decides how instances are spread over processes and what an act's costs are: times from the marks, CPU time of the broker, of all
instances and of the update service apart, so that the sums can be done for machines of their own. Imports players and scale_node.
"""

import json
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Self

from tests.benchmarks.players import Player
from tests.benchmarks.scale_node import Node
from tests.benchmarks.task import Mark, Task

MODULE = "tests.benchmarks.scale_role"
SETTLE_SECONDS = 3.0
"""What the broker still does after an act: closing connections, writing tables."""


@dataclass
class Stage:
    """Instances, their update service and their broker.

    Args:
        node: The broker, started.
        folder: Where stores and logs lie.
        settings: URL and keys.
        processes: How many processes simulate instances.
        label: Name of the model.
    """

    node: Node
    folder: Path
    settings: dict[str, Any]
    processes: int
    label: str
    instances: int = 0
    _crowds: list[Player] = field(default_factory=list)
    _update: Player = field(init=False)
    _count: int = 0
    _version: int = 0

    def __enter__(self) -> Self:
        self._update = Player("publish", self._task(-1), module=MODULE)
        self._crowds.extend(Player("crowd", self._task(number), module=MODULE) for number in range(self.processes))
        for player in (self._update, *self._crowds):
            player.wait_for("ready")
        return self

    def __exit__(self, *_: object) -> None:
        for player in (self._update, *self._crowds):
            player.close()

    def _task(self, number: int) -> Task:
        name = "update" if number < 0 else f"crowd-{number}"
        return Task("modelcast", number, 0, 0, "", "", str(self.folder / name), str(self.folder), self.label, self.settings)

    # ----------------------------------------------------------------- telling

    def _ask(self, players: list[Player], each: dict[int, dict[str, Any]] | None = None, **told: Any) -> list[Mark]:
        self._count += 1
        mark = f"act-{self._count}"
        for number, player in enumerate(players):
            player.tell(json.dumps({"mark": mark} | told | (each or {}).get(number, {})))
        return [player.wait_for(mark) for player in players]

    def _cpu(self) -> list[float]:
        """CPU seconds until now of the broker, of all instances, of the update service."""
        crowds, update = self._ask(self._crowds, do="look"), self._ask([self._update], do="look")
        return [self.node.cpu_seconds(), sum(mark.usage.cpu_seconds for mark in crowds), update[0].usage.cpu_seconds]

    @contextmanager
    def _costs(self, found: dict[str, Any]) -> Generator[None]:
        before = self._cpu()
        yield
        after = self._cpu()
        names = ("broker_cpu_seconds", "instances_cpu_seconds", "update_cpu_seconds")
        found.update({name: round(end - begin, 4) for name, begin, end in zip(names, before, after, strict=True)})

    # ----------------------------------------------------------------- acts

    def join(self, instances: int) -> dict[str, Any]:
        """Let so many instances be there; those that are new begin at once."""
        added, found = instances - self.instances, dict[str, Any]()
        share = {n: {"to": instances * (n + 1) // self.processes - instances * n // self.processes} for n in range(self.processes)}
        with self._costs(found):
            notes = [mark.note for mark in self._ask(self._crowds, share, do="grow")]
        begun = min(note["begun_ms"] for note in notes)
        times = sorted(at for note in notes for at in note["connected_ms"])[-added:]
        self.instances = instances
        return found | {"added": added, "seconds": (times[-1] - begun) / 1e3, "losses": sum(note["losses"] for note in notes)}

    def order(self, size: int) -> dict[str, Any]:
        """Publish a model of random bytes and wait until every instance has decided."""
        self._version += 1
        found: dict[str, Any] = {"size": size, "instances": self.instances}
        with self._costs(found):
            note = self._ask([self._update], do="publish", version=f"1.{self._version}.0", size=size, instances=self.instances)[0].note
            time.sleep(SETTLE_SECONDS)
        return found | note

    def past(self, orders: int, joins: int) -> dict[str, Any]:
        """Let instances join before and after so many orders: what each order in the history costs whoever joins."""
        before = self.join(self.instances + joins)
        for _ in range(orders):
            self._version += 1
            self._ask([self._update], do="publish", version=f"1.{self._version}.0", size=1, instances=0)
        time.sleep(SETTLE_SECONDS)
        after = self.join(self.instances + joins)
        return {"orders": orders, "joins": joins, "before": before, "after": after}

    def serve(self) -> None:
        """Wait until all instances serve what was published last."""
        if self._version:
            self._ask(self._crowds, do="serve", version=f"1.{self._version}.0")

    def idle(self, seconds: float) -> dict[str, Any]:
        """Do nothing for a while."""
        found: dict[str, Any] = {"instances": self.instances, "seconds": seconds}
        with self._costs(found):
            time.sleep(seconds)
        return found

    def beat(self, every_seconds: float, seconds: float) -> dict[str, Any]:
        """Let all instances report their state often for a while; then read what the update service reads to wait for a share."""
        stream = "modelcast.reports"
        sizes = [mark.note["report_bytes"] for mark in self._ask(self._crowds, do="beat", seconds=every_seconds)]
        bytes_before, sent_before = self.node.stream_bytes(stream), self._reports()
        found = self.idle(seconds)
        sent = self._reports() - sent_before
        stored = self.node.stream_bytes(stream) - bytes_before
        self._ask(self._crowds, do="beat", seconds=3600.0)
        return found | {"every_seconds": every_seconds, "reports": sent, "report_bytes": max(sizes), "stored_bytes": stored}

    def know(self) -> dict[str, Any]:
        """Wait for a share of all instances, which reads what they reported in the last minutes."""
        found: dict[str, Any] = {"reports_in_stream": self._reports()}
        with self._costs(found):
            found |= self._ask([self._update], do="know", share=1.0)[0].note
        return found

    def storm(self) -> dict[str, Any]:
        """Stop the node in order, start it again, and wait until all instances are connected."""
        found: dict[str, Any] = {"instances": self.instances}
        stopped_ms = time.time() * 1e3
        self.node.stop()
        self.node.start()
        up_ms, used = time.time() * 1e3, self.node.cpu_seconds()
        crowds_before = sum(mark.usage.cpu_seconds for mark in self._ask(self._crowds, do="look"))
        marks = self._ask(self._crowds, do="connected", after_ms=stopped_ms)
        times = sorted(at for mark in marks for at in mark.note["connected_ms"])
        return found | {
            "down_seconds": (up_ms - stopped_ms) / 1e3, "seconds": (times[-1] - up_ms) / 1e3,
            "median_seconds": (median(times) - up_ms) / 1e3, "losses": sum(mark.note["losses"] for mark in marks),
            "broker_cpu_seconds": self.node.cpu_seconds() - used,
            "instances_cpu_seconds": sum(mark.usage.cpu_seconds for mark in marks) - crowds_before,
        }

    def sight(self) -> dict[str, Any]:
        """Return what node and processes have now."""
        looks = [mark.note for mark in self._ask(self._crowds, do="look")]
        return {
            "instances": self.instances, **self.node.look(), "client_descriptors": sum(look["descriptors"] for look in looks),
            "client_threads": sum(look["threads"] for look in looks), "crowd_bytes": sum(mark_bytes(player) for player in self._crowds),
        }

    def _reports(self) -> int:
        return sum(mark.note["reports"] for mark in self._ask(self._crowds, do="look"))


def mark_bytes(player: Player) -> int:
    """Return the resident memory of a process."""
    from tests.benchmarks.measuring import memory_of

    return memory_of(player.pid).get("VmRSS", 0)
