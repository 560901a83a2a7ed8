"""Every operation on a disk that must hold what it is given, in one small class, so that faults can be injected by wrapping it.

Decides how bytes become durable: write all, fsync (F_FULLFSYNC on macOS), rename, fsync the folder. A failed fsync is never
tried again on the same file (the kernel has thrown the pages away, https://www.usenix.org/conference/atc20/presentation/rebello);
the caller throws the file away. Every OSError becomes a StorageFault that names the path.
"""

import errno
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from pathlib import Path
from typing import TypeVar

from modelcast.shared.errors import HostFault, StorageFault

Result = TypeVar("Result")
NO_FOLLOW = os.O_NOFOLLOW | os.O_CLOEXEC
TEMPORARY_PREFIX = ".tmp-"


def guarded(what: str, path: Path | str, operation: Callable[[], Result]) -> Result:
    """Do an operation on a disk; what the system refuses is a StorageFault."""
    try:
        return operation()
    except OSError as error:
        raise storage_fault(what, path, error) from error


def close_quietly(descriptor: int) -> None:
    """Close a descriptor; what the system says of it comes too late: what counts was synced, and it is closed in any case."""
    with suppress(OSError):
        os.close(descriptor)


def storage_fault(what: str, path: Path | str, error: OSError) -> HostFault:
    """Return the error for a failed operation on the store."""
    hints = {
        errno.ENOSPC: "Free space on this disk; the transfer goes on where it stopped.",
        errno.EDQUOT: "The quota of this user is used up.",
        errno.EROFS: "The file system is read-only; remount it, or put the store elsewhere.",
        errno.EACCES: "Give the application's user the right to write its store.",
        errno.EIO: "The disk reports an error; look at the kernel's log.",
    }
    return StorageFault(
        f"Cannot {what} {path}: {error.strerror}.", hint=hints.get(error.errno or 0), facts={"errno": error.errno, "path": str(path)}
    )


OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


def is_ours_alone(facts: os.stat_result) -> bool:
    """Whether a regular file belongs to this user (or root) and nobody else may write it."""
    return stat.S_ISREG(facts.st_mode) and facts.st_uid in {os.geteuid(), 0} and not facts.st_mode & OTHERS_MAY_WRITE


HOST_ERRNOS = frozenset({
    errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EAGAIN, errno.EINTR,
})
"""Errors of the system that say nothing about a release: the same step may succeed later."""


def host_fault(what: str, error: BaseException) -> HostFault | None:
    """Return the fault of the host that ``error`` shows, or None when the release may be at fault."""
    if isinstance(error, MemoryError):
        return StorageFault(f"There was not enough memory for {what}.", hint="Give this host more memory.")
    if isinstance(error, OSError) and error.errno in HOST_ERRNOS:
        return StorageFault(f"The host failed at {what}: {error.strerror}.", facts={"errno": error.errno})
    return None


class Sharing(Enum):
    """What became of an attempt to let two files share blocks."""

    DONE = auto()
    NOT_THESE = auto()
    """Not these bytes, or not now; such as those that do not begin or end where blocks do."""
    IMPOSSIBLE = auto()
    """This file system cannot, or the two files lie on different ones."""


FICLONERANGE = 0x4020940D
"""ioctl(2) of Linux, ``linux/fs.h``: btrfs, XFS and others."""


