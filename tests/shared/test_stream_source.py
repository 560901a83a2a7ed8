"""Chunks by the stream protocol: from a real node, and from one that a test directs; and when AMQP is taken instead."""

import hashlib
import struct
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fakes import stream_peer as peer
from tests.fakes.stream_peer import GoodNode, StreamPeer

from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.broker_url import BrokerUrl
from modelcast.shared.chunk_message import PART
from modelcast.shared.errors import BrokerUnreachable, HostFault, ProtocolViolation, TopologyMismatch
from modelcast.shared.limits import DEFAULT_LIMITS, MIB
from modelcast.shared.localbroker.node import PrivateNode
from modelcast.shared.pika_link import PikaBroker
from modelcast.shared.road import ArrivedChunk, ChunkSource
from modelcast.shared.roads import open_road
from modelcast.shared.stream_codec import Placement
from modelcast.shared.stream_connection import StreamConnection
from modelcast.shared.stream_socket import Address
from modelcast.shared.stream_source import (
    AVOIDED_SECONDS,
    CRC_BYTES,
    CREDIT,
    TOP_UP,
    ChosenChunks,
    StreamChunkSource,
    nodes_to_try,
    open_stream,
)

SOON = 20.0
BRIEF = 0.2
Read = Callable[..., StreamChunkSource]


@pytest.fixture
def stream_url(node: PrivateNode, broker_url: str) -> str:
    """The URL of an empty virtual host, read by the stream protocol alone."""
    return f"{broker_url}?chunks=stream&stream_port={node.status().stream_port}"


@pytest.fixture
def opened() -> Iterator[Callable[..., object]]:
    """Remembers what a test opened and closes it afterwards."""
    things: list[object] = []

    def remember(thing: object) -> object:
        things.append(thing)
        return thing

    yield remember
    for thing in reversed(things):
        thing.close()  # type: ignore[attr-defined]


@pytest.fixture
def read(opened) -> Read:
    """Reads what a node delivers that is directed by the test."""
    def reading(delivered: bytes | GoodNode, offset: int | None = None) -> StreamChunkSource:
        node = delivered if isinstance(delivered, GoodNode) else GoodNode(delivered)
        there = opened(StreamPeer(node))
        url = BrokerUrl.parse("amqp://u:p@127.0.0.1/")
        connection = StreamConnection(Address("127.0.0.1", there.port), url, "test", connect_seconds=SOON)
        return opened(StreamChunkSource(connection, "fraud", offset))

    return reading


def seen(source: ChunkSource, count: int) -> list[tuple[bytes, int | None]]:
    found = []
    for _ in range(count):
        arrived = source.receive(SOON)
        assert arrived is not None, "the chunk did not come"
        found.append((bytes(arrived.body), arrived.offset))
    return found


def ours(body: bytes) -> bytes:
    return peer.message(body, {"mc-kind": "chunk", "mc-digest": "ab", "mc-index": 3})


# --------------------------------------------------------------------------- a real node


def test_chunks_of_all_sizes_are_read_as_they_were_sent(stream_url: str, opened) -> None:
    road = open_road(stream_url)
    publisher = opened(road.publish("fraud", "production"))
    bodies = [bytes([number]) * size for number, size in enumerate([0, 1, 255, 256, 4096, 70_000, CRC_BYTES, MIB, 3 * MIB, 8 * MIB, 5])]
    mark = publisher.chunks.mark()
    for index, body in enumerate(bodies):
        publisher.chunks.send(body, version="1.0.0", index=index, count=len(bodies), digest=hashlib.sha256(body).hexdigest())
    publisher.chunks.finish("release")
    source = opened(road.chunks("fraud", mark))
    assert source.name == "stream"
    begin = source.receive(SOON)
    assert (begin.is_chunk, begin.offset) == (False, mark)
    offsets = []
    for body in bodies:
        arrived = source.receive(SOON)
        assert isinstance(arrived.body, memoryview)
        assert arrived.body == body
        assert (arrived.is_chunk, arrived.claim, arrived.ends) == (True, hashlib.sha256(body).hexdigest(), None)
        offsets.append(arrived.offset)
    assert offsets == sorted(set(offsets))
    end = source.receive(SOON)
    assert (bytes(end.body), end.is_chunk, end.ends) == (b"", False, "release")
    assert source.receive(BRIEF) is None
    assert source.receive(0) is None


