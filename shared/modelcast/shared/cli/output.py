"""What a command prints: data on stdout, everything else on stderr, text of strangers never raw.

Decides the shape of tables, JSON documents and errors, once for all commands. Rich is imported only when a table is
drawn, so that ``--help`` stays fast.
"""

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence

import click

from modelcast.shared.errors import ModelcastError


def printable(text: object) -> str:
    r"""Return ``text`` with terminal control characters escaped (``\x1b``), because names and reasons come from strangers."""
    return "".join(
        character if character.isprintable() or character == " " else character.encode("unicode_escape").decode("ascii")
        for character in str(text)
    )


def as_time(time_ms: int | None) -> str:
    """Return a time for people, in UTC: ``2026-01-31 12:00:05``; ``?`` where none is known, or a stranger's is none of any year."""
    from datetime import UTC, datetime  # noqa: PLC0415 - tables only

    try:
        return "?" if time_ms is None else datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return "?"


def as_span(seconds: float) -> str:
    """Return a length of time for people: ``8 s``, ``12 min``, ``5 h``, ``3 d``."""
    for unit, most, each in (("s", 120, 1), ("min", 7200, 60), ("h", 172_800, 3600)):
        if seconds < most:
            return f"{max(0.0, seconds) / each:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"


def as_size(count: float) -> str:
    """Return a number of bytes for people, in powers of 1,000: ``900 B``, ``12.5 kB``, ``1.2 GB``."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


class Output:
    """Prints for one command, as text for people or as JSON for programs.

    Args:
        as_json: Whether stdout carries one JSON document (or one a line) instead of text.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def note(self, text: str) -> None:
        """Say something to a person, on stderr, in both modes."""
        click.echo(text, err=True)

    def data(self, text: str) -> None:
        """Print one line of data for people; in JSON mode it goes to stderr, where it cannot break the document."""
        click.echo(text, err=self.as_json)

    def document(self, document: Mapping[str, object] | Sequence[object]) -> None:
        """Print a JSON document on stdout, whatever the mode."""
        click.echo(json_text(document, indent=None if self.as_json else 2))

    def table(
        self, columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None, whole: Sequence[str] = ()
    ) -> None:
        """Draw a table on stdout; cells are escaped, and wrap instead of being cut, but for the columns in ``whole``."""
        from rich import box  # noqa: PLC0415 - 130 ms that --help need not pay
        from rich.console import Console  # noqa: PLC0415
        from rich.table import Column, Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        headers = [Column(name, no_wrap=name in whole) for name in columns]
        table = Table(*headers, title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        for row in rows:
            table.add_row(*(Text(printable(cell), overflow="fold") for cell in row))
        console = Console(file=sys.stderr if self.as_json else sys.stdout, width=None if sys.stdout.isatty() else 140)
        console.print(table)


def json_text(value: object, *, indent: int | None = None, sorts: bool = False) -> str:
    """Return a value as JSON in ASCII: bytes in hexadecimal, no number that JSON does not know; ``sorts`` by key."""
    return json.dumps(_finite(value), ensure_ascii=True, default=_as_text, indent=indent, sort_keys=sorts)


def _as_text(value: object) -> str:
    """Return what JSON has no word for: bytes in hexadecimal, as everywhere else."""
    return value.hex() if isinstance(value, bytes) else str(value)


def _finite(value: object) -> object:
    """Return ``value`` without NaN and infinities, which JSON does not know."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def error_document(error: ModelcastError) -> dict[str, object]:
    """Return ``error`` as JSON has it."""
    return {
        "error": type(error).__name__, "message": str(error), "hint": error.hint, "facts": error.facts, "exit_code": error.exit_code,
    }


def print_error(error: ModelcastError, *, as_json: bool) -> None:
    """Print ``error`` on stderr: two lines for people, one JSON document for programs."""
    if as_json:
        click.echo(json_text(error_document(error)), err=True)
        return
    click.echo(f"Error: {printable(error)}", err=True)
    if error.hint:
        click.echo(f"Hint: {printable(error.hint)}", err=True)
