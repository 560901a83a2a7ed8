"""From files and facts to a manifest: a draft first, which says all but the digests; the manifest when the files were read.

Decides what a manifest says, and refuses what no instance could read before a byte is read or sent. Imports sources, chunking,
hashing and the manifest; knows no road.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from modelcast.publisher.chunking import chunk_sizes
from modelcast.publisher.hashing import Digests, Hashing
from modelcast.publisher.progress import Progress, Watcher
from modelcast.publisher.sampling import SAMPLES_PATH, SampleSet
from modelcast.publisher.sources import MemoryFile, SourceFile
from modelcast.shared.digest import DIGEST_BYTES
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


@dataclass(frozen=True, slots=True)
class Place:
    """Where a chunk lies in an artifact that is still to be hashed.

    Attributes:
        file: Index of the file.
        offset: First byte within that file.
        size: Bytes.
    """

    file: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Draft:
    """A manifest whose digests are still unknown, with the files that it describes; ``draft`` makes one.

    Attributes:
        facts: What it says besides the bytes.
        files: The files in the manifest's order.
        sizes: The sizes of each file's chunks.
        format: Format of the artifact.
        loader: Loader of the artifact.
        pack: Whether chunks are sent packed where that pays; says nothing of the artifact.
    """

    facts: Facts
    files: tuple[SourceFile, ...]
    sizes: tuple[tuple[int, ...], ...]
    format: str
    loader: str
    pack: bool = True

    @property
    def total_bytes(self) -> int:
        """Size of the artifact."""
        return sum(file.size for file in self.files)

    @property
    def wholes(self) -> list[bool]:
        """For each file whether it gets a SHA-256 of its own."""
        return [file.exists_elsewhere for file in self.files]

    @property
    def chunk_count(self) -> int:
        """Number of its chunks."""
        return sum(map(len, self.sizes))

    def places(self) -> Iterator[Place]:
        """Yield where the chunks lie, file by file, in order."""
        for file, sizes in enumerate(self.sizes):
            offset = 0
            for size in sizes:
                yield Place(file, offset, size)
                offset += size

    def read(self, place: Place) -> bytes | memoryview:
        """Return a chunk's bytes; see ``SourceFile.read``."""
        return self.files[place.file].read(place.offset, place.size)

    def blank(self) -> Manifest:
        """Return the manifest with zeros in the place of all digests: what can be said before anything was read."""
        digests = tuple(bytes(DIGEST_BYTES * len(each)) for each in self.sizes)
        return self.manifest(Digests(tuple(bytes(DIGEST_BYTES) if whole else None for whole in self.wholes), digests))

    def manifest(self, digests: Digests) -> Manifest:
        """Return the manifest, once all files were read."""
        facts, samples = self.facts, self.facts.samples
        entries = tuple(
            FileEntry(path=file.path, size=file.size, sha256=whole, chunk_digests=chunks, chunk_sizes=sizes)
            for file, sizes, whole, chunks in zip(self.files, self.sizes, digests.files, digests.chunks, strict=True)
        )
        inferred = samples.schemas() if samples else (None, None)
        return Manifest(
            model=facts.model, version=facts.version, created=datetime.now(UTC).isoformat(timespec="seconds"),
            artifact=Artifact(format=self.format, loader=self.loader, files=entries), environment=facts.environment,
            training=Training(parameters=plain(facts.training), metrics=_numbers(facts.metrics)),
            lineage=facts.lineage, input_schema=_schema(facts.input_schema, inferred[0]),
            output_schema=_schema(facts.output_schema, inferred[1]),
            samples=None if samples is None else Samples(
                file=SAMPLES_PATH, method=samples.method or "predict", count=samples.count, rtol=samples.rtol, atol=samples.atol
            ),
        )


def draft(files: Sequence[SourceFile], facts: Facts, *, artifact_format: str, loader: str, chunk_bytes: int) -> Draft:
    """Describe files as far as that can be done without reading them, and refuse what no instance could read.

    Raises:
        ReleaseTooLarge, MisuseError: The artifact cannot be described; the message says why.
    """
    samples = facts.samples
    added = [MemoryFile(SAMPLES_PATH, [samples.to_bytes()])] if samples else []
    ordered = tuple(sorted([*files, *added], key=lambda file: file.path))
    try:
        sizes = tuple(tuple(chunk_sizes(file.size, chunk_bytes, file.cuts)) for file in ordered)
        drafted = Draft(facts, ordered, sizes, artifact_format, loader)
        manifest = drafted.blank()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        kind = ReleaseTooLarge if "size" in first["msg"] or "chunks" in first["msg"] else MisuseError
        place = ".".join(map(str, first["loc"]))
        raise kind(f"This artifact cannot be described: {first['msg']}" + (f" (at {place})." if place else ".")) from error
    except (ValueError, TypeError, RecursionError) as error:
        raise MisuseError(f"These facts cannot be described: {error}.", hint="Metrics are numbers, facts plain values.") from error
    check_readable(manifest)
    return drafted


def describe(drafted: Draft, watch: Watcher) -> Manifest:
    """Read all files and return their manifest."""
    done, total = 0, drafted.total_bytes
    with Hashing(drafted.wholes) as hashing:
        for place in drafted.places():
            hashing.take(place.file, drafted.read(place))
            done += place.size
            watch(Progress("hashing", done, total))
        return drafted.manifest(hashing.digests())


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
