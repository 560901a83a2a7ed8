"""Tables: on a terminal with rich, in the documentation as Markdown; the same cells in both.

Decides which columns a comparison has and how its figures are written. Imports summary.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence

from tests.benchmarks.contender import MIB
from tests.benchmarks.summary import Row

COLUMNS = (
    "", "MB/s in sum", "each", "of raw TCP", "verified s", "promoted s", "CPU publisher", "CPU broker", "CPU instance",
    "peak publisher", "peak broker", "peak instance", "faults/GiB",
)
"""CPU is in seconds per GiB delivered, peaks are in MiB; in brackets what lies in anonymous memory."""
WIDE = 180
"""Characters that a comparison needs; on a narrower terminal its headings are wrapped."""


def cells(row: Row, titles: Mapping[str, str]) -> list[str]:
    """Return the cells of one row of a comparison."""
    low, high = row.spread
    promoted, of_limit = row.median("promoted_seconds"), row.of_limit
    return [
        titles.get(row.contender, row.contender),
        f"{row.rate:,.0f}" + (f" ({low:,.0f}-{high:,.0f})" if len(row.rounds) > 1 else ""),
        f"{row.rate / row.instances:,.0f}",
        "" if of_limit is None else f"{of_limit:.2f}",
        f"{row.median('verified_seconds') or 0:.2f}",
        "" if promoted is None else f"{promoted:.2f}",
        f"{row.per_gib('publisher_cpu_seconds'):.2f}",
        f"{row.per_gib('server_cpu_seconds'):.2f}",
        f"{row.per_gib('instance_cpu_seconds'):.2f}",
        _mib(row.median("publisher_peak_bytes")),
        _mib(row.median("server_peak_bytes")),
        f"{_mib(row.median('instance_peak_bytes'))} ({_mib(row.median('instance_anonymous_bytes'))})",
        f"{row.per_gib('instance_faults'):,.0f}",
    ]


def case_title(size: int, instances: int) -> str:
    """Return the heading of a table."""
    return f"{size // MIB} MiB to {instances} instance{'s' if instances > 1 else ''}"


def markdown(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a table as Markdown, figures to the right."""
    rule = ["---", *["---:"] * (len(columns) - 1)]
    return "".join("| " + " | ".join(line) + " |\n" for line in (columns, rule, *lines))


def show(title: str, columns: Sequence[str], lines: Iterable[Sequence[str]]) -> None:
    """Print a table on stdout."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=not number)
    for line in lines:
        table.add_row(*[cell.replace("**", "") for cell in line])
    console = Console() if sys.stdout.isatty() else Console(width=WIDE)
    console.print(table)


def note(text: str) -> None:
    """Say something about the run, on stderr."""
    print(text, file=sys.stderr, flush=True)


def _mib(count: float | None) -> str:
    return "" if count is None else f"{count / MIB:,.0f}"
