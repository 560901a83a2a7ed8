"""Chunks read by the RabbitMQ stream protocol: the fast source, and when it is taken.

Decides how far the broker sends ahead, what of an osiris chunk is given out and what is passed over, which node is read from, and
when AMQP is used instead. A body is a view into the buffer it was received in: nothing is copied before it is hashed and written.
Imports the connection, the codecs, the names and the road's values.
"""

import random
import time
from collections.abc import Callable
from itertools import count

from modelcast.shared import topology as names
from modelcast.shared.amqp_message import read_message
from modelcast.shared.broker_url import BrokerUrl
from modelcast.shared.chunk_message import CHUNK_HEADERS, PART, arrived_chunk
from modelcast.shared.errors import BrokerUnreachable, HostFault, ProtocolViolation
from modelcast.shared.limits import DEFAULT_LIMITS, KIB
from modelcast.shared.osiris_chunk import DELIVER_BYTES, Entry, EntryWalk, check_crc, read_chunk_head
from modelcast.shared.road import ArrivedChunk, ChunkSource
from modelcast.shared.stream_codec import HEAD_BYTES, Heartbeat, Key, Placement, credit
from modelcast.shared.stream_connection import StreamConnection
from modelcast.shared.stream_socket import Address

CREDIT = 10
"""Osiris chunks that the broker may send ahead; see docs/adr/0014-stream-protocol.md for the figures."""
TOP_UP = 5
"""Credit is given back so many at a time."""
CRC_BYTES = 256 * KIB
"""Osiris chunks up to this size are compared with their CRC-32 before anything of them is used: markers and small messages. The
bodies in larger ones are checked by whoever takes them, by a digest that is faster and says more."""
CONNECT_SECONDS = 3.0
"""How long the stream port may take to answer before AMQP is used; a closed port says so at once, a firewall never."""
AVOIDED_SECONDS = 300.0
"""How long the port is not tried again after it did not answer where AMQP did."""

LAST_OFFSET = 2**63 - 1
"""Offsets have 64 bits; what an order says is a hint."""
MOST_NODES = 4
"""Nodes that are tried besides the one that answered."""
STEPS = 64
"""Frames and entries that one call looks at whatever the time; beyond, it keeps to its deadline."""

_SUBSCRIPTION = 0
_MOST_ENTRY_BYTES = DEFAULT_LIMITS.chunk_bytes + names.MESSAGE_OVERHEAD_BYTES


