"""What reads from a server: chunks from an offset on, and reports as they come.

Decides how far is read ahead: as many chunks as there are connections are on their way at once, and are given out in their order.
Imports the line and what gets a chunk.
"""

import re
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from modelcast.shared.compression import CODEC
from modelcast.shared.errors import DepotUnusable, NotFound, ProtocolViolation
from modelcast.shared.http_answers import ServerBusy
from modelcast.shared.http_batches import FIRST_BATCH_BYTES, ChunkBatch, Listed, next_batch_bytes
from modelcast.shared.http_getting import CHUNK_ROOM, ChunkGetter, spread
from modelcast.shared.http_line import Ask, Line, Query, Server, rested
from modelcast.shared.http_sending import BATCH_CHUNKS
from modelcast.shared.road import ArrivedChunk, Wanted

_DIGEST = re.compile(r"[0-9a-f]{64}")
PAGE_ENTRIES = 1024
WAIT_SECONDS = 20.0
"""How long a server is asked to hold a question back; below what proxies cut off (30 to 60 s)."""


class Feed:
    """A list on the server that grows: asked for in pages, and waited for.

    Args:
        line: A line of its own.
        path: Where the list is.
        what: What it is, for errors.
    """

    def __init__(self, line: Line, path: str, what: str) -> None:
        self._line, self._path, self._what = line, path, what
        self._not_before = 0.0

    def ask(self, query: Query, *, wait_seconds: float) -> None:
        """Ask for a page, unless an answer is awaited already or the server is to be left alone."""
        if self._line.is_waiting or time.monotonic() < self._not_before:
            return
        whole = {**query, "wait": round(wait_seconds, 1) or None}
        self._line.send(Ask("GET", self._path, whole, wait_seconds=wait_seconds))

    def page(self, seconds: float) -> dict[str, Any] | None:
        """Return the answer if it comes within ``seconds``, else None."""
        if not self._line.is_waiting:
            time.sleep(max(0.0, min(seconds, self._not_before - time.monotonic())))
            return None
        if not self._line.has_answer(seconds):
            return None
        try:
            return self._line.answer(self._what).message(self._what)
        except ServerBusy as busy:
            self._not_before = time.monotonic() + rested(busy)
            return None

    def close(self) -> None:
        """Stop asking. Never raises."""
        self._line.close()


