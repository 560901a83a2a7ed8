"""An artifact being put together on disk: chunks written in place, what is there found again by its digest.

Decides nothing about where chunks come from. Keeps a bounded number of files open. Imports the store, fs and reassembly.
"""

import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from modelcast.consumer.reassembly import Reassembly
from modelcast.consumer.store import FILES, Store
from modelcast.shared.digest import digest, same
from modelcast.shared.errors import StorageFault
from modelcast.shared.failpoints import Point, reach
from modelcast.shared.fs import Sharing
from modelcast.shared.limits import MIB
from modelcast.shared.manifest import Artifact, Chunk

MAX_OPEN_FILES = 64
"""Descriptors held at once; a host's limit is often 1,024 and most of it is the application's."""
RESUME, MAX_RESUME_BYTES = "resume", 20
"""Beside the files: the offset from which an interrupted transfer goes on; a hint, whose digits fit in so many bytes."""
BLOCK_BYTES = 4096
RESUME_EVERY_BYTES = 4 * MIB
"""How much may be fetched again after a process was killed."""


class Assembly:
    """One release on its way into the store. Close it when done; it can be opened again later.

    Args:
        store: Where.
        release: Its id.
        artifact: What it consists of.
        stopped: Raises when the work is to be dropped; there may be thousands of folders to make.
    """

    def __init__(
        self, store: Store, release: str, artifact: Artifact, stopped: Callable[[], None] = lambda: None
    ) -> None:
        self._store, self._fs, self._artifact, self.release = store, store.fs, artifact, release
        self.folder = store.incoming(release) / FILES
        self.progress = Reassembly(artifact)
        self._open: OrderedDict[int, int] = OrderedDict()
        self._resume: int | None = None
        self._unnoted_bytes = 0
        self._fs.make_folder(self.folder)
        for folder in sorted({(self.folder / entry.path).parent for entry in artifact.files}):
            stopped()
            self._fs.make_folder(folder)

    def find_again(self, stopped: Callable[[], None]) -> None:
        """Take up what an interrupted transfer left: every chunk on disk whose digest is right."""
        present = {index for index, entry in enumerate(self._artifact.files) if (self.folder / entry.path).is_file()}
        for chunk in self._artifact.chunks():
            if chunk.file in present and self.progress.places(chunk.digest, chunk.size):
                stopped()
                content = self._fs.read_at(self._descriptor(chunk.file), chunk.size, chunk.offset, self._path(chunk.file))
                if len(content) == chunk.size and same(digest(content), chunk.digest):
                    self._write(chunk.digest, content, but=chunk, fetched=False)
        self.reserve(stopped)

    def reuse(self, folder: Path, artifact: Artifact, stopped: Callable[[], None]) -> None:
        """Copy the missing chunks that another release of this store holds."""
        for chunk in artifact.chunks():
            if not self.progress.places(chunk.digest, chunk.size):
                continue
            stopped()
            try:
                with (folder / artifact.files[chunk.file].path).open("rb") as file:
                    content = os.pread(file.fileno(), chunk.size, chunk.offset)
            except OSError:
                return   # that release is damaged or gone; its chunks are fetched instead
            if same(digest(content), chunk.digest):
                self._write(chunk.digest, content, but=None, fetched=False)

    def share(self, chunk: Chunk, source: int) -> Sharing:
        """Let every place of a missing chunk share the blocks of an open file; counted once each place was read and compared."""
        places = self.progress.places(chunk.digest, chunk.size)
        for place in places:
            path, ends = self._path(place.file), place.offset + place.size
            if place.size % BLOCK_BYTES and ends != self._artifact.files[place.file].size:
                return Sharing.NOT_THESE   # old kernels and foreign servers have overwritten what stands behind it
            shared = self._fs.share_at(self._descriptor(place.file), source, place.size, place.offset, path)
            if shared is not Sharing.DONE:
                return shared
            content = self._fs.read_at(self._descriptor(place.file), place.size, place.offset, path)
            if not same(digest(content), chunk.digest):
                return Sharing.NOT_THESE
        self.progress.placed(chunk.digest, chunk.size, fetched=False)
        return Sharing.DONE

    def write_ahead(self, chunk: Chunk, body: bytes | memoryview) -> None:
        """Write what claims to be a chunk in its place; whether it is, ``adopt`` says when its digest is known."""
        self._fs.write_at(self._descriptor(chunk.file), body, chunk.offset, self._path(chunk.file))

    def adopt(self, digests: Mapping[int, bytes], stopped: Callable[[], None]) -> None:
        """Count what was written ahead, by the index of its chunk, where its digest is the one that the manifest names."""
        for index, chunk in enumerate(self._artifact.chunks()):
            places = self.progress.places(chunk.digest, chunk.size)
            if not places or not same(digests.get(index, b""), chunk.digest):
                continue
            stopped()
            if len(places) == 1:
                self.progress.placed(chunk.digest, chunk.size, fetched=True)
                continue
            content = self._fs.read_at(self._descriptor(chunk.file), chunk.size, chunk.offset, self._path(chunk.file))
            if same(digest(content), chunk.digest):   # it was sent once, and is copied from a disk to the other places
                self._write(chunk.digest, content, but=chunk, fetched=True)
        self.reserve(stopped)

    def reserve(self, stopped: Callable[[], None]) -> None:
        """Reserve room on the disk for everything, before the first byte is fetched."""
        for index in range(len(self._artifact.files)):
            stopped()
            self._descriptor(index)
        reach(Point.AFTER_RESERVE)

    def take(self, body: bytes | memoryview, claim: str | None) -> bool:
        """Verify a chunk and write it to all its places; returns whether it was missing."""
        identity = digest(body)
        if not self.progress.places(identity, len(body)):
            self.progress.note_stranger(claim, identity)
            return False
        self._write(identity, body, but=None, fetched=True)
        return True

    def _write(self, identity: bytes, content: bytes | memoryview, *, but: Chunk | None, fetched: bool) -> None:
        for place in self.progress.places(identity, len(content)):
            if place != but:
                self._fs.write_at(self._descriptor(place.file), content, place.offset, self._path(place.file))
        self.progress.placed(identity, len(content), fetched=fetched)
        reach(Point.CHUNK_WRITTEN)

    @property
    def resume_offset(self) -> int | None:
        """Where an interrupted transfer stopped reading the stream, or None: nothing before it is missing, unless damaged."""
        path = self.folder.parent / RESUME
        try:
            text = self._fs.read_whole(path, MAX_RESUME_BYTES) if path.is_file() else b""
        except StorageFault:
            return None   # a hint that cannot be had
        offset = int(text) if text.isdigit() else -1
        return offset if 0 <= offset < 2**63 else None   # offsets have 64 bits

    def note_offset(self, offset: int, read_bytes: int) -> None:
        """Remember where to go on, every now and then, for a process that is killed; ``read_bytes`` were read since the last call."""
        self._unnoted_bytes += read_bytes
        if self._unnoted_bytes >= RESUME_EVERY_BYTES:
            self._unnoted_bytes = 0
            path = self.folder.parent / RESUME
            if self._resume is None:
                self._resume = self._fs.open_for_assembly(path, MAX_RESUME_BYTES)
            digits = b"%0*d" % (MAX_RESUME_BYTES, offset)
            self._fs.write_at(self._resume, digits, 0, path)   # one call: beside a busy thread each waits for the interpreter

    def sync(self) -> None:
        """Make all files and folders durable; only a complete assembly is worth it."""
        reach(Point.BEFORE_SYNC)
        self._fs.remove(self.folder.parent / RESUME)
        for index in range(len(self._artifact.files)):
            self._fs.sync(self._descriptor(index), self._path(index))
        folders = {(self.folder / entry.path).parent for entry in self._artifact.files} | {self.folder}
        for folder in _with_parents(folders, self.folder.parent):
            self._fs.sync_folder(folder)
        reach(Point.AFTER_SYNC)

    def close(self) -> None:
        """Close the files; what was written stays and is found again."""
        while self._open:
            os.close(self._open.popitem()[1])
        if self._resume is not None:
            os.close(self._resume)
            self._resume = None

    def _path(self, index: int) -> Path:
        return self.folder / self._artifact.files[index].path

    def _descriptor(self, index: int) -> int:
        if index in self._open:
            self._open.move_to_end(index)
            return self._open[index]
        if len(self._open) >= MAX_OPEN_FILES:
            os.close(self._open.popitem(last=False)[1])
        path, size = self._path(index), self._artifact.files[index].size
        if path.is_symlink():
            raise StorageFault(f"{path} is a symbolic link; somebody else writes into this store.")
        self._open[index] = self._fs.open_for_assembly(path, size)
        return self._open[index]


def _with_parents(folders: Iterable[Path], top: Path) -> list[Path]:
    """Return the folders and all between them and ``top``, deepest first."""
    found: set[Path] = {top}
    for folder in folders:
        while folder != top:
            found.add(folder)
            folder = folder.parent  # noqa: PLW2901 - walks up
    return sorted(found, key=lambda path: len(path.parts), reverse=True)
