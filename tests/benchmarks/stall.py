"""How long a serving thread waits while a model is received, verified, loaded, swapped and released: ``python -m tests.benchmarks.stall``.

One process serves with a real consumer, another publishes, RabbitMQ is a private node; beside it the same process with nothing
going on (idle), and the naive way: ``pickle.load`` of one file in a thread, then the swap of a global. Decides the cases and how
repeats are put together: the median of the longest stalls, and the longest of all. The machine's own gaps are not subtracted: the
idle rows show them, and *with a core* is the longest gap less the time in which the thread was ready but had no core. Publisher and
broker have other machines in service; here they may be given a low priority, and this is said.
Linux only. Imports players, servers, ground, tables.
"""

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import click
from tests.benchmarks import documents
from tests.benchmarks.bars import HEADINGS, Bar, rows_of
from tests.benchmarks.contender import MIB
from tests.benchmarks.ground import Ground
from tests.benchmarks.measuring import with_children
from tests.benchmarks.players import Player
from tests.benchmarks.servers import RabbitMq
from tests.benchmarks.stall_models import KINDS, TITLES
from tests.benchmarks.tables import note, show
from tests.benchmarks.task import Task

MODULE = "tests.benchmarks.stall_role"
BAR_MS = 5.0
"""Longest stall of a serving thread, from the design."""
WAYS = ("idle", "modelcast", "naive")
RATES = {"full": 0, "steady": 200}
COPIES = 6
"""Stream, two releases in the store, one in the making, two pickle files: in the model's size."""
COLUMNS = ("", "serving", "longest ms", "of all", "with a core", "p50", "p99", "p99.9", "over 5 ms", "load s", "longest in")
SHOWN_PHASES = 2


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
        nice: Added to the nice value of publisher and broker.
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
    nice: int
    directory: Path | None


def run(plan: Plan) -> dict[str, Any]:
    """Measure, print, and return the document."""
    server, found = RabbitMq(), list[dict[str, Any]]()
    with Ground(plan.directory, needed=plan.size * COPIES) as ground:
        try:
            settings = server.start(ground.path / "rabbitmq")
            _renice(settings["pid"], plan.nice)
            number = 0
            for kind in plan.kinds:
                for mode in plan.modes:
                    for way in plan.ways:
                        for _ in range(plan.repeats):
                            number += 1
                            case = {"kind": kind, "mode": mode, "way": way}
                            found.append(case | _round(ground, settings, plan, case, f"stall{number}"))
                            note(f"{kind}, {mode}, {way}: {found[-1]['longest_ms']:.1f} ms, with a core {found[-1]['longest_with_a_core_by_phase_ms']}")
        finally:
            server.stop()
        place = ground.kind
    facts = documents.machine_facts(
        file_system=place, size_mib=plan.size // MIB, entries=plan.entries, repeats=plan.repeats, collector=plan.collector,
        waiting=plan.is_waiting, nice_of_publisher_and_broker=plan.nice,
    )
    document = {"kind": "stall", "facts": facts, "measurements": found, "bars": [bar.to_plain() for bar in bars_of(found)]}
    for title, lines in tables(document):
        show(title, COLUMNS, lines)
    show("Bars", HEADINGS, rows_of(bars_of(found)))
    return document


def _renice(pid: int, nice: int) -> None:
    for process in with_children(pid):
        for thread in Path(f"/proc/{process}/task").iterdir():   # setpriority(2) is for one thread on Linux
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, int(thread.name), nice)


