"""A model's chunks on disk: a file for each digest, and the index that says which came when.

Decides how a chunk gets its name (written beside, then renamed: a name never stands for half a chunk), what makes all of them
durable in one go, and what of the index counts after a crash. The name of a file proves nothing: whoever reads compares.
Imports disk, the layout and the index's entries.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from modelcast.shared.depot.disk import Disk, temporary_name
from modelcast.shared.depot.index import ENTRY_BYTES, Entry, EntryKind
from modelcast.shared.depot.layout import ModelPlaces, digest_of, is_chunk_folder
from modelcast.shared.errors import StorageFault
from modelcast.shared.fs import close_quietly
from modelcast.shared.limits import DEFAULT_LIMITS

SYNC_EACH_BELOW = 16
"""Fewer files are synced one by one; more at once by syncing their file system (figures: ``tests/benchmarks/durable.py``)."""
READ_ENTRIES = 4096


class ChunkShelf:
    """The chunks of one model.

    Args:
        disk: The disk.
        root: The depot's folder.
        places: Where the model's things lie.
    """

    def __init__(self, disk: Disk, root: Path, places: ModelPlaces) -> None:
        self._disk, self._root, self._places = disk, root, places
        self._chunks = root / places.chunks
        self._folders: set[Path] = set()
        self._watched: int | None = None

    def begin(self) -> None:
        """Watch the chunks' file system for errors of writing from now on; what failed before nobody would be told of."""
        if self._watched is None:
            self._watched = self._disk.open_folder(self._chunks)

    def close(self) -> None:
        """Stop watching; never raises."""
        descriptor, self._watched = self._watched, None
        if descriptor is not None:
            close_quietly(descriptor)

    def path(self, entry: Entry) -> Path:
        """Return where the chunk of an entry lies."""
        return self._root / self._places.chunk(entry.digest.hex(), is_packed=entry.is_packed)

    def put(self, entry: Entry, body: bytes | memoryview) -> bool:
        """Keep a chunk; returns whether it had to be written. Not durable before ``sync``.

        A file of that name with other bytes (a damaged one, or what a power cut left) is replaced.
        """
        path = self.path(entry)
        if self._holds(path, body):
            return False
        if path.parent not in self._folders:
            self._disk.add_folder(path.parent)
            self._folders.add(path.parent)
        temporary = self._root / self._places.incoming / temporary_name()
        # what stands there may be a durable chunk of a release: a power cut must not leave less in its place
        self._disk.write_new(temporary, body, is_durable=self._disk.size_of(path) is not None)
        self._disk.move(temporary, path)
        return True

    def _holds(self, path: Path, body: bytes | memoryview) -> bool:
        try:
            return self._disk.size_of(path) == len(body) and self._disk.read_if_there(path, len(body)) == body
        except StorageFault:   # what cannot be read is mended by being replaced
            return False

    def has(self, entry: Entry) -> bool:
        """Whether the file of a chunk is there with the size that its entry says; what is in it is not looked at."""
        return self._disk.size_of(self.path(entry)) == entry.size

    def remove_but(self, kept: Collection[bytes], *, tries: bool) -> tuple[int, int]:
        """Remove the chunks whose digests are not ``kept``; ``tries`` only counts them.

        Returns:
            How many there are of them and their bytes.
        """
        count = size = 0
        for folder in self._folders_there():
            for name in self._disk.names(folder):
                found = digest_of(name)
                if found is None or bytes.fromhex(found) in kept:
                    continue
                count, size = count + 1, size + (self._disk.size_of(folder / name) or 0)
                if not tries:
                    self._disk.remove(folder / name)
        return count, size

    def _folders_there(self) -> Iterator[Path]:
        """Yield the folders of chunks; a link is none: it may lead to the chunks of another depot."""
        if not self._disk.is_link(self._chunks):
            for name in self._disk.names(self._chunks):
                if is_chunk_folder(name) and not self._disk.is_link(self._chunks / name):
                    yield self._chunks / name

    def read_into(self, entry: Entry, buffer: memoryview) -> int | None:
        """Read a chunk into a buffer and return how many bytes it has, or None when it is gone; a larger file is cut."""
        return self._disk.read_into(self.path(entry), buffer)

    def open(self, entry: Entry) -> int | None:
        """Open the file of a chunk for reading, or return None when it is gone; the caller closes the descriptor."""
        return self._disk.open_if_there(self.path(entry))

    def sync(self, entries: Iterable[Entry]) -> None:
        """Make chunks durable, with their names."""
        paths = {self.path(entry) for entry in entries if entry.kind is EntryKind.CHUNK}
        if len(paths) >= SYNC_EACH_BELOW and self._disk.sync_all(self._chunks, self._watched):
            return
        for path in sorted(paths):
            self._disk.sync_file(path)
        for folder in sorted({path.parent for path in paths}):
            if self._disk.is_folder(folder):   # a power cut may have left an entry and not its chunk
                self._disk.sync_folder(folder)
        self._disk.sync_folder(self._chunks)


