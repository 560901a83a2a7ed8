"""A manifest says what the bytes are: checked against the bytes."""

import hashlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelcast.publisher.build import Facts, build_manifest
from modelcast.publisher.environment import environment
from modelcast.publisher.progress import Progress, unwatched
from modelcast.publisher.sampling import SAMPLES_PATH, SampleSet
from modelcast.publisher.sources import MemoryFile
from modelcast.shared.digest import digest
from modelcast.shared.errors import ReleaseTooLarge
from modelcast.shared.limits import KIB
from modelcast.shared.manifest import MANIFEST_FORMATS, Manifest
from modelcast.shared.packing import plain

FACTS = Facts("fraud", "1.0.0", environment([]))


@given(st.lists(st.binary(min_size=1, max_size=300 * KIB), min_size=1, max_size=4))
def test_every_chunk_and_file_has_its_digest(contents: list[bytes]) -> None:
    files = [MemoryFile(f"f{index}", [content]) for index, content in enumerate(contents)]
    manifest, ordered = build_manifest(
        files, FACTS, artifact_format="files", loader="files", chunk_bytes=64 * KIB, watch=unwatched
    )
    for entry, content in zip(manifest.artifact.files, contents, strict=True):
        assert entry.sha256 == hashlib.sha256(content).digest()
    for chunk in manifest.artifact.chunks():
        assert digest(bytes(ordered[chunk.file].read(chunk.offset, chunk.size))) == chunk.digest
    assert Manifest.from_bytes(manifest.to_bytes(), what="manifest", formats=MANIFEST_FORMATS, max_bytes=10**7) == manifest


def test_samples_become_a_file_and_the_schemas_when_none_are_given() -> None:
    samples = SampleSet(np.zeros((4, 3)), np.zeros((4, 2)), method="predict")
    facts = Facts("fraud", "1.0.0", environment([]), samples=samples)
    manifest, _ = build_manifest(
        [MemoryFile("m", [b"x"])], facts, artifact_format="files", loader="files", chunk_bytes=64 * KIB, watch=unwatched
    )
    assert SAMPLES_PATH in {entry.path for entry in manifest.artifact.files}
    assert manifest.samples is not None
    assert (manifest.samples.count, manifest.samples.method) == (4, "predict")
    assert manifest.input_schema == {"kind": "array", "dtype": "float64", "shape": [None, 3]}


def test_progress_rises_to_the_total() -> None:
    seen: list[Progress] = []
    files = [MemoryFile("a", [bytes(200 * KIB)]), MemoryFile("b", [bytes(10)])]
    build_manifest(files, FACTS, artifact_format="files", loader="files", chunk_bytes=64 * KIB, watch=seen.append)
    assert [p.done_bytes for p in seen] == sorted(p.done_bytes for p in seen)
    assert seen[-1].done_bytes == seen[-1].total_bytes == 200 * KIB + 10


def test_too_many_chunks_are_too_large_not_a_crash() -> None:
    class Endless:
        path, size, cuts = "huge", 64 * KIB * 200_000, ()

        def read(self, offset: int, size: int) -> bytes:
            return ZEROS[:size]

    with pytest.raises(ReleaseTooLarge, match="chunks"):
        build_manifest([Endless()], FACTS, artifact_format="files", loader="files", chunk_bytes=64 * KIB, watch=unwatched)


ZEROS = bytes(64 * KIB)


@pytest.mark.parametrize(
    ("given_value", "expected"),
    [
        (np.float64(0.5), 0.5), (np.int64(3), 3), ((1, 2), [1, 2]), ({"a": {1: None}}, {"a": {"1": None}}), ({3}, [3]), (2**70, str(2**70)),
        (print, repr(print)),
    ],
)
def test_training_parameters_of_any_kind_become_plain(given_value: Any, expected: Any) -> None:
    assert plain({"x": given_value}) == {"x": expected}