def _round(ground: Ground, settings: dict[str, Any], plan: Plan, case: dict[str, str], label: str) -> dict[str, Any]:
    """One version is in service; the next one comes while a thread serves."""
    told = settings | case | {
        "rate": RATES[case["mode"]], "entries": plan.entries, "collector": plan.collector, "idle_seconds": 5.0,
        "is_waiting": plan.is_waiting,
    }
    common = ground.path / label
    size = 0 if case["kind"] == "objects" else plan.size

    def task(who: str) -> Task:
        return Task("modelcast", 0, 1, size, "", "", str(common / who), str(common), label, told)

    publisher = Player("publish", task("publisher"), module=MODULE)
    players = [publisher]
    try:
        publisher.wait_for("ready")
        _renice(publisher.pid, plan.nice)
        if case["way"] != "naive":
            _publish(publisher, 1)
        instance = Player("receive", task("instance"), module=MODULE)
        players.append(instance)
        instance.wait_for("ready")
        if plan.is_waiting and case["way"] == "modelcast":
            instance.close()
            _publish(publisher, 2)
            instance = Player("receive", task("instance-again"), module=MODULE)
            players.append(instance)
            instance.wait_for("ready")
        instance.tell("go")
        instance.wait_for("serving")
        if case["way"] == "modelcast" and not plan.is_waiting:
            publisher.tell("2")
        return instance.wait_for("served").note
    finally:
        for player in reversed(players):
            with suppress(ValueError):   # it was closed before
                player.close()
        shutil.rmtree(common, ignore_errors=True)


def _publish(publisher: Player, version: int) -> None:
    publisher.tell(str(version))
    publisher.wait_for(f"published {version}")


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
    phases = sorted(worst["longest_by_phase_ms"].items(), key=lambda entry: -entry[1])[:SHOWN_PHASES]
    load = [row["phases_ms"]["load"] / 1e3 for row in rows if "load" in row["phases_ms"]]
    return [
        rows[0]["way"], {"full": "full speed", "steady": f"{RATES['steady']}/s"}[rows[0]["mode"]],
        f"{median(row['longest_ms'] for row in rows):.1f}", f"{worst['longest_ms']:.1f}",
        f"{median(row['longest_with_a_core_ms'] for row in rows):.1f}",
        *(f"{median(row[name] for row in rows):.2f}" for name in ("p50_ms", "p99_ms", "p99.9_ms")),
        f"{median(row['over_5_ms'] for row in rows):.0f}", f"{median(load):.2f}" if load else "",
        ", ".join(f"{name} {value:.1f}" for name, value in phases),
    ]


def bars_of(found: Sequence[dict[str, Any]]) -> list[Bar]:
    """Return the bar for each kind, with the idle row's figure beside it."""
    bars = []
    for kind in dict.fromkeys(row["kind"] for row in found):
        full = {way: [row["longest_ms"] for row in found if (row["kind"], row["mode"], row["way"]) == (kind, "full", way)] for way in WAYS}
        idle = f"; idle: {median(full['idle']):.1f} ms" if full["idle"] else ""
        value = median(full["modelcast"]) if full["modelcast"] else None
        bars.append(Bar(f"longest stall of a serving thread, {TITLES[kind]}", BAR_MS, value, "ms", condition=f"median of the longest{idle}"))
    return bars


@click.command()
@click.option("--size", default=512, show_default=True, help="MiB of arrays and of the forest.")
@click.option("--entries", default=1_000_000, show_default=True, help="Entries of the dictionary.")
@click.option("--kinds", default=",".join(KINDS), show_default=True, help="With commas.")
@click.option("--ways", default=",".join(WAYS), show_default=True, help="With commas.")
@click.option("--modes", default=",".join(RATES), show_default=True, help="With commas.")
@click.option("--repeats", default=5, show_default=True, type=click.IntRange(1))
@click.option("--collector", default="pause", show_default=True, help="leave, pause or freeze; see Loading.")
@click.option("--waiting", is_flag=True, help="The release is in the stream, and its publisher done, before the instance starts.")
@click.option("--nice", default=10, show_default=True, help="Added to the nice value of publisher and broker.")
@click.option("--directory", type=click.Path(file_okay=False, path_type=Path), help="Where files lie; memory (/dev/shm) if left out.")
@click.option("--quick", is_flag=True, help="Small and once: a look, not a measurement.")
def main(
    *, size: int, entries: int, kinds: str, ways: str, modes: str, repeats: int, collector: str, waiting: bool, nice: int,
    directory: Path | None, quick: bool,
) -> None:
    """How long a serving thread waits while a model comes and goes."""
    if quick:
        size, entries, repeats = 64, 100_000, 1
    plan = Plan(
        kinds.split(","), ways.split(","), modes.split(","), size * MIB, entries, repeats, collector, waiting, nice, directory
    )
    click.echo(f"Written: {documents.save(run(plan), is_published=False)}", err=True)


if __name__ == "__main__":
    main()
