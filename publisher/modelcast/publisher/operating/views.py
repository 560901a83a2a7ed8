"""The commands ``fleet``, ``history``, ``releases`` and ``why``: what is where, since when, and why. They change nothing.

Importing it loads click only.
"""

import time
from typing import TYPE_CHECKING, Any

import click

from modelcast.shared.cli.connection import json_option, quiet_logs, resolve_url, url_option
from modelcast.shared.cli.output import Output, as_size, as_span, as_time, printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelcast.publisher.fleet import Fleet
    from modelcast.shared.operating_road import OpenRoad
    from modelcast.shared.report import Report

OUT_OF_STEP = 32
"""Exit code of ``fleet`` when not every instance serves what was ordered last."""
WATCH_SECONDS = 2.0


def _road(url: str | None, output: Output) -> "OpenRoad":
    from modelcast.shared.roads import open_road  # noqa: PLC0415 - --help need not load the library

    quiet_logs()
    return open_road(resolve_url(url, output.note))


@click.command()
@click.argument("model")
@click.option("--channel", default="production", show_default=True)
@click.option("--since", "minutes", default=24 * 60, show_default=True, type=click.IntRange(1, 7 * 24 * 60), metavar="MINUTES",
              help="Who reported later than this belongs to the fleet.")
@click.option("--watch", is_flag=True, help="Look again every two seconds until interrupted.")
@url_option
@json_option
def fleet(model: str, *, channel: str, minutes: int, watch: bool, url: str | None, as_json: bool) -> int:
    """Say which instance serves which version, who is behind, and why.

    Ends with 0 when every instance serves what was ordered last for it, and with 32 otherwise: for a monitor. During a rollout
    those whose turn has not come are waiting, and in order.

    \b
    Example:
      modelcast fleet fraud --channel production
    """  # noqa: D301 - \b is click's mark for text that is not wrapped
    from modelcast.publisher.chronicle import read_fleet  # noqa: PLC0415 - see above

    output = Output(as_json=as_json)
    road = _road(url, output)
    while True:
        found = read_fleet(road, model, channel, known_minutes=minutes)
        if watch and not as_json:
            click.clear()
        _show_fleet(output, found)
        if not watch:
            return 0 if found.is_in_step else OUT_OF_STEP
        time.sleep(WATCH_SECONDS)


def _show_fleet(output: Output, found: "Fleet") -> None:
    if output.as_json:
        output.document(found.to_dict())
        return
    if not found.members:
        output.data(f"No instance of {found.model} is known in {found.channel}: none has reported, or those that did have stopped.")
        _tell_of_rollout(output, found)
        return
    steps, now = found.steps, time.time()
    rows = []
    for name, step in steps.items():
        member, verdict = found.members[name], found.members[name].verdict
        said = f"{verdict.verdict} {verdict.version or '?'}{f': {verdict.reason}' if verdict.reason else ''}" if verdict else ""
        since = "?" if member.since_ms is None else as_span(now - member.since_ms / 1000)
        rows.append((name, member.version or "nothing", step.value, since, _memory(member.host.get("memory")), said))
    output.table(("instance", "serves", "is", "for", "memory", "last verdict"), rows, whole=("instance", "serves", "is"))
    counts = ", ".join(f"{count} on {version}" for version, count in found.versions.most_common())
    current = sum(step == "current" for step in steps.values())
    ago = None if found.issued_ms is None else as_span(now - found.issued_ms / 1000)
    ordered = f"{found.last_version} was ordered {ago} ago" if ago else "nothing was ordered"
    output.note(f"{current} of {len(steps)} serve what was ordered last ({ordered}); {counts or 'nobody is heard'}.")
    _tell_of_rollout(output, found)


def _tell_of_rollout(output: Output, found: "Fleet") -> None:
    """Say how far a rollout is, and since when: one that nobody carries on any more looks like one that soaks."""
    rollout = found.rollout
    if rollout is None:
        return
    ago = as_span(time.time() - int(rollout["changed_ms"]) / 1000)
    output.note(printable(
        f"{rollout['version']} is rolled out: {rollout['phase']}, {rollout['accepted']} of {rollout['waves']} waves accepted, "
        f"driven by {rollout['driver'] or 'nobody'}, last change {ago} ago. "
        f"More: modelcast rollout status {found.model} --channel {found.channel}"
    ))


def _memory(told: object) -> str:
    """Say what a process takes and what is left to it, as far as it reported that."""
    match told:
        case {"resident_bytes": int(resident), "available_bytes": int(available)}:
            return f"{as_size(resident)}, {as_size(available)} left"
        case {"resident_bytes": int(resident)}:
            return as_size(resident)
        case _:
            return ""


