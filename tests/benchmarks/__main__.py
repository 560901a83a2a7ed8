"""The command line of the benchmarks: ``python -m tests.benchmarks --help``.

Decides the options; each subject is a module of its own and is imported when it is asked for.
"""

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


def _common(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that every subject has."""
    command = click.option("--quick", is_flag=True, help="Small and once: a look, not a measurement.")(command)
    command = click.option("--publish", is_flag=True, help="Keep the result as the one that the documentation shows.")(command)
    return click.option(
        "--directory", type=click.Path(file_okay=False, path_type=Path), help="Where files lie; memory (/dev/shm) if left out."
    )(command)


def _end(document: dict[str, Any], *, publish: bool) -> None:
    from tests.benchmarks import documents, page

    path = documents.save(document, is_published=publish)
    click.echo(f"Written: {path}", err=True)
    if publish:
        page.write()


@click.group()
def main() -> None:
    """Measure modelcast beside the limit of the machine and beside what people use."""
    from tests.benchmarks.documents import is_busy

    if is_busy():
        click.echo("This machine is busy: the figures will tell more of its other work than of modelcast.", err=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))   # so that servers are stopped and files removed


@main.command()
@_common
@click.option("--sizes", default="64,512", show_default=True, help="MiB, with commas.")
@click.option("--instances", default="1,4,16", show_default=True, help="With commas.")
@click.option("--size-for-16", default=256, show_default=True, help="Most MiB for sixteen instances and more.")
@click.option("--big", is_flag=True, help="2 GiB as well, to 1 and 4 instances.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
@click.option("--only", default="", help="Names of contenders, with commas.")
def fanout(
    *, directory: Path | None, publish: bool, quick: bool, sizes: str, instances: str, size_for_16: int, big: bool, rounds: int, only: str
) -> None:
    """One publisher, N instances, all contenders."""
    from tests.benchmarks import fanout as subject
    from tests.benchmarks.contender import MIB
    from tests.benchmarks.contenders import FANOUT

    if quick:
        sizes, instances, rounds = "64", "1,4", 1
    wanted = only.split(",") if only else [contender.name for contender in FANOUT]
    found = subject.cases(_numbers(sizes), _numbers(instances), size_for_16_mib=size_for_16)
    if big:
        found += [subject.Case(2048 * MIB, 1), subject.Case(2048 * MIB, 4)]
    contenders = [contender for contender in FANOUT if contender.name in wanted]
    _end(subject.run(subject.Plan(found, contenders, rounds, directory)), publish=publish)


@main.command()
@_common
@click.option("--rounds", default=2, show_default=True, type=click.IntRange(1))
def growth(*, directory: Path | None, publish: bool, quick: bool, rounds: int) -> None:
    """How cost grows: with size, with the number of instances, with the size of chunks."""
    from tests.benchmarks import growth as subject

    _end(subject.run(directory, rounds=1 if quick else rounds, quick=quick), publish=publish)


@main.command()
@_common
@click.option("--size", default=512, show_default=True, help="MiB of the model.")
def delta(*, directory: Path | None, publish: bool, quick: bool, size: int) -> None:
    """What goes over the wire when little changed, or when a transfer was killed."""
    from tests.benchmarks import delta as subject
    from tests.benchmarks.contender import MIB

    _end(subject.run(directory, size=(32 if quick else size) * MIB), publish=publish)


@main.command()
@_common
@click.option("--repeats", default=15, show_default=True, type=click.IntRange(1))
def small(*, directory: Path | None, publish: bool, quick: bool, repeats: int) -> None:
    """Small things that people feel: imports, reads, tiny models, restarts."""
    from tests.benchmarks import small as subject

    _end(subject.run(directory, repeats=3 if quick else repeats, store_mib=64 if quick else 512), publish=publish)


@main.command()
@_common
@click.option("--size", default=512, show_default=True, help="MiB of arrays and of the forest.")
@click.option("--entries", default=1_000_000, show_default=True, help="Entries of the dictionary of objects.")
@click.option("--kinds", default="arrays,forest,objects", show_default=True, help="With commas.")
@click.option("--ways", default="idle,modelcast,naive", show_default=True, help="With commas.")
@click.option("--modes", default="full,steady", show_default=True, help="Without a pause, 200 requests a second; with commas.")
@click.option("--repeats", default=5, show_default=True, type=click.IntRange(1))
@click.option("--collector", default="pause", show_default=True, help="leave, pause or freeze; see Loading.")
@click.option("--waiting", is_flag=True, help="The release is in the stream before the instance starts: nothing is published meanwhile.")
def stall(
    *, directory: Path | None, publish: bool, quick: bool, size: int, entries: int, kinds: str, ways: str, modes: str, repeats: int,
    collector: str, waiting: bool,
) -> None:
    """How long a serving thread waits while a model comes and goes."""
    from tests.benchmarks import stall as subject
    from tests.benchmarks.contender import MIB

    if quick:
        size, entries, repeats = 64, 100_000, 1
    plan = subject.Plan(kinds.split(","), ways.split(","), modes.split(","), size * MIB, entries, repeats, collector, waiting, directory)
    _end(subject.run(plan), publish=publish)


@main.command()
@_common
@click.option("--sizes", default="64,512", show_default=True, help="MiB, with commas; 2048 takes 12 GiB of room.")
def memory(*, directory: Path | None, publish: bool, quick: bool, sizes: str) -> None:
    """Memory of an instance while it receives, and after."""
    from tests.benchmarks import memory as subject

    _end(subject.run(directory, _numbers("16" if quick else sizes)), publish=publish)


@main.command("all")
@_common
@click.pass_context
def everything(ctx: click.Context, *, directory: Path | None, publish: bool, quick: bool) -> None:
    """All of the above, one after the other."""
    for command in (fanout, growth, delta, small, stall, memory):
        ctx.invoke(command, directory=directory, publish=publish, quick=quick)


@main.command()
def docs() -> None:
    """Write tables and plots of the documentation anew from the results that are kept."""
    from tests.benchmarks import page

    page.write()


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


if __name__ == "__main__":
    main()
