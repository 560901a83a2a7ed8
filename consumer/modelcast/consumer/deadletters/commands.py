"""The command ``modelcast dead-letters``: list, show, explain. Looks only. Importing it loads click only."""

from typing import TYPE_CHECKING

import click

from modelcast.shared.cli.connection import json_option, quiet_logs, resolve_url, url_option
from modelcast.shared.cli.output import Output

if TYPE_CHECKING:
    from modelcast.consumer.deadletters.letter import Letter

MOST = 65_535
"""Letters that can be looked at without taking them: AMQP counts unsettled messages in 16 bits."""
DEFAULT_LIMIT = 1000
"""Letters held at once while looking; each is an order of some ten kilobytes."""


@click.group("dead-letters")
def dead_letters() -> None:
    """What instances refused, and why. Nothing is taken from the queue, nothing in a letter is ever unpickled.

    \b
    Example:
      modelcast dead-letters list
      modelcast dead-letters explain 3f9a
    """  # noqa: D301 - \b is click's mark for text that is not wrapped


def _read(url: str | None, output: Output, limit: int, wanted: str = "") -> "list[Letter]":
    from modelcast.consumer.deadletters.browse import read_letters  # noqa: PLC0415 - --help need not load the library
    from modelcast.shared.roads import open_road  # noqa: PLC0415

    quiet_logs()
    return read_letters(open_road(resolve_url(url, output.note)), limit=limit, wanted=wanted)


@dead_letters.command("list")
@click.option("--limit", default=DEFAULT_LIMIT, show_default=True, type=click.IntRange(1, MOST), help="At most so many.")
@url_option
@json_option
def list_letters(*, url: str | None, as_json: bool, limit: int) -> None:
    """List the dead letters, oldest first.

    \b
    Example:
      modelcast dead-letters list --json
    """  # noqa: D301 - \b is click's mark for text that is not wrapped
    from modelcast.consumer.deadletters.render import COLUMNS, row  # noqa: PLC0415 - see above
    from modelcast.shared.limits import counted  # noqa: PLC0415

    output = Output(as_json=as_json)
    letters = _read(url, output, limit)
    if as_json:
        output.document({"dead_letters": [letter.to_dict() for letter in letters]})
        return
    if not letters:
        output.data("No dead letters.")
        return
    output.table(COLUMNS, [row(letter) for letter in letters], whole=("id", "reason"))
    output.note(f"{counted(len(letters), 'dead letter')}. For one of them: modelcast dead-letters explain {letters[-1].id}")


@dead_letters.command()
@click.argument("letter_id")
@url_option
@json_option
def show(*, letter_id: str, url: str | None, as_json: bool) -> None:
    """Show all that is known of one: the manifest, and both sides of what did not match.

    \b
    Example:
      modelcast dead-letters show 3f9a
    """  # noqa: D301 - \b is click's mark for text that is not wrapped
    from modelcast.consumer.deadletters.browse import find_letter  # noqa: PLC0415 - see above
    from modelcast.consumer.deadletters.render import shown  # noqa: PLC0415

    output = Output(as_json=as_json)
    letter = find_letter(_read(url, output, MOST, letter_id), letter_id)
    if as_json:
        output.document(letter.to_dict() | {
            "order": letter.order.model_dump(mode="python") if letter.order else None,
            "manifest": letter.manifest.model_dump(mode="python") if letter.manifest else None,
            "report": letter.report.model_dump(mode="python") if letter.report else None,
        })
        return
    for line in shown(letter):
        output.data(line)


@dead_letters.command()
@click.argument("letter_id", required=False)
@click.option("--limit", default=DEFAULT_LIMIT, show_default=True, type=click.IntRange(1, MOST), help="At most so many.")
@url_option
@json_option
def explain(*, letter_id: str | None, limit: int, url: str | None, as_json: bool) -> None:
    """Explain one, or all: what happened, whose fault it is, what to do.

    \b
    Example:
      modelcast dead-letters explain 3f9a
    """  # noqa: D301 - \b is click's mark for text that is not wrapped
    from modelcast.consumer.deadletters.browse import find_letter  # noqa: PLC0415 - see above
    from modelcast.consumer.deadletters.render import explained  # noqa: PLC0415

    output = Output(as_json=as_json)
    letters = _read(url, output, MOST if letter_id else limit, letter_id or "")
    chosen = [find_letter(letters, letter_id)] if letter_id else letters
    if as_json:
        output.document({"dead_letters": [letter.to_dict() for letter in chosen]})
        return
    if not chosen:
        output.data("No dead letters.")
    for letter in chosen:
        for line in explained(letter):
            output.data(line)
        output.data("")
