"""The command ``modelcast publish``: a path in, a release out, verdicts on demand. Importing it loads click only."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelcast.shared.cli.connection import json_option, quiet_logs, resolve_url, url_option
from modelcast.shared.cli.output import Output, as_size, printable
from modelcast.shared.errors import MisuseError

if TYPE_CHECKING:
    from modelcast.publisher.publication import Publication
    from modelcast.publisher.sampling import SampleSet
    from modelcast.publisher.waiting import Outcome
    from modelcast.shared.report import Report


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--model", required=True, help="Name of the model.")
@click.option("--version", required=True, help="SemVer version, such as 2.1.0.")
@click.option("--channel", default="production", show_default=True, help="Which channel shall run it.")
@click.option("--format", "format_", required=True, help="joblib, safetensors, onnx, skops, or files (a folder as it is).")
@click.option("--loader", help="Name of the loader, when it is not the format's own.")
@click.option("--key", required=True, type=click.Path(path_type=Path), envvar="MODELCAST_SIGNING_KEY", help="Private key that signs.")
@click.option("--order-key", type=click.Path(path_type=Path), help="Private key that signs the order, if it is another.")
@click.option("--metric", "metrics", multiple=True, metavar="NAME=NUMBER", help="A metric; may be repeated.")
@click.option("--training", type=click.Path(path_type=Path), help="JSON file with the training parameters.")
@click.option("--samples", type=click.Path(path_type=Path), help="JSON file: inputs and answers; also method, rtol, atol.")
@click.option("--input-schema", type=click.Path(path_type=Path), help="JSON file that describes the input.")
@click.option("--output-schema", type=click.Path(path_type=Path), help="JSON file that describes the answers.")
@click.option("--dependency", "dependencies", multiple=True, metavar="NAME==VERSION", help="What loading needs; may be repeated.")
@click.option("--dataset", help="Name of the data set, for the lineage.")
@click.option("--expires", type=float, metavar="SECONDS", help="Instances that see the order later reject it.")
@click.option("--resend", is_flag=True, help="Send chunks and order again, for instances that missed some.")
@click.option("--no-pack", is_flag=True, help="Send all chunks as they are: for a network faster than packing, or one machine.")
@click.option("--wait", "wait_instances", type=int, metavar="N", help="Wait until N instances decided.")
@click.option("--wait-share", type=float, metavar="SHARE", help="Wait for this share of the known instances, such as 0.95.")
@click.option("--timeout", default=600.0, show_default=True, metavar="SECONDS", help="Longest wait for verdicts.")
@click.option("--progress", type=click.Choice(["auto", "bar", "plain", "off"]), default="auto", show_default=True)
@url_option
@json_option
def publish(path: Path, *, as_json: bool, **options: Any) -> int:
    """Publish a model file or folder as a signed release, and order a channel to run it.

    Interrupted anywhere and run again, it sends only what is missing. The same version with the same bytes does nothing and
    says so; with other bytes it is refused. Ends with 0 when all promoted, 3 when some rejected, 10 when the time ran out.

    \b
    Example:
      modelcast publish model.joblib --model fraud --version 2.1.0 --format joblib \\
          --key keys/training.key --dependency scikit-learn==1.6.1 --wait 3
    """  # noqa: D301 - \b is click's mark for text that is not wrapped
    from modelcast.publisher.progress_display import ProgressDisplay  # noqa: PLC0415 - --help need not load the library
    from modelcast.publisher.publisher import Publisher  # noqa: PLC0415
    from modelcast.publisher.waiting import check_wish  # noqa: PLC0415

    quiet_logs()
    output = Output(as_json=as_json)
    instances, share = options["wait_instances"], options["wait_share"]
    if instances is not None or share is not None:
        check_wish(instances, share, options["timeout"])   # before anything is published
    with ProgressDisplay(options["progress"]) as display:
        publisher = Publisher(
            resolve_url(options["url"], output.note), signing_key=options["key"], order_key=options["order_key"],
            pack=not options["no_pack"], on_busy=output.note,
        )
        publication = publisher.publish(
            path, model=options["model"], version=options["version"], channel=options["channel"], format=options["format_"],
            loader=options["loader"], training=_json_file(options["training"]), metrics=_numbers(options["metrics"]),
            samples=_samples(options["samples"]), input_schema=_json_file(options["input_schema"]),
            output_schema=_json_file(options["output_schema"]), dependencies=pins(options["dependencies"]),
            lineage={"dataset": options["dataset"]} if options["dataset"] else None,
            expires_seconds=options["expires"], resend=options["resend"], watch=display,
        )
    _tell(output, publication)
    if instances is None and share is None:
        if as_json:
            output.document(document_of(publication, None))
        return 0
    outcome = publisher.wait(
        publication, instances=instances, share=share, timeout_seconds=options["timeout"],
        on_verdict=lambda report: output.data(line_of(report)),
    )
    if as_json:
        output.document(document_of(publication, outcome))
    output.note(conclusion(outcome))
    return outcome.exit_code


def _tell(output: Output, publication: "Publication") -> None:
    what = f"{publication.model} {publication.version}"
    if publication.was_current:
        output.data(f"{what} is what {publication.channel} runs already, with the same bytes: nothing to do.")
        return
    output.data(f"{what} ordered for {publication.channel}: release {publication.release[:12]}, order {publication.sequence}")
    packed = f", packed into {as_size(publication.wire_bytes)}" if publication.wire_bytes < publication.sent_bytes else ""
    output.data(f"reused {as_size(publication.reused_bytes)}, sent {as_size(publication.sent_bytes)}{packed}")


def line_of(report: "Report") -> str:
    """Return a verdict as a line for people."""
    why = f"  {report.reason}: {report.message}" if report.reason else ""
    return printable(f"{report.instance:<24} {report.verdict}{why}")


def conclusion(outcome: "Outcome") -> str:
    """Return what came of waiting as a sentence."""
    counts = f"{len(outcome.promoted)} promoted, {len(outcome.rejected)} rejected, {len(outcome.superseded)} superseded"
    silent = f", {len(outcome.silent)} silent ({', '.join(outcome.silent[:5])})" if outcome.silent else ""
    away = f" Verdicts may be missing: {outcome.fault}" if outcome.fault else ""
    return printable(f"{'Time is over: ' if outcome.timed_out else ''}{counts}{silent}; asked for: {outcome.needed}.{away}")


def document_of(publication: "Publication", outcome: "Outcome | None") -> dict[str, object]:
    """Return what was ordered, and what came of it, for JSON."""
    from dataclasses import asdict  # noqa: PLC0415 - see above

    document: dict[str, object] = {"publication": asdict(publication)}
    if outcome is not None:
        document["outcome"] = {
            "promoted": sorted(outcome.promoted), "superseded": sorted(outcome.superseded), "silent": list(outcome.silent),
            "rejected": [
                {"instance": name, "reason": report.reason, "message": report.message, "facts": report.facts}
                for name, report in sorted(outcome.rejected.items())
            ],
            "needed": outcome.needed, "timed_out": outcome.timed_out, "fault": outcome.fault,
            "exit_code": outcome.exit_code,
        }
    return document


def _numbers(pairs: tuple[str, ...]) -> dict[str, float]:
    found: dict[str, float] = {}
    for pair in pairs:
        name, _, number = pair.partition("=")
        try:
            found[name] = float(number)
        except ValueError:
            raise MisuseError(f"{pair!r} is no metric.", hint="Write NAME=NUMBER, such as auc=0.981.") from None
    return found


def pins(texts: tuple[str, ...]) -> dict[str, str] | None:
    """Return dependencies from texts such as ``scikit-learn==1.6.1``, or None when there are none."""
    found: dict[str, str] = {}
    for pin in texts:
        name, separator, version = pin.partition("==")
        if not separator or not name or not version:
            raise MisuseError(f"{pin!r} is no dependency.", hint="Write NAME==VERSION, such as scikit-learn==1.6.1.")
        found[name] = version
    return found or None


def _json_file(path: Path | None) -> dict[str, Any] | None:
    if path is None:
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MisuseError(f"{path} is no JSON file that can be read: {error}.") from error
    if not isinstance(content, dict):
        raise MisuseError(f"{path} must hold one JSON object.")
    return content


def _samples(path: Path | None) -> "SampleSet | None":
    from modelcast.publisher.sampling import SampleSet  # noqa: PLC0415 - see above

    content = _json_file(path)
    if content is None:
        return None
    method, tolerances = content.get("method"), {name: content[name] for name in ("rtol", "atol") if name in content}
    is_whole = {"inputs", "answers"} <= set(content) <= {"inputs", "answers", "method", "rtol", "atol"}
    if not is_whole or not isinstance(method, str | None) or not all(type(number) in {int, float} for number in tolerances.values()):
        raise MisuseError(
            f"{path} holds no samples.",
            hint='Write {"inputs": …, "answers": …, "method": "predict", "rtol": 1e-5, "atol": 1e-8}; the last three may be left out.',
        )
    return SampleSet(content["inputs"], content["answers"], method, **{name: float(number) for name, number in tolerances.items()})
