"""Complaints: what a follower leaves in the store about the release in service, for the receiver to take it out.

Decides their files and their bounds. A complaint is durable, so that the heir of a receiver that died finds it, and checks itself:
what is torn, altered, misnamed or too much is removed. One release put into service by one order has one complaint, however many
processes complain; a later order for the same release is another matter. Imports sealed and the store's fs.
"""

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from modelcast.consumer.sealed import seal, unseal
from modelcast.shared.errors import HostFault, StorageFault
from modelcast.shared.fs import TEMPORARY_PREFIX, Fs
from modelcast.shared.limits import shortened

MAGIC = b"modelcast complaint 1\n"
MAX_COMPLAINTS = 16
"""Complaints that are looked at; there is one active release, so what is more than a few is old or not ours."""
MAX_COMPLAINT_BYTES = 8 * 1024
MAX_REASON_CHARACTERS = 1000
_NAME = re.compile(r"[0-9a-f]{64}-[0-9]{1,19}")


@dataclass(frozen=True, slots=True)
class Complaint:
    """What a follower says.

    Attributes:
        release: Id of the release that failed at its work.
        sequence: Sequence of the order after which it was in service, as the pointer has it.
        reason: Why, in the application's words.
    """

    release: str
    sequence: int
    reason: str

    @property
    def key(self) -> tuple[str, int]:
        """What it is about."""
        return self.release, self.sequence

    @property
    def name(self) -> str:
        """The name of its file."""
        return f"{self.release}-{self.sequence}"

    def to_bytes(self) -> bytes:
        """Return the record."""
        reason = shortened(self.reason, MAX_REASON_CHARACTERS)
        return seal(MAGIC, {"release": self.release, "sequence": self.sequence, "reason": reason})

    @classmethod
    def from_bytes(cls, record: bytes) -> "Complaint | None":
        """Return the complaint that ``record`` holds, or None when it is torn, altered or of another format."""
        match unseal(MAGIC, record, max_bytes=MAX_COMPLAINT_BYTES):
            case {"release": str(release), "sequence": int(sequence), "reason": str(reason)}:
                return cls(release, sequence, reason)
            case _:
                return None


class Complaints:
    """The folder ``complaints`` of a store.

    Args:
        folder: The folder; the first complaint makes it.
        fs: Operations on the disk.
    """

    def __init__(self, folder: Path, fs: Fs) -> None:
        self._folder, self._fs = folder, fs

    def refuse_if_in_vain(self) -> None:
        """Raise StorageFault when this process may not leave any; looks at permissions only, so it may be called by any thread."""
        folder = self._folder if self._fs.is_folder(self._folder) else self._folder.parent
        if not self._fs.may_write(folder):
            raise StorageFault(
                f"This process may not write {folder}, so the process that receives cannot hear that a release is bad.",
                hint="Give the application's user the right to write its store, or roll the channel back: modelcast rollback.",
                facts={"path": str(folder)},
            )

    def leave(self, complaint: Complaint) -> None:
        """Leave a complaint for the receiver, durably.

        Raises:
            StorageFault: It cannot be written.
        """
        self._fs.make_folder(self._folder)
        self._fs.write_whole(self._folder / complaint.name, complaint.to_bytes())

    def read(self) -> list[Complaint]:
        """Return what followers left; only the receiver does, and it removes what is none.

        Raises:
            HostFault: The folder cannot be listed.
        """
        names = [name for name in self._fs.names(self._folder) if not name.startswith(TEMPORARY_PREFIX)]
        found = [self._read(name) for name in names[:MAX_COMPLAINTS]]
        for name in names[MAX_COMPLAINTS:]:
            self._remove(name)
        return [complaint for complaint in found if complaint is not None]

    def _read(self, name: str) -> Complaint | None:
        complaint = None
        if _NAME.fullmatch(name):
            try:
                complaint = Complaint.from_bytes(self._fs.read_whole(self._folder / name, MAX_COMPLAINT_BYTES))
            except StorageFault as fault:
                if "errno" in fault.facts:
                    return None   # the disk fails: it may be read later
        if complaint is None or complaint.name != name:
            self._remove(name)
            return None
        return complaint

    def remove(self, complaint: Complaint) -> None:
        """Remove a complaint that was dealt with."""
        self._remove(complaint.name)

    def _remove(self, name: str) -> None:
        with suppress(HostFault):   # what stays is looked at again, and found to be dealt with
            self._fs.remove(self._folder / name)
