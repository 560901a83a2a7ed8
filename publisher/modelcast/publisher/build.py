"""From bytes to a manifest: reads every file once, hashes its chunks and itself.

Decides what a manifest says. Imports sources, chunking and the manifest; knows no road.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from pydantic import ValidationError

from modelcast.publisher.chunking import chunk_sizes
from modelcast.publisher.progress import Progress, Watcher
from modelcast.publisher.sampling import SAMPLES_PATH, SampleSet
from modelcast.publisher.sources import MemoryFile, SourceFile
from modelcast.shared.digest import digest
from modelcast.shared.errors import MisuseError, ReleaseTooLarge, SenderFault
from modelcast.shared.limits import DEFAULT_LIMITS, KIB
from modelcast.shared.manifest import (
    MANIFEST_FORMATS,
    Artifact,
    Environment,
    FileEntry,
    Lineage,
    Manifest,
    Samples,
    Training,
)
from modelcast.shared.packing import plain
from modelcast.shared.reasons import Reason

ENVELOPES_BYTES = 4 * KIB
"""What an order, two envelopes and their signatures add to a manifest in an order message, generously."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a manifest says besides the bytes.

    Attributes:
        model: Name of the model.
        version: SemVer version.
        environment: Where it was built.
        training: Training parameters of any plain kind.
        metrics: Metrics by name.
        lineage: Where it comes from.
        input_schema: Shape and types of the input; taken from the samples when None.
        output_schema: Shape and types of the answers; taken from the samples when None.
        samples: Sample requests with answers; their method is settled.
    """

    model: str
    version: str
    environment: Environment
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    lineage: Lineage = field(default_factory=Lineage)
    input_schema: Mapping[str, Any] | None = None
    output_schema: Mapping[str, Any] | None = None
    samples: SampleSet | None = None


def build_manifest(
    files: Sequence[SourceFile], facts: Facts, *, artifact_format: str, loader: str, chunk_bytes: int, watch: Watcher
) -> tuple[Manifest, list[SourceFile]]:
    """Hash the files and describe them.

    Returns:
        The manifest, and the files in its order (the samples file added).

    Raises:
        ReleaseTooLarge, MisuseError: The artifact cannot be described; the message says why.
    """
    samples = facts.samples
    added = [MemoryFile(SAMPLES_PATH, [samples.to_bytes()])] if samples else []
    ordered: list[SourceFile] = sorted([*files, *added], key=lambda file: file.path)
    total, done = sum(file.size for file in ordered), 0
    entries: list[FileEntry] = []
    try:
        for file in ordered:
            entries.append(_entry(file, chunk_bytes, Progress("hashing", done, total), watch))
            done += file.size
        inferred = samples.schemas() if samples else (None, None)
        manifest = Manifest(
            model=facts.model, version=facts.version, created=datetime.now(UTC).isoformat(timespec="seconds"),
            artifact=Artifact(format=artifact_format, loader=loader, files=tuple(entries)), environment=facts.environment,
            training=Training(parameters=plain(facts.training), metrics=_numbers(facts.metrics)),
            lineage=facts.lineage, input_schema=_schema(facts.input_schema, inferred[0]),
            output_schema=_schema(facts.output_schema, inferred[1]),
            samples=None if samples is None else Samples(
                file=SAMPLES_PATH, method=samples.method or "predict", count=samples.count, rtol=samples.rtol, atol=samples.atol
            ),
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        kind = ReleaseTooLarge if "size" in first["msg"] or "chunks" in first["msg"] else MisuseError
        place = ".".join(map(str, first["loc"]))
        raise kind(f"This artifact cannot be described: {first['msg']}" + (f" (at {place})." if place else ".")) from error
    except (ValueError, TypeError, RecursionError) as error:
        raise MisuseError(f"These facts cannot be described: {error}.", hint="Metrics are numbers, facts plain values.") from error
    check_readable(manifest)
    return manifest, ordered


def check_readable(manifest: Manifest) -> None:
    """Refuse what no instance could read back, before anything is sent: the register would not know the version either.

    Raises:
        ReleaseTooLarge: With its manifest an order message would be over ``Limits.order_bytes``.
        MisuseError: Something in it cannot be packed, or is nested too deeply.
    """
    try:
        body = manifest.to_bytes()
        Manifest.from_bytes(
            body, what="manifest", formats=MANIFEST_FORMATS, max_bytes=DEFAULT_LIMITS.order_bytes - ENVELOPES_BYTES
        )
    except SenderFault as error:
        if error.reason == Reason.TOO_LARGE:
            raise ReleaseTooLarge(
                f"No instance could read this release: {error}", hint="Publish fewer files or larger chunks, and fewer facts.",
                facts=error.facts,
            ) from error
        raise MisuseError(f"No instance could read this release: {error}", hint="Give simpler training facts.") from error
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise MisuseError(
            f"These facts cannot be packed: {error}.", hint="Give numbers, texts, lists and maps as facts, lineage and schemas."
        ) from error


def _entry(file: SourceFile, chunk_bytes: int, before: Progress, watch: Watcher) -> FileEntry:
    whole, digests, offset = sha256(), list[bytes](), 0
    sizes = chunk_sizes(file.size, chunk_bytes, file.cuts)
    for size in sizes:
        content = file.read(offset, size)
        whole.update(content)
        digests.append(digest(content))
        offset += size
        watch(Progress(before.stage, before.done_bytes + offset, before.total_bytes))
    return FileEntry(
        path=file.path, size=file.size, sha256=whole.digest(), chunk_digests=b"".join(digests), chunk_sizes=tuple(sizes)
    )


def _schema(given: Mapping[str, Any] | None, inferred: dict[str, object] | None) -> dict[str, Any] | None:
    return plain(given) if given is not None else inferred


def _numbers(metrics: Mapping[str, float]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in metrics.items():
        try:
            found[str(name)] = float(value)
        except (TypeError, ValueError):
            raise MisuseError(f"The metric {name!r} is {value!r:.40}, which is no number.", hint="metrics={'auc': 0.981}") from None
        if not math.isfinite(found[str(name)]):
            raise MisuseError(f"The metric {name!r} is {found[str(name)]}.", hint="Leave a metric out that has no value.")
    return found
