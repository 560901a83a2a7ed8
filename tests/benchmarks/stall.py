"""How long a serving thread waits while a model is received, verified, loaded, swapped and released: ``python -m tests.benchmarks stall``.

One process serves with a real consumer, another publishes, RabbitMQ is a private node; beside it the same process with nothing
going on (idle), and the naive way: ``pickle.load`` of one file in a thread, then the swap of a global. Decides the cases and how
repeats are put together: the median of the longest stalls, and the longest of all; repeats are interleaved. The machine's own gaps are
not subtracted: the idle rows show them, and *with a core* is the longest gap less the time in which the thread was ready but had no
core, or in which a virtual machine stood still. Publisher and broker have other machines in service; here they stand back, and the instance goes before everybody else where
that is allowed (root). Linux only. Imports players, servers, ground, precedence, tables.
"""

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks import documents
from tests.benchmarks.bars import HEADINGS, Bar, rows_of
from tests.benchmarks.contender import MIB
from tests.benchmarks.ground import Ground, touch_memory
from tests.benchmarks.players import Player
from tests.benchmarks.precedence import stand_back
from tests.benchmarks.servers import RabbitMq
from tests.benchmarks.stall_models import KINDS, TITLES
from tests.benchmarks.tables import note, show
from tests.benchmarks.task import Task

