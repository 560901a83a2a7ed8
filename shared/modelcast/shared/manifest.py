"""The manifest: the signed description of an artifact, and the identity of a release.

Decides which artifacts can be described at all: safe relative paths, chunks that cover each file exactly, sizes within
the limits. Says nothing about whether an instance should accept it. Imports values, names, digests and limits.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

from pydantic import Field, Strict, field_validator, model_validator

from modelcast.shared.digest import DIGEST_BYTES, digest
from modelcast.shared.errors import MisuseError
from modelcast.shared.limits import DEFAULT_LIMITS, MIB
from modelcast.shared.names import Version, check_name
from modelcast.shared.packing import pack
from modelcast.shared.values import WireValue

MANIFEST_TYPE = "application/vnd.modelcast.manifest.v1+msgpack"
MANIFEST_FORMATS = frozenset({1})
DEFAULT_CHUNK_BYTES = 1 * MIB
"""1 and 4 MiB are equally fast, 64 KiB costs twice the CPU, and a smaller chunk is re-read and reused more finely."""

MAX_COMPONENT_BYTES = 255
"""NAME_MAX of Linux and macOS, in bytes of UTF-8; a longer one could be written on no host, whatever it tries."""

_COMPONENT = re.compile(r"[^/\\\x00-\x1f\x7f]{1,255}")
Bytes32 = Annotated[bytes, Field(min_length=DIGEST_BYTES, max_length=DIGEST_BYTES)]
Count = Annotated[int, Field(ge=0)]


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk's place in an artifact.

    Attributes:
        digest: BLAKE3 of its bytes.
        size: Bytes.
        file: Index of the file in the manifest.
        offset: First byte within that file.
    """

    digest: bytes
    size: int
    file: int
    offset: int


class FileEntry(WireValue):
    """One file of the artifact.

    Attributes:
        path: Relative path with ``/``; safe on every system.
        size: Bytes.
        sha256: SHA-256 of the whole file, for people and other tools; None for a file that only modelcast writes and reads.
        chunk_digests: The BLAKE3 digests of its chunks in order, 32 bytes each, joined.
        chunk_sizes: The sizes of its chunks in bytes, in the same order; they add up to ``size``.
    """

    path: str
    size: Annotated[int, Field(ge=0, le=DEFAULT_LIMITS.artifact_bytes)]
    sha256: Bytes32 | None = None
    chunk_digests: bytes
    chunk_sizes: Annotated[tuple[Annotated[int, Field(ge=1, le=DEFAULT_LIMITS.chunk_bytes)], ...], Strict(strict=False)]

    @property
    def identity(self) -> bytes:
        """The SHA-256 where there is one; else a digest of the chunks, so that other chunks are another file."""
        return self.sha256 or digest(pack({"sizes": list(self.chunk_sizes), "digests": self.chunk_digests}))

    @field_validator("path")
    @classmethod
    def _path_is_safe(cls, path: str) -> str:
        parts = path.split("/")
        if len(path) > 1024 or any(part in {".", ".."} or not _COMPONENT.fullmatch(part) for part in parts):
            raise ValueError("a path must be relative, without '..', backslashes or control characters")
        if any(len(part.encode()) > MAX_COMPONENT_BYTES for part in parts):
            raise ValueError(f"no part of a path may be longer than {MAX_COMPONENT_BYTES} bytes")
        return path

    @model_validator(mode="after")
    def _chunks_cover_the_file(self) -> "FileEntry":
        if len(self.chunk_digests) != DIGEST_BYTES * len(self.chunk_sizes):
            raise ValueError("there must be one digest of 32 bytes for each chunk size")
        if sum(self.chunk_sizes) != self.size:
            raise ValueError("the chunk sizes must add up to the size of the file")
        return self