def test_both_ways_of_reading_give_the_same(stream_url: str, broker_url: str, opened) -> None:
    by_stream, by_amqp = open_road(stream_url), open_road(broker_url)
    publisher = opened(by_amqp.publish("fraud", "production"))
    mark = publisher.chunks.mark()
    for index in range(300):   # many in one osiris chunk: most offsets are not the first of one
        publisher.chunks.send(b"%d" % index, version="1.0.0", index=index, count=300, digest=f"{index}")
    publisher.chunks.finish("release")

    def all_from(road: AmqpRoad, offset: int | None, count: int) -> list[tuple[object, ...]]:
        source = opened(road.chunks("fraud", offset))

        def taken() -> tuple[object, ...]:
            one = source.receive(SOON)
            return bytes(one.body), one.is_chunk, one.claim, one.ends, one.offset

        return [taken() for _ in range(count)]

    whole = all_from(by_stream, None, 302)
    assert whole == all_from(by_amqp, None, 302)
    for start in (mark, mark + 1, mark + 77, mark + 301):
        assert all_from(by_stream, start, 302 - (start - mark)) == whole[start - mark :]


def test_what_is_published_later_comes_by_itself(stream_url: str, opened) -> None:
    road = open_road(stream_url)
    publisher = opened(road.publish("fraud", "production"))
    source = opened(road.chunks("fraud", None))
    assert source.receive(BRIEF) is None
    for number in range(3 * CREDIT):   # more osiris chunks than the first credit
        publisher.chunks.finish(f"release {number}")
        arrived = source.receive(SOON)
        assert arrived.ends == f"release {number}"


def test_a_stream_that_is_deleted_ends_the_reading(stream_url: str, node: PrivateNode, opened) -> None:
    road = open_road(stream_url)
    opened(road.publish("fraud", "production"))
    source = opened(road.chunks("fraud", None))
    node.control("delete_queue", "--vhost", BrokerUrl.parse(stream_url).vhost, "modelcast.fraud.chunks")
    with pytest.raises(HostFault):
        source.receive(SOON)
    with pytest.raises(TopologyMismatch):
        road.chunks("fraud", None)


def test_a_connection_that_is_cut_ends_the_reading(stream_url: str, node: PrivateNode, opened) -> None:
    road = open_road(stream_url)
    opened(road.publish("fraud", "production"))
    source = opened(road.chunks("fraud", None))
    node.control("eval", "[exit(P, kill) || P <- rabbit_networking:local_non_amqp_connections()].")
    with pytest.raises(HostFault):
        source.receive(SOON)


def test_without_the_first_publisher_there_is_nothing_to_read(stream_url: str) -> None:
    with pytest.raises(TopologyMismatch, match=r"modelcast\.fraud\.chunks"):
        open_road(stream_url).chunks("fraud", None)


# --------------------------------------------------------------------------- a node that a test directs


def test_entries_before_the_offset_that_was_asked_for_are_passed_over(read: Read) -> None:
    node = GoodNode(peer.deliver(10, *[ours(b"%d" % number) for number in range(10, 15)]))
    assert seen(read(node, 13), 2) == [(b"13", 13), (b"14", 14)]
    assert (peer.SUBSCRIBE, 4, 13) in [(key, *struct.unpack(">HQ", content[-16:-6])) for key, content in node.heard if key == peer.SUBSCRIBE]


def test_an_offset_that_no_stream_has_is_bounded(read: Read) -> None:
    for asked, bounded in ((-5, 0), (2**70, 2**63 - 1)):
        node = GoodNode()
        read(node, asked)
        assert [struct.unpack(">HQ", content[-16:-6]) for key, content in node.heard if key == peer.SUBSCRIBE] == [(4, bounded)]


def test_a_packed_chunk_says_so(read: Read) -> None:
    source = read(peer.deliver(1, peer.message(b"x", {"mc-codec": "zstd"}), peer.message(b"y", {"mc-codec": "none"})))
    assert [source.receive(SOON).is_packed for _ in range(2)] == [True, False]


def test_what_others_wrote_is_shown_as_nothing_of_ours(read: Read) -> None:
    delivered = peer.frame(peer.DELIVER, peer.chunk(
        5, [peer.entry(b"no AMQP message"), peer.batch(3, b"packed"), peer.entry(ours(b"good"))], records=5
    ))
    assert seen(read(delivered), 3) == [(b"", 5), (b"", 6), (b"good", 9)]


