"""The commands ``modelcast promote --waves`` and ``modelcast rollout``: a release goes to a channel in waves.

Importing it loads click only.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelcast.publisher.commands import line_of
from modelcast.shared.cli.connection import json_option, quiet_logs, resolve_url, url_option
from modelcast.shared.cli.output import Output, as_time, printable
from modelcast.shared.errors import MisuseError

if TYPE_CHECKING:
    from modelcast.publisher.rollout.control import Rollouts
    from modelcast.publisher.rollout.driver import Happening
    from modelcast.publisher.rollout.status import RolloutStatus

NAMED = 8
"""So many instances are named in one line."""
OF_WAVES = ("soak", "max_failures", "max_vetoes", "roll_back", "dry_run")
NOT_WITH_WAVES = ("wait_instances", "wait_share", "expires")


def only_with_waves(options: dict[str, Any]) -> None:
    """Refuse options that say nothing without ``--waves``; raises MisuseError."""
    given = [name for name in OF_WAVES if options[name] not in {None, False}]
    if given:
        raise MisuseError(f"--{given[0].replace('_', '-')} is about waves.", hint="Give --waves, such as 1,10%,100%.")


def roll_out(model: str, version: str, *, as_json: bool, **options: Any) -> int:
    """Carry out ``promote --waves``; returns the exit code."""
    from modelcast.publisher.rollout.plan import RolloutPlan  # noqa: PLC0415 - --help need not load the library

    quiet_logs()
    given = [name for name in NOT_WITH_WAVES if options[name] is not None]
    if given:
        raise MisuseError(
            "A rollout waits for its own verdicts, and its orders do not expire.",
            hint="Leave --wait, --wait-share and --expires out.",
        )
    plan = RolloutPlan.of(
        options["waves"], soak_seconds=options["soak"] or 0.0, verdict_seconds=options["timeout"],
        max_failures=options["max_failures"] or 0, max_vetoes=options["max_vetoes"] or 0, rolls_back=options["roll_back"],
    )
    output = Output(as_json=as_json)
    rollouts, channel = _rollouts(output, options["url"], options["key"]), options["to_channel"]
    if options["dry_run"]:
        waves = rollouts.preview(model, version, channel=channel, plan=plan)
        if as_json:
            output.document({"model": model, "channel": channel, "waves": [
                {"wave": str(wave), "instances": list(names)} for wave, names in zip(plan.waves, waves, strict=True)
            ]})
        for wave, names in zip(plan.waves, waves, strict=True):
            output.data(printable(f"wave of {wave!s:<6} {_listed(names)}"))
        return 0
    status = _driving(output, model, channel, lambda watch: rollouts.begin(
        model, version, channel=channel, plan=plan, from_channel=options["from_channel"],
        require_verdicts=options["require_verdicts"], again=options["again"], watch=watch,
    ))
    return _end_of_driving(output, status)


@click.group()
def rollout() -> None:
    """Look at a rollout, pause it, go on with it, or abort it; modelcast promote --waves begins one.

    Its state lies with the releases, not in the command that drives it: any of these works from any machine.

    \b
    Example:
      modelcast rollout status fraud --channel production
    """  # noqa: D301 - \b is click's mark for text that is not wrapped


def _options(*, key: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        """Add the options that the commands of a rollout share."""
        signing = click.option(
            "--key", type=click.Path(path_type=Path), envvar="MODELCAST_ORDER_KEY", help="Private key that signs orders.",
        )
        shared = (click.argument("model"), click.option("--channel", default="production", show_default=True))
        for option in reversed((*shared, *((signing,) if key else ()), url_option, json_option)):
            command = option(command)
        return command

    return add


@rollout.command()
@_options(key=False)
def status(model: str, *, channel: str, url: str | None, as_json: bool) -> int:
    """Say how the last rollout of a channel stands, wave by wave, and who failed.

    Ends with 0 while it runs and when it is complete, 37 when it halted or was aborted, 38 when something else was ordered.

    \b
    Example:
      modelcast rollout status fraud --channel production
    """  # noqa: D301 - \b is click's mark for text that is not wrapped
    output = Output(as_json=as_json)
    return _end(output, _rollouts(output, url, None).status(model, channel=channel), table=True)


@rollout.command()
@_options(key=False)
@click.option("--why", default="", help="Why, in your words.")
def pause(model: str, *, channel: str, why: str, url: str | None, as_json: bool) -> int:
    """Have nothing more ordered until somebody goes on; the command that drives the rollout ends within seconds.

    \b
    Example:
      modelcast rollout pause fraud --why "looking at the latency"
    """  # noqa: D301 - \b is click's mark for text that is not wrapped
    output = Output(as_json=as_json)
    return _end(output, _rollouts(output, url, None).pause(model, channel=channel, why=why))


@rollout.command()
@_options(key=True)
@click.option("--max-failures", metavar="AMOUNT", help="From here on so many may refuse it or be late: 2, or 5%.")
@click.option("--max-vetoes", type=int, metavar="N", help="From here on so many applications may report it as bad.")
def resume(
    model: str, *, channel: str, key: Path | None, max_failures: str | None, max_vetoes: int | None, url: str | None, as_json: bool
) -> int:
    """Go on with a rollout that was paused or halted, or whose command is gone; who drives it now is relieved.

    Ends as promote --waves does.

    \b
    Example:
      modelcast rollout resume fraud --max-failures 2 --key keys/operations.key
    """  # noqa: D301 - \b is click's mark for text that is not wrapped
    output = Output(as_json=as_json)
    rollouts = _rollouts(output, url, key)
    return _end_of_driving(output, _driving(output, model, channel, lambda watch: rollouts.resume(
        model, channel=channel, max_failures=max_failures, max_vetoes=max_vetoes, watch=watch,
    )))


@rollout.command()
@_options(key=True)
@click.option("--why", default="", help="Why, in your words; it stands in the history.")
@click.option("--keep", is_flag=True, help="Leave those that have the release with it, instead of going back.")
def abort(model: str, *, channel: str, key: Path | None, why: str, keep: bool, url: str | None, as_json: bool) -> int:
    """End a rollout for good; the channel goes back to what it ran before, and the release does not come back by itself.

    \b
    Example:
      modelcast rollout abort fraud --why "answers drift" --key keys/operations.key
    """  # noqa: D301 - \b is click's mark for text that is not wrapped
    output = Output(as_json=as_json)
    found = _rollouts(output, url, key).abort(model, channel=channel, why=why, keeps=keep)
    _end(output, found)
    if not keep and found.went_back is None:
        output.note(_why_not_back(found))
    return 0


def _rollouts(output: Output, url: str | None, key: Path | None) -> "Rollouts":
    from modelcast.publisher.rollout.control import Rollouts  # noqa: PLC0415 - see above

    quiet_logs()
    return Rollouts(resolve_url(url, output.note), order_key=key, on_busy=output.note)


def _driving(
    output: Output, model: str, channel: str, drive: "Callable[[Callable[[Happening], None]], RolloutStatus]"
) -> "RolloutStatus":
    try:
        return drive(lambda happening: _tell(output, happening))
    except KeyboardInterrupt:
        output.note(f"Left as it is; nothing more is ordered. Go on with: modelcast rollout resume {model} --channel {channel}")
        raise


def _tell(output: Output, happening: "Happening") -> None:
    wave, count = f"wave {happening.wave + 1}", len(happening.instances)
    if happening.report is not None:
        if happening.report.kind == "verdict":
            output.data(line_of(happening.report))
        elif happening.why:
            output.data(printable(f"{happening.instances[0]:<24} {happening.why}"))
        return
    texts = {
        "ordered": f"{wave}: ordered for {count} instance{'' if count == 1 else 's'} ({_listed(happening.instances)})",
        "soaking": f"{wave}: verdicts are in; watching it for {happening.why}", "accepted": f"{wave}: accepted",
        "halted": f"{wave}: halted. {happening.why}", "completed": "All waves are through.",
        "left": f"Not carried on here: {happening.why}.",
    }
    output.data(printable(texts[happening.what]))


def _why_not_back(found: "RolloutStatus") -> str:
    rolled = found.rollout
    if rolled.left_by is not None:
        return f"Order {rolled.left_by} was given to {rolled.begun.channel} meanwhile: nothing more is ordered."
    if rolled.may_be_out:
        return f"{rolled.begun.channel} ran nothing before: whoever has {rolled.begun.version} keeps it."
    return "No wave of it was ordered: nobody has to go back."


def _listed(names: tuple[str, ...]) -> str:
    return (", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")) or "nobody new"


def _end_of_driving(output: Output, found: "RolloutStatus") -> int:
    """Say how it ended; a rollout that is not through, and is not carried on here, did not succeed."""
    from modelcast.publisher.rollout.status import LEFT_CODE  # noqa: PLC0415 - see above

    return _end(output, found) or (0 if found.rollout.phase == "completed" else LEFT_CODE)


def _end(output: Output, found: "RolloutStatus", *, table: bool = False) -> int:
    if output.as_json:
        output.document(found.to_dict())
        return found.exit_code
    rolled, went_back = found.rollout, found.went_back
    if table:
        _show_waves(output, found)
    why = f": {rolled.why}" if rolled.why else ""
    output.note(printable(
        f"{found.model} {rolled.begun.version} in {rolled.begun.channel}: {rolled.phase}, {rolled.accepted} of "
        f"{len(rolled.plan.waves)} waves accepted, {len(found.promoted)} serve it{why}"
    ))
    if went_back is not None:
        output.note(f"{rolled.begun.channel} goes back to {went_back.version}: order {went_back.sequence}.")
    if rolled.phase == "running" and table:
        driver = printable(rolled.driver or "nobody")
        output.note(f"Driven by {driver}. If that command has ended: modelcast rollout resume {found.model}")
    return found.exit_code


def _show_waves(output: Output, found: "RolloutStatus") -> None:
    rows, failed = [], {*found.failed, *found.vetoed}
    for number, names in enumerate(found.waves):
        sent, here = found.rollout.sent.get(number), set(names)
        rows.append((
            str(found.rollout.plan.waves[number]), found.state_of(number), as_time(sent.issued_ms) if sent else "", len(names),
            len(here & set(found.promoted)), len(here & failed), len(here & set(found.undecided)),
        ))
    output.table(("wave", "is", "ordered (UTC)", "instances", "promoted", "failed", "undecided"), rows, whole=("wave", "is"))
    for name, why in {**found.failed, **found.vetoed}.items():
        output.data(printable(f"{name:<24} {why}"))
    if found.undecided:
        output.data(printable(f"undecided: {_listed(found.undecided)}"))