class Artifact(WireValue):
    """The bytes of one version.

    Attributes:
        format: How the files are to be read: ``cloudpickle``, ``joblib``, ``safetensors``, ``onnx``, ``skops``, ``files``
            or a name of the user's own.
        loader: Which loader reads it; the format's name unless the publisher names another.
        files: The files, sorted by path.
    """

    format: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
    loader: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
    files: Annotated[
        tuple[FileEntry, ...], Strict(strict=False), Field(min_length=1, max_length=DEFAULT_LIMITS.file_count)
    ]

    @model_validator(mode="after")
    def _is_consistent(self) -> "Artifact":
        # As macOS compares names: neither case nor the way in which an accent is written tells two of them apart.
        folded = [unicodedata.normalize("NFC", entry.path.casefold()) for entry in self.files]
        if len(set(folded)) != len(folded):
            raise ValueError("two files have one path, or paths that differ in case only")
        folders = {"/".join(parts[:end]) for parts in (p.split("/") for p in folded) for end in range(1, len(parts))}
        if folders & set(folded):
            raise ValueError("a path is a file and a folder at once")
        if self.size == 0:
            raise ValueError("an artifact has at least one byte")
        if self.size > DEFAULT_LIMITS.artifact_bytes:
            raise ValueError("the artifact is over the largest size that can be described")
        if sum(len(entry.chunk_sizes) for entry in self.files) > DEFAULT_LIMITS.chunk_count:
            raise ValueError("the artifact has more chunks than can be described")
        return self

    @cached_property
    def size(self) -> int:
        """Total bytes of all files."""
        return sum(entry.size for entry in self.files)

    @cached_property
    def identity(self) -> bytes:
        """Digest of format and file contents, whatever the training facts: equal for equal files."""
        files = [[entry.path, entry.size, entry.identity] for entry in self.files]
        return digest(pack({"format": self.format, "loader": self.loader, "files": files}))

    def chunks(self) -> Iterator[Chunk]:
        """Yield every chunk's place, file by file, in order."""
        for index, entry in enumerate(self.files):
            offset = 0
            for number, size in enumerate(entry.chunk_sizes):
                start = number * DIGEST_BYTES
                yield Chunk(entry.chunk_digests[start : start + DIGEST_BYTES], size, index, offset)
                offset += size


class Environment(WireValue):
    """Where the model was built, as far as loading depends on it.

    Attributes:
        python: Full version of Python, such as ``3.11.7``.
        implementation: ``cpython``, ``pypy``, …
        platform: ``linux``, ``darwin``, …
        machine: ``x86_64``, ``arm64``, …
        dependencies: Distribution name to version, of what the model imports.
        captured: Whether the dependencies were found by looking at the model (else: given by the publisher, or unknown).
    """

    python: str
    implementation: str
    platform: str
    machine: str
    dependencies: dict[str, str] = Field(default_factory=dict)
    captured: bool = True


class Training(WireValue):
    """Facts of the training: ``parameters`` of any plain kind, ``metrics`` by name."""

    parameters: dict[str, Any] = Field(default_factory=dict)
    metrics: dict[str, float] = Field(default_factory=dict)


class Lineage(WireValue):
    """Where the model comes from: ``commit`` of the training code (and whether it was ``dirty``), ``dataset``, ``notes``."""

    commit: str | None = None
    dirty: bool | None = None
    dataset: str | None = None
    notes: dict[str, Any] = Field(default_factory=dict)


class Samples(WireValue):
    """How the sample answers are checked.

    Attributes:
        file: Path of the samples in the artifact; msgpack, readable without pickle.
        method: The model's method that gave the answers (``predict_proba``, …; ``__call__`` for a callable).
        count: Number of samples (rows).
        rtol: Relative tolerance of numbers.
        atol: Absolute tolerance of numbers.
    """

    file: str
    method: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]
    count: Count
    rtol: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    atol: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Manifest(WireValue):
    """Everything that is said of one version, signed as one sequence of bytes.

    Attributes:
        format: Number of this format; an unknown one is refused.
        model: Name of the model.
        version: SemVer version.
        created: When it was built, RFC 3339 in UTC; for people, never for decisions.
        artifact: The bytes: files, sizes, digests.
        environment: Python, platform and libraries of the training host.
        training: Parameters and metrics.
        lineage: Commit, data set.
        input_schema: Shape and types of the input, or None.
        output_schema: Shape and types of the answers, or None.
        samples: How to check the sample answers, or None when there are none.
    """

    format: int = 1
    model: str
    version: str
    created: str
    artifact: Artifact
    environment: Environment
    training: Training = Field(default_factory=Training)
    lineage: Lineage = Field(default_factory=Lineage)
    input_schema: dict[str, Any] | None = None
    output_schema: dict[str, Any] | None = None
    samples: Samples | None = None

    @field_validator("model")
    @classmethod
    def _model_is_a_name(cls, name: str) -> str:
        return _as_value_error(lambda: check_name("model", name))

    @field_validator("version")
    @classmethod
    def _version_is_semver(cls, text: str) -> str:
        return _as_value_error(lambda: Version(text).text)

    @model_validator(mode="after")
    def _samples_are_a_file(self) -> "Manifest":
        if self.samples is not None and self.samples.file not in {entry.path for entry in self.artifact.files}:
            raise ValueError("the samples must be a file of the artifact")
        return self


def release_id(payload: bytes) -> str:
    """Return the id of the release whose manifest has the bytes ``payload``: their BLAKE3 digest, 64 hexadecimal digits."""
    return digest(payload).hex()


def _as_value_error(check: Any) -> str:
    """Run a check that raises one of our errors so that pydantic understands it."""
    try:
        checked: str = check()
    except MisuseError as error:
        raise ValueError(str(error)) from error
    return checked
