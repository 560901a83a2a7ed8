"""The commands ``doctor`` and ``topology``: what is wrong here, and what there is to be on a broker. Importing it loads click only."""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from modelcast.shared.cli.connection import URL_VARIABLE, json_option, quiet_logs, resolve_url, url_option
from modelcast.shared.cli.output import Output, printable

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from modelcast.shared.doctor.findings import Case, Check, Finding
    from modelcast.shared.permissions import Patterns
    from modelcast.shared.topology import Part

ROLES = ("publisher", "instance", "operator", "replayer")
_PATH = click.Path()


@click.command()
@click.option("--model", help="Look at what belongs to this model, too.")
@click.option("--channel", default="production", show_default=True)
@click.option("--role", type=click.Choice(ROLES), help="What this user is to be: its permissions are looked at (needs --model).")
@click.option("--instance", metavar="ID", help="With --role instance: the id of this instance, where its user may be no other.")
@click.option("--key", "keys", multiple=True, type=_PATH, help="A private key that is to sign; can be given several times.")
@click.option("--trust", multiple=True, type=_PATH, help="A public key or a key ring that is trusted; can be given several times.")
@click.option("--store", type=_PATH, help="The application's store, as in ModelConsumer(store=...); needs --model.")
@url_option
@json_option
def doctor(*, url: str | None, as_json: bool, **told: Any) -> int:
    """Look at the road, this user's permissions, this host, its keys and its store; say of each what to do.

    Changes nothing. A finding is ok, a warning or a problem. Ends with 0 when nothing is worse than a warning, and with 33
    otherwise. Before the first release: run it where the publisher is, and where an instance is.

    \b
    Examples:
      modelcast doctor
      modelcast doctor --model fraud --role publisher --key keys/training.key
      modelcast doctor --model fraud --channel production --role instance \\
          --trust keys/training.pub --store /var/lib/scoring/models
      modelcast doctor --url file:///srv/models --json
    """  # noqa: D301 - \b is click's mark for text that is not wrapped
    from modelcast.shared.doctor.findings import Case, exit_code  # noqa: PLC0415 - --help need not load the library
    from modelcast.shared.names import check_name  # noqa: PLC0415
    from modelcast.shared.permissions import Role  # noqa: PLC0415

    output = Output(as_json=as_json)
    for kind in ("model", "channel", "instance"):
        if told[kind] is not None:
            check_name(kind, told[kind])
    for option in ("role", "store"):
        if told[option] is not None and told["model"] is None:
            raise click.UsageError(f"--{option} needs --model.")
    quiet_logs()
    case = Case(
        _resolved(url, output), told["model"], told["channel"], Role(told["role"]) if told["role"] else None, told["instance"],
        told["keys"], told["trust"], told["store"],
    )
    findings: list[Finding] = []
    for finding in _examine(case):
        findings.append(finding)
        if not as_json:
            _say(output, finding)
    code = exit_code(findings)
    if as_json:
        output.document({"ok": code == 0, "findings": [finding.to_dict() for finding in findings]})
    if case.role is None:
        output.note("Permissions were not looked at: name a --model and a --role.")
    counts = {level: sum(finding.level == level for finding in findings) for level in ("problem", "warning", "ok")}
    output.note(", ".join(f"{count} {level}{'' if level == 'ok' or count == 1 else 's'}" for level, count in counts.items()) + ".")
    return code


def _resolved(url: str | None, output: Output) -> str:
    """Return the road's address, or nothing where none can be found: this host is looked at all the same."""
    from modelcast.shared.errors import BrokerUnreachable  # noqa: PLC0415 - see above

    try:
        return resolve_url(url, output.note)
    except BrokerUnreachable:
        return ""


def _say(output: Output, finding: "Finding") -> None:
    output.data(f"{finding.level:<8} {finding.subject}: {printable(finding.text)}")
    if finding.remedy and finding.level != "ok":
        output.data(f"         Do: {printable(finding.remedy)}")


