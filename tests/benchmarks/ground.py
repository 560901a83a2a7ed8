"""Where the files of a run lie, and the artifacts that are published.

Decides between memory and disk and refuses to begin where room is missing: a full disk in the middle would look like a slow program.
Imports the standard library.
"""

import hashlib
import mmap
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

GIB = 1024**3
SHARED_MEMORY = Path("/dev/shm")
RESERVE_BYTES = GIB
"""Stays free whatever happens."""
SOURCE_PIECE = 16 * 1024 * 1024


class NoRoom(RuntimeError):
    """The files of the run do not fit."""


@dataclass(frozen=True)
class Source:
    """A file with random bytes.

    Attributes:
        path: Where it lies.
        sha256: Its SHA-256, in hexadecimal.
    """

    path: Path
    sha256: str


def bytes_needed(size: int, instances: int) -> int:
    """Return the room that the largest round takes: the file, a copy for each instance, and what a broker keeps.

    A classic queue for each instance keeps a copy for each; while instances and queues are both full that is two of each.
    """
    return size * (2 * instances + 3) + RESERVE_BYTES


class Ground:
    """A temporary folder, removed at the end.

    Args:
        directory: Where to make it; None takes ``/dev/shm`` if there is room, to compare code and not disks.
        needed: How many bytes the largest round takes.

    Raises:
        NoRoom: There are fewer.
    """

    def __init__(self, directory: Path | None, *, needed: int) -> None:
        place = directory or (SHARED_MEMORY if SHARED_MEMORY.is_dir() else Path(tempfile.gettempdir()))
        place.mkdir(parents=True, exist_ok=True)
        free = free_bytes(place)
        if free < needed:
            raise NoRoom(
                f"{place} has {free / GIB:.1f} GiB free and the largest round takes {needed / GIB:.1f}. "
                "Choose fewer or smaller sizes (--sizes, --instances, --size-for-16), or another --directory."
            )
        self.kind = file_system(place)
        self.path = Path(tempfile.mkdtemp(prefix="modelcast-bench-", dir=place))
        self._sources: dict[int, Source] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def source(self, size: int) -> Source:
        """Return a file of ``size`` random bytes; made at the first call."""
        if size not in self._sources:
            path, sha256 = self.path / f"source-{size}", hashlib.sha256()
            with path.open("wb") as file:
                for start in range(0, size, SOURCE_PIECE):
                    piece = os.urandom(min(SOURCE_PIECE, size - start))
                    sha256.update(piece)
                    file.write(piece)
            self._sources[size] = Source(path, sha256.hexdigest())
        return self._sources[size]

    def drop_source(self, size: int) -> None:
        """Remove the file of a size that is not needed any more."""
        source = self._sources.pop(size, None)
        if source is not None:
            source.path.unlink()


def free_bytes(place: Path) -> int:
    """Return how much can be written: of memory, what the system has left as well."""
    free = shutil.disk_usage(place).free
    if file_system(place) == "tmpfs":
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                free = min(free, int(line.split()[1]) * 1024)
    return free


def touch_memory(size: int) -> None:
    """Touch as much memory as a round will fill, at most half of what is free, and give it back.

    A virtual machine may have lent free pages to its host; the first touch brings each back, for 5 to 10 microseconds. That would be
    charged to whoever plays first, and to nobody in particular after that.
    """
    size = min(size, free_bytes(SHARED_MEMORY) // 2) if SHARED_MEMORY.is_dir() else 0
    with mmap.mmap(-1, max(size, mmap.PAGESIZE)) as memory:
        for at in range(0, size, mmap.PAGESIZE):
            memory[at] = 1


def file_system(place: Path) -> str:
    """Return the kind of file system that a folder is on, such as ``tmpfs``; the longest mount point that fits decides."""
    best, kind = "", "unknown"
    resolved = str(place.resolve())
    for line in Path("/proc/mounts").read_text().splitlines() if Path("/proc/mounts").exists() else ():
        _, point, found, *_ = line.split()
        if (resolved == point or resolved.startswith(point.rstrip("/") + "/")) and len(point) >= len(best):
            best, kind = point, found
    return kind
