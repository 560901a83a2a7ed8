"""Reports that come and go by HTTP: written into few files, read by readers that the server remembers.

Decides that the reports of one channel share a file, however many instances send them, and that an answer which got lost is given
again. Imports the depot's reports.
"""

import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

from modelcast.publisher.server.problems import Problem
from modelcast.publisher.server.tokens import Scope, Token
from modelcast.shared.depot.disk import Disk
from modelcast.shared.depot.layout import segment_hour
from modelcast.shared.depot.reports import ReportReader, ReportWriter, hour_of, now_ms
from modelcast.shared.errors import SenderFault
from modelcast.shared.report import Report
from modelcast.shared.road import Target

WRITERS = 64
WRITER = "http"
"""Stands for the instance in the names of the files: the reports in them are of many."""
HOUR_MS = 3_600_000


class ReportDesk:
    """Writes reports.

    Args:
        disk: The disk.
        folder: Where all reports lie.
    """

    def __init__(self, disk: Disk, folder: Path) -> None:
        self._disk, self._folder = disk, folder
        self._writers: OrderedDict[tuple[str, str], ReportWriter] = OrderedDict()
        self._lock = threading.Lock()

    def append(self, target: Target, body: bytes) -> None:
        """Keep a report; it is durable when this returns. Called in a thread."""
        with self._lock:   # two would write at one position
            key = (target.model, target.channel)
            writer = self._writers.pop(key, None) or ReportWriter(self._disk, self._folder, Target(*key, WRITER))
            self._writers[key] = writer
            writer.append(body)
            if len(self._writers) > WRITERS:
                self._writers.popitem(last=False)[1].close()

    def close(self) -> None:
        """Close the files."""
        with self._lock:
            for writer in self._writers.values():
                writer.close()
            self._writers.clear()


def extent(disk: Disk, folder: Path) -> int:
    """Return how many bytes of reports this hour and the one before have: more when one was written."""
    first = hour_of(now_ms() - HOUR_MS)
    names = [name for name in disk.names(folder) if (hour := segment_hour(name)) is not None and hour >= first]
    return sum(disk.size_of(folder / name) or 0 for name in names)


@dataclass(slots=True)
class Reading:
    """Where one reader is.

    Attributes:
        reader: Reads the files.
        token: Whose reports it may see.
        number: How many answers it got.
        bodies: The reports of its last answer.
        is_caught_up: Whether all that was there at the beginning is read.
    """

    reader: ReportReader
    token: Token
    number: int = 0
    bodies: list[bytes] = field(default_factory=list[bytes])
    is_caught_up: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def look(self, number: int, max_bytes: int) -> list[bytes] | None:
        """Return the reports of answer ``number``, or None when it is too long ago. Called in a thread."""
        with self.lock:
            if number == self.number - 1:
                return self.bodies   # it got lost: once more
            if number != self.number:
                return None
            bodies: list[bytes] = []
            while max_bytes > 0 and not self._is_at_end(bodies):
                max_bytes -= len(bodies[-1]) if bodies else 0
            if bodies:
                self.bodies, self.number = bodies, self.number + 1
            return bodies

    def _is_at_end(self, bodies: list[bytes]) -> bool:
        body = self.reader.next()
        if body is None:
            self.is_caught_up = True
            return True
        if _may_see(self.token, body):
            bodies.append(body)
        return False


def _may_see(token: Token, body: bytes) -> bool:
    if token.allows(Scope.OPERATE, "", ""):   # no model has an empty name: only what reaches all does
        return True
    try:
        report = Report.parse(body)
    except SenderFault:
        return False
    return token.allows(Scope.OPERATE, report.model, report.channel)


class Readings:
    """The readers that are remembered, by a name that only they know.

    Args:
        disk: The disk.
        folder: Where all reports lie.
        most: How many; the one that has not asked for the longest time is forgotten.
    """

    def __init__(self, disk: Disk, folder: Path, most: int) -> None:
        self._disk, self._folder, self._most = disk, folder, most
        self._readings: OrderedDict[str, Reading] = OrderedDict()

    def begin(self, token: Token, since_minutes: float | None) -> tuple[str, Reading]:
        """Begin to read. Called in a thread."""
        since_ms = None if since_minutes is None else now_ms() - round(since_minutes * 60_000)
        return secrets.token_hex(16), Reading(ReportReader(self._disk, self._folder, since_ms), token)

    def keep(self, name: str, reading: Reading) -> None:
        """Remember a reader."""
        self._readings[name] = reading
        self._readings.move_to_end(name)
        while len(self._readings) > self._most:
            self._readings.popitem(last=False)

    def find(self, name: str, token: Token) -> Reading:
        """Return a reader.

        Raises:
            Problem: 410 when it is forgotten.
        """
        reading = self._readings.get(name)
        if reading is None or reading.token.id != token.id:
            raise Problem(410, "This reading is over.", hint="Begin anew, without 'from'.")
        return reading
