"""The file road: a directory that publishers and instances share, without a broker.

Decides how an instance and an operator use a depot; ``file_publishing`` is the publisher's half, ``file_reading`` what reads
chunks and reports. Imports the depot, the locks and the watch.
"""

import time
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from modelcast.shared.depot.depot import Depot
from modelcast.shared.depot.disk import Disk, temporary_name
from modelcast.shared.depot.index import Entry, EntryKind
from modelcast.shared.depot.layout import REPORTS, ModelPlaces
from modelcast.shared.depot.reports import ReportWriter, now_ms
from modelcast.shared.depot.settled import MAX_BYTES, Settled
from modelcast.shared.errors import DepotUnusable, HostFault, StorageFault
from modelcast.shared.file_letters import FileLetterDesk, Replays
from modelcast.shared.file_publishing import FilePublisherRoad, FileRegister
from modelcast.shared.file_reading import FileChunkFinder, FileChunkSource, FileReportSource
from modelcast.shared.file_url import FileUrl
from modelcast.shared.file_watch import Watch
from modelcast.shared.fs import close_quietly
from modelcast.shared.locks import HostLock
from modelcast.shared.order import order_id
from modelcast.shared.road import ArrivedOrder, Bookmark, Confirmed, DeadLetter, Target, Wanted

LIST_SECONDS = 5.0
"""Orders are listed as often at least: two changes within one tick of the file system's clock look like one."""
WRITE_AGAIN_SECONDS = 5.0
"""Between two attempts to write reports that the disk did not take."""


class FileRoad:
    """See ``road.Road``.

    Args:
        url: Where the depot is.
        disk: Its disk; faults are injected here.
    """

    def __init__(self, url: FileUrl, *, disk: Disk | None = None) -> None:
        self._poll_seconds = url.poll_seconds
        self.depot = Depot(Path(url.path), allow_shared_writes=url.allow_shared_writes, disk=disk)

    def publish(self, model: str, channel: str, *, sends: bool = True) -> FilePublisherRoad:
        """See ``road.Road.publish``."""
        return FilePublisherRoad(self.depot, model, channel, sends=sends)

    def join(self, target: Target, *, bookmark: Bookmark | None = None) -> "FileInstanceRoad":
        """See ``road.Road.join``."""
        return FileInstanceRoad(self.depot, target, self._poll_seconds, bookmark)

    def chunks(self, model: str, offset: int | None, wanted: Wanted | None = None) -> FileChunkSource:
        """See ``road.Road.chunks``."""
        self.depot.enter(founds=False)
        return FileChunkSource(self.depot, model, offset or 0, self._poll_seconds, wanted)

    def finder(self, model: str) -> FileChunkFinder:
        """See ``finding.FindingRoad.finder``."""
        return FileChunkFinder(self.depot, model)

    def open_chunk(self, model: str, digest: str) -> int | None:
        """Open the file of a chunk that is not packed; returns a descriptor that the caller closes, or None when there is none."""
        self.depot.enter(founds=False)
        return self.depot.shelf(model).open(Entry(EntryKind.CHUNK, bytes.fromhex(digest)))

    def open_index(self, model: str) -> int | None:
        """Open a model's index of chunks, as above."""
        self.depot.enter(founds=False)
        return self.depot.disk.open_if_there(self.depot.root / ModelPlaces(model).index)

    def records(self, model: str) -> Sequence[bytes]:
        """See ``road.Road.records``."""
        self.depot.enter(founds=False)
        return FileRegister(self.depot.register(model)).read()

    def reports(self, *, since_minutes: int | None) -> FileReportSource:
        """See ``road.Road.reports``."""
        self.depot.enter(founds=False)
        since_ms = None if since_minutes is None else now_ms() - since_minutes * 60_000
        return FileReportSource(self.depot, since_ms, self._poll_seconds)

    def dead_letters(self, limit: int) -> Generator[DeadLetter]:
        """See ``road.DeadLetterRoad.dead_letters``."""
        yield from self.letters().read(limit)

    def letters(self) -> FileLetterDesk:
        """See ``operating_road.LetterRoad.letters``."""
        self.depot.enter(founds=False)
        return FileLetterDesk(self.depot)

    def retire(self, model: str, channel: str, instances: Iterable[str]) -> None:
        """See ``road.OpenRoad.retire``: the model's folder goes, whoever is in it."""
        del channel, instances
        self.depot.enter(founds=False)
        self.depot.letters().remove_of(model)
        self.depot.disk.remove_tree(self.depot.root / ModelPlaces(model).folder)


