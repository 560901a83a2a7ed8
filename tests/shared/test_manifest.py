"""What can be described as an artifact, and what cannot."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.fakes.specimens import CONTENT, file_entry, manifest

from modelcast.shared.digest import digest
from modelcast.shared.errors import SenderFault, UnknownFormat
from modelcast.shared.limits import DEFAULT_LIMITS
from modelcast.shared.manifest import MANIFEST_FORMATS, Artifact, Chunk, FileEntry, Manifest, Samples, release_id
from modelcast.shared.packing import pack, unpack
from modelcast.shared.reasons import Reason

HASH = bytes(32)


def parse(body: bytes) -> Manifest:
    return Manifest.from_bytes(body, what="manifest", formats=MANIFEST_FORMATS, max_bytes=DEFAULT_LIMITS.order_bytes)


def attempt(body: bytes) -> Manifest | SenderFault:
    try:
        return parse(body)
    except SenderFault as error:
        return error


def artifact(*paths: str) -> Artifact:
    return Artifact(format="files", loader="files", files=tuple(file_entry(path) for path in paths))


def entry_of_sizes(size: int, chunk_sizes: tuple[int, ...]) -> FileEntry:
    return FileEntry(path="m", size=size, sha256=HASH, chunk_digests=HASH * len(chunk_sizes), chunk_sizes=chunk_sizes)


# --------------------------------------------------------------------------- bytes


def test_a_manifest_survives_its_bytes() -> None:
    described = manifest(samples=Samples(file="model.bin", method="predict", count=3, rtol=0.0, atol=1e-6))
    again = parse(described.to_bytes())
    assert again == described
    assert again.to_bytes() == described.to_bytes()
    assert again.artifact.files[0] == file_entry()


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_the_senders_fault(body: bytes) -> None:
    assert isinstance(attempt(body), SenderFault)


@given(st.data())
def test_a_flipped_byte_gives_a_manifest_or_the_senders_fault(data: st.DataObject) -> None:
    body = bytearray(manifest().to_bytes())
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    assert isinstance(attempt(bytes(body)), Manifest | SenderFault)


strange = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(max_size=9), st.binary(max_size=40),
    st.lists(st.integers(), max_size=3), st.dictionaries(st.text(max_size=3), st.integers(), max_size=3),
)


@given(st.sampled_from(["", "artifact", "environment", "training", "lineage"]), st.integers(0, 20), strange)
def test_a_field_of_another_kind_gives_a_manifest_or_the_senders_fault(group: str, number: int, value: object) -> None:
    message = unpack(manifest().to_bytes(), what="manifest")
    fields = message[group] if group else message
    names = sorted(fields)
    fields[names[number % len(names)]] = value
    try:
        body = pack(message)
    except OverflowError:
        return   # no message at all: an integer of more than 64 bits
    assert isinstance(attempt(body), Manifest | SenderFault)


@pytest.mark.parametrize("field", ["model", "version", "created", "artifact", "environment"])
def test_a_missing_field_is_named(field: str) -> None:
    message = unpack(manifest().to_bytes(), what="manifest")
    del message[field]
    fault = attempt(pack(message))
    assert isinstance(fault, SenderFault)
    assert (fault.reason, fault.facts) == (Reason.MALFORMED, {"field": field})


def test_an_unknown_field_is_ignored_and_an_unknown_format_is_not() -> None:
    message = unpack(manifest().to_bytes(), what="manifest")
    assert parse(pack(message | {"later": 1})) == manifest()
    with pytest.raises(UnknownFormat) as caught:
        parse(pack(message | {"format": 2}))
    assert caught.value.facts == {"format": 2, "known": [1]}


@pytest.mark.parametrize("number", [None, "1", 1.0, True, b"1"])
def test_a_format_that_is_no_number_is_malformed(number: object) -> None:
    fault = attempt(pack(unpack(manifest().to_bytes(), what="manifest") | {"format": number}))
    assert isinstance(fault, SenderFault)
    assert fault.reason is Reason.MALFORMED


@pytest.mark.parametrize(("field", "value"), [("model", "../fraud"), ("model", "Fraud"), ("version", "2.1"), ("version", "latest")])
def test_a_bad_name_or_version_is_refused(field: str, value: str) -> None:
    fault = attempt(pack(unpack(manifest().to_bytes(), what="manifest") | {field: value}))
    assert isinstance(fault, SenderFault)
    assert fault.facts == {"field": field}


def test_the_id_of_a_release_is_the_digest_of_its_bytes() -> None:
    payload = manifest().to_bytes()
    assert release_id(payload) == digest(payload).hex()


def test_a_manifest_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        manifest().version = "9.9.9"


# --------------------------------------------------------------------------- paths


@pytest.mark.parametrize(
    "path",
    [
        "", ".", "..", "/", "/etc/passwd", "../x", "a/../b", "a/..", "a/./b", "a//b", "a/", "//host/x", "a\\b", "..\\x", "a\x00b",
        "a\nb", "a\x7f", "a\x1b[2J", "x" * 256, "é" * 128, "/".join(["a"] * 600), "C:\\x",
    ],
)
def test_a_path_that_could_lead_out_or_harm_is_refused(path: str) -> None:
    with pytest.raises(ValidationError):
        file_entry(path)


@given(st.text(alphabet="ab./\\\x00\n-…é ", max_size=12))
@example("...")
@example("..a")
def test_a_path_that_is_taken_stays_inside(path: str) -> None:
    try:
        taken = file_entry(path).path
    except ValidationError:
        return
    assert taken == path
    assert not taken.startswith("/")
    assert "\\" not in taken
    assert all(part and part not in {".", ".."} and len(part.encode()) <= 255 for part in taken.split("/"))
    assert all(unicodedata.category(character) != "Cc" for character in taken)


@pytest.mark.parametrize("path", ["model.bin", "a/b/c", ".hidden", "...", "with space", "größe.bin", "x" * 255, "é" * 127])
def test_an_ordinary_path_is_taken(path: str) -> None:
    assert file_entry(path).path == path


@pytest.mark.parametrize(
    "paths",
    [
        ("a", "a"), ("a", "A"), ("straße", "STRASSE"), ("x/a", "X/a"), ("a", "a/b"), ("a/b", "A"), ("a/b/c", "a/b"),
        ("caf\u00e9", "cafe\u0301"), ("caf\u00e9/x", "cafe\u0301/X"), ("caf\u00e9", "cafe\u0301/x"),
    ],
)
def test_paths_that_some_disks_cannot_tell_apart_are_refused(paths: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError):
        artifact(*paths)


def test_files_beside_and_in_folders_are_fine() -> None:
    assert artifact("a", "b/a", "b/c/a", "a.b", "ab").size == 5 * len(CONTENT)


# --------------------------------------------------------------------------- sizes


@pytest.mark.parametrize(
    ("size", "chunk_sizes"), [(10, ()), (0, (1,)), (10, (5, 4)), (10, (5, 6)), (10, (10, 0)), (5, (10, -5)), (-1, ()), (2**63, ())]
)
def test_chunks_that_do_not_add_up_are_refused(size: int, chunk_sizes: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError):
        entry_of_sizes(size, chunk_sizes)


@pytest.mark.parametrize("digests", [b"", HASH, HASH * 3, HASH * 2 + b"x", (HASH * 2)[:-1]])
def test_digests_that_are_not_one_for_each_chunk_are_refused(digests: bytes) -> None:
    with pytest.raises(ValidationError, match="one digest"):
        FileEntry(path="m", size=2, sha256=HASH, chunk_digests=digests, chunk_sizes=(1, 1))


@pytest.mark.parametrize("sha256", [b"", HASH[:-1], HASH + b"x"])
def test_a_hash_of_another_length_is_refused(sha256: bytes) -> None:
    with pytest.raises(ValidationError):
        FileEntry(path="m", size=0, sha256=sha256, chunk_digests=b"", chunk_sizes=())


@pytest.mark.parametrize("size", [2**31 - 1, 2**31, 2**31 + 1, 2**32 - 1, 2**32, 2**32 + 1, DEFAULT_LIMITS.artifact_bytes])
def test_sizes_around_the_borders_of_integers_are_exact(size: int) -> None:
    whole, rest = divmod(size, DEFAULT_LIMITS.chunk_bytes)
    entry = entry_of_sizes(size, (DEFAULT_LIMITS.chunk_bytes,) * whole + ((rest,) if rest else ()))
    described = manifest(artifact=Artifact(format="files", loader="files", files=(entry,)))
    again = parse(described.to_bytes()).artifact
    assert again.size == size
    *_, last = again.chunks()
    assert last.offset + last.size == size


@pytest.mark.parametrize("size", [DEFAULT_LIMITS.artifact_bytes + 1, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_file_over_the_limit_is_refused(size: int) -> None:
    message = unpack(manifest().to_bytes(), what="manifest")
    message["artifact"]["files"][0]["size"] = size
    fault = attempt(pack(message))
    assert isinstance(fault, SenderFault)
    assert fault.facts == {"field": "artifact.files.0.size"}


def test_files_that_are_too_large_together_are_refused() -> None:
    half = DEFAULT_LIMITS.artifact_bytes // 2
    chunks = (DEFAULT_LIMITS.chunk_bytes,) * (half // DEFAULT_LIMITS.chunk_bytes)
    entries = tuple(entry_of_sizes(half, chunks).model_copy(update={"path": f"f{n}"}) for n in range(3))
    assert Artifact(format="files", loader="files", files=entries[:2]).size == DEFAULT_LIMITS.artifact_bytes
    with pytest.raises(ValidationError, match="largest size"):
        Artifact(format="files", loader="files", files=entries)


def test_a_chunk_over_the_limit_is_refused() -> None:
    with pytest.raises(ValidationError):
        entry_of_sizes(DEFAULT_LIMITS.chunk_bytes + 1, (DEFAULT_LIMITS.chunk_bytes + 1,))


def test_too_many_chunks_are_refused() -> None:
    count = DEFAULT_LIMITS.chunk_count + 1
    with pytest.raises(ValidationError, match="more chunks"):
        Artifact(format="files", loader="files", files=(entry_of_sizes(count, (1,) * count),))


def test_an_artifact_has_files_and_bytes() -> None:
    with pytest.raises(ValidationError):
        artifact()
    with pytest.raises(ValidationError, match="at least one byte"):
        Artifact(format="files", loader="files", files=(file_entry(content=b""),))
    assert Artifact(format="files", loader="files", files=(file_entry("a", b""), file_entry("b", b"x"))).size == 1


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=4).filter(any), st.integers(1, 20))
def test_the_chunks_cover_every_file_in_order(contents: list[bytes], chunk_bytes: int) -> None:
    files = tuple(file_entry(f"f{n}", content, chunk_bytes) for n, content in enumerate(contents))
    described = Artifact(format="files", loader="files", files=files)
    rebuilt = [b""] * len(contents)
    for chunk in described.chunks():
        assert isinstance(chunk, Chunk)
        piece = contents[chunk.file][chunk.offset : chunk.offset + chunk.size]
        assert (chunk.offset, digest(piece)) == (len(rebuilt[chunk.file]), chunk.digest)
        rebuilt[chunk.file] += piece
    assert rebuilt == contents
    assert described.size == sum(map(len, contents))


# --------------------------------------------------------------------------- identity and samples


def test_the_identity_depends_on_the_files_and_not_on_their_chunks() -> None:
    def identity(**changes: object) -> bytes:
        fields = {"format": "files", "loader": "files", "files": (file_entry(),)} | changes
        return Artifact.model_validate(fields).identity

    assert identity() == identity(files=(file_entry(chunk_bytes=7),))
    nameless = file_entry().model_copy(update={"sha256": None})   # of what only modelcast reads, the chunks are the identity
    assert identity(files=(nameless,)) == identity(files=(nameless.model_copy(),))
    assert identity(files=(nameless,)) not in {
        identity(), identity(files=(file_entry(chunk_bytes=7).model_copy(update={"sha256": None}),))
    }
    others = [
        identity(), identity(format="onnx"), identity(loader="onnx"), identity(files=(file_entry("other"),)),
        identity(files=(file_entry(content=b"x"),)),
    ]
    assert len(set(others)) == len(others)


@pytest.mark.parametrize("name", ["", "Files", "../x", "a" * 65, "a\n"])
def test_a_format_has_a_plain_name(name: str) -> None:
    with pytest.raises(ValidationError):
        Artifact(format=name, loader="files", files=(file_entry(),))


@pytest.mark.parametrize(
    "changes",
    [{"file": "elsewhere"}, {"method": "x.y"}, {"method": "__import__('os')"}, {"count": -1}, {"rtol": -1.0}, {"atol": float("nan")}],
)
def test_samples_that_cannot_be_checked_are_refused(changes: dict[str, object]) -> None:
    fields = {"file": "model.bin", "method": "predict", "count": 1, "rtol": 0.0, "atol": 0.0}
    assert manifest(samples=fields).samples is not None
    with pytest.raises(ValidationError):
        manifest(samples=fields | changes)
