"""Chunks on disk: one file for each digest, an index that survives what a crash leaves, and no trust in names."""

from pathlib import Path

import pytest

from modelcast.shared.depot.chunks import SYNC_EACH_BELOW, ChunkIndex, ChunkShelf, read_entries
from modelcast.shared.depot.disk import Disk
from modelcast.shared.depot.index import ENTRY_BYTES, Entry, EntryKind
from modelcast.shared.depot.layout import ModelPlaces
from modelcast.shared.digest import digest
from modelcast.shared.errors import StorageFault

PLACES = ModelPlaces("fraud")


def entry_of(body: bytes, *, is_packed: bool = False) -> Entry:
    return Entry(EntryKind.CHUNK, digest(body), len(body), is_packed)


@pytest.fixture
def shelf(tmp_path: Path) -> ChunkShelf:
    for name in (PLACES.chunks, PLACES.incoming):
        (tmp_path / name).mkdir(parents=True)
    return ChunkShelf(Disk(), tmp_path, PLACES)


def content_of(shelf: ChunkShelf, entry: Entry) -> bytes | None:
    buffer = memoryview(bytearray(100))
    size = shelf.read_into(entry, buffer)
    return None if size is None else bytes(buffer[:size])


def test_a_chunk_is_kept_once_and_found_by_its_digest(shelf: ChunkShelf) -> None:
    entry = entry_of(b"body")
    assert content_of(shelf, entry) is None
    assert [shelf.put(entry, b"body"), shelf.put(entry, memoryview(b"body"))] == [True, False]
    assert content_of(shelf, entry) == b"body"
    assert shelf.put(entry_of(b"body", is_packed=True), b"packed")   # the same chunk as a frame is another file
    assert content_of(shelf, entry) == b"body"


@pytest.mark.parametrize("damage", [b"", b"bodx", b"body and more"])
def test_a_file_that_holds_other_bytes_than_its_name_says_is_replaced(shelf: ChunkShelf, damage: bytes) -> None:
    entry = entry_of(b"body")
    shelf.put(entry, b"body")
    shelf.path(entry).write_bytes(damage)
    assert shelf.put(entry, b"body")
    assert content_of(shelf, entry) == b"body"


def test_a_file_that_has_grown_is_cut_when_it_is_read_and_fits_no_digest(shelf: ChunkShelf) -> None:
    entry = entry_of(b"body")
    shelf.put(entry, b"body")
    shelf.path(entry).write_bytes(b"x" * 1000)
    assert content_of(shelf, entry) == b"x" * 100


@pytest.mark.parametrize("count", [1, SYNC_EACH_BELOW + 1])
def test_few_chunks_and_many_are_made_durable(shelf: ChunkShelf, count: int) -> None:
    bodies = [b"%d" % number for number in range(count)]
    for body in bodies:
        shelf.put(entry_of(body), body)
    shelf.sync([*map(entry_of, bodies), Entry(EntryKind.BEGIN), entry_of(b"gone meanwhile")])


def entries_in(path: Path, offset: int = 0) -> list[tuple[int, Entry]]:
    return list(read_entries(Disk(), path, offset))


def opened(path: Path) -> ChunkIndex:
    index = ChunkIndex(Disk(), path)
    index.open()
    return index


def test_entries_are_read_from_an_offset_on(tmp_path: Path) -> None:
    index = opened(tmp_path / "index")
    written = [entry_of(b"%d" % number) for number in range(5000)]   # more than are read at once
    assert [index.append(entry) for entry in written] == list(range(5000))
    assert entries_in(tmp_path / "index") == list(enumerate(written))
    assert entries_in(tmp_path / "index", 4999) == [(4999, written[-1])]
    assert entries_in(tmp_path / "index", 5000) == entries_in(tmp_path / "nowhere") == []
    index.close()


def test_what_a_crash_left_at_the_end_is_cut_off_and_the_next_entry_takes_its_place(tmp_path: Path) -> None:
    path = tmp_path / "index"
    for left in (b"torn", bytes(ENTRY_BYTES), bytes(ENTRY_BYTES) + entry_of(b"half").to_bytes()[:-1]):
        path.unlink(missing_ok=True)
        index = opened(path)
        index.append(entry_of(b"one"))
        index.end(digest(b"release"))
        index.append(entry_of(b"two"))
        index.close()
        with path.open("ab") as file:
            file.write(left)
        index = opened(path)
        assert list(index.unsynced) == [entry_of(b"two")]
        assert index.append(entry_of(b"three")) == 3
        assert [entry.digest for _, entry in entries_in(path)] == [digest(text) for text in (b"one", b"release", b"two", b"three")]
        index.close()