@click.command()
@click.argument("model")
@click.option("--channel", default="production", show_default=True)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="The newest so many.")
@url_option
@json_option
def history(model: str, *, channel: str, limit: int, url: str | None, as_json: bool) -> None:
    """Tell what was ordered when, by which key, and what came of it.

    \b
    Example:
      modelcast history fraud --channel production
    """  # noqa: D301 - \b is click's mark for text that is not wrapped
    from modelcast.publisher.chronicle import history as read_history  # noqa: PLC0415 - see above

    output = Output(as_json=as_json)
    records = read_history(_road(url, output), model, channel, limit=limit)
    if as_json:
        output.document({"model": model, "channel": channel, "orders": [record.to_dict() for record in records]})
        return
    if not records:
        output.data(f"Nothing was ever ordered for {channel} of {model}.")
        return
    rows: list[tuple[object, ...]] = []
    for record in records:
        order, slowest = record.ordered, record.slowest
        outcome = ", ".join(f"{count} {what}" for what, count in sorted(record.outcome.items())) or "no verdict is kept"
        left = f"; withdrawn {as_time(record.withdrawal.at_ms)} {record.withdrawal.reason}" if record.withdrawal else ""
        took = f"{slowest[2]:.0f} ms {slowest[1]} at {slowest[0]}" if slowest else ""
        kind = order.kind if order.wave is None else f"wave {order.wave + 1} of {order.rollout}"
        kind = kind if order.order else f"{kind}, not known to be sent"
        key, issued = (order.key or "?")[:8], as_time(order.issued_ms)
        rows.append((order.sequence, issued, kind, record.version or "?", key, outcome + left, took))
    output.table(("order", "issued (UTC)", "kind", "version", "key", "outcome", "slowest"), rows, whole=("order", "version"))


@click.command()
@click.argument("model")
@url_option
@json_option
def releases(model: str, *, url: str | None, as_json: bool) -> None:
    """List the releases of a model and the channels that run them.

    \b
    Example:
      modelcast releases fraud
    """  # noqa: D301 - \b is click's mark for text that is not wrapped
    from modelcast.publisher.chronicle import read_catalog  # noqa: PLC0415 - see above

    output = Output(as_json=as_json)
    catalog = read_catalog(_road(url, output), model)
    runs: dict[str, list[str]] = {}
    for channel in sorted(catalog.orders):
        last = catalog.last_order(channel)
        if last is not None:
            runs.setdefault(last.release, []).append(channel)
    documents, rows = [], []
    for known in {known.release: known for known in catalog.releases}.values():
        manifest, channels = known.manifest, runs.get(known.release, [])
        withdrawn = [channel for channel in sorted(catalog.orders) if catalog.withdrawn(channel, known.release)]
        documents.append({
            "version": manifest.version, "release": known.release, "created": manifest.created, "format": manifest.artifact.format,
            "bytes": manifest.artifact.size, "runs_in": channels, "withdrawn_in": withdrawn, "is_pruned": known.is_pruned,
            "metrics": manifest.training.metrics, "training": manifest.training.parameters,
        })
        state = [*channels, *(f"withdrawn in {channel}" for channel in withdrawn), *(["chunks removed"] if known.is_pruned else [])]
        rows.append((
            manifest.version, manifest.created, manifest.artifact.format, as_size(manifest.artifact.size), known.release[:12],
            ", ".join(state),
        ))
    if as_json:
        output.document({"model": model, "releases": documents})
    else:
        output.table(("version", "created", "format", "size", "release", "runs in"), rows, whole=("version", "release"))


@click.command()
@click.argument("model")
@click.argument("version")
@click.option("--channel", help="Of this channel only.")
@click.option("--at", "instance", metavar="INSTANCE", help="Of this instance only.")
@url_option
@json_option
def why(model: str, version: str, *, channel: str | None, instance: str | None, url: str | None, as_json: bool) -> None:
    """Say why instances took a version or refused it: the rule that decided, with both sides.

    \b
    Example:
      modelcast why fraud 2.1.0 --at host-7
    """  # noqa: D301 - \b is click's mark for text that is not wrapped
    from modelcast.publisher.chronicle import decisions  # noqa: PLC0415 - see above

    output = Output(as_json=as_json)
    found = decisions(_road(url, output), model, version, channel=channel, instance=instance)
    if as_json:
        told = [report.model_dump(mode="json") | {"took_ms": dict(order.took_ms) if order else {}} for report, order in found]
        output.document({"model": model, "version": version, "decisions": told})
        return
    for report, order in found:
        for line in _reasons(report, order.took_ms if order else {}):
            output.data(printable(line))


def _reasons(report: "Report", took_ms: "Mapping[str, float]") -> list[str]:
    from modelcast.shared.reasons import EXPLANATIONS, Reason  # noqa: PLC0415 - see above

    who, when = f"{report.instance} ({report.channel})", as_time(report.time_ms)
    lines = [f"{who} {report.verdict} {report.version} by order {report.sequence} at {when} UTC."]
    if report.reason is not None:
        lines.append(f"  Rule            {report.reason}: {report.message}")
        known = EXPLANATIONS.get(Reason(report.reason)) if report.reason in set(Reason) else None
        if known is not None:
            lines += [f"  What happened   {known.happened}", f"  Whose fault     {known.fault}", f"  What to do      {known.remedy}"]
        lines += [f"  {name:<15} {_short(value)}" for name, value in sorted(report.facts.items())]
    elif report.verdict == "deferred":
        lines.append("  Its turn in the rollout has not come; another order will say so. See: modelcast rollout status")
    elif report.stages_ms:
        lines.append("  " + ", ".join(f"{stage} {took:.0f} ms" for stage, took in report.stages_ms.items()))
    if took_ms:
        took = ", ".join(f"{stage} {took_ms[stage]:.0f} ms" for stage in ("published", "confirmed") if stage in took_ms)
        lines.append(f"  Its sender: {took} after the call.")
    return lines


def _short(value: Any) -> str:
    from modelcast.shared.limits import shortened  # noqa: PLC0415 - see above

    return shortened(str(value), 300)