class StreamChunkSource:
    """See ``road.ChunkSource``: a chunk stream read by the stream protocol; ``connection`` is its own from now on.

    Args:
        connection: A connection to a node that holds the stream.
        model: Name of the model.
        offset: Where to begin; None is the oldest that is kept.
    """

    name = "stream"

    def __init__(self, connection: StreamConnection, model: str, offset: int | None) -> None:
        self._connection, self._socket = connection, connection.socket
        self._from = 0 if offset is None else min(max(offset, 0), LAST_OFFSET)
        self._walk: EntryWalk | None = None
        self._entry: Entry | None = None
        self._arrived: ArrivedChunk | None = None
        self._to_skip = self._trailing = self._spent = self._beat_bytes = 0
        connection.subscribe(_SUBSCRIPTION, names.chunks_name(model), "first" if offset is None else self._from, CREDIT)

    def receive(self, seconds: float) -> ArrivedChunk | None:
        """See ``road.ChunkSource.receive``: what was received in part when the time is over is gone on with by the next call."""
        deadline, before = time.monotonic() + seconds, self._socket.received - self._beat_bytes
        self._socket.keep_alive()
        for steps in count():
            moved = self._step(deadline)
            arrived, self._arrived = self._arrived, None
            if arrived is not None or not moved or (steps > STEPS and time.monotonic() >= deadline):
                came = self._socket.received - self._beat_bytes > before
                return PART if arrived is None and came else arrived
        raise AssertionError   # counting has no end

    def close(self) -> None:
        """See ``road.ChunkSource.close``."""
        self._connection.close()

    def _step(self, deadline: float) -> bool:
        """Take the next piece of the stream; False when not all of it has come by ``deadline``. May set ``_arrived``."""
        if self._to_skip:
            self._to_skip = self._socket.pass_over(self._to_skip, deadline)
            return not self._to_skip
        if self._entry is not None:
            return self._message(self._entry, deadline)
        if self._walk is None:
            return self._frame(deadline)
        if not self._walk.is_done:
            return self._next_entry(self._walk, deadline)
        self._walk, self._to_skip = None, self._trailing
        return True

    def _frame(self, deadline: float) -> bool:
        """Take a frame, or the head of one that delivers an osiris chunk; False when it has not come by ``deadline``."""
        head = self._connection.next_head(deadline)
        if head is None:
            return False
        if head.key != Key.DELIVER:
            control = self._connection.control(head, deadline)
            if control is not None and not isinstance(control, Heartbeat):
                raise ProtocolViolation(f"The broker sent {type(control).__name__} without being asked.")
            if control is not None:
                self._beat_bytes += HEAD_BYTES + head.body_bytes
            return control is not None
        begin = HEAD_BYTES + DELIVER_BYTES
        frame = self._socket.need(min(begin, HEAD_BYTES + head.body_bytes), deadline)
        if frame is None:
            return False
        chunk = read_chunk_head(head.body_bytes, frame[HEAD_BYTES:])
        if chunk.subscription != _SUBSCRIPTION:
            raise ProtocolViolation(f"The broker delivered to subscription {chunk.subscription}, which nobody made.")
        if chunk.data_bytes <= CRC_BYTES:
            frame = self._socket.need(begin + chunk.data_bytes, deadline)
            if frame is None:
                return False
            if chunk.entries:
                check_crc(chunk, frame[begin:])
        self._socket.take(begin)
        self._walk, self._trailing = EntryWalk(chunk), chunk.trailing_bytes
        self._spent += 1
        if self._spent >= TOP_UP:
            self._socket.send(credit(_SUBSCRIPTION, self._spent))
            self._spent = 0
        return True

    def _next_entry(self, walk: EntryWalk, deadline: float) -> bool:
        """Take the head of an entry; what is no message, or too large, or before the first offset asked for, is passed over."""
        first = self._socket.need(1, deadline)
        head = None if first is None else self._socket.need(walk.head_bytes(first[0]), deadline)
        if head is None:
            return False
        entry = walk.next(head)
        self._socket.take(entry.head_bytes)
        if entry.offset < self._from:
            self._to_skip = entry.size
        elif entry.is_message and entry.size <= _MOST_ENTRY_BYTES:
            self._entry = entry
        else:
            self._to_skip, self._arrived = entry.size, _foreign(entry.offset)
        return True

    def _message(self, entry: Entry, deadline: float) -> bool:
        """Take the message of an entry whose head was taken."""
        stored = self._socket.need(entry.size, deadline)
        if stored is None:
            return False
        self._socket.take(entry.size)
        self._entry, self._arrived = None, _arrived_chunk(stored, entry.offset)
        return True


def _foreign(offset: int) -> ArrivedChunk:
    """Return what stands for a message that cannot be ours: no chunk has these bytes."""
    return ArrivedChunk(b"", offset=offset)


def _arrived_chunk(stored: memoryview, offset: int) -> ArrivedChunk:
    try:
        message = read_message(stored, CHUNK_HEADERS)
    except ProtocolViolation:   # whoever may write to the stream can store anything in it
        return _foreign(offset)
    return arrived_chunk(message.body, message.properties, offset)


