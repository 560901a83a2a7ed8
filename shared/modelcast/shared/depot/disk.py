"""What a depot needs of a disk besides ``fs``: names that must be free, files that grow, and many files made durable in one go.

Decides what replaces what a file system does not have: without hard links the writers' lock alone keeps a number from being given
twice, without syncfs(2) each file is synced. Imports fs and what tells file systems apart.
"""

import ctypes
import errno
import os
import secrets
import sys
from functools import cache, partial
from pathlib import Path
from typing import Any

from modelcast.shared.file_watch import kind_of_file_system
from modelcast.shared.fs import NO_FOLLOW, OTHERS_MAY_WRITE, TEMPORARY_PREFIX, Fs, close_quietly, guarded, storage_fault

_NO_LINKS_HERE = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK})
_SYNCFS_TELLS_ERRORS = (5, 8)
"""Since this Linux, syncfs(2) says when something could not be written; an older one is not asked."""

SYNCED_WHOLE = frozenset({"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "nilfs2", "ramfs", "tmpfs", "xfs"})
"""Local file systems that syncfs(2) makes durable and whose errors it tells. FUSE, CIFS, NFS and overlay promise less."""


@cache
def _syncfs() -> Any:
    """Return syncfs(2), which Python does not have, or None."""
    if sys.platform != "linux":
        return None
    numbers = os.uname().release.split("-")[0].split(".")[:2]
    if not all(number.isdecimal() for number in numbers) or tuple(map(int, numbers)) < _SYNCFS_TELLS_ERRORS:
        return None
    return getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)


_SYNC_FILE_RANGE_WRITE = 2


@cache
def _sync_file_range() -> Any:
    """Return sync_file_range(2), which Python does not have, or None."""
    function = getattr(ctypes.CDLL(None), "sync_file_range", None) if sys.platform == "linux" else None
    if function is not None:
        function.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
    return function


def _begin_to_write(descriptor: int) -> None:
    """Have the kernel begin to write a file while the next one is made (figures: ``tests/benchmarks/durable.py``)."""
    begin = _sync_file_range()
    if begin is not None:
        begin(descriptor, 0, 0, _SYNC_FILE_RANGE_WRITE)   # a hint: whether it is written, the sync at the end tells


def temporary_name() -> str:
    """Return a name that nobody else uses, for what is being written."""
    return f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"


class Disk(Fs):
    """See ``fs.Fs``; for a depot."""

    def write_new(self, path: Path, content: bytes | memoryview, *, is_durable: bool) -> None:
        """Write a file that does not exist yet; ``is_durable`` syncs its content, not its name. Otherwise the kernel begins to."""
        descriptor = guarded("create", path, lambda: os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_FOLLOW, self.FILE_MODE))
        try:
            self.write_at(descriptor, content, 0, path)
            if is_durable:
                self.sync(descriptor, path)
            else:
                _begin_to_write(descriptor)
        finally:
            guarded("close", path, lambda: os.close(descriptor))

    def is_link(self, path: Path) -> bool:
        """Whether there is a symbolic link of this name."""
        return guarded("look at", path, path.is_symlink)

    def add_folder(self, path: Path) -> None:
        """Create a folder in one that is there, if it is not; not durable before that one is synced."""
        guarded("create", path, lambda: path.mkdir(mode=self.FOLDER_MODE, exist_ok=True))

    def replace_whole(self, path: Path, content: bytes, temporary: Path) -> None:
        """Replace a file by ``content``, durably, so that a crash leaves the old or the new one; it is written as ``temporary``."""
        self.write_new(temporary, content, is_durable=True)
        self.rename(temporary, path)

    def take_name(self, source: Path, target: Path) -> bool:
        """Give a file a name that nobody has, durably; returns whether the name was free. The file keeps its old name, too, or not."""
        try:
            os.link(source, target, follow_symlinks=False)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS_HERE:
                raise storage_fault("name", target, error) from error
            if target.exists():   # no hard links here: the writers' lock alone keeps two of them apart
                return False
            guarded("rename", source, lambda: os.replace(source, target))
        self.sync_folder(target.parent)
        return True

    def open_if_there(self, path: Path) -> int | None:
        """Open a file for reading, or return None when it does not exist; the caller closes the descriptor."""
        try:
            return os.open(path, os.O_RDONLY | NO_FOLLOW | os.O_NONBLOCK)   # a pipe in the place of a file must hold up nobody
        except FileNotFoundError:
            return None
        except OSError as error:
            raise storage_fault("open", path, error) from error

    def read_if_there(self, path: Path, max_bytes: int) -> bytes | None:
        """Read a small file, or return None when it does not exist; of a larger one ``max_bytes`` and one more byte are read."""
        descriptor = self.open_if_there(path)
        if descriptor is None:
            return None
        try:
            return self.read_at(descriptor, max_bytes + 1, 0, path)
        finally:
            close_quietly(descriptor)

    def read_part(self, path: Path, size: int, offset: int) -> bytes:
        """Read up to ``size`` bytes of a file at ``offset``; nothing when it does not exist."""
        descriptor = self.open_if_there(path)
        if descriptor is None:
            return b""
        try:
            return self.read_at(descriptor, size, offset, path)
        finally:
            close_quietly(descriptor)

    def read_into(self, path: Path, buffer: memoryview) -> int | None:
        """Fill a buffer from the beginning of a file; returns how many bytes, or None when it does not exist."""
        descriptor = self.open_if_there(path)
        if descriptor is None:
            return None
        try:
            filled = 0
            while got := guarded("read", path, partial(os.preadv, descriptor, [buffer[filled:]], filled)):
                filled += got
            return filled
        finally:
            close_quietly(descriptor)

    def growth_of(self, path: Path) -> tuple[int, int] | None:
        """Return a file's size in bytes and when it was changed last (see ``changed_ns``), or None when it does not exist."""
        try:
            facts = os.stat(path, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise storage_fault("look at", path, error) from error
        return facts.st_size, facts.st_mtime_ns

    def size_of(self, path: Path) -> int | None:
        """Return a file's size in bytes, or None when it does not exist."""
        try:
            return os.stat(path, follow_symlinks=False).st_size
        except FileNotFoundError:
            return None
        except OSError as error:
            raise storage_fault("look at", path, error) from error

    def identity_of(self, path: Path) -> tuple[int, int] | None:
        """Return what tells a file or folder from others that are there now, or None when it does not exist.

        What is made after it was removed may get the same; ``is_still`` tells those apart, too.
        """
        try:
            facts = os.stat(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise storage_fault("look at", path, error) from error
        return facts.st_dev, facts.st_ino

    def is_still(self, descriptor: int, path: Path) -> bool:
        """Whether a path leads to the file or folder that is open: its number is nobody else's as long as it is."""
        facts = guarded("look at", path, lambda: os.fstat(descriptor))
        return self.identity_of(path) == (facts.st_dev, facts.st_ino)

    def changed_ns(self, path: Path) -> int:
        """Return when a file or folder was changed last, nanoseconds by its file system's clock."""
        return guarded("look at", path, lambda: os.stat(path, follow_symlinks=False).st_mtime_ns)

    def size_of_open(self, descriptor: int, path: Path) -> int:
        """Return the size of an open file in bytes."""
        return guarded("look at", path, lambda: os.fstat(descriptor).st_size)

    def is_named(self, descriptor: int, path: Path) -> bool:
        """Whether an open file still has a name; what is written to one without is lost."""
        return guarded("look at", path, lambda: os.fstat(descriptor).st_nlink) > 0

    def open_for_appending(self, path: Path) -> int:
        """Open a file, or create it, to be read and written by position; returns the descriptor."""
        return guarded("open", path, lambda: os.open(path, os.O_RDWR | os.O_CREAT | NO_FOLLOW, self.FILE_MODE))

    def cut(self, descriptor: int, size: int, path: Path) -> None:
        """Cut a file off at ``size`` bytes."""
        guarded("cut", path, lambda: os.ftruncate(descriptor, size))

    def move(self, source: Path, target: Path) -> None:
        """Rename a file; what stands under the name is replaced. Not durable before the folder is synced."""
        guarded("rename", source, lambda: os.replace(source, target))

    def sync_file(self, path: Path) -> None:
        """Make the content of a file durable that somebody else wrote, if it is there."""
        descriptor = self.open_if_there(path)
        if descriptor is None:
            return
        try:
            self.sync(descriptor, path)
        finally:
            close_quietly(descriptor)

    def open_folder(self, path: Path) -> int:
        """Open a folder, for ``is_still``, or so that ``sync_all`` tells what could not be written since; returns the descriptor."""
        return guarded("open", path, lambda: os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))

    def sync_all(self, path: Path, descriptor: int | None = None) -> bool:
        """Make everything on the file system of a folder durable; returns False where that is not to be had.

        Args:
            path: The folder.
            descriptor: The folder, opened before what is to be durable was written; opened now when None.
        """
        syncfs = _syncfs()
        if syncfs is None or kind_of_file_system(path) not in SYNCED_WHOLE:
            return False
        opened = self.open_folder(path) if descriptor is None else descriptor
        try:
            if syncfs(opened) != 0:
                code = ctypes.get_errno()
                raise storage_fault("sync the file system of", path, OSError(code, os.strerror(code)))
        finally:
            if descriptor is None:
                close_quietly(opened)
        return True

    def is_owners_alone(self, path: Path) -> bool:
        """Whether a folder belongs to this user (or root) and nobody else may write it."""
        facts = guarded("look at", path, lambda: os.stat(path))
        return facts.st_uid in {os.geteuid(), 0} and not facts.st_mode & OTHERS_MAY_WRITE


class SharedDisk(Disk):
    """The same for a depot that several users write: what is made is as open as the umask lets it be."""

    FILE_MODE = 0o666
    FOLDER_MODE = 0o777