def test_a_message_that_is_too_large_is_passed_over_and_takes_no_memory(read: Read) -> None:
    large = peer.message(bytes(DEFAULT_LIMITS.chunk_bytes + MIB), {})
    source = read(peer.deliver(5, large, ours(b"good")) + peer.deliver(7, ours(b"more")))
    assert seen(source, 3) == [(b"", 5), (b"good", 6), (b"more", 7)]
    assert source._socket.capacity < MIB


def test_a_trailer_and_the_brokers_own_bookkeeping_are_passed_over(read: Read) -> None:
    delivered = peer.frame(peer.DELIVER, peer.chunk(1, [peer.entry(ours(b"a"))], trailer=b"trailer"))
    delivered += peer.frame(peer.DELIVER, peer.chunk(2, [peer.entry(b"tracked")], kind=1)) + peer.frame(peer.HEARTBEAT, b"")
    assert seen(read(delivered + peer.deliver(3, ours(b"b"))), 2) == [(b"a", 1), (b"b", 3)]


def test_what_comes_in_pieces_is_gone_on_with_by_the_next_call(opened) -> None:
    whole = peer.deliver(5, ours(b"a" * 1_000), ours(b"b" * 500_000))
    pieces = [whole[:3], whole[3:30], whole[30:70], whole[70:300], whole[300:2_000], whole[2_000:300_000], whole[300_000:]]
    good = GoodNode()

    def piecewise(key: int, correlation: int, content: bytes) -> bytes | None:
        return pieces.pop(0) if key == peer.HEARTBEAT else good(key, correlation, content)

    there = opened(StreamPeer(piecewise))
    connection = StreamConnection(Address("127.0.0.1", there.port), BrokerUrl.parse("amqp://u:p@h/"), "test", connect_seconds=SOON)
    source, found = opened(StreamChunkSource(connection, "fraud", None)), []
    parts = 0
    while len(found) < 2:
        arrived = source.receive(0.05)
        parts += arrived is PART
        if arrived is not None and arrived is not PART:
            found.append((bytes(arrived.body), arrived.offset))
        elif pieces:
            connection.socket.send(peer.frame(peer.HEARTBEAT, b""))
    assert found == [(b"a" * 1_000, 5), (b"b" * 500_000, 6)]
    assert parts >= 4, "each piece was told of when it came"


def test_credit_is_given_back_as_osiris_chunks_come(read: Read) -> None:
    count = 4 * TOP_UP
    node = GoodNode(b"".join(peer.deliver(number, ours(b"x")) for number in range(count)))
    assert len(seen(read(node), count)) == count
    deadline = time.monotonic() + SOON
    while (given := [content for key, content in node.heard if key == peer.CREDIT]) != [struct.pack(">BH", 0, TOP_UP)] * 4:
        assert time.monotonic() < deadline, given


