"""An artifact on its way to disk: what is there is found again, what another release holds is copied, nothing is believed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.bench import never
from tests.fakes.publisher_sim import PublisherSimulator, Release

from modelcast.consumer.assembly import MAX_OPEN_FILES, Assembly
from modelcast.consumer.store import Store, damage_in
from modelcast.consumer.trial import Dropped
from modelcast.shared.digest import digest
from modelcast.shared.errors import StorageFault
from modelcast.shared.fs import Fs
from modelcast.shared.signing import SigningKey

FILES = {"a/deep/er.bin": b"".join(n.to_bytes(4, "big") for n in range(625)), "b.bin": b"b" * 3500, "empty": b""}


class CountingFs(Fs):
    """Counts open files."""

    def __init__(self) -> None:
        self.opened = 0

    def open_for_assembly(self, path: Path, size: int) -> int:
        self.opened += 1
        return super().open_for_assembly(path, size)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "store", Fs())
    store.open()
    yield store
    store.close()


@pytest.fixture
def release(signing_key: SigningKey) -> Release:
    return PublisherSimulator(None, signing_key).release("1.0.0", FILES)


def assembly_of(store: Store, release: Release) -> Assembly:
    return Assembly(store, release.id, release.manifest.artifact)


def test_chunks_in_any_order_give_the_files(store: Store, release: Release) -> None:
    assembly = assembly_of(store, release)
    assembly.find_again(never)
    assert [assembly.take(body, None) for body in reversed(release.chunks())].count(True) == len(set(release.chunks()))
    assembly.sync()
    assembly.close()
    assert assembly.progress.is_complete
    assert damage_in(assembly.folder, release.manifest.artifact) is None
    assert {path: (assembly.folder / path).read_bytes() for path in FILES} == FILES


def test_an_interrupted_transfer_goes_on_where_it_was(store: Store, release: Release) -> None:
    first = assembly_of(store, release)
    first.find_again(never)
    for body in release.chunks()[:3]:
        first.take(body, None)
    first.close()
    second = assembly_of(store, release)
    second.find_again(never)
    assert second.progress.reused_chunks >= 3
    assert not second.take(release.chunks()[0], None)
    for body in release.chunks()[3:]:
        second.take(body, None)
    assert second.progress.is_complete
    second.close()


def test_what_was_damaged_while_it_lay_there_is_not_found_again(store: Store, release: Release) -> None:
    first = assembly_of(store, release)
    first.find_again(never)
    for body in release.chunks():
        first.take(body, None)
    first.close()
    path = first.folder / "a/deep/er.bin"
    path.write_bytes(b"X" + path.read_bytes()[1:])
    second = assembly_of(store, release)
    second.find_again(never)
    assert [(chunk.file, chunk.offset) for chunk in second.progress.missing()] == [(0, 0)]
    second.close()


def test_a_chunk_that_is_found_once_fills_all_its_places(store: Store, signing_key: SigningKey) -> None:
    release = PublisherSimulator(None, signing_key).release("1.0.0", {"a": b"x" * 1000, "b": b"x" * 3000})
    assembly = assembly_of(store, release)
    (assembly.folder / "a").write_bytes(b"x" * 1000)
    assembly.find_again(never)
    assembly.close()
    assert assembly.progress.is_complete
    assert (assembly.folder / "b").read_bytes() == b"x" * 3000


def test_chunks_of_another_release_are_copied_and_their_damage_is_not(store: Store, release: Release, tmp_path: Path, signing_key) -> None:
    other = PublisherSimulator(None, signing_key).release("0.9.0", {"old.bin": FILES["a/deep/er.bin"] + b"more"})
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "old.bin").write_bytes(b"X" + FILES["a/deep/er.bin"][1:] + b"more")
    assembly = assembly_of(store, release)
    assembly.find_again(never)
    assembly.reuse(folder, other.manifest.artifact, never)
    assert assembly.progress.reused_bytes == 1000   # the second chunk; the first is damaged, the third is longer there
    assert assembly.progress.fetched_bytes == 0
    assembly.close()


@pytest.mark.parametrize("content", [None, b""], ids=["gone", "cut short"])
def test_another_release_that_is_gone_or_cut_short_is_passed_over(store: Store, release: Release, tmp_path: Path, content) -> None:
    if content is not None:
        for path in FILES:
            (tmp_path / "other" / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "other" / path).write_bytes(content)
    assembly = assembly_of(store, release)
    assembly.reuse(tmp_path / "other", release.manifest.artifact, never)
    assert assembly.progress.reused_chunks == 0
    assembly.close()


def test_strangers_and_damage_write_nothing(store: Store, release: Release) -> None:
    assembly = assembly_of(store, release)
    assembly.find_again(never)
    before = {path: (assembly.folder / path).read_bytes() for path in FILES}
    assert not assembly.take(b"", None)
    assert not assembly.take(b"stranger", "no digest")
    assert not assembly.take(b"damaged", digest(release.chunks()[0]).hex())
    assert {path: (assembly.folder / path).read_bytes() for path in FILES} == before
    assert (assembly.progress.foreign_messages, assembly.progress.damaged_chunks) == (2, 1)
    assembly.close()


def test_room_for_everything_is_reserved_before_the_first_byte(store: Store, release: Release) -> None:
    assembly = assembly_of(store, release)
    assembly.find_again(never)
    assert {path: (assembly.folder / path).stat().st_size for path in FILES} == {path: len(content) for path, content in FILES.items()}
    assembly.close()


def test_many_files_need_few_descriptors(tmp_path: Path, signing_key: SigningKey) -> None:
    files = {f"part-{number:04}": b"%04d" % number for number in range(MAX_OPEN_FILES * 2 + 5)}
    release = PublisherSimulator(None, signing_key).release("1.0.0", files)
    store = Store(tmp_path / "store", Fs())
    store.open()
    before = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0
    assembly = assembly_of(store, release)
    assembly.find_again(never)
    for body in release.chunks():
        assembly.take(body, None)
    if before:
        assert len(list(Path("/proc/self/fd").iterdir())) <= before + MAX_OPEN_FILES
    assembly.sync()
    assembly.close()
    assert damage_in(assembly.folder, release.manifest.artifact) is None
    if before:
        assert len(list(Path("/proc/self/fd").iterdir())) == before
    store.close()


def test_a_link_that_somebody_put_into_the_store_is_not_followed(store: Store, release: Release, tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"precious")
    assembly = assembly_of(store, release)
    (assembly.folder / "b.bin").symlink_to(tmp_path / "victim")
    with pytest.raises(StorageFault, match="symbolic link"):
        assembly.find_again(never)
    assembly.close()
    assert (tmp_path / "victim").read_bytes() == b"precious"


def test_looking_for_what_is_there_can_be_interrupted(store: Store, release: Release) -> None:
    first = assembly_of(store, release)
    first.find_again(never)
    first.close()

    def dropped() -> None:
        raise Dropped

    second = assembly_of(store, release)
    with pytest.raises(Dropped):
        second.find_again(dropped)
    with pytest.raises(Dropped):
        second.reuse(first.folder, release.manifest.artifact, dropped)
    second.close()
