"""The publisher's half of the HTTP road: a session on the server, which holds the model's locks.

Decides what waits for its answer: all but chunks, of which two batches are on their way while the next one is read and hashed. Imports
the line and the road's errors.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from modelcast.shared.errors import HostFault, ModelcastError, NotFound, ProtocolViolation, PublisherBusy
from modelcast.shared.http_answers import Answer
from modelcast.shared.http_line import Ask, Line, Query, Server
from modelcast.shared.http_sending import BATCH_BYTES, BATCH_CHUNKS, Sending
from modelcast.shared.packing import pack

SESSION_HEADER = "Modelcast-Session"
GOODBYE_SECONDS = 5.0
SYNC_SECONDS = 600.0
"""How long a server may take to make a release durable, or to hash what it holds: some GiB on a slow disk."""
LINES = 2
"""So many batches of chunks are on their way at once: the server writes one while the next one comes."""


class Session:
    """Requests of one publishing session.

    Args:
        server: The server.
        model: Name of the model.
        channel: Name of the channel.
        sends: Whether chunks will be sent.

    Raises:
        PublisherBusy: Another session is open that keeps this one out.
    """

    def __init__(self, server: Server, model: str, channel: str, *, sends: bool) -> None:
        self.line, self._model = server.line(), model
        try:
            asked = pack({"channel": channel, "sends": sends})
            opened = self.line.call(Ask("POST", f"/models/{model}/publishing", body=asked), "publishing")
            told = opened.message("session")
            self._id: str = _typed(told, "session", str)
            self.lets_order = told.get("lets_order") is True   # one that does not say so keeps others out all the time
        except BaseException:
            self.line.close()
            raise
        self.retention_bytes: int | None = told.get("retention_bytes") if isinstance(told.get("retention_bytes"), int) else None

    def ask(self, method: str, path: str, body: bytes | memoryview | None = None, query: Query | None = None, *,
            wait_seconds: float = 0.0) -> Ask:
        """Return a request of this session; ``path`` is below the model's, ``wait_seconds`` how long the work on it may take."""
        return Ask(method, f"/models/{self._model}{path}", query or {}, body, {SESSION_HEADER: self._id}, wait_seconds)

    def call(self, ask: Ask, what: str) -> Answer:
        """Send a request and return its answer; raises HostFault when the session is over, PublisherBusy never."""
        try:
            return self.line.call(ask, what)
        except (NotFound, PublisherBusy) as error:
            raise HostFault(
                f"The server gave this publisher's place to another one ({error}).",
                hint="Publish again; only what is missing is sent.", facts=error.facts,
            ) from error

    def close(self) -> None:
        """Give the locks back. Never raises."""
        with suppress(ModelcastError):
            self.line.call(self.ask("DELETE", f"/publishing/{self._id}"), "end of publishing")
        self.line.close()


class HttpPublisherRoad:
    """See ``publishing_road.PublisherRoad``."""

    def __init__(self, server: Server, model: str, channel: str, *, sends: bool = True) -> None:
        self._session = Session(server, model, channel, sends=sends)
        self.retention_bytes = self._session.retention_bytes
        self.register = HttpRegister(self._session)
        self.chunks = HttpChunkSink(self._session, [server.line() for _ in range(LINES)])

    def announce(self, channel: str, body: bytes) -> None:
        """See ``publishing_road.PublisherRoad.announce``."""
        self._session.call(self._session.ask("POST", f"/channels/{channel}/announcements", body), "announcement")

    def order(self, channel: str, body: bytes) -> None:
        """See ``publishing_road.PublisherRoad.order``."""
        self._session.call(self._session.ask("POST", f"/channels/{channel}/orders", body), "order")

    def apart(self) -> None:
        """See ``publishing_road.PublisherRoad.apart``."""
        if self._session.lets_order:
            self._session.call(self._session.ask("POST", "/publishing:apart", b""), "time apart")

    def rejoin(self) -> None:
        """See ``publishing_road.PublisherRoad.rejoin``."""
        if not self._session.lets_order:
            return
        told = self._session.call(self._session.ask("POST", "/publishing:rejoin", b""), "end of the time apart").message("answer")
        if not _typed(told, "rejoined", bool):
            raise PublisherBusy("Somebody is ordering right now.", hint="Wait until that is done; it takes a moment.")

    def close(self) -> None:
        """See ``publishing_road.PublisherRoad.close``."""
        self.chunks.close()
        self._session.close()