MODULE = "tests.benchmarks.stall_role"
BAR_MS = 5.0
"""Longest stall of a serving thread, from the design."""
WAYS = ("idle", "modelcast", "naive")
RATES = {"full": 0, "steady": 200}
IDLE_SECONDS = 10.0
COPIES = 7
"""Two releases in the stream, two in the store, one in the making, two pickle files: in the model's size."""
COLUMNS = ("", "serving", "longest ms", "of all", "with a core", "p50", "p99", "p99.9", "over 5 ms", "load s", "the longest of all")
PARTS = {"machine_ms": "the machine", "without_a_core_ms": "no core", "collector_ms": "collector", "own_work_ms": "own work",
    "others_without_a_core_ms": "another thread without a core"}


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        kinds: Kinds of models.
        ways: Of ``WAYS``.
        modes: Of ``RATES``.
        size: Bytes of a model.
        entries: Entries of the dictionary.
        repeats: How often.
        collector: What the consumer is told about the cyclic collector.
        is_waiting: Whether the release is in the stream, and the publisher gone, before the instance starts.
        directory: Where files lie.
    """

    kinds: Sequence[str]
    ways: Sequence[str]
    modes: Sequence[str]
    size: int
    entries: int
    repeats: int
    collector: str
    is_waiting: bool
    directory: Path | None


def run(plan: Plan) -> dict[str, Any]:
    """Measure, print, and return the document."""
    server, found, began = RabbitMq(), list[dict[str, Any]](), time.monotonic()
    with Ground(plan.directory, needed=plan.size * COPIES) as ground:
        try:
            settings = server.start(ground.path / "rabbitmq")
            stand_back(settings["pid"])
            for kind in plan.kinds:
                with _publisher(ground, settings, plan, kind) as publisher:
                    for number in range(plan.repeats):
                        for case in ({"kind": kind, "mode": mode, "way": way} for mode in plan.modes for way in plan.ways):
                            label = f"stall-{kind}-{number}-{case['mode']}-{case['way']}"
                            found.append(case | _round(publisher, settings, plan, case, label))
                            server.clean(label, 0)
                            note(f"{label}: {found[-1]['longest_ms']:.1f} ms; {_spent_on(found[-1]['longest_gaps'][:1])}")
        finally:
            server.stop()
        place = ground.kind
    facts = documents.machine_facts(
        file_system=place, size_mib=plan.size // MIB, entries=plan.entries, repeats=plan.repeats, collector=plan.collector,
        waiting=plan.is_waiting, went_first=found[0]["went_first"], pauses_watched=found[0]["pauses_watched"], minutes=round((time.monotonic() - began) / 60, 1),
    )
    document = {"kind": "stall", "facts": facts, "measurements": found, "bars": [bar.to_plain() for bar in bars_of(found)]}
    for title, lines in tables(document):
        show(title, COLUMNS, lines)
    show("Bars", HEADINGS, rows_of(bars_of(found)))
    return document


@contextmanager
def _publisher(ground: Ground, settings: dict[str, Any], plan: Plan, kind: str) -> Iterator[Player]:
    """The process that has both models of a kind, in a folder beside its pickle files."""
    folder = ground.path / kind
    told = settings | {"kind": kind, "entries": plan.entries}
    size = 0 if kind == "objects" else plan.size
    publisher = Player("publish", Task("modelcast", 0, 1, size, "", "", str(folder / "publisher"), str(folder), kind, told), module=MODULE)
    try:
        publisher.wait_for("ready")
        stand_back(publisher.pid)
        yield publisher
    finally:
        publisher.close()
        shutil.rmtree(folder, ignore_errors=True)


def _round(publisher: Player, settings: dict[str, Any], plan: Plan, case: dict[str, str], label: str) -> dict[str, Any]:
    """One version is in service; the next one comes while a thread serves."""
    touch_memory(plan.size * 3)
    common = Path(publisher.task.common) / label
    told = settings | case | {
        "rate": RATES[case["mode"]], "collector": plan.collector, "idle_seconds": IDLE_SECONDS, "is_waiting": plan.is_waiting,
        "pickles": publisher.task.common,
    }

    def instance(name: str) -> Player:
        player = Player("receive", Task("modelcast", 0, 1, 0, "", "", str(common / name), str(common), label, told), module=MODULE)
        players.append(player)
        player.wait_for("ready")
        return player

    players: list[Player] = []
    try:
        if case["way"] != "naive":
            _publish(publisher, f"1 {label}")
        serving = instance("instance")
        if plan.is_waiting and case["way"] == "modelcast":
            serving.close()
            _publish(publisher, f"2 {label}")
            serving = instance("instance-again")
        serving.tell("go")
        serving.wait_for("serving")
        if case["way"] == "modelcast" and not plan.is_waiting:
            _publish(publisher, f"2 {label}")
        return serving.wait_for("served").note
    finally:
        for player in reversed(players):
            with suppress(ValueError):   # it was closed before
                player.close()
        shutil.rmtree(common, ignore_errors=True)


def _publish(publisher: Player, words: str) -> None:
    publisher.tell(words)
    publisher.wait_for(f"published {words}")


def tables(document: dict[str, Any]) -> list[tuple[str, list[list[str]]]]:
    """Return a table for each kind of model: title and lines."""
    facts, found = document["facts"], document["measurements"]
    size = {kind: f"{facts['entries']:,} entries" if kind == "objects" else f"{facts['size_mib']} MiB" for kind in KINDS}
    return [
        (f"{TITLES[kind]}, {size[kind]}", [_line(rows) for rows in _cases(found, kind)])
        for kind in dict.fromkeys(row["kind"] for row in found)
    ]


def _cases(found: Sequence[dict[str, Any]], kind: str) -> list[list[dict[str, Any]]]:
    keys = dict.fromkeys((row["mode"], row["way"]) for row in found if row["kind"] == kind)
    return [[row for row in found if (row["kind"], row["mode"], row["way"]) == (kind, *key)] for key in keys]


def _line(rows: Sequence[dict[str, Any]]) -> list[str]:
    worst = max(rows, key=lambda row: row["longest_ms"])
    load = [row["phases_ms"]["load"] / 1e3 for row in rows if "load" in row["phases_ms"]]
    return [
        rows[0]["way"], {"full": "full speed", "steady": f"{RATES['steady']}/s"}[rows[0]["mode"]],
        f"{median(row['longest_ms'] for row in rows):.1f}", f"{worst['longest_ms']:.1f}",
        f"{median(row['longest_with_a_core_ms'] for row in rows):.1f}",
        *(f"{median(row[name] for row in rows):.2f}" for name in ("p50_ms", "p99_ms", "p99.9_ms")),
        f"{median(row['over_5_ms'] for row in rows):.0f}", f"{median(load):.2f}" if load else "",
        _spent_on(worst["longest_gaps"][:1]),
    ]


def _spent_on(gaps: Sequence[dict[str, Any]]) -> str:
    """Say in which phase each gap was, and what most of it was spent on; what is none of these is the interpreter's lock."""
    return ", ".join(
        " ".join([gap["phase"], *(f"({word} {gap[name]:.1f})" for name, word in PARTS.items() if gap[name] >= gap["ms"] / 2)])
        for gap in gaps
    )


def bars_of(found: Sequence[dict[str, Any]]) -> list[Bar]:
    """Return the bar for each kind, with what it is without the waits for a core, and the idle row's figure."""
    bars = []
    for kind in dict.fromkeys(row["kind"] for row in found):
        full = {way: [row for row in found if (row["kind"], row["mode"], row["way"]) == (kind, "full", way)] for way in WAYS}
        notes = [f"idle: {median(row['longest_ms'] for row in full['idle']):.1f} ms"] if full["idle"] else []
        value = None
        if full["modelcast"]:
            value = median(row["longest_ms"] for row in full["modelcast"])
            notes.insert(0, f"with a core: {median(row['longest_with_a_core_ms'] for row in full['modelcast']):.1f} ms")
        condition = "; ".join(["median of the longest", *notes])
        bars.append(Bar(f"longest stall of a serving thread, {TITLES[kind]}", BAR_MS, value, "ms", condition=condition))
    return bars

