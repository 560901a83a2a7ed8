"""The command ``modelcast dead-letters``: list, show, explain, and what others add. These look only. Importing it loads click only."""

from typing import TYPE_CHECKING, Any

import click

from modelcast.consumer.deadletters.asking import filtering, road_of, wish_of
from modelcast.consumer.deadletters.handling import export, purge, replay
from modelcast.shared.cli.connection import json_option, url_option
from modelcast.shared.cli.output import Output

if TYPE_CHECKING:
    from modelcast.consumer.deadletters.letter import Letter

MOST = 65_535
"""Letters that can be looked at without taking them: AMQP counts unsettled messages in 16 bits."""
DEFAULT_LIMIT = 1000
"""Letters listed at once."""
GROUPS = ("reason", "model", "version", "channel", "instance")


@click.group("dead-letters")
def dead_letters() -> None:
    """What instances refused, and why. Nothing in a letter is ever unpickled.

    \b
    Example:
      modelcast dead-letters list --since 2h --by reason
      modelcast dead-letters explain 3f9a
      modelcast dead-letters replay 3f9a
    """  # noqa: D301 - \b is click's mark for text that is not wrapped


def _read(url: str | None, output: Output, limit: int, wanted: str = "") -> "list[Letter]":
    from modelcast.consumer.deadletters.browse import read_letters  # noqa: PLC0415 - see above

    return read_letters(road_of(url, output), limit=limit, wanted=wanted)


@dead_letters.command("list")
@filtering
@click.option("--by", type=click.Choice(GROUPS), help="Count all that fit, in groups, instead of listing them.")
@click.option("--limit", default=DEFAULT_LIMIT, show_default=True, type=click.IntRange(1, MOST), help="At most so many.")
@click.option("--after", metavar="ID", help="Go on behind this one, the last of the page before.")
@url_option
@json_option
def list_letters(*, url: str | None, as_json: bool, limit: int, by: str | None, after: str | None, **options: Any) -> None:
    """List the dead letters, oldest first, or count them in groups.

    Filters are joined: each must fit. JSON names in 'next' the id for --after when there are more, otherwise null. Ends with 0, also
    when there are none; with 27 when the letter of --after is gone.

    \b
    Example:
      modelcast dead-letters list --json
      modelcast dead-letters list --model fraud --since 7d --by reason
    """  # noqa: D301 - \b is click's mark for text that is not wrapped
    from modelcast.consumer.deadletters.browse import page_after, read_letters  # noqa: PLC0415 - see above
    from modelcast.consumer.deadletters.choosing import grouped  # noqa: PLC0415
    from modelcast.consumer.deadletters.render import GROUP_COLUMNS, group_row  # noqa: PLC0415

    output = Output(as_json=as_json)
    wish, road = wish_of(options, output), road_of(url, output)
    if by is None:
        _show_page(output, *page_after(road, after, limit=limit, wish=wish, with_facts=as_json))
        return
    groups = grouped(read_letters(road, limit=MOST, wish=wish, with_facts=False), by)
    if as_json:
        output.document({"by": by, "groups": [group.to_dict() for group in groups]})
    elif not groups:
        output.data("No dead letters.")
    else:
        output.table((by, *GROUP_COLUMNS), [group_row(group) for group in groups], whole=(by, "letters"))


def _show_page(output: Output, letters: "list[Letter]", following: str | None) -> None:
    from modelcast.consumer.deadletters.render import COLUMNS, row  # noqa: PLC0415 - see above
    from modelcast.shared.limits import counted  # noqa: PLC0415

    if output.as_json:
        output.document({"dead_letters": [letter.to_dict() for letter in letters], "next": following})
        return
    if not letters:
        output.data("No dead letters.")
        return
    output.table(COLUMNS, [row(letter) for letter in letters], whole=("id", "reason"))
    output.note(f"{counted(len(letters), 'dead letter')}. For one of them: modelcast dead-letters explain {letters[-1].id}")
    if following is not None:
        output.note(f"There are more: --after {following}")


@dead_letters.command()
@click.argument("letter_id")
@url_option
@json_option
def show(*, letter_id: str, url: str | None, as_json: bool) -> None:
    """Show all that is known of one: the manifest, and both sides of what did not match.

    Ends with 27 when there is no such letter.

    \b
    Example:
      modelcast dead-letters show 3f9a
    """  # noqa: D301 - \b is click's mark for text that is not wrapped
    from modelcast.consumer.deadletters.browse import find_letter  # noqa: PLC0415 - see above
    from modelcast.consumer.deadletters.render import shown  # noqa: PLC0415

    output = Output(as_json=as_json)
    letter = find_letter(_read(url, output, MOST, letter_id), letter_id)
    if as_json:
        output.document(letter.in_full())
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

    Ends with 27 when there is no such letter.

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


for command in (export, replay, purge):
    dead_letters.add_command(command)