class HttpRegister:
    """See ``publishing_road.Register``."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def read(self) -> Sequence[bytes]:
        """See ``publishing_road.Register.read``."""
        def get(query: Query) -> Answer:
            """Ask for one page."""
            return self._session.call(self._session.ask("GET", "/register", query=query, wait_seconds=SYNC_SECONDS), "register")

        return read_register(get)

    def append(self, record: bytes) -> None:
        """See ``publishing_road.Register.append``."""
        self._session.call(self._session.ask("POST", "/register", record), "record")


class HttpChunkSink:
    """See ``publishing_road.ChunkSink``: several chunks go together, over each line one batch of them after the other.

    So two batches may change places in the server's index, where every chunk has its own number. What is sent must stay as it is until
    ``finish`` or ``close``.
    """

    def __init__(self, session: Session, lines: Sequence[Line]) -> None:
        self._session, self._sendings = session, deque(map(Sending, lines))
        self._bodies, self._names, self._size, self._version = list[bytes | memoryview](), list[str](), 0, ""

    def mark(self) -> int:
        """See ``publishing_road.ChunkSink.mark``."""
        told = self._session.call(self._session.ask("POST", "/chunks:mark", b""), "mark").message("mark")
        offset: int = _typed(told, "offset", int)
        return offset

    def send(
        self, body: bytes | memoryview, *, version: str, index: int, count: int, digest: str, codec: str = "none"
    ) -> None:
        """See ``publishing_road.ChunkSink.send``; raises SenderFault when the server got other bytes than a digest before it names."""
        del count   # the server's index has no place for it
        if self._bodies and (self._size + len(body) > BATCH_BYTES or len(self._bodies) == BATCH_CHUNKS or version != self._version):
            self._send_batch()
        self._bodies.append(body)
        self._names.append(f"{digest}{'' if codec == 'none' else f'-{codec}'}:{len(body)}:{index}")
        self._size, self._version = self._size + len(body), version

    def _send_batch(self) -> None:
        asked = self._session.ask("PUT", "/chunks:batch")
        facts = {
            "Modelcast-Version": self._version, "Modelcast-Chunks": ",".join(self._names), "Content-Length": str(self._size),
        }
        bodies, self._bodies, self._names, self._size = self._bodies, [], [], 0   # if it fails, nothing of it is tried again
        self._sendings[0].send(Ask(asked.method, asked.path, body=bodies, headers={**asked.headers, **facts}), "chunks")
        self._sendings.rotate(-1)

    def _flush(self) -> None:
        if self._bodies:
            self._send_batch()
        for sending in self._sendings:
            sending.flush()

    def finish(self, release: str) -> None:
        """See ``publishing_road.ChunkSink.finish``."""
        self._flush()
        ask = self._session.ask("POST", "/chunks:finish", pack({"release": release}), wait_seconds=SYNC_SECONDS)
        self._session.call(ask, "end of the chunks")

    def held_since(self, offset: int) -> Iterator[bytes]:
        """See ``publishing_road.ChunkSink.held_since``: the server reads and hashes what it holds."""
        self._flush()
        what = "list of chunks"

        def get(query: Query) -> Answer:
            """Ask for one page."""
            return self._session.call(self._session.ask("GET", "/chunks:held", query=query, wait_seconds=SYNC_SECONDS), what)

        for page in _pages(get, what, offset):
            yield from _blobs(page, "digests")

    def close(self) -> None:
        """Send what was gathered, if that takes no long wait: a second attempt needs not send it again. Never raises."""
        until = time.monotonic() + GOODBYE_SECONDS
        for sending in self._sendings:
            with suppress(ModelcastError):
                sending.finish(until - time.monotonic())
        with suppress(ModelcastError):
            if self._bodies and not any(sending.is_busy for sending in self._sendings):
                self._send_batch()
                self._sendings[-1].finish(GOODBYE_SECONDS)
        for sending in self._sendings:
            sending.close()


Get = Callable[[Query], Answer]
"""Asks for a page of a list."""


def read_register(get: Get) -> list[bytes]:
    """Return all records of a register, page by page."""
    return [record for page in _pages(get, "register") for record in _blobs(page, "records")]


def _pages(get: Get, what: str, first: int | None = None) -> Iterator[dict[str, Any]]:
    """Yield the pages of a list."""
    start = first
    while True:
        page = get({"from": start}).message(what)
        yield page
        following = page.get("next")
        if not isinstance(following, int) or following == start:
            return
        start = following


def _blobs(page: dict[str, Any], name: str) -> list[bytes]:
    found = page.get(name)
    if not isinstance(found, list) or not all(isinstance(item, bytes) for item in found):
        raise ProtocolViolation(f"The server's {name} are no list of bytes.")
    return found


def _typed(told: dict[str, Any], name: str, kind: type[Any]) -> Any:
    if not isinstance(told.get(name), kind):
        raise ProtocolViolation(f"The server's answer has no {name}.", hint="Is this a server of modelcast?")
    return told[name]