def _examine(case: "Case") -> "Iterator[Finding]":
    """Carry out all checks: those of the road, of this host, and those that other rooms register as ``modelcast.checks``."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - see above

    from modelcast.shared.doctor.findings import carried_out  # noqa: PLC0415
    from modelcast.shared.doctor.host_checks import check_host  # noqa: PLC0415

    yield from carried_out("road", _check_of_road(case.url), case)
    yield from carried_out("host", check_host, case)
    for point in sorted(entry_points(group="modelcast.checks"), key=lambda point: point.name):
        yield from carried_out(point.name, partial(_by_entry_point, point), case)


def _by_entry_point(point: "EntryPoint", case: "Case") -> "Iterable[Finding]":
    check: Check = point.load()   # here, so that one that cannot be loaded is a finding
    return check(case)


def _check_of_road(url: str) -> "Check":
    """Return what looks at a road; an address that is none is a mistake of the caller, and no finding."""
    from modelcast.shared.doctor.findings import problem  # noqa: PLC0415 - see above
    from modelcast.shared.errors import MisuseError  # noqa: PLC0415

    if not url:
        remedy = f"Set {URL_VARIABLE} or give --url; for a private broker: modelcast broker start"
        return lambda _: [problem("road", "No road is named and no private broker runs.", remedy)]
    scheme = url.partition("://")[0]
    if scheme == "file":
        from modelcast.shared.doctor.file_checks import check_directory  # noqa: PLC0415
        from modelcast.shared.file_url import FileUrl  # noqa: PLC0415

        FileUrl.parse(url)
        return check_directory
    if scheme in {"http", "https"}:
        from modelcast.shared.doctor.http_checks import check_server  # noqa: PLC0415
        from modelcast.shared.http_url import HttpUrl  # noqa: PLC0415

        HttpUrl.parse(url)
        return check_server
    if scheme in {"amqp", "amqps"}:
        from modelcast.shared.broker_url import BrokerUrl  # noqa: PLC0415
        from modelcast.shared.doctor.amqp_checks import check_broker  # noqa: PLC0415

        BrokerUrl.parse(url)
        return check_broker
    raise MisuseError("This is no address that modelcast knows.", hint="Write amqp://, amqps://, file:// or https://; see --help.")


@click.command()
@click.option("--model", "models", multiple=True, required=True, help="Name of the model; can be given several times.")
@click.option("--channel", "channels", multiple=True, default=("production",), show_default=True, help="Can be given several times.")
@click.option("--instance", metavar="ID", help="Show the queue of this instance, too; with --permissions instance: allow no other.")
@click.option("--quorum", is_flag=True, help="The instance's queue is a quorum queue.")
@click.option("--permissions", "role", type=click.Choice(ROLES), help="Print the line that lets a user be this and no more.")
@click.option("--user", help="The user of --permissions.")
@click.option("--vhost", default="/", show_default=True, help="The virtual host.")
@click.option("--definitions", is_flag=True, help="Print JSON that rabbitmqctl import_definitions takes.")
@json_option
def topology(
    *, models: tuple[str, ...], channels: tuple[str, ...], instance: str | None, quorum: bool, role: str | None, user: str | None,
    vhost: str, definitions: bool, as_json: bool,
) -> None:
    """Print what a channel has on a broker, and what a user needs there. Asks no broker.

    A user has one set of permissions in a virtual host: name all of its models and channels in one call.

    \b
    Examples:
      modelcast topology --model fraud
      modelcast topology --model fraud --permissions publisher --user training
      modelcast topology --model fraud --channel staging --channel production --permissions instance --user scoring
      modelcast topology --model fraud --permissions instance --user scoring --definitions > definitions.json
    """  # noqa: D301 - \b is click's mark for text that is not wrapped
    from modelcast.shared.permissions import Role, patterns  # noqa: PLC0415 - --help need not load the library
    from modelcast.shared.permissions import definitions as as_definitions  # noqa: PLC0415

    if (role is None) != (user is None):
        raise click.UsageError("--permissions and --user belong together.")
    output, targets = Output(as_json=as_json), [(model, channel) for model in models for channel in channels]
    parts = _parts(targets, instance, "quorum" if quorum else "classic")
    granted: dict[str, Patterns] = {}
    if role is not None and user is not None:
        granted[user] = patterns(Role(role), targets, instance)
    if definitions:
        output.document(as_definitions(parts, vhost, granted))
    elif granted:
        for name, allowed in granted.items():
            line = allowed.command(name, vhost)
            if as_json:
                output.document({
                    "user": name, "vhost": vhost, "role": role, "configure": allowed.configure, "write": allowed.write,
                    "read": allowed.read, "command": line,
                })
            else:
                output.data(line)
    else:
        _show_parts(output, parts)


def _parts(targets: list[tuple[str, str]], instance: str | None, queue_type: str) -> "list[Part]":
    from modelcast.shared import topology as names  # noqa: PLC0415 - see above

    parts: list[Part] = []
    for model, channel in targets:
        parts += [*names.publisher_locks(model), *names.model_parts(model), *names.channel_parts(model, channel)]
        if instance is not None:
            parts += names.instance_parts(model, channel, instance, queue_type=queue_type)
    return [part for index, part in enumerate(parts) if part not in parts[:index]]


def _show_parts(output: Output, parts: "list[Part]") -> None:
    from modelcast.shared.topology import Binding, Exchange  # noqa: PLC0415 - see above

    bindings = [part for part in parts if isinstance(part, Binding)]
    rows: list[tuple[str, str, dict[str, object]]] = []
    for part in parts:
        if isinstance(part, Exchange):
            rows.append((part.name, f"{part.kind} exchange", {}))
        elif not isinstance(part, Binding):
            arguments = dict(part.arguments)
            kind = str(arguments.get("x-queue-type", "classic"))
            kind = f"{kind}{'' if kind == 'stream' else ' queue'}{', exclusive' if part.exclusive else ''}"
            rows.append((part.name, kind, arguments))
    if output.as_json:
        output.document({
            "parts": [{"name": name, "kind": kind, "arguments": arguments} for name, kind, arguments in rows],
            "bindings": [{"queue": each.queue, "exchange": each.exchange, "routing_key": each.routing_key} for each in bindings],
        })
        return
    width = max(len(name) for name, _, _ in rows)
    for name, kind, arguments in rows:
        sources = [] if kind.endswith("exchange") else [each.exchange for each in bindings if each.queue == name]
        output.data(f"{name:<{width}}  {kind}{', bound to ' if sources else ''}{' and '.join(sources)}")
        if arguments:
            output.data(f"{'':<{width}}    {' '.join(f'{key}={value}' for key, value in arguments.items())}")