def open_stream(url: BrokerUrl, model: str, offset: int | None, *, name: str) -> StreamChunkSource:
    """Open the chunk stream of a model at a node that holds it, a replica rather than the leader, which has more to do.

    Args:
        url: The broker, whose ``stream_port`` is known.
        model: Name of the model.
        offset: Where to begin; None is the oldest that is kept.
        name: What the broker's operators see the connection as.

    Raises:
        HostFault: See ``StreamConnection`` and ``StreamConnection.subscribe``.
    """
    if url.stream_port is None:
        raise BrokerUnreachable("The URL does not say at which port the stream protocol is.", hint="Add ?stream_port=5552 to it.")
    first = StreamConnection(Address(url.host, url.stream_port), url, name, connect_seconds=CONNECT_SECONDS)
    chosen = first
    try:
        placement = first.placement(names.chunks_name(model))
        for address in nodes_to_try(placement, first.advertised):
            try:
                chosen = StreamConnection(address, url, name, connect_seconds=CONNECT_SECONDS)
                break
            except HostFault:
                continue   # an address that is only good within the broker's network
        return StreamChunkSource(chosen, model, offset)
    except BaseException:
        chosen.close()
        first.close()
        raise
    finally:
        if chosen is not first:
            first.close()


def nodes_to_try(placement: Placement, here: Address | None) -> list[Address]:
    """Return the nodes that are better to read from than ``here``, where one is connected; one of them at random first.

    Nobody needs to leave a replica, or the only node that there is: behind a load balancer its name for itself may be
    unknown to us.
    """
    leader = None if placement.leader is None else Address(*placement.leader)
    replicas = [Address(*node) for node in placement.replicas]
    if here in replicas or len({*replicas, leader} - {None}) < 2:
        return []
    random.shuffle(replicas)   # spreads load, keeps no secret
    return replicas[:MOST_NODES] if leader is None or leader == here else [*replicas[:MOST_NODES], leader]


class ChosenChunks:
    """Opens chunk streams by the stream protocol where it can be had, and otherwise as one is told to.

    Args:
        url: The broker; its option ``chunks`` may force either way.
        name: What the broker's operators see the connections as.
        clock: Seconds that only rise.
    """

    def __init__(self, url: BrokerUrl, *, name: str = "modelcast", clock: Callable[[], float] = time.monotonic) -> None:
        self._url, self._name, self._clock = url, name, clock
        self._avoided_until: float | None = None

    @property
    def tries_stream(self) -> bool:
        """Whether the next one would be read by the stream protocol if it can be had."""
        if self._url.chunks == "amqp" or (self._url.chunks == "auto" and self._url.stream_port is None):
            return False
        return self._url.chunks == "stream" or self._avoided_until is None or self._clock() >= self._avoided_until

    def open(self, model: str, offset: int | None, otherwise: Callable[[], ChunkSource]) -> ChunkSource:
        """Open the chunk stream of a model; ``otherwise`` opens it without the stream protocol.

        Raises:
            HostFault: It cannot be opened, neither way unless one is forced.
        """
        if not self.tries_stream:
            return otherwise()
        try:
            source = open_stream(self._url, model, offset, name=f"{self._name} chunks of {model}")
        except HostFault:
            if self._url.chunks == "stream":
                raise
            instead = otherwise()
            self._avoid()   # only now: where AMQP fails too, the broker is away and not the port
            return instead
        return source if self._url.chunks == "stream" else WatchedSource(source, self._avoid)

    def _avoid(self) -> None:
        self._avoided_until = self._clock() + AVOIDED_SECONDS


class WatchedSource:
    """See ``road.ChunkSource``: a source that tells when it breaks in a way that it would break in again.

    Args:
        source: What is read.
        broken: Called when what came was no stream protocol.
    """

    def __init__(self, source: ChunkSource, broken: Callable[[], None]) -> None:
        self._source, self._broken = source, broken

    @property
    def name(self) -> str:
        """See ``road.ChunkSource.name``."""
        return self._source.name

    def receive(self, seconds: float) -> ArrivedChunk | None:
        """See ``road.ChunkSource.receive``."""
        try:
            return self._source.receive(seconds)
        except ProtocolViolation:
            self._broken()
            raise

    def close(self) -> None:
        """See ``road.ChunkSource.close``."""
        self._source.close()
