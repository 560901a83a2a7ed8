"""The command ``modelcast preflight``: would the instances take this release? Importing it loads click only."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelcast.publisher.commands import pins
from modelcast.shared.cli.connection import json_option, quiet_logs, resolve_url, url_option
from modelcast.shared.cli.output import Output, printable
from modelcast.shared.errors import MisuseError

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelcast.publisher.preflight import Forecast

NOT_ALL = 34
"""Exit code when somebody would refuse it, or has not answered."""


@click.command()
@click.argument("model")
@click.argument("version")
@click.option("--channel", default="production", show_default=True, help="The channel that would run it.")
@click.option("--path", type=click.Path(path_type=Path), help="A file or folder that was not published yet.")
@click.option("--format", "format_", help="Format of --path: joblib, safetensors, onnx, skops, or files.")
@click.option("--loader", help="Name of the loader, when it is not the format's own.")
@click.option("--dependency", "dependencies", multiple=True, metavar="NAME==VERSION", help="What --path needs; may be repeated.")
@click.option("--key", required=True, type=click.Path(path_type=Path), envvar="MODELCAST_ORDER_KEY", help="Key that would sign.")
@click.option("--order-key", type=click.Path(path_type=Path), help="With --path: the key that would sign the order, if it is another.")
@click.option("--timeout", default=10.0, show_default=True, metavar="SECONDS", help="Longest wait for the answers.")
@url_option
@json_option
def preflight(model: str, version: str, *, as_json: bool, **options: Any) -> int:
    """Ask the instances whether they would take a release: keys, version, format, libraries, size, memory, disk.

    It is a release that is there, or with --path one that was not published yet. Not a byte of it is sent. Ends with 0 when all
    would take it, and with 34 when somebody would not or is silent.

    \b
    Example:
      modelcast preflight fraud 2.1.0 --path model.joblib --format joblib --dependency scikit-learn==1.6.1 \\
          --key keys/training.key
    """  # noqa: D301 - \b is click's mark for text that is not wrapped
    quiet_logs()
    output = Output(as_json=as_json)
    if options["path"] is None and (options["format_"] or options["loader"] or options["dependencies"] or options["order_key"]):
        raise MisuseError("These options describe a path.", hint="Give --path, or leave them out.")
    forecast = _ask(model, version, resolve_url(options["url"], output.note), options, output.note)
    if as_json:
        output.document(_document(forecast))
    else:
        _show(output, forecast)
    return 0 if forecast.ok else NOT_ALL


def _ask(model: str, version: str, url: str, options: dict[str, Any], on_busy: "Callable[[str], None]") -> "Forecast":
    from modelcast.publisher.operator import Operator  # noqa: PLC0415 - --help need not load the library
    from modelcast.publisher.publisher import Publisher  # noqa: PLC0415

    channel, seconds = options["channel"], options["timeout"]
    if options["path"] is None:
        operator = Operator(url, order_key=options["key"], on_busy=on_busy)
        return operator.preflight(model, version, channel=channel, timeout_seconds=seconds)
    publisher = Publisher(url, signing_key=options["key"], order_key=options["order_key"], on_busy=on_busy)
    return publisher.preflight(
        options["path"], model=model, version=version, channel=channel, format=options["format_"], loader=options["loader"],
        dependencies=pins(options["dependencies"]), timeout_seconds=seconds,
    )


def _document(forecast: "Forecast") -> dict[str, object]:
    return {
        "accepting": sorted(forecast.accepting), "silent": list(forecast.silent), "ok": forecast.ok, "refusing": [
            {"instance": name, "reason": report.reason, "message": report.message, "facts": report.facts}
            for name, report in sorted(forecast.refusing.items())
        ],
    }


def _show(output: Output, forecast: "Forecast") -> None:
    for name in sorted(forecast.accepting):
        output.data(printable(f"{name:<24} would take it"))
    for name, report in sorted(forecast.refusing.items()):
        output.data(printable(f"{name:<24} would refuse it  {report.reason}: {report.message}"))
    for name in forecast.silent:
        output.data(printable(f"{name:<24} has not answered"))
    total = len(forecast.accepting) + len(forecast.refusing) + len(forecast.silent)
    output.note(f"{len(forecast.accepting)} of {total} would take it." if total else "No instance has reported lately.")
