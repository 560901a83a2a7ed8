"""Shows progress: a bar on a terminal, a whole line every ten seconds elsewhere, nothing when told so. Writes to stderr."""

import sys
import time
from types import TracebackType
from typing import Any, Self

import click

from modelcast.publisher.progress import Progress
from modelcast.shared.cli.output import as_size

LINE_SECONDS = 10.0
"""Between two lines where no terminal is: often enough that a job does not look dead, seldom enough to be read."""


class ProgressDisplay:
    """A watcher that shows what it is told, as a context manager.

    Args:
        mode: ``auto``, ``bar``, ``plain`` or ``off``.
    """

    def __init__(self, mode: str) -> None:
        self._mode = ("bar" if sys.stderr.isatty() else "plain") if mode == "auto" else mode
        self._bar: Any = None
        self._task: Any = None
        self._stage = ""
        self._begun = self._last_line = 0.0

    def __enter__(self) -> Self:
        if self._mode == "bar":
            from rich.console import Console  # noqa: PLC0415 - only where a bar is drawn
            from rich.progress import (  # noqa: PLC0415
                BarColumn,
                DownloadColumn,
                TextColumn,
                TimeRemainingColumn,
                TransferSpeedColumn,
            )
            from rich.progress import Progress as Bar  # noqa: PLC0415

            self._bar = Bar(
                TextColumn("{task.description:>9}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, progress: Progress) -> None:
        """Show one step."""
        if progress.stage != self._stage:
            self._stage, self._begun = progress.stage, time.monotonic()
            self._last_line = self._begun
            if self._bar is not None:
                self._task = self._bar.add_task(progress.stage, total=progress.total_bytes)
        if self._bar is not None:
            self._bar.update(self._task, completed=progress.done_bytes)
        elif self._mode == "plain" and time.monotonic() - self._last_line >= LINE_SECONDS:
            self._last_line = time.monotonic()
            click.echo(plain_line(progress, self._last_line - self._begun), err=True)


def plain_line(progress: Progress, seconds: float) -> str:
    """Return progress as a line: share, bytes, rate and what remains."""
    share = progress.done_bytes / progress.total_bytes if progress.total_bytes else 1.0
    rate = progress.done_bytes / seconds if seconds > 0 else 0.0
    left = f"{(progress.total_bytes - progress.done_bytes) / rate:.0f} s left" if rate else "time left unknown"
    done, total = as_size(progress.done_bytes), as_size(progress.total_bytes)
    return f"{progress.stage} {share:4.0%}  {done} of {total}  {as_size(rate)}/s  {left}"
