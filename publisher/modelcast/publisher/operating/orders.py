"""The commands ``modelcast promote`` and ``modelcast rollback``: orders for releases that are there. Importing it loads click only."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelcast.publisher.commands import conclusion, document_of, line_of
from modelcast.publisher.operating.rolling import only_with_waves, roll_out
from modelcast.shared.cli.connection import json_option, quiet_logs, resolve_url, url_option
from modelcast.shared.cli.output import Output

if TYPE_CHECKING:
    from modelcast.publisher.operator import Operator
    from modelcast.publisher.publication import Publication


def _needed(context: click.Context, option: click.Parameter, value: Path | None) -> Path | None:
    """Refuse a missing key, but not where nothing is ordered."""
    if value is None and not context.params.get("dry_run"):
        raise click.MissingParameter(ctx=context, param=option)
    return value


def ordering(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of every command that orders something and may wait for verdicts."""
    for option in reversed((
        click.option("--key", type=click.Path(path_type=Path), envvar="MODELCAST_ORDER_KEY", callback=_needed,
                     help="Private key that signs the order.  [required]"),
        click.option("--expires", type=float, metavar="SECONDS", help="Instances that see the order later reject it."),
        click.option("--wait", "wait_instances", type=int, metavar="N", help="Wait until N instances decided."),
        click.option("--wait-share", type=float, metavar="SHARE", help="Wait for this share of the known instances, such as 0.95."),
        click.option("--timeout", default=600.0, show_default=True, metavar="SECONDS", help="Longest wait for verdicts."),
        url_option, json_option,
    )):
        command = option(command)
    return command


@click.command()
@click.argument("model")
@click.argument("version")
@click.option("--to", "to_channel", default="production", show_default=True, metavar="CHANNEL", help="The channel that shall run it.")
@click.option("--from", "from_channel", metavar="CHANNEL", help="The channel that must have run it before, such as staging.")
@click.option("--require-verdicts", type=float, metavar="SHARE",
              help="Share of the instances of --from that must have promoted it, such as 0.95.")
@click.option("--again", is_flag=True,
              help="Order it even if it runs already, was rolled back there, or its chunks are gone.")
@click.option("--waves", metavar="AMOUNTS", help="Gradually: to so many instances at first, then to more, such as 1,10%,100%.")
@click.option("--soak", type=float, metavar="SECONDS", help="With --waves: watch each wave so long once its verdicts are in.")
@click.option("--max-failures", metavar="AMOUNT", help="With --waves: so many may refuse it or be late before it halts: 0, 2, 5%.")
@click.option("--max-vetoes", type=int, metavar="N", help="With --waves: so many applications may report it as bad before it halts.")
@click.option("--roll-back", is_flag=True, help="With --waves: go back by itself when it halts.")
@click.option("--dry-run", is_flag=True, is_eager=True,
              help="With --waves: say who is in which wave, and order nothing; takes no key.")
@ordering
def promote(model: str, version: str, *, as_json: bool, **options: Any) -> int:
    """Order a channel to run a release that is there. No byte of it is sent again, and its signature stays what it was.

    Ends with 31, and orders nothing, when too few instances of --from accepted it; with 27 when it was never there, or its chunks
    are not on the road any more. With --waves it ends with 0 when all instances were reached, with 37 when it halted, and with 38 when
    somebody paused it, took it over or ordered something else. Ended in between nothing more is ordered until somebody calls
    modelcast rollout resume, from wherever.

    \b
    Example:
      modelcast promote fraud 2.1.0 --from staging --to production --require-verdicts 0.95 \\
          --key keys/operations.key --wait-share 0.95
      modelcast promote fraud 2.1.0 --waves 1,10%,100% --soak 600 --roll-back --key keys/operations.key
    """  # noqa: D301 - \b is click's mark for text that is not wrapped
    if options["waves"] is not None:
        return roll_out(model, version, as_json=as_json, **options)
    only_with_waves(options)
    output, operator = _begin(options, as_json=as_json)
    publication = operator.promote(
        model, version, to_channel=options["to_channel"], from_channel=options["from_channel"],
        require_verdicts=options["require_verdicts"], expires_seconds=options["expires"], again=options["again"],
    )
    if publication.was_current:
        output.data(f"{model} {publication.version} is what {publication.channel} runs already: nothing to do.")
    else:
        output.data(f"{model} {publication.version} ordered for {publication.channel}: order {publication.sequence}, nothing sent")
    _tell_of_gone_chunks(output, publication)
    return _end(output, operator, publication, options)


@click.command()
@click.argument("model")
@click.option("--channel", default="production", show_default=True, help="The channel that shall go back.")
@click.option("--to", "to_version", metavar="VERSION", help="The version to go back to; without it, the one that ran before.")
@click.option("--reason", default="", help="Why, in your words; it stands in the history.")
@ordering
def rollback(model: str, *, as_json: bool, **options: Any) -> int:
    """Order a channel to go back. What it leaves does not come back by itself: to order it again takes --again.

    Instances that still have the release switch without any transfer; others fetch it.

    \b
    Example:
      modelcast rollback fraud --channel production --reason "answers drift" --key keys/operations.key --wait-share 1.0
    """  # noqa: D301 - \b is click's mark for text that is not wrapped
    output, operator = _begin(options, as_json=as_json)
    publication = operator.rollback(
        model, channel=options["channel"], to=options["to_version"], reason=options["reason"], expires_seconds=options["expires"],
    )
    output.data(f"{model} goes back to {publication.version} in {publication.channel}: order {publication.sequence}, nothing sent")
    _tell_of_gone_chunks(output, publication)
    return _end(output, operator, publication, options)


def _tell_of_gone_chunks(output: Output, publication: "Publication") -> None:
    if publication.chunks_are_gone:
        output.note(
            f"The chunks of {publication.version} are not on the road any more: only instances that hold it, or have a fallback, can "
            f"switch. For the others publish the same bytes again."
        )


def _begin(options: dict[str, Any], *, as_json: bool) -> "tuple[Output, Operator]":
    from modelcast.publisher.operator import Operator  # noqa: PLC0415 - --help need not load the library
    from modelcast.publisher.waiting import check_wish  # noqa: PLC0415

    quiet_logs()
    output = Output(as_json=as_json)
    if _waits(options):
        check_wish(options["wait_instances"], options["wait_share"], options["timeout"])   # before anything is ordered
    return output, Operator(resolve_url(options["url"], output.note), order_key=options["key"], on_busy=output.note)


def _waits(options: dict[str, Any]) -> bool:
    return options["wait_instances"] is not None or options["wait_share"] is not None


def _end(output: Output, operator: "Operator", publication: "Publication", options: dict[str, Any]) -> int:
    if not _waits(options):
        if output.as_json:
            output.document(document_of(publication, None))
        return 0
    outcome = operator.wait(
        publication, instances=options["wait_instances"], share=options["wait_share"], timeout_seconds=options["timeout"],
        on_verdict=lambda report: output.data(line_of(report)),
    )
    if output.as_json:
        output.document(document_of(publication, outcome))
    output.note(conclusion(outcome))
    return outcome.exit_code
