"""How much memory receiving, loading and promoting take: ``python -m tests.benchmarks memory``.

Decides what counts as whose: the memory of the instance alone, its own (anonymous) pages, watched from outside, above what it has
when it is connected and idle. A folder is received (nothing is loaded), then arrays are received and served (they are mapped).
Linux only. Imports players, servers, ground, tables.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks import documents
from tests.benchmarks.bars import HEADINGS, Bar, rows_of
from tests.benchmarks.contender import MIB
from tests.benchmarks.ground import Ground
from tests.benchmarks.measuring import AnonymousPeak, memory_of
from tests.benchmarks.players import Player
from tests.benchmarks.servers import RabbitMq
from tests.benchmarks.tables import note, show
from tests.benchmarks.task import Task

MODULE = "tests.benchmarks.memory_role"
BAR_MIB = 64.0
"""Receiving memory above the idle process for an artifact of any size, from the design."""
COPIES = 6
PERIOD_SECONDS = 0.01
TITLE = "Memory of an instance, above idle, MiB"
COLUMNS = ("MiB", "what", "own memory, most", "own memory, after", "resident, after")


def run(directory: Path | None, sizes_mib: list[int]) -> dict[str, Any]:
    """Measure, print, and return the document."""
    server, found = RabbitMq(), list[dict[str, Any]]()
    with Ground(directory, needed=max(sizes_mib) * MIB * COPIES) as ground:
        try:
            settings = server.start(ground.path / "rabbitmq")
            for size in sizes_mib:
                for what in ("files", "arrays"):
                    found.append(_round(ground, settings, size, what))
                    note(f"{size} MiB, {what}: {found[-1]['most_mib']:.1f} MiB above idle")
        finally:
            server.stop()
        kind = ground.kind
    bars = [
        Bar(f"receiving {row['size_mib']} MiB ({row['what']}), own memory above idle", BAR_MIB, row["most_mib"], "MiB") for row in found
    ]
    show(TITLE, COLUMNS, lines_of(found))
    show("Bars", HEADINGS, rows_of(bars))
    facts = documents.machine_facts(file_system=kind, sizes_mib=sizes_mib)
    return {"kind": "memory", "facts": facts, "measurements": found, "bars": [bar.to_plain() for bar in bars]}


def lines_of(found: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return the lines of the table."""
    names = ("most_mib", "after_mib", "resident_mib")
    return [[str(row["size_mib"]), row["what"], *(f"{row[name]:.1f}" for name in names)] for row in found]


def _round(ground: Ground, settings: dict[str, Any], size: int, what: str) -> dict[str, Any]:
    label = f"memory-{what}-{size}"
    common = ground.path / label

    def task(who: str) -> Task:
        return Task("modelcast", 0, 1, size * MIB, "", "", str(common / who), str(common), label, settings | {"what": what})

    players = [Player("publish", task("publisher"), module=MODULE), Player("receive", task("instance"), module=MODULE)]
    try:
        publisher, instance = players
        for player in players:
            player.wait_for("ready")
        resident = memory_of(instance.pid)["VmRSS"]
        with AnonymousPeak([instance.pid], period_seconds=PERIOD_SECONDS) as watch:
            publisher.tell("go")
            publisher.wait_for("published")
            instance.wait_for("promoted")
        after = memory_of(instance.pid)
        return {
            "size_mib": size, "what": what, "most_mib": watch.above_first(instance.pid) / MIB,
            "after_mib": (after["RssAnon"] - watch.first[instance.pid]) / MIB, "resident_mib": (after["VmRSS"] - resident) / MIB,
        }
    finally:
        for player in players:
            player.close()
        ground.drop_source(size * MIB)

