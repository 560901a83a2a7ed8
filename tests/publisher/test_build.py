"""A manifest says what the bytes are: checked against the bytes."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import specimens

from modelcast.publisher.build import ENVELOPES_BYTES, Draft, Facts, describe, draft
from modelcast.publisher.catalog import Catalog, Released
from modelcast.publisher.environment import environment
from modelcast.publisher.progress import Progress, unwatched
from modelcast.publisher.sampling import SAMPLES_PATH, SampleSet
from modelcast.publisher.sources import MemoryFile, SourceFile, files_of
from modelcast.shared.digest import DIGEST_BYTES, digest
from modelcast.shared.errors import MisuseError, ReleaseTooLarge
from modelcast.shared.limits import DEFAULT_LIMITS, KIB, MIB
from modelcast.shared.manifest import MANIFEST_FORMATS, MANIFEST_TYPE, Lineage, Manifest
from modelcast.shared.order import ORDER_TYPE, OrderMessage
from modelcast.shared.packing import plain
from modelcast.shared.signing import SigningKey

FACTS = Facts("fraud", "1.0.0", environment([]))


def drafted(files: Sequence[SourceFile], facts: Facts = FACTS) -> Draft:
    return draft(files, facts, artifact_format="files", loader="files", chunk_bytes=64 * KIB)


@given(st.lists(st.binary(min_size=1, max_size=300 * KIB), min_size=1, max_size=4))
def test_every_chunk_and_file_has_its_digest(contents: list[bytes]) -> None:
    files = [MemoryFile(f"f{index}", [content]) for index, content in enumerate(contents)]
    whole = drafted(files)
    manifest, ordered = describe(whole, unwatched), whole.files
    assert {entry.sha256 for entry in manifest.artifact.files} == {None}   # only modelcast writes and reads these
    for chunk in manifest.artifact.chunks():
        assert digest(bytes(ordered[chunk.file].read(chunk.offset, chunk.size))) == chunk.digest
    assert Manifest.from_bytes(manifest.to_bytes(), what="manifest", formats=MANIFEST_FORMATS, max_bytes=10**7) == manifest


def test_a_file_that_people_have_gets_its_sha256_as_well(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"onnx" * 30_000)
    manifest = describe(drafted(files_of(tmp_path / "model.onnx")), unwatched)
    assert [entry.sha256 for entry in manifest.artifact.files] == [hashlib.sha256(b"onnx" * 30_000).digest()]


def test_samples_become_a_file_and_the_schemas_when_none_are_given() -> None:
    samples = SampleSet(np.zeros((4, 3)), np.zeros((4, 2)), method="predict")
    facts = Facts("fraud", "1.0.0", environment([]), samples=samples)
    manifest = describe(drafted([MemoryFile("m", [b"x"])], facts), unwatched)
    assert SAMPLES_PATH in {entry.path for entry in manifest.artifact.files}
    assert manifest.samples is not None
    assert (manifest.samples.count, manifest.samples.method) == (4, "predict")
    assert manifest.input_schema == {"kind": "array", "dtype": "float64", "shape": [None, 3]}


def test_progress_rises_to_the_total() -> None:
    seen: list[Progress] = []
    files = [MemoryFile("a", [bytes(200 * KIB)]), MemoryFile("b", [bytes(10)])]
    describe(drafted(files), seen.append)
    assert [p.done_bytes for p in seen] == sorted(p.done_bytes for p in seen)
    assert seen[-1].done_bytes == seen[-1].total_bytes == 200 * KIB + 10


def test_too_many_chunks_are_too_large_not_a_crash() -> None:
    class Endless:
        path, size, cuts, exists_elsewhere = "huge", 64 * KIB * 200_000, (), False

        def read(self, offset: int, size: int) -> bytes:
            return ZEROS[:size]

    with pytest.raises(ReleaseTooLarge, match="chunks"):
        drafted([Endless()])


def nested(depth: int) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for _ in range(depth):
        facts = {"deeper": facts}
    return facts


LOOP: dict[str, Any] = {}
LOOP["again"] = LOOP


@pytest.mark.parametrize(
    ("facts", "error"),
    [
        ({"training": nested(40)}, MisuseError), ({"training": nested(600)}, MisuseError), ({"training": LOOP}, MisuseError),
        ({"metrics": {"auc": "high"}}, MisuseError), ({"metrics": {"auc": None}}, MisuseError),
        ({"lineage": Lineage(notes={"seed": 2**70})}, MisuseError), ({"lineage": Lineage(notes={"at": object()})}, MisuseError),
        ({"lineage": Lineage(dataset="\udcff")}, MisuseError), ({"training": {"log": "x" * (8 * MIB)}}, ReleaseTooLarge),
        ({"training": {"log": "x" * (8 * MIB - 2000)}}, ReleaseTooLarge),
    ],
    ids=["deep", "deeper", "endless", "text", "nothing", "large", "object", "surrogate", "long", "long-with-the-order"],
)
def test_what_no_instance_could_read_back_is_refused(facts: dict[str, Any], error: type[MisuseError]) -> None:
    with pytest.raises(error) as caught:
        drafted([MemoryFile("m", [b"x"])], replace(FACTS, **facts))
    assert type(caught.value) is error


def test_the_largest_manifest_that_is_let_through_fits_in_an_order_and_in_the_register(signing_key: SigningKey) -> None:
    facts = replace(FACTS, training={"log": "x" * (8 * MIB - ENVELOPES_BYTES - 1500)})
    manifest = describe(drafted([MemoryFile("m", [b"x"])], facts), unwatched)
    largest = specimens.order(
        model="m" * 64, channel="c" * 64, sequence=2**63 - 1, issued_ms=2**63 - 1, expires_ms=2**63 - 1, chunks_offset=2**63 - 1,
        oldest_offset=2**63 - 1,
    )
    envelope = signing_key.sign(MANIFEST_TYPE, manifest.to_bytes())
    body = OrderMessage(signing_key.sign(ORDER_TYPE, largest.to_bytes()), envelope).to_bytes()
    assert OrderMessage.from_bytes(body).manifest == envelope
    digests = bytes(DIGEST_BYTES * DEFAULT_LIMITS.chunk_count)
    catalog = Catalog([Released(envelope, 1, 1, digests, 1).to_bytes()])
    assert catalog.release("1.0.0") is not None


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
