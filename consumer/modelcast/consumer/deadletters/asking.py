"""What the commands on dead letters share: filters, and the road that is meant. Importing it loads click only."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from modelcast.shared.cli.connection import quiet_logs, resolve_url
from modelcast.shared.cli.output import Output

if TYPE_CHECKING:
    from modelcast.consumer.deadletters.choosing import Wish
    from modelcast.shared.operating_road import OpenRoad


def filtering(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the filters of every command that looks for some letters; each that is named must fit."""
    for option in reversed((
        click.option("--model", help="Of this model."),
        click.option("--version", help="Whose message claims this version."),
        click.option("--channel", help="Of this channel."),
        click.option("--instance", help="Refused by this instance."),
        click.option("--reason", help="Refused for this reason, such as load-failed; 'unreported' where the report is not there."),
        click.option("--since", metavar="TIME", help="Refused since then: 90m, 2h or 7d ago, or 2026-01-31T12:00 (UTC)."),
    )):
        command = option(command)
    return command


def wish_of(options: dict[str, Any], output: Output) -> "Wish":
    """Return what the filters ask for; a reason that is not known here is said to be so."""
    from modelcast.consumer.deadletters.choosing import UNREPORTED, Wish, since_ms  # noqa: PLC0415 - --help need not load the library
    from modelcast.consumer.reporting import now_ms  # noqa: PLC0415
    from modelcast.shared.reasons import Reason  # noqa: PLC0415

    reason, since = options["reason"], options["since"]
    if reason is not None and reason not in {UNREPORTED, *map(str, Reason)}:
        output.note(f"Note: {reason!r} is no reason that this version of modelcast knows.")
    return Wish(
        options["model"], options["version"], options["channel"], options["instance"], reason,
        None if since is None else since_ms(since, now_ms()),
    )


def road_of(url: str | None, output: Output) -> "OpenRoad":
    """Return the road that a command means."""
    from modelcast.shared.roads import open_road  # noqa: PLC0415 - see above

    quiet_logs()
    return open_road(resolve_url(url, output.note))