BROKEN = {
    "another subscription": peer.frame(peer.DELIVER, peer.chunk(0, [peer.entry(ours(b"x"))], subscription=7)),
    "a wrong checksum": peer.frame(peer.DELIVER, peer.chunk(0, [peer.entry(ours(b"x"))], crc=1)),
    "no room for a chunk": peer.frame(peer.DELIVER, b"short"),
    "more data than frame": peer.frame(peer.DELIVER, peer.chunk(0, [peer.entry(ours(b"x"))], data_bytes=1 << 30)),
    "an entry beyond a large chunk": peer.frame(
        peer.DELIVER, peer.chunk(0, [b"\x7f\xff\xff\xff"], data_bytes=CRC_BYTES + 1, trailer=bytes(CRC_BYTES)),
    ),
    "an answer": peer.answer(peer.OPEN, 1),
    "no frame": b"HTTP/1.1 200 OK\r\n\r\n",
    "a frame of 4 GiB": b"\xff\xff\xff\xff\x00\x17\x00\x01",
    "another version": peer.frame(peer.DELIVER, peer.chunk(0, []), version=2),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
def test_what_is_no_stream_protocol_is_a_violation(read: Read, broken: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        read(broken).receive(SOON)


@pytest.mark.parametrize(
    "ended",
    [peer.frame(peer.CLOSE, struct.pack(">IH", 1, 1) + peer.text("bye")), peer.frame(peer.UPDATE, struct.pack(">H", 6) + peer.text("s")),
     peer.frame(0x8009, struct.pack(">HB", 4, 0))],
    ids=["closed", "stream gone", "subscription gone"],
)
def test_what_ends_the_reading_is_told(read: Read, ended: bytes) -> None:
    source = read(peer.deliver(1, ours(b"x")) + ended)
    assert seen(source, 1) == [(b"x", 1)]
    with pytest.raises(BrokerUnreachable):
        source.receive(SOON)


def test_half_a_frame_and_then_silence_is_the_end_after_two_heartbeats(read: Read) -> None:
    source = read(GoodNode(peer.deliver(1, ours(b"x" * 1_000))[:500], heartbeat=1))
    with pytest.raises(BrokerUnreachable, match="nothing was heard"):
        source.receive(SOON)


class Bytes:
    """In place of a connection: bytes that are all there, over and over or once and then the end."""

    def __init__(self, content: bytes, *, endless: bool = False) -> None:
        self.socket, self._whole, self._content, self._endless = self, memoryview(content), memoryview(content), endless
        self.received = 0

    def need(self, count: int, deadline: float) -> memoryview | None:
        if not self._content and self._endless:
            self._content = self._whole
        if count > len(self._content):
            raise BrokerUnreachable("the end")
        assert count <= DEFAULT_LIMITS.chunk_bytes + MIB, "a length was believed"
        return self._content[:count]

    def take(self, count: int) -> None:
        self._content = self._content[count:]
        self.received += count

    def pass_over(self, count: int, deadline: float) -> int:
        self.take(count)
        return 0

    def ignore(self, *_: object) -> None:
        """Credit, heartbeats and the subscription go nowhere."""

    send = keep_alive = subscribe = ignore
    next_head, control = StreamConnection.next_head, StreamConnection.control
    address = Address("h", 1)


@pytest.mark.parametrize(
    ("flood", "told"), [(peer.frame(peer.HEARTBEAT, b""), None), (peer.deliver(1, ours(b"old")), PART)], ids=["heartbeats", "old chunks"],
)
def test_a_flood_of_what_is_of_no_use_does_not_hold_a_call_beyond_its_deadline(flood: bytes, told: ArrivedChunk | None) -> None:
    source = StreamChunkSource(Bytes(flood, endless=True), "fraud", 1_000)  # type: ignore[arg-type]
    assert source.receive(0.01) is told


GOOD = peer.deliver(5, ours(b"a" * 50), ours(b"b"), peer.message(b"c", {"mc-kind": "end", "mc-release": "r"})) + peer.deliver(8, ours(b"d"))


def read_to_the_end(source: StreamChunkSource) -> None:
    for _ in range(1_000):
        source.receive(0)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_deliveries_with_other_bytes_in_them_end_in_chunks_or_an_error_of_the_host(data: st.DataObject) -> None:
    changed = bytearray(GOOD)
    for at in data.draw(st.lists(st.integers(0, len(GOOD) - 1), min_size=1, max_size=6)):
        changed[at] = data.draw(st.integers(0, 255))
    source = StreamChunkSource(Bytes(bytes(changed[: data.draw(st.integers(0, len(changed)))])), "fraud", None)  # type: ignore[arg-type]
    with pytest.raises(HostFault):
        read_to_the_end(source)


# --------------------------------------------------------------------------- which node


@pytest.mark.parametrize(
    ("leader", "replicas", "here", "better"),
    [
        ("a", "", "a", ""), ("a", "", "elsewhere", ""),       # one node has it: stay, whatever it calls itself
        ("a", "b", "b", ""), ("a", "bc", "c", ""),            # on a replica: stay
        ("a", "b", "a", "b"),                                 # on the leader: a replica
        ("a", "b", "d", "ba"), (None, "bc", "d", "bc"),       # on neither: a replica, then the leader
        (None, "", "d", ""),
    ],
)
def test_a_replica_is_preferred(leader: str | None, replicas: str, here: str, better: str) -> None:
    placement = Placement(1, 1, (leader, 5552) if leader else None, tuple((host, 5552) for host in replicas))
    found = [address.host for address in nodes_to_try(placement, Address(here, 5552))]
    assert sorted(found) == sorted(better)
    assert leader not in found[:-1]


def test_another_node_that_holds_the_stream_is_read(opened) -> None:
    replica, first = GoodNode(peer.deliver(1, ours(b"from the replica"))), GoodNode()
    there, here = opened(StreamPeer(replica)), opened(StreamPeer(first))
    first.nodes, first.leader, first.replicas = [("127.0.0.1", here.port), ("127.0.0.1", there.port)], 0, [1]
    first.advertised = ("127.0.0.1", here.port)
    url = BrokerUrl.parse(f"amqp://u:p@127.0.0.1/?stream_port={here.port}")
    assert seen(opened(open_stream(url, "fraud", None, name="test")), 1) == [(b"from the replica", 1)]


def test_a_node_whose_own_name_is_unknown_here_is_read_from_where_it_answered(opened) -> None:
    node = GoodNode(peer.deliver(1, ours(b"x")))
    node.nodes, node.leader, node.replicas = [("rabbit-0.invalid", 5552), ("rabbit-1.invalid", 5552)], 0, [1]
    there = opened(StreamPeer(node))
    url = BrokerUrl.parse(f"amqp://u:p@127.0.0.1/?stream_port={there.port}")
    assert seen(opened(open_stream(url, "fraud", None, name="test")), 1) == [(b"x", 1)]


# --------------------------------------------------------------------------- or AMQP


class ByAmqp:
    """In place of an AMQP source."""

    name = "amqp"

    def receive(self, seconds: float) -> None:
        """Nothing comes."""

    def close(self) -> None:
        """Nothing to close."""


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def refused() -> ChunkSource:
    raise BrokerUnreachable("AMQP does not answer either.")


def test_the_stream_protocol_is_taken_where_it_answers(node: PrivateNode, broker_url: str, opened) -> None:
    open_road(broker_url).publish("fraud", "production").close()
    port = node.status().stream_port
    for option, by in (("", "amqp"), (f"?stream_port={port}", "stream"), (f"?chunks=amqp&stream_port={port}", "amqp"),
                       (f"?chunks=stream&stream_port={port}", "stream"), ("?stream_port=1", "amqp")):
        assert opened(open_road(broker_url + option).chunks("fraud", None)).name == by


def test_a_road_that_is_told_nothing_reads_by_amqp(broker_url: str, opened) -> None:
    road = AmqpRoad(PikaBroker(broker_url))
    opened(road.publish("fraud", "production"))
    assert opened(road.chunks("fraud", None)).name == "amqp"


def test_a_port_that_does_not_answer_is_not_tried_again_for_a_while() -> None:
    clock = Clock()
    chosen = ChosenChunks(BrokerUrl.parse("amqp://u:p@127.0.0.1/?stream_port=1"), clock=clock)
    assert chosen.tries_stream
    assert chosen.open("fraud", None, ByAmqp).name == "amqp"
    assert not chosen.tries_stream
    clock.now += AVOIDED_SECONDS
    assert chosen.tries_stream


def test_a_broker_that_is_away_altogether_is_not_held_against_its_stream_port() -> None:
    chosen = ChosenChunks(BrokerUrl.parse("amqp://u:p@127.0.0.1/?stream_port=1"))
    with pytest.raises(BrokerUnreachable, match="AMQP"):
        chosen.open("fraud", None, refused)
    assert chosen.tries_stream


def test_forced_the_stream_protocol_is_not_replaced() -> None:
    chosen = ChosenChunks(BrokerUrl.parse("amqp://u:p@127.0.0.1/?stream_port=1&chunks=stream"))
    for _ in range(2):
        with pytest.raises(BrokerUnreachable, match="stream protocol"):
            chosen.open("fraud", None, ByAmqp)


def test_what_turns_out_to_speak_something_else_is_avoided_and_what_just_breaks_is_not(opened) -> None:
    for delivered, error, again in ((b"HTTP/1.1 200 OK\r\n", ProtocolViolation, False), (BROKEN["an answer"], ProtocolViolation, False),
                                    (peer.frame(peer.CLOSE, struct.pack(">IH", 1, 1) + peer.text("x")), BrokerUnreachable, True)):
        there = opened(StreamPeer(GoodNode(delivered)))
        chosen = ChosenChunks(BrokerUrl.parse(f"amqp://u:p@127.0.0.1/?stream_port={there.port}"))
        source = opened(chosen.open("fraud", None, refused))
        assert source.name == "stream"
        with pytest.raises(error):
            source.receive(SOON)
        assert chosen.tries_stream is again


def test_nothing_is_guessed_beside_a_port_that_is_not_rabbitmqs_own() -> None:
    assert ChosenChunks(BrokerUrl.parse("amqp://host")).tries_stream
    assert not ChosenChunks(BrokerUrl.parse("amqp://host:5673")).tries_stream
    with pytest.raises(BrokerUnreachable, match="stream_port"):
        open_stream(BrokerUrl.parse("amqp://host:5673"), "fraud", None, name="test")
