"""The commands ``modelcast dead-letters export``, ``purge`` and ``replay``. Importing it loads click only."""

from pathlib import Path

import click

from modelcast.consumer.deadletters.asking import road_of
from modelcast.shared.cli.connection import json_option, url_option
from modelcast.shared.cli.output import Output


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
