"""What must survive a crash besides the models: reports on their way, and rejections remembered.

Decides their files. A report is written before it is sent and removed after it is confirmed; at worst it is sent twice. A
rejection is remembered by the order's identity, so that a redelivered order is refused again without another try. Each file checks
itself: one that a disk has altered counts as missing, because a false verdict, or a count of tries that never were, would be worse.
Imports the store's fs and sealed.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from modelcast.consumer.sealed import seal, unseal
from modelcast.shared.errors import HostFault
from modelcast.shared.failpoints import Point, reach
from modelcast.shared.fs import Fs
from modelcast.shared.limits import DEFAULT_LIMITS

MAX_REPORTS = 512
"""Reports kept while the broker is away; the oldest go first."""
MAX_REJECTIONS = 512
REPORT_PREFIX, REJECTION_PREFIX, TRYING = "report-", "rejected-", "trying"
REPORT_MAGIC, REJECTION_MAGIC, TRYING_MAGIC = b"modelcast report 1\n", b"modelcast rejection 1\n", b"modelcast try 1\n"
MAX_RECORD_BYTES = DEFAULT_LIMITS.report_bytes + 1024


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why an order was refused.

    Attributes:
        order: Identity of the order.
        reason: Code of the reason.
        message: The reason in a sentence.
        version: Version of the release, if it was known.
        replay: The last time that an operator sent the order back, by its name, or None.
        replays: How often it was sent back and judged anew.
        is_open: Whether it is being judged anew, so that this refusal does not count any more.
    """

    order: str
    reason: str
    message: str
    version: str | None
    replay: str | None = None
    replays: int = 0
    is_open: bool = False


class Journal:
    """The folder ``journal`` of a store.

    Args:
        folder: The folder.
        fs: Operations on the disk.
    """

    def __init__(self, folder: Path, fs: Fs) -> None:
        self._folder, self._fs = folder, fs
        self._next = 1 + max((int(name.removeprefix(REPORT_PREFIX)) for name in self._report_names()), default=0)

    def _named(self, prefix: str) -> list[str]:
        return [name for name in self._fs.names(self._folder) if name.startswith(prefix)]

    def _keep(self, name: str, magic: bytes, fields: Mapping[str, object]) -> None:
        self._fs.write_whole(self._folder / name, seal(magic, fields))

    def _kept(self, name: str, magic: bytes) -> Mapping[str, Any] | None:
        """Return the fields of a file, or None when it cannot be read or is not what was written."""
        try:
            record = self._fs.read_whole(self._folder / name, MAX_RECORD_BYTES)
        except HostFault:
            return None
        return unseal(magic, record, max_bytes=MAX_RECORD_BYTES)

    def _report_names(self) -> list[str]:
        return [name for name in self._named(REPORT_PREFIX) if name.removeprefix(REPORT_PREFIX).isdecimal()]

    def add_report(self, body: bytes) -> str:
        """Keep a report until it is confirmed; returns its name."""
        name = f"{REPORT_PREFIX}{self._next:012d}"
        self._next += 1
        reach(Point.BEFORE_REPORT)
        self._keep(name, REPORT_MAGIC, {"report": body})
        reach(Point.AFTER_REPORT)
        for oldest in self._report_names()[:-MAX_REPORTS]:
            self._fs.remove(self._folder / oldest)
        return name

    def reports(self) -> list[tuple[str, bytes]]:
        """Return the reports that were not confirmed, oldest first; one that cannot be read must not keep the others from going."""
        found = [(name, self._kept(name, REPORT_MAGIC)) for name in self._report_names()]
        return [(name, bytes(fields["report"])) for name, fields in found if fields is not None]

    def forget_report(self, name: str) -> None:
        """Remove a confirmed report."""
        reach(Point.REPORT_CONFIRMED)
        self._fs.remove(self._folder / name)
        reach(Point.REPORT_FORGOTTEN)

    def begin_try(self, order: str) -> int:
        """Note, before a model is loaded, that it is about to be; returns how often it was begun without an end."""
        tries = 1 + self._tries_of(order)
        reach(Point.BEFORE_TRY)
        self._keep(TRYING, TRYING_MAGIC, {"order": order, "tries": tries})
        reach(Point.AFTER_TRY)
        return tries

    def end_try(self) -> None:
        """Note that the process survived the try."""
        reach(Point.BEFORE_TRY_ENDS)
        self._fs.remove(self._folder / TRYING)
        reach(Point.AFTER_TRY_ENDS)

    def _tries_of(self, order: str) -> int:
        if TRYING not in self._fs.names(self._folder):
            return 0
        fields = self._kept(TRYING, TRYING_MAGIC)
        return int(fields["tries"]) if fields is not None and fields["order"] == order else 0

    def remember(self, rejection: Rejection) -> None:
        """Remember a rejection."""
        self._keep(f"{REJECTION_PREFIX}{rejection.order}", REJECTION_MAGIC, asdict(rejection))
        reach(Point.AFTER_REMEMBERED)
        names = self._named(REJECTION_PREFIX)
        if len(names) > MAX_REJECTIONS:
            oldest = min(names, key=lambda name: (self._folder / name).stat().st_mtime_ns)
            self._fs.remove(self._folder / oldest)

    def rejections(self) -> dict[str, Rejection]:
        """Return what is remembered, by order; a file that cannot be read counts as forgotten."""
        kept = [self._kept(name, REJECTION_MAGIC) for name in self._named(REJECTION_PREFIX)]
        return {
            fields["order"]: Rejection(
                fields["order"], fields["reason"], fields["message"], fields["version"],
                fields.get("replay"), fields.get("replays", 0), fields.get("is_open", False),
            )
            for fields in kept if fields is not None
        }