class Fs:
    """The operating system's file system.

    Attributes:
        FILE_MODE: Who may read and write what is made here: the owner alone.
        FOLDER_MODE: The same for folders.
    """

    FILE_MODE = 0o600
    FOLDER_MODE = 0o700

    def is_folder(self, path: Path) -> bool:
        """Whether there is a folder of this name."""
        return guarded("look at", path, path.is_dir)

    def make_folder(self, path: Path) -> None:
        """Create a folder with its parents, durably."""
        if self.is_folder(path):
            return
        if not self.is_folder(path.parent):
            self.make_folder(path.parent)
        guarded("create", path, lambda: path.mkdir(mode=self.FOLDER_MODE, exist_ok=True))
        self.sync_folder(path.parent)

    def may_write(self, path: Path) -> bool:
        """Whether this process may change a file or a folder's entries, as far as permissions and the mount say."""
        return os.access(path, os.W_OK)

    def refuse_if_others_may_write(self, path: Path) -> None:
        """Raise StorageFault when a folder could be changed by another user: what it holds is loaded as code."""
        mode = guarded("look at", path, lambda: path.stat().st_mode)
        if mode & OTHERS_MAY_WRITE:
            raise StorageFault(f"Other users may write to {path}.", hint=f"Run: chmod go-w {path}", facts={"mode": oct(mode)})

    def open_for_assembly(self, path: Path, size: int) -> int:
        """Open a file for writing by position, with room reserved for ``size`` bytes; returns the descriptor."""
        descriptor = guarded("create", path, lambda: os.open(path, os.O_RDWR | os.O_CREAT | NO_FOLLOW, self.FILE_MODE))
        try:
            guarded("reserve room for", path, lambda: self._reserve(descriptor, size))
        except BaseException:
            close_quietly(descriptor)
            raise
        return descriptor

    def _reserve(self, descriptor: int, size: int) -> None:
        if sys.platform == "linux" and size:
            os.posix_fallocate(descriptor, 0, size)
        os.ftruncate(descriptor, size)

    def write_at(self, descriptor: int, content: bytes | memoryview, offset: int, path: Path) -> None:
        """Write all of ``content`` at ``offset``."""
        view = memoryview(content)
        while view:
            written = guarded("write", path, lambda view=view, offset=offset: os.pwrite(descriptor, view, offset))  # type: ignore[misc]
            view, offset = view[written:], offset + written

    def share_at(self, descriptor: int, source: int, size: int, offset: int, path: Path) -> Sharing:
        """Let ``size`` bytes at ``offset`` of a file be the first blocks of another file; see ioctl_ficlonerange(2).

        Args:
            descriptor: The file, open for writing.
            source: The other file, open for reading.
            size: How many bytes; 0 is all of them.
            offset: Where; a multiple of the file system's blocks.
            path: Name of the file, for errors.
        """
        if sys.platform != "linux":
            return Sharing.IMPOSSIBLE
        import fcntl  # noqa: PLC0415 - not on every system
        import struct  # noqa: PLC0415

        try:
            fcntl.ioctl(descriptor, FICLONERANGE, struct.pack("qQQQ", source, 0, size, offset))
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS}:
                raise storage_fault("share blocks with", path, error) from error
            is_hopeless = error.errno in {errno.EOPNOTSUPP, errno.EXDEV, errno.ENOTTY, errno.ENOSYS, errno.EPERM}
            return Sharing.IMPOSSIBLE if is_hopeless else Sharing.NOT_THESE   # ZFS: EAGAIN for what was written just now
        return Sharing.DONE

    def read_at(self, descriptor: int, size: int, offset: int, path: Path) -> bytes:
        """Read up to ``size`` bytes at ``offset``."""
        return guarded("read", path, lambda: os.pread(descriptor, size, offset))

    def sync(self, descriptor: int, path: Path) -> None:
        """Make a file's content durable."""
        if sys.platform == "darwin":
            import fcntl  # noqa: PLC0415 - macOS only

            guarded("sync", path, lambda: fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC))
        else:
            guarded("sync", path, lambda: os.fsync(descriptor))

    def sync_folder(self, path: Path) -> None:
        """Make a folder's entries durable."""
        descriptor = guarded("open", path, lambda: os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno != errno.EINVAL:   # some file systems cannot sync a folder; nothing to be done about it
                raise storage_fault("sync", path, error) from error
        finally:
            close_quietly(descriptor)

    def write_whole(self, path: Path, content: bytes) -> None:
        """Replace a file by ``content`` so that a crash leaves the old or the new one, durably."""
        temporary = path.with_name(f"{TEMPORARY_PREFIX}{path.name}-{secrets.token_hex(4)}")
        descriptor = guarded(
            "create", temporary, lambda: os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_FOLLOW, self.FILE_MODE)
        )
        try:
            try:
                self.write_at(descriptor, content, 0, temporary)
                self.sync(descriptor, temporary)
            finally:
                guarded("close", temporary, lambda: os.close(descriptor))
            self.rename(temporary, path)
        except BaseException:
            with suppress(OSError):   # the disk fails already; the next start clears it away
                temporary.unlink(missing_ok=True)
            raise

    def post(self, path: Path, content: bytes) -> None:
        """Replace a small file so that other processes see the old or the new one. Not durable: for what ends with this process."""
        temporary = path.with_name(f"{TEMPORARY_PREFIX}{path.name}-{secrets.token_hex(4)}")

        def write() -> None:
            """Write beside it, then take its name."""
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_FOLLOW, self.FILE_MODE)
            try:
                os.write(descriptor, content)   # a torn one does not fit its digest
            finally:
                os.close(descriptor)
            os.replace(temporary, path)

        try:
            guarded("write", path, write)
        except BaseException:
            with suppress(OSError):   # a full disk: each attempt would leave another one
                temporary.unlink(missing_ok=True)
            raise

    def rename(self, source: Path, target: Path) -> None:
        """Rename within a folder, or into another one, durably."""
        guarded("rename", source, lambda: os.replace(source, target))
        self.sync_folder(target.parent)

    def read_whole(self, path: Path, max_bytes: int) -> bytes:
        """Read a small file; raises StorageFault when it is larger than ``max_bytes``."""
        descriptor = guarded("open", path, lambda: os.open(path, os.O_RDONLY | NO_FOLLOW))
        try:
            content = self.read_at(descriptor, max_bytes + 1, 0, path)
        finally:
            close_quietly(descriptor)
        if len(content) > max_bytes:
            raise StorageFault(f"{path} is larger than {max_bytes} bytes.", facts={"path": str(path)})
        return content

    def remove(self, path: Path) -> None:
        """Remove a file if it is there."""
        guarded("remove", path, lambda: path.unlink(missing_ok=True))

    def remove_tree(self, path: Path) -> None:
        """Remove a folder with all that is in it."""
        if self.is_folder(path):
            guarded("remove", path, lambda: shutil.rmtree(path))

    def names(self, path: Path) -> list[str]:
        """Return the names in a folder, sorted; empty when it does not exist."""
        return guarded("list", path, lambda: sorted(os.listdir(path))) if self.is_folder(path) else []
