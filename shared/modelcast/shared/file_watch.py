"""Waiting for changes in folders: the file system tells of them, or they are looked for.

Decides by the kind of file system whether it tells (inotify) or is polled, and how often. A wait is ended by a change, by the
time, or by another thread. Starts no thread. Imports inotify_simple, when it is first needed, and fs.
"""

import os
import re
import select
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from modelcast.shared.fs import close_quietly

TELLING = frozenset({
    "bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "jfs", "nilfs2", "overlay", "ramfs", "reiserfs", "tmpfs", "ubifs",
    "vfat", "xfs", "zfs",
})
"""File systems of one host: inotify sees every change. Of what another host writes (NFS, CIFS, FUSE, 9p, …) it sees nothing."""
POLL_SECONDS = 1.0
"""Between two looks where the file system does not tell: one folder is listed, if its time of change moved."""
TELLING_POLL_SECONDS = 5.0
"""The same where it does: should a change be missed (an overflow, a mount over it), it is late and not lost."""
_ESCAPED = re.compile(r"\\([0-7]{3})")
"""How the kernel writes a space, a tab, a line feed or a backslash in the name of a mount point."""


def kind_of_file_system(path: Path, mounts: str | None = None) -> str | None:
    """Return the kind of file system that a path lies on, or None where the system does not say.

    Args:
        path: The path.
        mounts: The text of ``/proc/self/mountinfo``; read when None.
    """
    if mounts is None:
        try:
            mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return None
    whole, best, kind = os.path.realpath(path), "", None
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split()
        if len(fields) < 5 or not after:
            continue
        point = _ESCAPED.sub(lambda found: chr(int(found[1], 8)), fields[4])
        inside = whole == point or whole.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):   # of two on one point the later lies above
            best, kind = point, after.split()[0]
    return kind


class Watch:
    """Waits for changes in some folders.

    Args:
        folders: The folders; what is below their own folders is not seen.
        poll_seconds: How often to look; None is as often as the file system needs.
    """

    def __init__(self, folders: Iterable[Path], poll_seconds: float | None = None) -> None:
        paths = list(folders)
        self._inotify = _listen(paths) if poll_seconds is None else None
        self.poll_seconds = poll_seconds or (POLL_SECONDS if self._inotify is None else TELLING_POLL_SECONDS)
        self._next_look = time.monotonic()
        self._lock = threading.Lock()
        self._bell_out, self._bell_in = os.pipe()
        self._is_open = True
        os.set_blocking(self._bell_in, False)
        os.set_blocking(self._bell_out, False)
        self._poll = select.poll()
        self._poll.register(self._bell_out, select.POLLIN)
        if self._inotify is not None:
            self._poll.register(self._inotify.fileno(), select.POLLIN)

    @property
    def is_told(self) -> bool:
        """Whether the file system tells of changes."""
        return self._inotify is not None

    @property
    def descriptor(self) -> int | None:
        """What becomes readable when the file system tells, for an event loop that then calls ``wait(0)``; None where it is polled."""
        return None if self._inotify is None else int(self._inotify.fileno())

    def is_due(self) -> bool:
        """Whether to look now: always where changes are told, otherwise once in ``poll_seconds``."""
        if self._inotify is not None:
            return True
        now = time.monotonic()
        if now < self._next_look:
            return False
        self._next_look = now + self.poll_seconds
        return True

    def wait(self, seconds: float) -> bool:
        """Wait for a change, at most ``seconds`` or until the next look is due; returns False when woken.

        A change before the call ends it at once. That nothing changed is not said: look.
        """
        is_woken, most = False, self.poll_seconds
        if self._inotify is None and (remaining := self._next_look - time.monotonic()) > 0:
            most = min(most, remaining)   # otherwise short waits would put off the next look for ever
        for descriptor, _ in self._poll.poll(1000 * max(0.0, min(seconds, most))):
            if descriptor == self._bell_out:
                is_woken = True
                with suppress(BlockingIOError):
                    os.read(self._bell_out, 4096)
            elif self._inotify is not None:
                self._inotify.read(timeout=0)
        return not is_woken

    def wake(self) -> None:
        """End the wait; any thread may, at any time."""
        with self._lock:
            if self._is_open:
                with suppress(BlockingIOError):   # full of calls already
                    os.write(self._bell_in, b"!")

    def close(self) -> None:
        """Stop watching. Never raises."""
        with self._lock:
            if not self._is_open:
                return
            self._is_open = False
            close_quietly(self._bell_in)
            close_quietly(self._bell_out)
        if self._inotify is not None:
            with suppress(OSError):
                self._inotify.close()


def _listen(paths: list[Path]) -> Any:
    """Return inotify watching all folders, or None where it does not tell or has no room for us."""
    if sys.platform != "linux" or not all(kind_of_file_system(path) in TELLING for path in paths):
        return None
    try:
        from inotify_simple import INotify, flags  # noqa: PLC0415 - Linux only
    except ImportError:   # a system package that leaves it out
        return None

    listening = None
    try:
        listening = INotify(nonblocking=True)
        for path in paths:
            listening.add_watch(path, flags.CREATE | flags.MOVED_TO | flags.MODIFY | flags.DELETE_SELF | flags.MOVE_SELF)
    except OSError:   # the user's inotify instances or watches are used up
        if listening is not None:
            listening.close()
        return None
    return listening
