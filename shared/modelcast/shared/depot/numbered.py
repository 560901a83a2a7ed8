"""Numbered records: one file each, complete from the moment that it has its name, and no number given twice.

Decides how a record gets the next number: written beside, synced, then linked under a name that must be free. Imports disk and
the layout.
"""

from pathlib import Path

from modelcast.shared.depot.disk import Disk, temporary_name
from modelcast.shared.depot.layout import number_name, number_of
from modelcast.shared.errors import StorageFault

ATTEMPTS = 1000
"""How often a number may be taken by somebody else before this one."""


class NumberedLog:
    """A folder of numbered records.

    Args:
        disk: The disk.
        folder: Where the records lie; it exists.
        incoming: Where one is written before it has its number, on the same file system.
        max_bytes: Largest record; of a larger one so many bytes and one more are read, so that whoever judges it sees that.
    """

    def __init__(self, disk: Disk, folder: Path, incoming: Path, *, max_bytes: int) -> None:
        self._disk, self._folder, self._incoming, self._max_bytes = disk, folder, incoming, max_bytes
        self._last: int | None = None

    @property
    def folder(self) -> Path:
        """Where the records lie."""
        return self._folder

    def path(self, number: int) -> Path:
        """Return where a record lies."""
        return self._folder / number_name(number)

    def numbers(self) -> list[int]:
        """Return the numbers that are there, lowest first."""
        return sorted(number for number in map(number_of, self._disk.names(self._folder)) if number is not None)

    def last(self) -> int:
        """Return the highest number, 0 when there is none."""
        return max(self.numbers(), default=0)

    def has(self, number: int) -> bool:
        """Whether a record is there."""
        return self._disk.size_of(self._folder / number_name(number)) is not None

    def read(self, number: int) -> bytes | None:
        """Return a record, or None when it is not there (yet, or any more)."""
        return self._disk.read_if_there(self._folder / number_name(number), self._max_bytes)

    def append(self, body: bytes) -> int:
        """Add a record and return its number; it is durable then."""
        temporary = self._temporary()
        self._disk.write_new(temporary, body, is_durable=True)
        try:
            if self._last is None:
                self._last = self.last()
            for _ in range(ATTEMPTS):
                self._last += 1
                if self._disk.take_name(temporary, self._folder / number_name(self._last)):
                    return self._last
        finally:
            self._disk.remove(temporary)
        raise StorageFault(f"No number is free in {self._folder}.", facts={"path": str(self._folder)})

    def _temporary(self) -> Path:
        return self._incoming / temporary_name()

    def replace(self, number: int, body: bytes) -> None:
        """Put another record in the place of one; readers see the old or the new one."""
        self._disk.replace_whole(self._folder / number_name(number), body, self._temporary())

    def remove(self, number: int) -> None:
        """Remove a record; its number is not given again while a higher one is there. Not durable before ``sync``."""
        self._disk.remove(self._folder / number_name(number))

    def sync(self) -> None:
        """Make durable which records are there."""
        self._disk.sync_folder(self._folder)