class FileInstanceRoad:
    """See ``road.InstanceRoad``: all orders of the channel as the history, then those that this instance has not settled."""

    def __init__(self, depot: Depot, target: Target, poll_seconds: float | None, bookmark: Bookmark | None = None) -> None:
        depot.enter(founds=False)
        self._depot, self._target = depot, target
        depot.make_model(target.model)
        depot.make_channel(target.model, target.channel)
        self._places = depot.make_instance(target)
        self._lock = HostLock(depot.root / self._places.lock, mode=depot.disk.FILE_MODE)
        if not self._lock.take():
            raise HostFault(
                f"An instance {target.instance} of {target.model}/{target.channel} is connected already.",
                hint="Give each instance a name of its own.",
            )
        self._orders = depot.orders(target.model, target.channel)
        self._announcements = depot.announcements(target.model, target.channel)
        self._reports = ReportWriter(depot.disk, depot.root / REPORTS, target)
        self._replays = Replays(depot.disk, depot.root / self._places.replays)
        self._unread: set[int] = set()
        self._listed, self._next_listing = 0, 0.0
        self._unwritten: deque[_Report] = deque()
        self._next_write, self._folder = 0.0, -1
        self._watch: Watch | None = None
        try:
            depot.sweep(self._places.incoming)
            depot.sweep(self._places.replays)
            folders = [self._orders.folder, self._announcements.folder, self._replays.folder]
            self._watch = Watch(folders, poll_seconds)   # before the first look: nothing comes in between
            self._folder = depot.disk.open_folder(self._orders.folder)
            numbers = self._orders.numbers()
            self._last, self._heard = max(numbers, default=0), self._announcements.last()
            self._settled = self._recall(numbers)
            self._history, self._news = deque(self._from(bookmark, numbers)), deque[int]()
        except BaseException:
            self.close()
            raise
        self._waiting = deque(number for number in numbers if not self._settled.has(number))

    def _from(self, bookmark: Bookmark | None, numbers: Sequence[int]) -> Sequence[int]:
        """Return the orders from a bookmark on, or all where another order stands there: it is of another depot."""
        if bookmark is None:
            return numbers
        body = self._body(bookmark.offset)
        if body is None or order_id(body) != bookmark.order:
            return numbers
        return [number for number in numbers if number >= bookmark.offset]

    def _recall(self, numbers: Sequence[int]) -> Settled:
        """Return what is settled; for an instance that is here for the first time all that came before it is history."""
        path = self._depot.root / self._places.settled
        content = self._depot.disk.read_if_there(path, MAX_BYTES)
        if content is not None:
            settled = Settled.from_bytes(content) or Settled(0)   # a torn one: orders come again, and do nothing
            return settled.raised(numbers)
        self._keep(Settled(self._last))
        return Settled(self._last)

    def _keep(self, settled: Settled) -> None:
        root, places = self._depot.root, self._places
        self._depot.disk.replace_whole(root / places.settled, settled.to_bytes(), root / places.incoming / temporary_name())

    def next_order(self, seconds: float) -> ArrivedOrder | None:
        """See ``road.InstanceRoad.next_order``; an order that cannot be read is passed over, and tried again later."""
        self._write_reports()
        arrived = self._pending(looks=seconds <= 0 or self._is_due())
        if arrived is None and seconds > 0 and self._watch is not None:
            self._watch.wait(seconds)
            arrived = self._pending(looks=self._is_due())
        return arrived

    def _is_due(self) -> bool:
        return self._watch is None or self._watch.is_due()

    def _pending(self, *, looks: bool) -> ArrivedOrder | None:
        while self._history:
            number = self._history.popleft()
            body = self._body(number)
            if body is not None:
                return ArrivedOrder(body, offset=number)
        if looks and not self._waiting:
            self._look()
        while self._news:
            with suppress(StorageFault):   # the order will say it again
                body = self._announcements.read(self._news.popleft())
                if body is not None:
                    return ArrivedOrder(body, (self, None), is_announcement=True)
        while self._waiting:
            number = self._waiting.popleft()
            body = self._body(number)
            if body is not None:
                return ArrivedOrder(body, (self, number))
            if number not in self._unread:
                self._settled = self._settled.with_order(number)   # it was pruned
        replay = self._replays.next()   # last: what is newer supersedes it
        return None if replay is None else ArrivedOrder(replay[2], (self, replay[0]), replay=replay[1])

    def _body(self, number: int) -> bytes | None:
        """Return an order, or None when it is gone or cannot be read: one damaged file must not hold up all that is behind it."""
        try:
            body = self._orders.read(number)
        except StorageFault as fault:
            if number not in self._unread:
                self._unread.add(number)
                _say_unread(fault)
            return None
        self._unread.discard(number)
        return body

    def _look(self) -> None:
        disk, folder = self._depot.disk, self._orders.folder
        if not disk.is_still(self._folder, folder):
            raise DepotUnusable(f"{folder} is gone, or another one.", hint="Is the directory still mounted?")
        changed, now = disk.changed_ns(folder), time.monotonic()
        if changed != self._listed or now >= self._next_listing or self._orders.has(self._last + 1):
            self._listed, self._next_listing = changed, now + LIST_SECONDS
            self._list()
        for number in self._announcements.numbers():   # looked for after the orders and given out before them, as they came
            if number > self._heard:
                self._heard = number
                self._news.append(number)
        self._replays.look()

    def _list(self) -> None:
        """Note the orders that came, beyond a gap too, and those that could not be read."""
        again, new = sorted(self._unread), [number for number in self._orders.numbers() if number > self._last]
        self._history.extend(number for number in again if self._settled.has(number))
        self._waiting.extend([number for number in again if not self._settled.has(number)] + new)
        self._last = max(new, default=self._last)

    def settle(self, arrived: ArrivedOrder, *, accept: bool) -> None:
        """See ``road.InstanceRoad.settle``; a refused order is a dead letter before it counts as settled."""
        if arrived.receipt is None:
            return
        owner, number = cast("tuple[FileInstanceRoad, int | None]", arrived.receipt)
        if owner is not self or number is None:
            return   # it is given out again by this connection, and that one will be settled; an announcement never is
        replay = self._replays.name_of(number)
        if not accept:
            incoming = self._depot.root / self._places.incoming
            self._depot.letters().add(self._target, replay or number, arrived.body, now_ms(), incoming)
        if replay is not None:
            self._replays.settle(replay)
            return
        self._settled = self._settled.with_order(number)
        self._keep(self._settled)

    def report(self, body: bytes) -> Confirmed:
        """See ``road.InstanceRoad.report``: it is on the disk when this returns, or later if the disk takes nothing now."""
        report = _Report(body)
        self._unwritten.append(report)
        self._write_reports(at_once=len(self._unwritten) == 1)
        return report

    def _write_reports(self, *, at_once: bool = False) -> None:
        if not self._unwritten or (time.monotonic() < self._next_write and not at_once):
            return
        while self._unwritten:
            try:
                self._reports.append(self._unwritten[0].body)
            except StorageFault:   # a full disk must not keep orders from who can still read them
                self._next_write = time.monotonic() + WRITE_AGAIN_SECONDS
                return
            self._unwritten.popleft().is_written = True

    def wake(self) -> None:
        """See ``road.Wakeable.wake``."""
        if self._watch is not None:
            self._watch.wake()

    def close(self) -> None:
        """See ``road.InstanceRoad.close``."""
        self._reports.close()
        descriptor, self._folder = self._folder, -1
        close_quietly(descriptor)
        if self._watch is not None:
            self._watch.close()
        self._lock.release()


@dataclass(slots=True)
class _Report:
    """A report, and the question whether it is on the disk; see ``road.Confirmed``."""

    body: bytes
    is_written: bool = False

    def __call__(self) -> bool:
        return self.is_written


def _say_unread(fault: StorageFault) -> None:
    import structlog  # noqa: PLC0415 - consumers have imported it; operators need not
    structlog.get_logger("modelcast.shared").warning("an order cannot be read; it is passed over", fault=str(fault), hint=fault.hint)
