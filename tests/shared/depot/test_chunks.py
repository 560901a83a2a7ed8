"""Chunks on disk: one file for each digest, an index that survives what a crash leaves, and no trust in names."""

from pathlib import Path

import pytest

from modelcast.shared.depot.chunks import SYNC_EACH_BELOW, ChunkIndex, ChunkShelf, read_entries
from modelcast.shared.depot.disk import Disk
from modelcast.shared.depot.index import ENTRY_BYTES, Entry, EntryKind
from modelcast.shared.depot.layout import ModelPlaces
from modelcast.shared.digest import digest

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
    for left in (b"torn", bytes(ENTRY_BYTES), bytes(ENTRY_BYTES) + entry_of(b"after a hole").to_bytes()):
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