class ChunkIndex:
    """Which chunk came when. One process at a time appends, the one that holds the publishing lock.

    Args:
        disk: The disk.
        path: The index's file.
    """

    def __init__(self, disk: Disk, path: Path) -> None:
        self._disk, self.path = disk, path
        self._descriptor: int | None = None
        self._next = 0
        self._unsynced: list[Entry] = []

    def open(self) -> None:
        """Open it for appending, and cut off what a crash left that is no entry: a power cut may leave holes, too.

        Up to the last end of a release everything was made durable; only what follows is looked at.
        """
        self._descriptor = self._disk.open_for_appending(self.path)
        try:
            self._mend()
        except BaseException:
            self.close()
            raise

    def _mend(self) -> None:
        assert self._descriptor is not None
        count = self._disk.size_of_open(self._descriptor, self.path) // ENTRY_BYTES
        first = count
        while first and not self._ends_release(first - 1):
            first -= 1
        self._next, self._unsynced = first, []
        for offset in range(first, count):   # past a damaged one: what readers have read must not get another offset
            entry = self._entry(offset)
            if entry is not None:
                self._unsynced.append(entry)
                self._next = offset + 1
        self._disk.cut(self._descriptor, self._next * ENTRY_BYTES, self.path)

    def _entry(self, offset: int) -> Entry | None:
        assert self._descriptor is not None
        return Entry.from_bytes(self._disk.read_at(self._descriptor, ENTRY_BYTES, offset * ENTRY_BYTES, self.path))

    def _ends_release(self, offset: int) -> bool:
        entry = self._entry(offset)
        return entry is not None and entry.kind is EntryKind.END

    def unfinished(self) -> list[Entry]:
        """Return the entries since the last end of a release, without opening it: nothing is cut off, nor created."""
        found: list[Entry] = []
        for _, entry in read_entries(self._disk, self.path, 0):
            if entry.kind is EntryKind.END:
                found.clear()
            else:
                found.append(entry)
        return found

    def append(self, entry: Entry) -> int:
        """Add an entry and return its offset; readers see it at once, and it is durable after ``sync``."""
        assert self._descriptor is not None
        offset = self._next
        self._disk.write_at(self._descriptor, entry.to_bytes(), offset * ENTRY_BYTES, self.path)
        self._next += 1
        self._unsynced.append(entry)
        return offset

    @property
    def unsynced(self) -> Sequence[Entry]:
        """The entries since the last end of a release: what nobody has made durable, a crashed publisher's too."""
        return self._unsynced

    def end(self, release: bytes) -> None:
        """Note that a release whose chunks are durable ends here, durably."""
        assert self._descriptor is not None
        self._disk.sync(self._descriptor, self.path)   # what it stands behind is there before it
        self.append(Entry(EntryKind.END, release))
        self._disk.sync(self._descriptor, self.path)
        self._unsynced = []

    def close(self) -> None:
        """Close it; never raises."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            close_quietly(descriptor)


def read_entries(disk: Disk, path: Path, offset: int) -> Iterator[tuple[int, Entry]]:
    """Yield the entries of an index from ``offset`` on; a damaged one is passed over once a whole one stands behind it."""
    doubtful: list[int] = []
    while content := disk.read_part(path, READ_ENTRIES * ENTRY_BYTES, offset * ENTRY_BYTES):
        for start in range(0, len(content), ENTRY_BYTES):
            entry = Entry.from_bytes(content[start : start + ENTRY_BYTES])
            if entry is None:
                doubtful.append(offset)
            else:
                for at in doubtful:   # it may have been written while it was read; one stands behind it: it is whole now, or damaged
                    again = Entry.from_bytes(disk.read_part(path, ENTRY_BYTES, at * ENTRY_BYTES))
                    if again is not None:
                        yield at, again
                doubtful.clear()
                yield offset, entry
            offset += 1


CHUNK_ROOM = DEFAULT_LIMITS.chunk_bytes + 1
"""Bytes of a buffer that any chunk fits in, and one more: a file that is larger is no chunk."""
