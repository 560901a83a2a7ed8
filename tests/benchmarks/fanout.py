"""The comparison: one publisher, N instances, every contender, the same artifact; rounds interleaved so that drift hits all alike.

Decides what is played and in which order, and judges the bars of the fan-out. Imports contenders, rounds, summary, bars.
"""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.bars import HEADINGS, Bar, rows_of
from tests.benchmarks.contender import MIB, Contender
from tests.benchmarks.contenders import FANOUT, LIMIT
from tests.benchmarks.documents import machine_facts
from tests.benchmarks.ground import Ground, bytes_needed
from tests.benchmarks.players import RoundFailed
from tests.benchmarks.rounds import Measurement, measure
from tests.benchmarks.summary import Row, find, ratio, rows
from tests.benchmarks.tables import COLUMNS, case_title, cells, note, show

PLAYED_ONCE = frozenset({"nats"})
"""Ten times slower than the others: one round tells enough, and the run ends today."""
BIG = 512 * MIB
MANY = 16


@dataclass(frozen=True)
class Case:
    """One artifact to so many instances."""

    size: int
    instances: int


@dataclass(frozen=True)
class Plan:
    """What is played.

    Attributes:
        cases: Sizes and numbers of instances.
        contenders: Who plays.
        rounds: How often.
        directory: Where the files lie; None is memory.
    """

    cases: Sequence[Case]
    contenders: Sequence[Contender]
    rounds: int
    directory: Path | None = None


def cases(sizes_mib: Iterable[int], instances: Iterable[int], *, size_for_16_mib: int) -> list[Case]:
    """Return the cases of a comparison; sixteen instances get at most ``size_for_16_mib``."""
    numbers = list(instances)
    found = [
        Case(min(size, size_for_16_mib if count >= MANY else size) * MIB, count) for size in sizes_mib for count in numbers
    ]
    return list(dict.fromkeys(found))


def play(plan: Plan) -> tuple[list[Measurement], dict[str, str], str]:
    """Play all rounds of all cases.

    Returns:
        The measurements, why contenders were left out, and the kind of file system.

    Raises:
        NoRoom: The files would not fit.
    """
    skipped = {contender.name: reason for contender in plan.contenders if (reason := contender.missing()) is not None}
    for name, reason in skipped.items():
        note(f"{name} is left out: {reason}")
    able = [contender for contender in plan.contenders if contender.name not in skipped]
    found: list[Measurement] = []
    with Ground(plan.directory, needed=max(bytes_needed(case.size, case.instances) for case in plan.cases)) as ground:
        try:
            for case in plan.cases:
                found += _play_case(plan, case, able, ground, skipped)
                ground.drop_source(case.size)
        finally:
            for contender in able:
                with contextlib.suppress(Exception):   # the others are to be stopped as well
                    contender.server.stop()
        return found, skipped, ground.kind


def _play_case(plan: Plan, case: Case, able: Sequence[Contender], ground: Ground, skipped: dict[str, str]) -> list[Measurement]:
    found: list[Measurement] = []
    for number in range(plan.rounds):
        for contender in able:
            if number and contender.name in PLAYED_ONCE:
                continue
            try:
                measured = measure(contender, ground, size=case.size, instances=case.instances, number=number)
            except RoundFailed as error:
                note(str(error))
                skipped[f"{contender.name}, {case_title(case.size, case.instances)}"] = "a process failed"
                continue
            note(f"{case_title(case.size, case.instances)}, round {number + 1}: {contender.name} {measured.sum_rate:,.0f} MB/s")
            found.append(measured)
    return found


def bars_of(found: Sequence[Row]) -> list[Bar]:
    """Judge the bars."""
    def against(ours: str, theirs: str, instances: int, size: int = BIG) -> tuple[float | None, str]:
        mine, other = find(found, ours, instances, size), find(found, theirs, instances, size)
        if mine is None or other is None:
            return None, ""
        return ratio(mine.rounds, other.rounds), _condition(mine, size)

    def least(what: str, bound: float, measured: tuple[float | None, str]) -> Bar:
        return Bar(what, bound, measured[0], is_least=True, condition=measured[1])

    late, four = find(found, "modelcast-late", 4, BIG), find(found, "modelcast", 4, BIG)
    return [
        least("512 MiB to 4 instances, against raw TCP", 0.9, against("modelcast", LIMIT.name, 4)),
        least("… against HTTP", 1.2, against("modelcast", "http", 4)),
        least("… against plain pika", 2.5, against("modelcast", "pika", 4)),
        least("… against the NATS object store", 6, against("modelcast", "nats", 4)),
        least("… by AMQP alone, against raw TCP", 0.5, against("modelcast-amqp", LIMIT.name, 4)),
        least("… in a shared directory, against file copy", 0.9, against("modelcast-file", "file-copy", 4)),
        least("… in a shared directory to 1 instance, against file copy", 0.9, against("modelcast-file", "file-copy", 1)),
        least("… over HTTP, against HTTP (nginx, requests)", 1.1, against("modelcast-http", "http", 4)),
        least("… over HTTP, the release is there already, against HTTP (nginx, requests)", 1.1, against("modelcast-http-late", "http", 4)),
        least("512 MiB to 1 instance, against raw TCP", 0.75, against("modelcast", LIMIT.name, 1)),
        least("256 MiB to 16 instances, against raw TCP", 1.0, against("modelcast", LIMIT.name, MANY, 256 * MIB)),
        Bar("broker CPU per GiB delivered to late joiners", 0.45, late.per_gib("server_cpu_seconds") if late else None, "s",
            condition=_condition(late, BIG)),
        Bar("receiving memory above the idle process", 64, (four.median("instance_peak_bytes") or 0) / MIB if four else None, "MiB",
            condition=_condition(four, BIG)),
    ]


def _condition(row: Row | None, size: int) -> str:
    return "" if row is None or row.size == size else f"measured with {row.size // MIB} MiB"


def run(plan: Plan) -> dict[str, Any]:
    """Play, print, and return the document."""
    measurements, skipped, kind = play(plan)
    bars = bars_of(rows(measurements, limit=LIMIT.name))
    document = {
        "kind": "fanout", "facts": machine_facts(file_system=kind, rounds=plan.rounds), "skipped": skipped,
        "measurements": [measured.to_plain() for measured in measurements], "bars": [bar.to_plain() for bar in bars],
    }
    tables(document, show)
    show("Bars", HEADINGS, rows_of(bars))
    return document


def tables(document: dict[str, Any], write: Callable[[str, Sequence[str], list[list[str]]], None]) -> None:
    """Hand the tables of a document to ``write``: title, columns, lines."""
    titles = {contender.name: contender.title for contender in FANOUT}
    found = rows([Measurement(**plain) for plain in document["measurements"]], limit=LIMIT.name)
    for size, instances in dict.fromkeys((row.size, row.instances) for row in found):
        lines = [cells(row, titles) for row in found if (row.size, row.instances) == (size, instances)]
        write(case_title(size, instances), COLUMNS, lines)