@dataclass(slots=True)
class _Entry:
    """An entry of the index, and the batch in which its chunk comes."""

    offset: int
    kind: str
    digest: str
    size: int
    is_packed: bool
    version: str | None
    index: int | None
    release: str | None
    batch: ChunkBatch | None = None

    @classmethod
    def of(cls, told: Any) -> "_Entry":
        """Return what the server told.

        Raises:
            ProtocolViolation: It is no entry.
        """
        try:
            entry = cls(
                int(told["offset"]), str(told["kind"]), str(told.get("digest") or ""), int(told.get("size") or 0),
                told.get("codec") == CODEC, told.get("version"), told.get("index"), told.get("release"),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ProtocolViolation("The server's list of chunks holds an entry that is none.") from error
        if entry.kind == "chunk" and not _DIGEST.fullmatch(entry.digest):
            raise ProtocolViolation("The server's list of chunks holds one without a digest.")
        if not 0 <= entry.size < CHUNK_ROOM:
            raise ProtocolViolation(f"The server's list of chunks holds one of {entry.size} bytes.")
        return entry


class HttpChunkSource:
    """See ``road.ChunkSource``: the server's index from an offset on, and the chunk that each entry names."""

    name = "http"

    def __init__(self, server: Server, model: str, offset: int | None, wanted: Wanted | None = None) -> None:
        self._wanted = wanted
        self._feed = Feed(server.line(), f"/models/{model}/chunks", "list of chunks")
        self._lines = [server.line() for _ in range(server.url.connections)]
        self._free = deque(self._lines)
        self._model, self._getter = model, ChunkGetter(model)
        self._next: int | None = offset
        self._batch_bytes = FIRST_BATCH_BYTES
        self._entries = deque[_Entry]()
        try:
            page = None
            while page is None:
                self._ask(wait_seconds=0.0)
                page = self._feed.page(1.0)
            self._take(page)
        except NotFound as error:
            self.close()
            raise DepotUnusable(f"Nobody has published {model} there: {error}", hint="Is this the publisher's server?") from error
        except BaseException:
            self.close()
            raise

    def _ask(self, *, wait_seconds: float) -> None:
        self._feed.ask({"from": self._next, "limit": PAGE_ENTRIES}, wait_seconds=wait_seconds)

    def _take(self, page: dict[str, Any]) -> None:
        entries, following = page.get("entries"), page.get("next")
        if not isinstance(entries, list) or not isinstance(following, int):
            raise ProtocolViolation("The server's list of chunks is none.")
        self._entries.extend(map(_Entry.of, entries))
        self._next = following

    def receive(self, seconds: float) -> ArrivedChunk | None:
        """See ``road.ChunkSource.receive``; an entry whose chunk was removed since is passed over."""
        deadline = time.monotonic() + seconds
        while True:
            self._look_ahead()
            remaining = max(0.0, deadline - time.monotonic())
            if self._entries:
                entry = self._entries[0]
                if entry.kind == "chunk" and entry.batch is None:
                    continue   # it came with the page that was taken last: the next look ahead asks for it
                if entry.batch is not None and not entry.batch.has_answer(remaining):
                    return None
                self._entries.popleft()
                arrived = self._arrived(entry)
                if arrived is not None:
                    return arrived
            else:
                page = self._feed.page(remaining)
                if page is not None:
                    self._take(page)
                elif time.monotonic() >= deadline:
                    return None

    def _look_ahead(self) -> None:
        while self._free and (entries := self._next_batch()):
            listed = [Listed(entry.digest, entry.size, entry.is_packed) for entry in entries]
            batch = ChunkBatch(self._getter, self._free.popleft(), self._model, listed)
            for entry in entries:
                entry.batch = batch
        if len(self._entries) < PAGE_ENTRIES:
            page = self._feed.page(0.0)
            if page is not None:
                self._take(page)
            self._ask(wait_seconds=spread(WAIT_SECONDS))

    def _next_batch(self) -> list[_Entry]:
        """Return the next chunks that nobody was asked for, as many as go together; none when there are none."""
        batch, size = list[_Entry](), 0
        for entry in self._entries:
            if entry.kind != "chunk" or entry.batch is not None:
                continue
            if self._wanted is not None and not self._wanted(bytes.fromhex(entry.digest)):
                entry.kind = "passed"
                continue
            size += entry.size
            if batch and (size > self._batch_bytes or len(batch) == BATCH_CHUNKS):
                break
            batch.append(entry)
        return batch

    def _arrived(self, entry: _Entry) -> ArrivedChunk | None:
        batch = entry.batch
        if batch is None:
            return ArrivedChunk(b"", False, None, entry.release if entry.kind == "end" else None, entry.offset)
        found = batch.receive()
        if batch.is_done:
            self._free.append(batch.line)
            self._batch_bytes = next_batch_bytes(batch.seconds)
        if found is None:
            return None
        return ArrivedChunk(found[0], True, entry.digest, None, entry.offset, found[1], entry.version, entry.index)

    def close(self) -> None:
        """See ``road.ChunkSource.close``."""
        for line in self._lines:
            line.close()
        self._feed.close()


class HttpReportSource:
    """See ``road.ReportSource``."""

    def __init__(self, server: Server, since_minutes: int | None) -> None:
        self._feed = Feed(server.line(), "/reports", "list of reports")
        self._query: Query = {"since_minutes": since_minutes}
        self._reports = deque[bytes]()
        self._has_all = False
        self._feed.ask(self._query, wait_seconds=0.0)

    @property
    def is_caught_up(self) -> bool:
        """See ``road.ReportSource.is_caught_up``."""
        return self._has_all and not self._reports

    def receive(self, seconds: float) -> bytes | None:
        """See ``road.ReportSource.receive``."""
        deadline = time.monotonic() + seconds
        while not self._reports:
            self._feed.ask(self._query, wait_seconds=spread(WAIT_SECONDS) if self._has_all else 0.0)
            page = self._feed.page(max(0.0, deadline - time.monotonic()))
            if page is not None:
                self._take(page)
            elif time.monotonic() >= deadline:
                return None
        return self._reports.popleft()

    def _take(self, page: dict[str, Any]) -> None:
        cursor, reports = page.get("next"), page.get("reports")
        if not isinstance(cursor, str) or not isinstance(reports, list) or not all(isinstance(body, bytes) for body in reports):
            raise ProtocolViolation("The server's list of reports is none.")
        self._query, self._has_all = {"from": cursor}, self._has_all or page.get("caught_up") is True
        self._reports.extend(reports)

    def close(self) -> None:
        """See ``road.ReportSource.close``."""
        self._feed.close()
