"""The publisher's half of the main road: the locks, the register, the chunk stream and the orders.

Decides how a publisher knows what a stream holds, where AMQP says nothing of its end: whoever reads a stream *completely*
first posts a marker and reads until it comes by; whoever needs an offset posts a marker and looks where it stands.
Imports link, topology, compression and errors; no client library.
"""

import secrets
from collections.abc import Generator, Iterator, Sequence

from modelcast.shared import topology as names
from modelcast.shared.chunk_message import ANNOUNCEMENT, BEGIN, CHUNK, END, MARKERS, PROBE
from modelcast.shared.compression import CODEC, unpack_chunk
from modelcast.shared.digest import digest as digest_of
from modelcast.shared.errors import BrokerUnreachable
from modelcast.shared.limits import DEFAULT_LIMITS
from modelcast.shared.link import Delivery, FullLink, Offset, Outbox, WaitingLink

SEND_WINDOW = 32
"""Unconfirmed chunks: between the 16 and 64 at which throughput levels off (measured), 32 MiB in flight."""
READ_AHEAD = 32
"""Chunks that the broker sends ahead: bounds a reader's memory."""
TAIL_SECONDS = 30.0
"""Longest wait for one's own marker to come by; the broker answers in milliseconds or is not there."""


class AmqpPublisherRoad:
    """See ``publishing_road.PublisherRoad``: each lock is an exclusive queue, which ends with the connection at the latest."""

    def __init__(self, link: FullLink, model: str, channel: str, retention_bytes: int, *, sends: bool) -> None:
        self._link, self._model = link, model
        self.retention_bytes: int | None = retention_bytes
        link.declare([names.publishing_lock(model)] if sends else [])
        link.declare([names.ordering_lock(model)])
        parts = names.model_parts(model, retention_bytes=retention_bytes) if sends else names.register_parts(model)
        link.declare([*parts, *names.channel_parts(model, channel)])   # a stream that was deleted under who sends is not made anew
        self._outbox = link.outbox(window=SEND_WINDOW)
        self.register = AmqpRegister(link, model)
        self.chunks = AmqpChunkSink(link, model)

    def announce(self, channel: str, body: bytes) -> None:
        """See ``publishing_road.PublisherRoad.announce``; by the outbox of the orders, so that it cannot come after its order."""
        exchange = names.announcements_name(self._model, channel)
        self._outbox.post(exchange, body, headers={names.HEADER_KIND: ANNOUNCEMENT}, mandatory=False)   # nobody may be there

    def order(self, channel: str, body: bytes) -> None:
        """See ``publishing_road.PublisherRoad.order``.

        What the order passes through is made sure of again: a history that was deleted during the transfer would miss it, and nobody
        would say so, since the instances' queues still take it.
        """
        self._link.declare(names.channel_parts(self._model, channel))
        self._outbox.post(names.orders_name(self._model, channel), body)
        self._outbox.flush()

    def apart(self) -> None:
        """See ``publishing_road.PublisherRoad.apart``."""
        self._link.remove([names.ordering_lock(self._model)])

    def rejoin(self) -> None:
        """See ``publishing_road.PublisherRoad.rejoin``."""
        self._link.declare([names.ordering_lock(self._model)])

    def close(self) -> None:
        """See ``publishing_road.PublisherRoad.close``: the locks go with the connection."""
        self._link.close()


class AmqpRegister:
    """See ``publishing_road.Register``: the stream ``modelcast.<model>.releases``."""

    def __init__(self, link: WaitingLink, model: str) -> None:
        self._link, self._name = link, names.releases_name(model)
        self._outbox = link.outbox(window=1)

    def read(self) -> Sequence[bytes]:
        """See ``publishing_road.Register.read``."""
        return [
            delivery.body for delivery in _read_to_own_marker(self._link, self._outbox, self._name, "first")
            if names.HEADER_KIND not in delivery.headers
        ]

    def append(self, record: bytes) -> None:
        """See ``publishing_road.Register.append``."""
        self._outbox.post(self._name, record)
        self._outbox.flush()


class AmqpChunkSink:
    """See ``publishing_road.ChunkSink``: the exchange and stream ``modelcast.<model>.chunks``."""

    def __init__(self, link: WaitingLink, model: str) -> None:
        self._link, self._name = link, names.chunks_name(model)
        self._outbox = link.outbox(window=SEND_WINDOW)

    def mark(self) -> int:
        """See ``publishing_road.ChunkSink.mark``: a marker is posted while tailing, and says where it stands."""
        *_, last = _read_to_own_marker(self._link, self._outbox, self._name, "next", kind=BEGIN)
        if last.offset is None:
            raise BrokerUnreachable(f"{self._name} is no stream: its messages have no offsets.")
        return last.offset

    def oldest(self) -> int:
        """See ``holding.ChunkExtent.oldest``: reading from the first, the first that comes, perhaps one's own marker."""
        reading = _read_to_own_marker(self._link, self._outbox, self._name, "first", read_ahead=1)
        try:
            return next(reading).offset or 0
        finally:
            reading.close()

    def send(
        self, body: bytes | memoryview, *, version: str, index: int, count: int, digest: str, codec: str = "none"
    ) -> None:
        """See ``publishing_road.ChunkSink.send``."""
        headers: dict[str, str | int] = {
            names.HEADER_KIND: CHUNK, names.HEADER_VERSION: version, names.HEADER_INDEX: index, names.HEADER_COUNT: count,
            names.HEADER_DIGEST: digest, names.HEADER_CODEC: codec, names.HEADER_SIZE: len(body),
        }
        self._outbox.post(self._name, body, headers=headers)

    def finish(self, release: str) -> None:
        """See ``publishing_road.ChunkSink.finish``."""
        self._outbox.flush()
        self._outbox.post(self._name, b"", headers={names.HEADER_KIND: END, names.HEADER_RELEASE: release})
        self._outbox.flush()

    def held_since(self, offset: int) -> Iterator[bytes]:
        """See ``publishing_road.ChunkSink.held_since``."""
        for delivery in _read_to_own_marker(self._link, self._outbox, self._name, offset):
            body: bytes | None = delivery.body
            if delivery.headers.get(names.HEADER_CODEC) == CODEC:
                body = unpack_chunk(delivery.body, max_bytes=DEFAULT_LIMITS.chunk_bytes)
            if str(delivery.headers.get(names.HEADER_KIND)) not in MARKERS and body is not None:
                yield digest_of(body)


def _read_to_own_marker(
    link: WaitingLink, outbox: Outbox, name: str, offset: Offset, *, kind: str = PROBE, read_ahead: int = READ_AHEAD
) -> Generator[Delivery]:
    """Post a marker to a stream and yield what stands from ``offset`` up to and with the marker."""
    nonce = secrets.token_hex(8)
    inbox = link.inbox(name, prefetch=read_ahead, offset=offset)
    try:
        outbox.post(name, b"", headers={names.HEADER_KIND: kind, names.HEADER_RELEASE: nonce})
        outbox.flush()
        while True:
            delivery = inbox.receive(TAIL_SECONDS)
            if delivery is None:
                raise BrokerUnreachable(f"The stream {name} did not give back what was just written within {TAIL_SECONDS:.0f} s.")
            inbox.accept(delivery)
            yield delivery
            if delivery.headers.get(names.HEADER_RELEASE) == nonce:
                return
    finally:
        inbox.close()
