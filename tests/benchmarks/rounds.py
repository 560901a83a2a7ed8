"""One round: one contender, one size, so many instances; started, timed from ``publish()`` to the last instance, cleaned up.

Decides when the clock starts and ends and whose resources are whose. Imports players, measuring, ground and contender.
"""

import contextlib
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tests.benchmarks.contender import MIB, Contender
from tests.benchmarks.ground import Ground, touch_memory
from tests.benchmarks.measuring import AnonymousPeak, cpu_seconds_of, memory_of, reset_peak
from tests.benchmarks.players import Player
from tests.benchmarks.task import Mark, Task

GIB = 1024**3
MANY = 8
"""From so many instances on their memory is looked at less often, so that looking costs nothing."""


@dataclass(frozen=True)
class Measurement:
    """What one round gave.

    Attributes:
        contender: Name of the contender.
        size: Bytes of the artifact.
        instances: How many.
        round: Number of the round.
        verified_seconds: From ``publish()`` called to verified on disk at the last instance.
        promoted_seconds: The same to promoted, where there is such a thing.
        mean_verified_seconds: The mean of the instances.
        publisher_cpu_seconds: Publisher's CPU from call to return.
        server_cpu_seconds: Broker's or server's CPU from call to the last verified.
        instance_cpu_seconds: CPU of all instances together, from ready to verified.
        publisher_peak_bytes: Its most resident bytes above what it had when it called.
        server_peak_bytes: The server's most resident bytes, all of them.
        instance_peak_bytes: Most resident bytes above the idle process until verified, mapped files included; the largest of the
            instances.
        instance_loaded_bytes: The same until promoted: the pages of the mapped model that were read by then count as well.
        instance_anonymous_bytes: The same of memory that is not a mapped file, until promoted, looked at from outside.
        publisher_faults: Minor page faults of the publisher.
        instance_faults: Minor page faults of all instances together.
        note: Other facts.
    """

    contender: str
    size: int
    instances: int
    round: int
    verified_seconds: float
    promoted_seconds: float | None
    mean_verified_seconds: float
    publisher_cpu_seconds: float
    server_cpu_seconds: float
    instance_cpu_seconds: float
    publisher_peak_bytes: int
    server_peak_bytes: int
    instance_peak_bytes: int
    instance_loaded_bytes: int
    instance_anonymous_bytes: int
    publisher_faults: int
    instance_faults: int
    note: dict[str, Any]

    @property
    def delivered_bytes(self) -> int:
        """Bytes that reached instances."""
        return self.size * self.instances

    @property
    def sum_rate(self) -> float:
        """MB/s (10^6 bytes) of all instances together."""
        return self.delivered_bytes / self.verified_seconds / 1e6

    def to_plain(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def measure(contender: Contender, ground: Ground, *, size: int, instances: int, number: int) -> Measurement:
    """Play one round.

    Raises:
        RoundFailed: A process of it failed.
    """
    server = contender.server.start(ground.path / type(contender.server).__name__.lower())
    label = f"{contender.name}-{size // MIB}m-{instances}-{number}"
    folder = ground.path / label
    folder.mkdir()
    source = ground.source(size)
    tasks = [
        Task(
            contender.name, index, instances, size, str(source.path), source.sha256, str(folder / f"p{index}"), str(folder), label, server
        )
        for index in range(-1, instances)
    ]
    players: list[Player] = []
    try:
        players.append(Player("publish", tasks[0]))
        players[0].wait_for("ready")
        players.extend(Player("receive", task) for task in tasks[1:])
        return _timed(contender, players, server.get("pid"), size, number)
    finally:
        for player in players:
            player.close()
        with contextlib.suppress(Exception):   # the server may be what failed
            contender.server.clean(label, instances)
        shutil.rmtree(folder)


def _timed(contender: Contender, players: Sequence[Player], server_pid: int | None, size: int, number: int) -> Measurement:
    publisher, *instances = players
    for player in instances:
        player.wait_for("ready")
    touch_memory(size * (len(instances) + 2))
    if server_pid is not None:
        reset_peak(server_pid)
    with AnonymousPeak([player.pid for player in instances], period_seconds=0.05 if len(instances) >= MANY else 0.02) as anonymous:
        server_before = cpu_seconds_of(server_pid)
        publisher.tell("go")
        called, published = publisher.wait_for("called"), publisher.wait_for("published")
        start_ns = called.at_ns
        if contender.is_late:
            late = Mark.now("late")
            start_ns, server_before = late.at_ns, cpu_seconds_of(server_pid)
        for player in instances:
            player.tell("announced")
        verified = [player.wait_for("verified") for player in instances]
        server_cpu = cpu_seconds_of(server_pid) - server_before
        for player in instances:
            player.drain()
        promoted = [player.wait_for("promoted") for player in instances] if verified[0].note.get("promotes") else []
    ready = [player.marks["ready"] for player in instances]
    seconds = [(mark.at_ns - start_ns) / 1e9 for mark in verified]
    return Measurement(
        contender.name, size, len(instances), number, max(seconds),
        max((mark.at_ns - start_ns) / 1e9 for mark in promoted) if promoted else None, sum(seconds) / len(seconds),
        published.usage.cpu_seconds - called.usage.cpu_seconds, server_cpu,
        sum(after.usage.cpu_seconds - before.usage.cpu_seconds for before, after in zip(ready, verified, strict=True)),
        published.usage.peak - called.usage.resident, memory_of(server_pid).get("VmHWM", 0) if server_pid else 0,
        max(after.usage.peak - before.usage.resident for before, after in zip(ready, verified, strict=True)),
        max(after.usage.peak - before.usage.resident for before, after in zip(ready, promoted or verified, strict=True)),
        max(anonymous.above_first(player.pid) for player in instances),
        published.usage.minor_faults - called.usage.minor_faults,
        sum(after.usage.minor_faults - before.usage.minor_faults for before, after in zip(ready, verified, strict=True)),
        published.note,
    )
