"""The commands ``modelcast dead-letters export``, ``purge`` and ``replay``. Importing it loads click only."""

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelcast.consumer.deadletters.asking import filtering, road_of, wish_of
from modelcast.shared.cli.connection import json_option, url_option
from modelcast.shared.cli.output import Output, printable

if TYPE_CHECKING:
    from modelcast.consumer.deadletters.letter import Letter
    from modelcast.shared.operating_road import OpenRoad

SOME_STAY = 36
"""Exit code of ``replay`` when it could not send all of them back; those stay where they are."""


@click.command()
@click.argument("letter_id")
@click.option("--output", "target", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="The zip to write; ID.zip when left out.")
@url_option
@json_option
def export(*, letter_id: str, target: Path | None, url: str | None, as_json: bool) -> None:
    """Write one with its order, manifest and reports to a zip, for a bug report. It stays where it is.

    The same letter makes the same bytes. There is no key, no password and no part of the model in it. Ends with 27 when there is no
    such letter, with 2 when the file is there already with other content.

    \b
    Example:
      modelcast dead-letters export 3f9a --output refused.zip
    """  # noqa: D301 - \b is click's mark for text that is not wrapped
    import hashlib  # noqa: PLC0415 - --help need not load the library
    from dataclasses import replace  # noqa: PLC0415

    from modelcast.consumer.deadletters.browse import find_dead, reports_about  # noqa: PLC0415
    from modelcast.consumer.deadletters.exporting import files_of, zipped  # noqa: PLC0415
    from modelcast.consumer.deadletters.letter import open_letter  # noqa: PLC0415
    from modelcast.shared.report import Verdict  # noqa: PLC0415

    output = Output(as_json=as_json)
    road = road_of(url, output)
    dead = find_dead(road, letter_id)
    letter = open_letter(dead)
    reports = reports_about(road, letter)
    refusals = [report for report in reports if report.verdict == Verdict.REJECTED]
    letter = replace(letter, report=refusals[-1] if refusals else None)
    files = files_of(letter, dead.body, reports)
    content, path = zipped(files, f"dead-letter-{letter.id}"), target or Path(f"{letter.id}.zip")
    _write(path, content)
    if as_json:
        output.document({
            "id": letter.id, "path": str(path), "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(),
            "files": sorted(files),
        })
    else:
        output.data(str(path))
        output.note(f"{len(content)} bytes: {', '.join(files)}. Names of the model, the instance and its host are in it.")


def _write(path: Path, content: bytes) -> None:
    """Write a file that is not there; one that has this content already is as good."""
    from modelcast.shared.errors import MissingPath, MisuseError  # noqa: PLC0415 - see above

    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError as error:
        if path.read_bytes() != content:
            raise MisuseError(f"{path} is there already, with other content.", hint="Name another one with --output.") from error
    except OSError as error:
        raise MissingPath(f"Cannot write {path}: {error.strerror}.", hint="Name another one with --output.") from error


@click.command()
@click.argument("letter_ids", nargs=-1, metavar="[ID]...")
@filtering
@click.option("--all", "takes_all", is_flag=True, help="All that are there, where neither an id nor a filter is given.")
@click.option("--all-that-refused", is_flag=True, help="Also to the other instances that refused the same order.")
@click.option("--dry-run", is_flag=True, help="Say what would be sent back to whom, and send nothing.")
@url_option
@json_option
def replay(
    *, letter_ids: tuple[str, ...], takes_all: bool, all_that_refused: bool, dry_run: bool, url: str | None, as_json: bool,
    **options: Any,
) -> int:
    """Send orders back to the instances that refused them, and to no others, to be judged anew.

    The very message goes back, with its signatures, and passes every check again: one that something newer replaced meanwhile does
    nothing. A letter is removed when the road has its order for good; a crash in between leaves both. What is refused again
    is a dead letter again.

    Ends with 0 when all were sent back, with 27 when there is no letter of that id, with 36 when some could not be sent back, such as
    to an instance that is gone: those stay.

    \b
    Example:
      modelcast dead-letters replay 3f9a --all-that-refused --dry-run
      modelcast dead-letters replay --model fraud --reason load-failed --since 2h
    """  # noqa: D301 - \b is click's mark for text that is not wrapped
    from modelcast.consumer.deadletters.moving import send_back  # noqa: PLC0415 - --help need not load the library

    output, road, letters = _chosen(url, options, letter_ids, as_json=as_json, takes_all=takes_all, spreads=all_that_refused)
    sent: list[Letter] = []
    kept: list[tuple[Letter, str]] = []
    for letter, problem in send_back(road, letters, tries=dry_run):
        who = f"{letter.model} {letter.version or '?'} to {letter.instance} of {letter.channel}"
        if problem is None:
            sent.append(letter)
            output.data(printable(f"{letter.id}: {'would send' if dry_run else 'sent'} {who} back"))
        else:
            kept.append((letter, problem))
            output.note(printable(f"{letter.id}: stays. {problem}"))
    if as_json:
        stay = [_brief(letter) | {"why": problem} for letter, problem in kept]
        output.document({"dry_run": dry_run, "replayed": [_brief(letter) for letter in sent], "kept": stay})
    elif not sent and not kept:
        output.data("No dead letters.")
    if sent and not dry_run:
        output.note("What they say now: modelcast dead-letters list, or modelcast why MODEL VERSION")
    return SOME_STAY if kept else 0


