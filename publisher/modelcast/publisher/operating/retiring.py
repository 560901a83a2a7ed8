"""The command ``modelcast retire``: an instance does not come back. Importing it loads click only."""

import click

from modelcast.shared.cli.connection import json_option, quiet_logs, resolve_url, url_option
from modelcast.shared.cli.output import Output, printable


@click.command()
@click.argument("model")
@click.argument("instance")
@click.option("--channel", default="production", show_default=True, help="The channel that it followed.")
@url_option
@json_option
def retire(model: str, instance: str, *, channel: str, url: str | None, as_json: bool) -> None:
    """Say that an instance does not come back: one that was killed, or whose machine is gone. fleet forgets it at once.

    One that was stopped in order has said so itself. promote --require-verdicts does not count it either. Ends with 2 when it is
    heard, so that it runs, and with 27 when nobody of this id reported within a day. If it reports again it is a member again.

    \b
    Example:
      modelcast retire fraud web-3 --channel production
    """  # noqa: D301 - \b is click's mark for text that is not wrapped
    from modelcast.publisher.retiring import retire as note  # noqa: PLC0415 - --help need not load the library

    quiet_logs()
    output = Output(as_json=as_json)
    note(resolve_url(url, output.note), model, instance, channel=channel, on_busy=output.note)
    if as_json:
        output.document({"model": model, "channel": channel, "instance": instance})
        return
    output.data(printable(f"{instance} is retired: modelcast fleet no longer lists it."))
