"""Locks between the processes of one host; the kernel takes them back when a process ends, however it ends.

Decides how a lock is held: flock(2) on a file of its own, exclusive or shared, never waited for. A forked child holds none: it
would keep a lock that its parent's death should free. Imports errors and fs; no library, because those there are have no
shared mode, and some put a file in the place of a lock, which a killed process leaves behind.
"""

import errno
import fcntl
import os
import threading
import weakref
from contextlib import suppress
from pathlib import Path

from modelcast.shared.errors import StorageFault
from modelcast.shared.fs import close_quietly, storage_fault

_HELD_ELSEWHERE = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES})
_NO_LOCKS_HERE = frozenset({errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP})

_made: "weakref.WeakSet[HostLock]" = weakref.WeakSet()
_hook_lock = threading.Lock()
_hook_is_set = False


def _forget_in_child() -> None:
    for lock in list(_made):
        lock.forget()


def _watch_forks() -> None:
    global _hook_is_set  # noqa: PLW0603 - the hook cannot be taken back, so it is set once, with the first lock
    with _hook_lock:
        if not _hook_is_set:
            os.register_at_fork(after_in_child=_forget_in_child)
            _hook_is_set = True


class HostLock:
    """One lock. Two of them on one file exclude each other within one process, too.

    Args:
        path: The file; created when it does not exist, never removed.
        mode: Who may open it, when it is created.
    """

    def __init__(self, path: Path, *, mode: int = 0o600) -> None:
        self._path, self._mode = path, mode
        self._descriptor: int | None = None

    @property
    def is_held(self) -> bool:
        """Whether this one holds it."""
        return self._descriptor is not None

    def take(self, *, shared: bool = False) -> bool:
        """Take it if that can be done at once.

        Args:
            shared: Whether others may hold it shared at the same time.

        Returns:
            Whether it is held now.

        Raises:
            StorageFault: The file cannot be opened, or this file system has no locks.
        """
        if self._descriptor is not None:
            return True
        _watch_forks()
        descriptor: int | None = None
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, self._mode)
            fcntl.flock(descriptor, fcntl.LOCK_NB | (fcntl.LOCK_SH if shared else fcntl.LOCK_EX))
            is_named = os.fstat(descriptor).st_nlink > 0   # somebody removed the file: a lock without a name keeps nobody out
        except OSError as error:
            if descriptor is not None:
                close_quietly(descriptor)
            if error.errno in _HELD_ELSEWHERE and descriptor is not None:
                return False
            if error.errno in _NO_LOCKS_HERE:
                raise StorageFault(
                    f"The file system of {self._path} has no locks.", hint="Put it on one that has them, such as a local disk.",
                    facts={"errno": error.errno, "path": str(self._path)},
                ) from error
            raise storage_fault("lock", self._path, error) from error
        if not is_named:
            close_quietly(descriptor)
            return False
        self._descriptor = descriptor
        _made.add(self)
        return True

    def release(self) -> None:
        """Let go of it, if it is held; never raises. Also for forked children, which share it with this process."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with suppress(OSError):   # closing lets go of it, too, where nobody else has the descriptor
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            close_quietly(descriptor)

    def forget(self) -> None:
        """Close it without letting go: in a forked child, where it is still the parent's."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            close_quietly(descriptor)
