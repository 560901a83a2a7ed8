"""Where an artifact's bytes come from: memory or disk, read by position so that a resumed publication skips what is there.

Decides which files of a folder belong to an artifact. Memory stays at one chunk whatever the size of a path. Imports the
errors.
"""

import os
import stat
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from modelcast.shared.errors import ChangedWhileReading, EmptyArtifact, MissingPath


class SourceFile(Protocol):
    """One file of an artifact that is about to be published."""

    @property
    def path(self) -> str:
        """Its path in the artifact."""
        ...

    @property
    def size(self) -> int:
        """Its size in bytes."""
        ...

    @property
    def cuts(self) -> Sequence[int]:
        """Offsets where a chunk must begin, so that unchanged parts keep their digests."""
        ...

    @property
    def exists_elsewhere(self) -> bool:
        """Whether people have this very file, so that its SHA-256 tells them something."""
        ...

    def read(self, offset: int, size: int) -> bytes | memoryview:
        """Return ``size`` bytes from ``offset``; raises ChangedWhileReading when they are not those of the start."""
        ...


class MemoryFile:
    """A file made of buffers in memory, which are not copied.

    Args:
        path: Its path in the artifact.
        parts: The buffers in order.
        cuts: Offsets where a chunk must begin.
    """

    exists_elsewhere = False

    def __init__(self, path: str, parts: Sequence[bytes | memoryview], cuts: Sequence[int] = ()) -> None:
        self.path, self.cuts = path, cuts
        self._parts = [memoryview(part).cast("B") for part in parts if len(part)]
        self._starts: list[int] = []
        self.size = 0
        for part in self._parts:
            self._starts.append(self.size)
            self.size += part.nbytes

    def read(self, offset: int, size: int) -> bytes | memoryview:
        """See ``SourceFile.read``; within one buffer nothing is copied."""
        index = bisect_right(self._starts, offset) - 1
        start = offset - self._starts[index]
        if start + size <= self._parts[index].nbytes:
            return self._parts[index][start : start + size]
        pieces: list[memoryview] = []
        while size > 0:
            piece = self._parts[index][start : start + size]
            pieces.append(piece)
            size -= piece.nbytes
            index, start = index + 1, 0
        return b"".join(pieces)


class DiskFile:
    """A file on disk, opened for each read of a chunk so that no descriptor is held for a folder of thousands.

    Args:
        path: Its path in the artifact.
        location: Where it is.
    """

    cuts: Sequence[int] = ()
    exists_elsewhere = True

    def __init__(self, path: str, location: Path) -> None:
        self.path, self._location = path, location
        try:
            facts = location.stat()
        except OSError as error:
            raise MissingPath(f"Cannot read {location}: {error.strerror}.") from error
        if not stat.S_ISREG(facts.st_mode):
            raise MissingPath(f"{location} is no regular file.", hint="Publish files and folders of files only.")
        self.size, self._state = facts.st_size, _state(facts)

    def read(self, offset: int, size: int) -> bytes | memoryview:
        """See ``SourceFile.read``; a half-written model must never be signed, so any change since the start is an error."""
        try:
            descriptor = os.open(self._location, os.O_RDONLY | os.O_CLOEXEC)
            try:
                content = os.pread(descriptor, size, offset)
                is_same = _state(os.fstat(descriptor)) == self._state   # looked at last: a write after this changes no byte of ours
            finally:
                os.close(descriptor)
        except OSError as error:
            raise MissingPath(f"Cannot read {self._location}: {error.strerror}.") from error
        if not is_same or len(content) != size:
            raise ChangedWhileReading(
                f"{self._location} changed while it was published.",
                hint="Publish a file that nobody writes to, or write a new one and rename it.",
            )
        return content


def _state(facts: os.stat_result) -> tuple[int, int, int]:
    """Return what differs after a file was written to or replaced."""
    return facts.st_ino, facts.st_size, facts.st_mtime_ns


def files_of(location: Path) -> list[SourceFile]:
    """Return the files of a path: the file itself, or all files below a folder, sorted by path.

    Raises:
        MissingPath: The path does not exist, or holds something that is no file.
        EmptyArtifact: There is not one byte.
    """
    if not location.exists():
        raise MissingPath(f"{location} does not exist.", hint="Give the path of a model file or of a folder of files.")
    if location.is_dir():
        found = sorted(path for path in location.rglob("*") if not path.is_dir())
        files = [DiskFile(path.relative_to(location).as_posix(), path) for path in found]
    else:
        files = [DiskFile(location.name, location)]
    if sum(file.size for file in files) == 0:
        raise EmptyArtifact(f"{location} holds no bytes.", hint="Was the model saved before it was published?")
    return list(files)
