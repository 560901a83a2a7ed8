"""How cost grows: with the size of the artifact, with the number of instances, with the size of the chunks.

Decides the points of the curves. Imports fanout, which plays them.
"""

from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.contender import MIB
from tests.benchmarks.contenders import BY_NAME, CHUNK_BYTES, CHUNKED, LIMIT
from tests.benchmarks.documents import machine_facts
from tests.benchmarks.fanout import Case, Plan, play
from tests.benchmarks.rounds import GIB, Measurement
from tests.benchmarks.tables import show

SIZES_MIB = (64, 128, 256, 512, 1024, 2048)
INSTANCES = (1, 2, 4, 8, 16)
BY_NUMBER_MIB = 64
CHUNKED_MIB = 256
COLUMNS = ("", "", "MB/s in sum", "verified s", "CPU s/GiB publisher", "broker", "instance", "peak MiB instance")
CURVES = {"size": "MiB", "instances": "instances", "chunks": "KiB per chunk"}
"""The curves with the unit of what grows."""


def run(directory: Path | None, *, rounds: int, quick: bool) -> dict[str, Any]:
    """Play all curves, print them, and return the document."""
    sizes, instances, chunked = (SIZES_MIB, INSTANCES, CHUNKED_MIB) if not quick else ((16, 32, 64), (1, 2, 4), 32)
    by_number = BY_NUMBER_MIB if not quick else 16
    both = (LIMIT, BY_NAME["modelcast"])
    plans = {
        "size": Plan([Case(size * MIB, 1) for size in sizes], both, rounds, directory),
        "instances": Plan([Case(by_number * MIB, count) for count in instances], both, rounds, directory),
        "chunks": Plan([Case(chunked * MIB, 1)], CHUNKED, rounds, directory),
    }
    points: list[dict[str, Any]] = []
    skipped: dict[str, str] = {}
    kind = ""
    for curve, plan in plans.items():
        measurements, left_out, kind = play(plan)
        skipped.update(left_out)
        points += [_point(curve, group) for group in _groups(measurements)]
    document = {"kind": "growth", "facts": machine_facts(file_system=kind, rounds=rounds), "skipped": skipped, "points": points}
    for title, lines in tables(document):
        show(title, COLUMNS, lines)
    return document


def _groups(measurements: list[Measurement]) -> list[list[Measurement]]:
    groups: dict[tuple[str, int, int], list[Measurement]] = {}
    for measured in measurements:
        groups.setdefault((measured.contender, measured.size, measured.instances), []).append(measured)
    return list(groups.values())


def _point(curve: str, group: list[Measurement]) -> dict[str, Any]:
    first = group[0]
    chunk_kib = {contender.name: count // 1024 for contender, count in zip(CHUNKED, CHUNK_BYTES, strict=True)}.get(first.contender)
    grows = {"size": first.size // MIB, "instances": first.instances, "chunks": chunk_kib}[curve]

    def per_gib(field: str) -> float:
        return float(median(getattr(measured, field) / (measured.delivered_bytes / GIB) for measured in group))

    return {
        "curve": curve, "contender": "modelcast" if curve == "chunks" else first.contender, "at": grows,
        "size": first.size, "instances": first.instances, "rates": [round(measured.sum_rate, 1) for measured in group],
        "verified_seconds": median(measured.verified_seconds for measured in group),
        "publisher_cpu_per_gib": per_gib("publisher_cpu_seconds"), "server_cpu_per_gib": per_gib("server_cpu_seconds"),
        "instance_cpu_per_gib": per_gib("instance_cpu_seconds"),
        "instance_peak_bytes": median(measured.instance_peak_bytes for measured in group),
    }


def tables(document: dict[str, Any]) -> list[tuple[str, list[list[str]]]]:
    """Return title and lines of each curve's table."""
    titles = {
        "size": "With the size of the artifact, 1 instance", "instances": "With the number of instances",
        "chunks": "With the size of the chunks, 1 instance",
    }
    found = []
    for curve, unit in CURVES.items():
        points = [point for point in document["points"] if point["curve"] == curve]
        if points:
            same = "" if curve == "size" else f", {points[0]['size'] // MIB} MiB"
            found.append((f"{titles[curve]}{same}", [_cells(point, unit) for point in points]))
    return found


def _cells(point: dict[str, Any], unit: str) -> list[str]:
    return [
        point["contender"], f"{point['at']:,} {unit.removesuffix('s') if point['at'] == 1 else unit}", f"{median(point['rates']):,.0f}", f"{point['verified_seconds']:.2f}",
        f"{point['publisher_cpu_per_gib']:.2f}", f"{point['server_cpu_per_gib']:.2f}", f"{point['instance_cpu_per_gib']:.2f}",
        f"{point['instance_peak_bytes'] / MIB:,.0f}",
    ]
