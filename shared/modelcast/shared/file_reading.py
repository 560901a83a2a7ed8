"""What reads a depot: chunks from an offset on, and reports as they come.

Decides how long is waited for more. A chunk is read into one buffer that is used again for the next; nothing is mapped, because a
file that somebody cuts off would end the process. Imports the depot and the watch.
"""

import time
from collections.abc import Iterable, Iterator

from modelcast.shared.depot.chunks import CHUNK_ROOM, read_entries
from modelcast.shared.depot.depot import Depot
from modelcast.shared.depot.index import Entry, EntryKind
from modelcast.shared.depot.layout import REPORTS, ModelPlaces
from modelcast.shared.depot.reports import ReportReader
from modelcast.shared.errors import DepotUnusable
from modelcast.shared.file_watch import Watch
from modelcast.shared.road import ArrivedChunk, Wanted


class FileChunkSource:
    """See ``road.ChunkSource``: the index from an offset on, and the file that each entry names."""

    name = "file"

    def __init__(
        self, depot: Depot, model: str, offset: int, poll_seconds: float | None, wanted: Wanted | None = None
    ) -> None:
        self._depot, self._offset, self._wanted = depot, offset, wanted
        self._index = depot.root / ModelPlaces(model).index
        if not depot.has_model(model):
            raise DepotUnusable(f"Nobody has published {model} in {depot.root}.", hint="Is this the directory of the publisher?")
        self._shelf = depot.shelf(model)
        self._buffer = memoryview(bytearray(CHUNK_ROOM))
        self._watch = Watch([self._index.parent], poll_seconds)
        self._entries: Iterator[tuple[int, Entry]] = iter(())

    def receive(self, seconds: float) -> ArrivedChunk | None:
        """See ``road.ChunkSource.receive``; an entry whose chunk was removed since is passed over."""
        deadline = time.monotonic() + seconds
        while (arrived := self._pending()) is None and (remaining := deadline - time.monotonic()) > 0:
            self._watch.wait(remaining)
        return arrived

    def _pending(self) -> ArrivedChunk | None:
        for _ in range(2):   # what was listed, then what came since
            for offset, entry in self._entries:
                self._offset = offset + 1
                arrived = self._arrived(offset, entry)
                if arrived is not None:
                    return arrived
            self._entries = read_entries(self._depot.disk, self._index, self._offset)
        return None

    def _arrived(self, offset: int, entry: Entry) -> ArrivedChunk | None:
        if entry.kind is not EntryKind.CHUNK:
            return ArrivedChunk(b"", False, None, entry.digest.hex() if entry.kind is EntryKind.END else None, offset)
        if self._wanted is not None and not self._wanted(entry.digest):
            return ArrivedChunk(b"", False, None, None, offset)
        size = self._shelf.read_into(entry, self._buffer)
        if size is None:
            return None
        return ArrivedChunk(
            self._buffer[:size], True, entry.digest.hex(), None, offset, entry.is_packed, entry.version, entry.index
        )

    def close(self) -> None:
        """See ``road.ChunkSource.close``."""
        self._watch.close()


class FileChunkFinder:
    """See ``finding.ChunkFinder``: the file that has a digest's name."""

    name = "file"

    def __init__(self, depot: Depot, model: str) -> None:
        self._depot, self._model = depot, model
        self._buffer = memoryview(bytearray(CHUNK_ROOM))

    def find(self, digests: Iterable[str]) -> Iterator[ArrivedChunk]:
        """See ``finding.ChunkFinder.find``."""
        self._depot.enter()
        shelf = self._depot.shelf(self._model)
        for digest in digests:
            for is_packed in (False, True):
                size = shelf.read_into(Entry(EntryKind.CHUNK, bytes.fromhex(digest), is_packed=is_packed), self._buffer)
                if size is not None:
                    yield ArrivedChunk(self._buffer[:size], True, digest, is_packed=is_packed)
                    break

    def close(self) -> None:
        """See ``finding.ChunkFinder.close``."""


class FileReportSource:
    """See ``road.ReportSource``."""

    def __init__(self, depot: Depot, since_ms: int | None, poll_seconds: float | None) -> None:
        self.is_caught_up = False
        folder = depot.root / REPORTS
        self._watch = Watch([folder], poll_seconds)
        self._reader = ReportReader(depot.disk, folder, since_ms)

    def receive(self, seconds: float) -> bytes | None:
        """See ``road.ReportSource.receive``."""
        deadline = time.monotonic() + seconds
        looks = seconds <= 0 or not self.is_caught_up or self._watch.is_due()
        while (body := self._reader.next(looks=looks)) is None:
            self.is_caught_up = True
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                break
            self._watch.wait(remaining)
            looks = self._watch.is_due()
        return body

    def close(self) -> None:
        """See ``road.ReportSource.close``."""
        self._watch.close()
