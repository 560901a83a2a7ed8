"""The parts of the documentation that come from measurements: tables between markers, plots as SVG files.

Decides what is shown of the documents that are kept. ``tests/docs/generate.py`` asks for the tables, so that a test holds page
and measurements together.
"""

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks import bars, growth, memory, stall, svg
from tests.benchmarks.contenders import FANOUT, LIMIT
from tests.benchmarks.documents import ROOT, facts_line, load
from tests.benchmarks.fanout import tables as fanout_tables
from tests.benchmarks.rounds import Measurement
from tests.benchmarks.summary import Row, rows
from tests.benchmarks.tables import case_title, markdown

PLOTS = ROOT / "docs" / "benchmarks"
NOT_YET = "*Not measured yet.*\n"
OURS = "modelcast"


def part(kind: str) -> Callable[[], str]:
    """Return what writes the part ``benchmarks-<kind>`` of the page."""
    def write_part() -> str:
        document = load(kind)
        return NOT_YET if document is None else f"{facts_line(document['facts'])} `{document['facts']['command']}`\n\n{body(kind, document)}"

    return write_part


def body(kind: str, document: Mapping[str, Any]) -> str:
    """Return the tables of a document as Markdown."""
    return _BODY[kind](document)


def _fanout(document: Mapping[str, Any]) -> str:
    found: list[str] = []

    def write_table(title: str, columns: Any, lines: Any) -> None:
        found.append(f"**{title}**\n\n{markdown(columns, lines)}")

    fanout_tables(dict(document), write_table)
    left_out = "".join(f"* {name} is left out: {reason}.\n" for name, reason in document["skipped"].items())
    return "\n".join(filter(None, [_bars(document), _pictures("fanout"), *found, left_out]))


def _growth(document: Mapping[str, Any]) -> str:
    return "\n".join(
        [_pictures("growth"), *(f"**{title}**\n\n{markdown(growth.COLUMNS, lines)}" for title, lines in growth.tables(dict(document)))]
    )


def _pictures(kind: str) -> str:
    """Return the plots of a document as images of the page, each with its title for those who do not see it."""
    shown = {path: text for path, text in plots().items() if path.name.startswith(kind)}
    return "".join(f"![{svg.title_of(text)}](benchmarks/{path.name})\n" for path, text in shown.items())


def _bars(document: Mapping[str, Any]) -> str:
    return markdown(bars.HEADINGS, bars.rows_of(bars.Bar.from_plain(plain) for plain in document["bars"]))


def _stall(document: Mapping[str, Any]) -> str:
    tables = [f"**{title}**\n\n{markdown(stall.COLUMNS, lines)}" for title, lines in stall.tables(dict(document))]
    return "\n".join([_bars(document), *tables])


def _memory(document: Mapping[str, Any]) -> str:
    return f"{_bars(document)}\n**{memory.TITLE}**\n\n{markdown(memory.COLUMNS, memory.lines_of(document['measurements']))}"


_BODY: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "fanout": _fanout, "growth": _growth, "delta": _bars, "small": _bars, "stall": _stall, "memory": _memory,
}


def plots() -> dict[Path, str]:
    """Return the text of each plot by its path, from the documents that are kept."""
    found: dict[Path, str] = {}
    document = load("fanout")
    if document is not None:
        every = rows([Measurement(**plain) for plain in document["measurements"]], limit=LIMIT.name)
        largest = {count: max(row.size for row in every if row.instances == count) for count in {row.instances for row in every}}
        for count, size in largest.items():
            found[PLOTS / f"fanout-{count}.svg"] = _fanout_plot([row for row in every if (row.size, row.instances) == (size, count)])
    document = load("growth")
    if document is not None:
        for curve, unit in growth.CURVES.items():
            found[PLOTS / f"growth-{curve}.svg"] = _growth_plot(document, curve, unit)
    return found


def _fanout_plot(found: list[Row]) -> str:
    titles = {contender.name: contender.title.replace("**", "") for contender in FANOUT}
    lines = [
        svg.Bar(titles[row.contender], row.rate, *row.spread, 2 if row.contender == LIMIT.name else 0 if row.contender.startswith(OURS) else 1)
        for row in found
    ]
    title = f"{case_title(found[0].size, found[0].instances)}, verified on disk"
    return svg.bar_chart(title, "MB/s, all instances together", [("median, whiskers: lowest and highest round", lines)])


def _growth_plot(document: Mapping[str, Any], curve: str, unit: str) -> str:
    titles = {"size": "Rate by size of the artifact", "instances": "Rate by number of instances", "chunks": "Rate by size of the chunks"}
    across = {"size": "size of the artifact, MiB", "instances": "instances", "chunks": "KiB per chunk"}
    points = [point for point in document["points"] if point["curve"] == curve]
    names = list(dict.fromkeys(point["contender"] for point in points))
    lines = [
        svg.Line(
            "raw TCP (the limit)" if name == LIMIT.name else name,
            [(point["at"], median(point["rates"])) for point in points if point["contender"] == name], 2 if name == LIMIT.name else 0,
        )
        for name in names
    ]
    return svg.line_chart(titles[curve], across[curve] or unit, "MB/s", lines)


def write() -> None:
    """Write plots, and the pages with their tables."""
    PLOTS.mkdir(parents=True, exist_ok=True)
    for path, text in plots().items():
        path.write_text(text, encoding="utf-8")
    subprocess.run([sys.executable, str(ROOT / "tests/docs/generate.py")], check=True, stdout=sys.stderr)