@click.command()
@click.argument("letter_ids", nargs=-1, metavar="[ID]...")
@filtering
@click.option("--all", "takes_all", is_flag=True, help="All that are there, where neither an id nor a filter is given.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@url_option
@json_option
def purge(
    *, letter_ids: tuple[str, ...], takes_all: bool, yes: bool, dry_run: bool, url: str | None, as_json: bool, **options: Any
) -> None:
    """Remove dead letters for good: those that fit now, and none that comes meanwhile.

    It asks first, on a terminal; elsewhere it takes --yes. Ends with 35, and removes nothing, when nobody confirmed; with 27 when
    there is no letter of that id.

    \b
    Example:
      modelcast dead-letters purge --reason expired --dry-run
      modelcast dead-letters purge --model fraud --version 2.0.0 --yes
    """  # noqa: D301 - \b is click's mark for text that is not wrapped
    from modelcast.consumer.deadletters.moving import remove  # noqa: PLC0415 - --help need not load the library

    output, road, letters = _chosen(url, options, letter_ids, as_json=as_json, takes_all=takes_all)
    if letters and not dry_run and not yes:
        _confirm(letters)
    removed = letters if dry_run else list(remove(road, letters))
    if as_json:
        output.document({"dry_run": dry_run, "purged": [_brief(letter) for letter in removed]})
    else:
        output.data(f"{'Would remove' if dry_run else 'Removed'} {_counted(removed)}." if removed else "No dead letters.")


def _chosen(
    url: str | None, options: dict[str, Any], letter_ids: tuple[str, ...], *, as_json: bool, takes_all: bool, spreads: bool = False
) -> "tuple[Output, OpenRoad, list[Letter]]":
    from modelcast.consumer.deadletters.moving import choose  # noqa: PLC0415 - see above
    from modelcast.shared.errors import MisuseError  # noqa: PLC0415

    output = Output(as_json=as_json)
    wish = wish_of(options, output)
    is_any = wish.is_any and not letter_ids
    if is_any != takes_all:
        problem = "--all goes with neither ids nor filters." if takes_all else "Neither an id nor a filter says which dead letters."
        raise MisuseError(problem, hint="Name some, with --reason or another filter, or say --all.")
    road = road_of(url, output)
    return output, road, choose(road, letter_ids, wish, spreads=spreads)


def _confirm(letters: "list[Letter]") -> None:
    from modelcast.shared.errors import NotConfirmed  # noqa: PLC0415 - see above

    question = f"Remove {_counted(letters)} for good?"
    if not is_terminal():
        raise NotConfirmed(f"{question} Nobody is there to say so.", hint="Look with --dry-run, then add --yes.")
    if not click.confirm(question, err=True):
        raise NotConfirmed("Nothing was removed.")


def is_terminal() -> bool:
    """Whether somebody is there to be asked."""
    return sys.stdin.isatty()


def _counted(letters: "list[Letter]") -> str:
    from modelcast.consumer.deadletters.choosing import UNREPORTED  # noqa: PLC0415 - see above
    from modelcast.shared.limits import counted  # noqa: PLC0415

    reasons = Counter(letter.reason or UNREPORTED for letter in letters)
    told = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    return printable(f"{counted(len(letters), 'dead letter')} ({told})")


def _brief(letter: "Letter") -> dict[str, Any]:
    fields = letter.to_dict()
    return {name: fields[name] for name in ("id", "order_id", "model", "version", "channel", "instance", "died_ms", "reason")}
