"""Reports on disk: each connection of an instance appends to a file of its own, one for each hour.

Decides how long reports are kept and in which order they are read. Nobody but its writer touches a file, so no lock is
needed; whole hours are removed by whoever begins a new one. Imports disk, the layout and the frames.
"""

import secrets
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

from modelcast.shared.depot.disk import Disk
from modelcast.shared.depot.frames import Frame, read_frames
from modelcast.shared.depot.layout import segment_hour, segment_name
from modelcast.shared.errors import HostFault
from modelcast.shared.fs import close_quietly
from modelcast.shared.road import Target

KEPT_DAYS = 7
READ_BYTES = 1024 * 1024
QUIET_NS = 2 * 3600 * 1_000_000_000
"""A file that was not written for so long, by its file system's clock, is one of a past hour: its writer has begun another one."""
WHOLE_LOOK_SECONDS = 60.0
"""Between two looks at all files, those of past hours too."""


def now_ms() -> int:
    """Return the time, milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000


def hour_of(time_ms: int) -> str:
    """Return the hour of a time, as names have it."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y%m%d%H")


class ReportWriter:
    """Appends the reports of one connection.

    Args:
        disk: The disk.
        folder: Where all reports lie; it exists.
        target: Who reports.
        clock_ms: The time, milliseconds since 1970 UTC.
    """

    def __init__(self, disk: Disk, folder: Path, target: Target, *, clock_ms: Callable[[], int] = now_ms) -> None:
        self._disk, self._folder, self._target, self._clock_ms = disk, folder, target, clock_ms
        self._nonce = secrets.token_hex(4)
        self._hour, self._descriptor, self._size = "", -1, 0
        self._path = folder

    def append(self, body: bytes) -> None:
        """Add a report; it is durable when this returns."""
        time_ms = self._clock_ms()
        if hour_of(time_ms) != self._hour or not self._disk.is_named(self._descriptor, self._path):   # somebody may have removed it
            self._begin(hour_of(time_ms))
        frame = Frame(time_ms, body).to_bytes()
        self._disk.write_at(self._descriptor, frame, self._size, self._path)   # after a failed one in its place: no torn frame stays
        self._disk.sync(self._descriptor, self._path)
        self._size += len(frame)

    def _begin(self, hour: str) -> None:
        self.close()
        target = self._target
        path = self._folder / segment_name(hour, target.model, target.channel, target.instance, self._nonce)
        self._descriptor, self._path = self._disk.open_for_appending(path), path
        self._size = self._disk.size_of_open(self._descriptor, path)
        self._disk.sync_folder(self._folder)
        self._hour = hour
        self._drop_old()

    def _drop_old(self) -> None:
        """Remove what nobody wrote to for long, by the file system's clock: a host whose own is wrong would remove everybody's."""
        oldest = self._disk.changed_ns(self._path) - KEPT_DAYS * 24 * 3600 * 1_000_000_000
        for name in self._disk.names(self._folder):
            if segment_hour(name) is None:
                continue
            with suppress(HostFault):   # it may be somebody else's to remove, or gone
                if self._disk.changed_ns(self._folder / name) < oldest:
                    self._disk.remove(self._folder / name)

    def close(self) -> None:
        """Close the file; never raises."""
        descriptor, self._descriptor, self._hour = self._descriptor, -1, ""
        if descriptor >= 0:
            close_quietly(descriptor)


class ReportReader:
    """Reads reports: those that were there hour by hour, each hour by time, then what comes as it comes.

    Args:
        disk: The disk.
        folder: Where all reports lie.
        since_ms: Of those that are there, older ones are passed over; None for all that are kept. Of those that come, none is: the
            clock of who reports may be wrong.
    """

    def __init__(self, disk: Disk, folder: Path, since_ms: int | None) -> None:
        self._disk, self._folder, self._since_ms = disk, folder, since_ms or 0
        self._frames: deque[Frame] = deque()
        first, hours = hour_of(self._since_ms), groupby(self._names(), key=lambda name: segment_hour(name) or "")
        self._past = deque([(hour, list(names)) for hour, names in hours])
        self._read_bytes: dict[str, int] = {}
        self._changed_ns: dict[str, int] = {}
        self._next_whole_look = 0.0
        while self._past and self._past[0][0] < first:
            _, names = self._past.popleft()
            self._read_bytes |= {name: disk.size_of(folder / name) or 0 for name in names}

    def _names(self) -> list[str]:
        return [name for name in self._disk.names(self._folder) if segment_hour(name) is not None]

    def next(self, *, looks: bool = True) -> bytes | None:
        """Return the next report that is there, or None; after the first None all that was there at the beginning is read.

        Without ``looks`` only what was read already is returned.
        """
        if not looks and not self._frames:
            return None
        while not self._frames and self._past:
            self._take(self._past.popleft()[1], since_ms=self._since_ms)
        if not self._frames:
            names = self._names()
            self._read_bytes = {name: self._read_bytes.get(name, 0) for name in names}
            self._take(self._growing(names), since_ms=0)
        return self._frames.popleft().body if self._frames else None

    def _growing(self, names: list[str]) -> list[str]:
        """Return the files that may have grown: thousands of past hours are looked at once in a while, in case a clock went back."""
        if time.monotonic() >= self._next_whole_look:
            self._next_whole_look = time.monotonic() + WHOLE_LOOK_SECONDS
            self._changed_ns.clear()
        latest = min(max(self._changed_ns.values(), default=0), time.time_ns())   # neither clock may be ahead and make all others old
        return [name for name in names if latest - self._changed_ns.get(name, latest) < QUIET_NS]

    def _take(self, names: list[str], *, since_ms: int) -> None:
        found: list[Frame] = []
        for name in names:
            done, path = self._read_bytes.get(name, 0), self._folder / name
            size, self._changed_ns[name] = self._disk.growth_of(path) or (0, 0)
            if size <= done:
                continue
            while content := self._disk.read_part(path, READ_BYTES, done):
                frames, length = read_frames(content)
                found += [frame for frame in frames if frame.time_ms >= since_ms]
                done += length
                if not length:
                    break
            self._read_bytes[name] = done
        self._frames.extend(sorted(found, key=lambda frame: frame.time_ms))
