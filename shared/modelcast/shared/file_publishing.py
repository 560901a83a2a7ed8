"""The publisher's half of the file road: the locks, the register, the chunks and the orders.

Decides when what was written is made durable: a record and an order before their call returns, chunks all at once at the end of a
release, before anybody is told of it. Imports the depot.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property

from modelcast.shared.compression import CODEC, unpack_chunk
from modelcast.shared.depot.chunks import CHUNK_ROOM, ChunkIndex, ChunkShelf, read_entries
from modelcast.shared.depot.depot import Depot
from modelcast.shared.depot.index import Entry, EntryKind
from modelcast.shared.depot.numbered import NumberedLog
from modelcast.shared.digest import digest as digest_of
from modelcast.shared.errors import PublisherBusy, StorageFault
from modelcast.shared.limits import DEFAULT_LIMITS


class FilePublisherRoad:
    """See ``publishing_road.PublisherRoad``: holds the model's locks."""

    retention_bytes: int | None = None

    def __init__(self, depot: Depot, model: str, channel: str, *, sends: bool = True) -> None:
        depot.enter()
        self._depot, self._model = depot, model
        places = depot.make_model(model)
        depot.make_channel(model, channel)
        self.locks = depot.locks(model)
        if not self.locks.take(sends=sends):
            raise self._busy()
        try:
            if sends:   # nobody else writes there now
                depot.sweep(places.incoming)
            self.register = FileRegister(depot.register(model))
            self.chunks = FileChunkSink(depot, model, sends=sends)
        except BaseException:
            self.locks.release()
            raise

    def _busy(self) -> PublisherBusy:
        told = f"Somebody else is publishing or ordering {self._model} right now."
        return PublisherBusy(told, hint="Wait until it is done, or stop it.")

    def announce(self, channel: str, body: bytes) -> None:
        """See ``publishing_road.PublisherRoad.announce``: who is there sees it; the one before it goes."""
        self._depot.make_channel(self._model, channel)
        log = self._depot.announcements(self._model, channel)
        newest = log.append(body)
        for number in log.numbers():
            if number < newest:   # the newest stays, so that its number is not given again
                log.remove(number)

    def order(self, channel: str, body: bytes) -> None:
        """See ``publishing_road.PublisherRoad.order``."""
        self._depot.make_channel(self._model, channel)
        self._depot.orders(self._model, channel).append(body)

    def apart(self) -> None:
        """See ``publishing_road.PublisherRoad.apart``."""
        self.locks.apart()

    def rejoin(self) -> None:
        """See ``publishing_road.PublisherRoad.rejoin``."""
        if not self.locks.rejoin():
            raise self._busy()

    def close(self) -> None:
        """See ``publishing_road.PublisherRoad.close``."""
        self.chunks.close()
        self.locks.release()


class FileRegister:
    """See ``publishing_road.Register``: numbered files."""

    def __init__(self, log: NumberedLog) -> None:
        self._log = log

    def read(self) -> Sequence[bytes]:
        """See ``publishing_road.Register.read``."""
        records = map(self._log.read, self._log.numbers())
        return [record for record in records if record is not None]

    def append(self, record: bytes) -> None:
        """See ``publishing_road.Register.append``."""
        self._log.append(record)


class FileChunkSink:
    """See ``publishing_road.ChunkSink``: a file for each chunk, an entry in the index for each that was sent."""

    def __init__(self, depot: Depot, model: str, *, sends: bool = True) -> None:
        self._depot, self._model = depot, model
        self._shelf: ChunkShelf = depot.shelf(model)
        self._index: ChunkIndex = depot.index(model)
        if sends:
            self._index.open()

    def mark(self) -> int:
        """See ``publishing_road.ChunkSink.mark``."""
        self._shelf.begin()
        return self._index.append(Entry(EntryKind.BEGIN))

    def send(
        self, body: bytes | memoryview, *, version: str, index: int, count: int, digest: str, codec: str = "none"
    ) -> None:
        """See ``publishing_road.ChunkSink.send``."""
        del count   # for people who look at a stream
        self.keep(Entry(EntryKind.CHUNK, bytes.fromhex(digest), len(body), codec == CODEC, version, index), body)

    def keep(self, entry: Entry, body: bytes | memoryview) -> None:
        """Keep a chunk and note that it came."""
        self._shelf.put(entry, body)
        self._index.append(entry)

    def finish(self, release: str) -> None:
        """See ``publishing_road.ChunkSink.finish``."""
        self._shelf.sync(self._index.unsynced)
        self._index.end(bytes.fromhex(release))

    def has(self, identity: bytes) -> bool:
        """See ``publishing_road.ChunkCheck.has``: one look at the file, under either name; it must have the size that was written."""
        return any(self._shelf.has(entry) for entry in self._written.get(identity, ()))

    @cached_property
    def _written(self) -> dict[bytes, set[Entry]]:
        """What was written before, by its digest; of a chunk there may be two files, as it is and packed."""
        found: dict[bytes, set[Entry]] = {}
        for _, entry in read_entries(self._depot.disk, self._index.path, 0):
            if entry.kind is EntryKind.CHUNK:
                found.setdefault(entry.digest, set()).add(Entry(EntryKind.CHUNK, entry.digest, entry.size, entry.is_packed))
        return found

    def held_since(self, offset: int) -> Iterator[bytes]:
        """See ``publishing_road.ChunkSink.held_since``."""
        buffer = memoryview(bytearray(CHUNK_ROOM))
        for _, entry in read_entries(self._depot.disk, self._index.path, offset):
            try:
                size = self._shelf.read_into(entry, buffer) if entry.kind is EntryKind.CHUNK else None
            except StorageFault:   # what cannot be read is not held; it is sent again, and replaced
                continue
            if size is None:
                continue
            body: bytes | memoryview | None = buffer[:size]
            if entry.is_packed:
                body = unpack_chunk(buffer[:size], max_bytes=DEFAULT_LIMITS.chunk_bytes)
            if body is not None:
                yield digest_of(body)

    def close(self) -> None:
        """Close the index; never raises."""
        self._shelf.close()
        self._index.close()
