"""A disk that fails or dies at a chosen operation, and what a crash would have left on it.

``FaultFs`` is the real ``Fs`` with a count before each operation. A crash is a ``Crash``, which no product code catches; what
the disk looks like at that moment is copied twice: as after a killed process (everything done so far is there) and as after a
power cut (only what was synced is there, with the names that were synced).
"""

import errno as errors
import os
import shutil
from pathlib import Path

from modelcast.shared.errors import HostFault
from modelcast.shared.fs import Fs, storage_fault


class Crash(BaseException):
    """The process ended here."""


class DurableDisk:
    """What of a folder would survive a power cut: contents that were synced, under names that were synced.

    Holds every inode open, so that the file system does not give its number to another file.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._contents: dict[int, bytes] = {}
        self._entries: dict[int, dict[str, int]] = {}
        self._held: dict[int, int] = {}
        self._root_inode = self._hold(root)
        for folder, _, names in os.walk(root):
            self.synced_folder(Path(folder))
            for name in names:
                self.synced_file(Path(folder) / name)

    def _hold(self, path: Path) -> int:
        inode = path.lstat().st_ino
        if inode not in self._held:
            self._held[inode] = os.open(path, os.O_RDONLY)
        return inode

    def synced_file(self, path: Path) -> None:
        """Note that a file's content is durable."""
        self._contents[self._hold(path)] = path.read_bytes()

    def synced_folder(self, path: Path) -> None:
        """Note that a folder's names are durable."""
        self._entries[self._hold(path)] = {name: self._hold(path / name) for name in os.listdir(path)}

    def write_to(self, target: Path) -> None:
        """Write what is durable into a new folder."""
        self._write(self._root_inode, target)

    def _write(self, inode: int, target: Path) -> None:
        if os.path.isdir(self._held[inode]):
            target.mkdir(mode=0o700)
            for name, inner in self._entries.get(inode, {}).items():
                self._write(inner, target / name)
        else:
            target.write_bytes(self._contents.get(inode, b""))   # a name without its content: what fsync is for

    def close(self) -> None:
        """Let go of the inodes."""
        while self._held:
            os.close(self._held.popitem()[1])


class FaultFs(Fs):
    """See the module.

    Args:
        root: The store's folder; everything in it counts as durable now.

    Attributes:
        steps: The operations since the last order to crash or to fail.
        synced_again: Files that were synced although a sync of them had failed: the kernel calls that a success, and it is none.
    """

    READS = frozenset({"read", "read whole", "list"})

    def __init__(self, root: Path) -> None:
        self._root = root
        self.steps: list[str] = []
        self._crash_at: int | None = None
        self._copies: tuple[Path, Path] | None = None
        self._fail_at: int | None = None
        self._errno, self._lasting = 0, False
        self._durable: DurableDisk | None = None
        self._lost: dict[int, int] = {}
        self.synced_again: list[Path] = []

    def crash_at(self, step: int, *, killed: Path, power_cut: Path) -> None:
        """Crash at the operation with this number from now on, and leave the two disks at these paths."""
        self.steps.clear()
        self._durable = DurableDisk(self._root)
        self._crash_at, self._copies = step, (killed, power_cut)

    def fail_at(self, step: int, errno: int, *, lasting: bool) -> None:
        """Fail the operation with this number from now on, or (``lasting``) it and all that come after it."""
        self.steps.clear()
        self._fail_at, self._errno, self._lasting = step, errno, lasting

    def heal(self) -> None:
        """Work from now on."""
        self._crash_at = self._fail_at = None

    def close(self) -> None:
        """Let go of the files whose sync failed."""
        while self._lost:
            os.close(self._lost.popitem()[1])

    @property
    def happened(self) -> bool:
        """Whether the chosen operation came."""
        at = self._crash_at if self._crash_at is not None else self._fail_at
        return at is not None and len(self.steps) > at

    def _step(self, what: str, path: Path) -> bool:
        """Count an operation; returns whether to crash in the middle of it."""
        number = len(self.steps)
        self.steps.append(f"{what} {path.name}")
        if number == self._crash_at:
            return True
        fails = self._fail_at is not None and (number == self._fail_at or (self._lasting and number > self._fail_at))
        if fails and not (self._errno != errors.EIO and what in self.READS):   # a full or read-only disk can be read
            raise storage_fault(what, path, OSError(self._errno, os.strerror(self._errno)))
        return False

    def _crash(self) -> None:
        assert self._copies is not None
        assert self._durable is not None
        shutil.copytree(self._root, self._copies[0], symlinks=True)
        self._durable.write_to(self._copies[1])
        self._durable.close()
        raise Crash

    def make_folder(self, path: Path) -> None:
        if not path.is_dir() and self._step("make folder", path):
            self._crash()
        super().make_folder(path)

    def open_for_assembly(self, path: Path, size: int) -> int:
        if self._step("open", path):
            path.touch()   # created, not yet of its size
            self._crash()
        return super().open_for_assembly(path, size)

    def write_at(self, descriptor: int, content: bytes | memoryview, offset: int, path: Path) -> None:
        try:
            crashes = self._step("write", path)
        except HostFault:
            os.pwrite(descriptor, content[: len(content) // 2], offset)   # a short write, and no second one
            raise
        if crashes:
            os.pwrite(descriptor, content[: len(content) // 2], offset)
            self._crash()
        super().write_at(descriptor, content, offset, path)

    def read_at(self, descriptor: int, size: int, offset: int, path: Path) -> bytes:
        if self._step("read", path):
            self._crash()
        return super().read_at(descriptor, size, offset, path)

    def sync(self, descriptor: int, path: Path) -> None:
        inode = os.fstat(descriptor).st_ino
        if inode in self._lost:
            self.synced_again.append(path)
        try:
            crashes = self._step("sync", path)
        except HostFault:
            self._lost[inode] = os.dup(descriptor)   # held, so that no other file gets its number
            raise
        if crashes:
            self._crash()
        super().sync(descriptor, path)
        if self._durable is not None:
            self._durable.synced_file(path)

    def sync_folder(self, path: Path) -> None:
        if self._step("sync folder", path):
            self._crash()
        super().sync_folder(path)
        if self._durable is not None and path.is_relative_to(self._root):
            self._durable.synced_folder(path)

    def write_whole(self, path: Path, content: bytes) -> None:
        if self._step("write whole", path):
            self._crash()
        super().write_whole(path, content)

    def rename(self, source: Path, target: Path) -> None:
        if self._step("rename", source):
            self._crash()
        super().rename(source, target)

    def read_whole(self, path: Path, max_bytes: int) -> bytes:
        if self._step("read whole", path):
            self._crash()
        return super().read_whole(path, max_bytes)

    def remove(self, path: Path) -> None:
        if self._step("remove", path):
            self._crash()
        super().remove(path)

    def remove_tree(self, path: Path) -> None:
        if path.is_dir() and self._step("remove tree", path):
            files = sorted((inner for inner in path.rglob("*") if inner.is_file()), reverse=True)
            for inner in files[: (len(files) + 1) // 2]:   # a release loses its manifest first and keeps some of its files
                inner.unlink()
            self._crash()
        super().remove_tree(path)

    def names(self, path: Path) -> list[str]:
        if self._step("list", path):
            self._crash()
        return super().names(path)
