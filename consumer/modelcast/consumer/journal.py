"""What must survive a crash besides the models: reports on their way, and rejections remembered.

Decides their files. A report is written before it is sent and removed after it is confirmed; at worst it is sent twice. A
rejection is remembered by the order's identity, so that a redelivered order is refused again without another try. Imports
the store's fs and packing.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelcast.shared.errors import HostFault, SenderFault
from modelcast.shared.failpoints import Point, reach
from modelcast.shared.fs import Fs
from modelcast.shared.limits import DEFAULT_LIMITS
from modelcast.shared.packing import pack, unpack

MAX_REPORTS = 512
"""Reports kept while the broker is away; the oldest go first."""
MAX_REJECTIONS = 512
REPORT_PREFIX, REJECTION_PREFIX, TRYING = "report-", "rejected-", "trying"


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why an order was refused.

    Attributes:
        order: Identity of the order.
        reason: Code of the reason.
        message: The reason in a sentence.
        version: Version of the release, if it was known.
    """

    order: str
    reason: str
    message: str
    version: str | None


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

    def _report_names(self) -> list[str]:
        return [name for name in self._named(REPORT_PREFIX) if name.removeprefix(REPORT_PREFIX).isdecimal()]

    def add_report(self, body: bytes) -> str:
        """Keep a report until it is confirmed; returns its name."""
        name = f"{REPORT_PREFIX}{self._next:012d}"
        self._next += 1
        reach(Point.BEFORE_REPORT)
        self._fs.write_whole(self._folder / name, body)
        reach(Point.AFTER_REPORT)
        for oldest in self._report_names()[:-MAX_REPORTS]:
            self._fs.remove(self._folder / oldest)
        return name

    def reports(self) -> list[tuple[str, bytes]]:
        """Return the reports that were not confirmed, oldest first; one that cannot be read must not keep the others from going."""
        found: list[tuple[str, bytes]] = []
        for name in self._report_names():
            with suppress(HostFault):
                found.append((name, self._fs.read_whole(self._folder / name, DEFAULT_LIMITS.report_bytes)))
        return found

    def forget_report(self, name: str) -> None:
        """Remove a confirmed report."""
        reach(Point.REPORT_CONFIRMED)
        self._fs.remove(self._folder / name)
        reach(Point.REPORT_FORGOTTEN)

    def begin_try(self, order: str) -> int:
        """Note, before a model is loaded, that it is about to be; returns how often it was begun without an end."""
        tries = 1 + self._tries_of(order)
        reach(Point.BEFORE_TRY)
        self._fs.write_whole(self._folder / TRYING, pack({"order": order, "tries": tries}))
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
        try:
            fields = unpack(self._fs.read_whole(self._folder / TRYING, 4096), what="try")
            return int(fields["tries"]) if fields["order"] == order else 0
        except (SenderFault, HostFault, KeyError, TypeError, ValueError):
            return 0

    def remember(self, rejection: Rejection) -> None:
        """Remember a rejection."""
        body = pack({"reason": rejection.reason, "message": rejection.message, "version": rejection.version})
        self._fs.write_whole(self._folder / f"{REJECTION_PREFIX}{rejection.order}", body)
        reach(Point.AFTER_REMEMBERED)
        names = self._named(REJECTION_PREFIX)
        if len(names) > MAX_REJECTIONS:
            oldest = min(names, key=lambda name: (self._folder / name).stat().st_mtime_ns)
            self._fs.remove(self._folder / oldest)

    def rejections(self) -> dict[str, Rejection]:
        """Return what is remembered, by order; a file that cannot be read counts as forgotten."""
        found: dict[str, Rejection] = {}
        for name in self._named(REJECTION_PREFIX):
            order = name.removeprefix(REJECTION_PREFIX)
            try:
                fields: Mapping[str, Any] = unpack(self._fs.read_whole(self._folder / name, 64 * 1024), what="rejection")
                found[order] = Rejection(order, str(fields["reason"]), str(fields["message"]), fields["version"])
            except (SenderFault, HostFault, KeyError):
                continue
        return found