@pytest.mark.parametrize("damaged", [0, 1, 2])
def test_a_flipped_bit_in_the_index_hides_one_entry_and_gives_no_offset_again(tmp_path: Path, damaged: int) -> None:
    path, kept = tmp_path / "index", [entry_of(b"one"), entry_of(b"two"), entry_of(b"three"), entry_of(b"four")]
    index = opened(path)
    for entry in kept:
        index.append(entry)
    index.close()
    content = bytearray(path.read_bytes())
    content[damaged * ENTRY_BYTES + 20] ^= 1
    path.write_bytes(content)
    left = [(at, entry) for at, entry in enumerate(kept) if at != damaged]
    assert entries_in(path) == left
    index = opened(path)
    assert list(index.unsynced) == index.unfinished() == [entry for _, entry in left]
    assert index.append(entry_of(b"five")) == 4
    index.close()


def test_an_entry_that_was_being_written_when_it_was_read_is_read_again_when_one_stands_behind_it(tmp_path: Path) -> None:
    index = opened(tmp_path / "index")
    for text in (b"one", b"two", b"three"):
        index.append(entry_of(text))
    index.close()

    class Halfway(Disk):
        is_first = True

        def read_part(self, path: Path, size: int, offset: int) -> bytes:
            content, is_first = bytearray(super().read_part(path, size, offset)), self.is_first
            self.is_first = False
            if is_first:
                content[ENTRY_BYTES : 2 * ENTRY_BYTES] = bytes(ENTRY_BYTES)
            return bytes(content)

    assert [at for at, _ in read_entries(Halfway(), tmp_path / "index", 0)] == [0, 1, 2]


def test_a_chunk_that_cannot_be_read_is_replaced_and_durable_as_it_was(tmp_path: Path, shelf: ChunkShelf) -> None:
    entry = entry_of(b"body")

    written: list[bool] = []

    class Unreadable(Disk):
        def write_new(self, path: Path, content: bytes | memoryview, *, is_durable: bool) -> None:
            written.append(is_durable)
            super().write_new(path, content, is_durable=is_durable)

        def read_if_there(self, path: Path, max_bytes: int) -> bytes | None:
            raise StorageFault("the disk reports an error")

    mending = ChunkShelf(Unreadable(), tmp_path, PLACES)
    assert [mending.put(entry, b"body"), mending.put(entry, b"body")] == [True, True]
    assert written == [False, True]
    assert content_of(shelf, entry) == b"body"


def test_a_chunk_is_there_when_its_file_has_the_size_of_its_entry(shelf: ChunkShelf) -> None:
    entry = entry_of(b"body")
    assert not shelf.has(entry)
    shelf.put(entry, b"body")
    assert shelf.has(entry)
    shelf.path(entry).write_bytes(b"bod")
    assert not shelf.has(entry)


def test_chunks_behind_links_and_in_folders_of_other_names_are_not_removed(tmp_path: Path, shelf: ChunkShelf) -> None:
    entry = entry_of(b"body")
    shelf.put(entry, b"body")
    folder = shelf.path(entry).parent
    aside = tmp_path / "another depot"
    folder.rename(aside)
    folder.symlink_to(aside)
    (folder.parent / "zz").symlink_to(aside)
    (folder.parent / "more").mkdir()
    (folder.parent / "more" / ("0" * 64)).write_bytes(b"not ours")
    assert shelf.remove_but(set(), tries=False) == (0, 0)
    assert (aside / shelf.path(entry).name).exists()
    chunks = folder.parent
    chunks.rename(tmp_path / "all")
    chunks.symlink_to(tmp_path / "all")
    assert shelf.remove_but(set(), tries=True) == (0, 0)


def test_the_file_system_of_the_chunks_is_synced_by_what_was_opened_before_they_were_written(tmp_path: Path) -> None:
    asked: list[tuple[Path, bool]] = []

    class Asked(Disk):
        def sync_all(self, path: Path, descriptor: int | None = None) -> bool:
            asked.append((path, descriptor is not None))
            return super().sync_all(path, descriptor)

    for name in (PLACES.chunks, PLACES.incoming):
        (tmp_path / name).mkdir(parents=True)
    shelf, bodies = ChunkShelf(Asked(), tmp_path, PLACES), [b"%d" % number for number in range(SYNC_EACH_BELOW + 1)]
    shelf.begin()
    shelf.begin()
    for body in bodies:
        shelf.put(entry_of(body), body)
    shelf.sync(map(entry_of, bodies))
    shelf.close()
    shelf.close()
    assert asked == [(tmp_path / PLACES.chunks, True)]


def test_what_was_not_made_durable_is_remembered_until_a_release_ends(tmp_path: Path) -> None:
    index = opened(tmp_path / "index")
    index.append(entry_of(b"one"))
    index.close()   # a killed publisher
    index = opened(tmp_path / "index")
    index.append(entry_of(b"two"))
    assert list(index.unsynced) == [entry_of(b"one"), entry_of(b"two")]
    index.end(digest(b"release"))
    assert list(index.unsynced) == []
    index.close()
    index = opened(tmp_path / "index")
    assert list(index.unsynced) == []
    index.close()
    index.close()   # twice does no harm
