"""Whatever arrives, in whatever slices, becomes what pika makes of it: the same messages, the same errors."""

import struct
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from typing import Any

import pika
import pika.channel
import pika.connection
import pika.frame
import pika.spec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pika.exceptions import InvalidFrameError

from modelcast.shared.pika_frames import (
    BEHIND_BYTES,
    BUFFER_BYTES,
    FRAMES_AHEAD,
    GAP_BYTES,
    HEAD,
    MOST_BODY_BYTES,
    MOST_FRAME_BYTES,
    FrameReader,
)

DELIVER = pika.spec.Basic.Deliver("tag", 7, False, "exchange", "key")
PROPERTIES = pika.BasicProperties(headers={"kind": "chunk", "index": 3})


def method(channel: int) -> bytes:
    return pika.frame.Method(channel, DELIVER).marshal()


def header(channel: int, size: int) -> bytes:
    return pika.frame.Header(channel, size, PROPERTIES).marshal()


def fragment(channel: int, content: bytes) -> bytes:
    return pika.frame.Body(channel, content).marshal()


def message(channel: int, body: bytes, most_bytes: int) -> list[bytes]:
    pieces = [body[at : at + most_bytes] for at in range(0, len(body), most_bytes)]
    return [method(channel), header(channel, len(body)), *(fragment(channel, piece) for piece in pieces)]


class Outcome:
    """What pika's own channels make of frames: messages, other frames, and the error that ends it."""

    def __init__(self) -> None:
        self.seen: list[object] = []
        self.error: Exception | None = None
        self._channels: dict[int, Any] = {}

    def process(self, frame: Any) -> None:
        """Do with a frame what a channel of pika does."""
        if isinstance(frame, pika.frame.Method | pika.frame.Header | pika.frame.Body):
            assembler = self._channels.setdefault(frame.channel_number, pika.channel.ContentFrameAssembler())
            if isinstance(frame, pika.frame.Method) and not pika.spec.has_content(frame.method.INDEX):
                self.seen.append((frame.channel_number, repr(frame.method)))
            elif (content := assembler.process(frame)) is not None:
                self.seen.append((frame.channel_number, repr(content[0]), repr(content[1].properties), content[2]))
        else:
            self.seen.append(repr(frame))

    def run(self, slices: Iterable[bytes], receive: Callable[[bytes], None]) -> "Outcome":
        """Receive everything, up to the first error."""
        try:
            for piece in slices:
                receive(piece)
        except Exception as error:  # noqa: BLE001 - whichever pika raises
            self.error = error
        return self


def cut(data: bytes, sizes: Iterable[int]) -> Iterator[bytes]:
    rest = memoryview(data)
    for size in sizes:
        yield bytes(rest[:size])
        rest = rest[size:]
    yield bytes(rest)


def by_pika(slices: Iterable[bytes]) -> tuple[Outcome, bytes]:
    """Return what pika makes of it, and what it still waits for the rest of."""
    outcome, connection = Outcome(), pika.SelectConnection.__new__(pika.SelectConnection)
    connection._frame_buffer, connection.bytes_received = b"", 0
    connection._process_frame = outcome.process  # type: ignore[method-assign]
    return outcome.run(slices, connection._on_data_available), connection._frame_buffer


def fill(reader: FrameReader, data: bytes, outcome: Outcome) -> None:
    """Write into all of the room, as a socket does."""
    while data:
        before = data
        for piece in reader.room():
            assert len(piece) > 0
            count = min(len(piece), len(data))
            piece[:count], data = data[:count], data[count:]
        for frame in reader.take(len(before) - len(data)):
            outcome.process(frame)


def hand(reader: FrameReader, data: bytes, outcome: Outcome) -> None:
    """Hand bytes in."""
    for frame in reader.feed(data):
        outcome.process(frame)


CHANNELS = st.integers(min_value=0, max_value=3)
MESSAGES = st.builds(message, CHANNELS, st.binary(max_size=200), st.integers(min_value=1, max_value=90))
ODDITIES = st.one_of(
    st.just(pika.frame.Heartbeat().marshal()),
    st.just(pika.frame.ProtocolHeader(0, 9, 0).marshal()),
    st.builds(method, CHANNELS),
    st.builds(header, CHANNELS, st.one_of(st.integers(min_value=0, max_value=300), st.just(2**63))),
    st.builds(fragment, CHANNELS, st.binary(max_size=120)),
    st.builds(lambda channel: pika.frame.Method(channel, pika.spec.Channel.CloseOk()).marshal(), CHANNELS),
    st.builds(lambda kind, payload: HEAD.pack(kind, 1, len(payload)) + payload + b"\xce", st.integers(0, 255), st.binary(max_size=40)),
    st.builds(lambda payload, end: HEAD.pack(3, 1, len(payload)) + payload + end, st.binary(max_size=40), st.binary(min_size=1, max_size=1)),
    st.binary(max_size=30),
)


@st.composite
def wires(draw: st.DrawFn) -> bytes:
    """Messages whose frames are mixed with those of others and with what no broker sends, perhaps cut off."""
    queues = draw(st.lists(st.one_of(MESSAGES, ODDITIES.map(lambda odd: [odd])), max_size=8))
    mixed: list[bytes] = []
    while queues:
        index = draw(st.integers(min_value=0, max_value=min(2, len(queues) - 1)))
        mixed.append(queues[index].pop(0))
        queues = [queue for queue in queues if queue]
    data = b"".join(mixed)
    return data[: draw(st.integers(min_value=0, max_value=len(data)))] if draw(st.booleans()) else data


def _left_over(count: int) -> bytes:
    """A body of which pika keeps ``count`` bytes, since nobody ends it, and after it a message of one byte in two parts."""
    return (
        header(1, 2**63) + fragment(1, bytes(count)) + method(1) + header(1, 1) + fragment(1, b"") + fragment(1, b"x")
    )


@settings(max_examples=200)
@example(_left_over(1), [], 8, 50, fill)
@example(_left_over(2), [], BUFFER_BYTES, MOST_BODY_BYTES, fill)
@example(_left_over(3) + _left_over(1), [50], 40, 50, hand)
@given(
    wires(), st.lists(st.integers(min_value=1, max_value=150), max_size=30), st.sampled_from([8, 40, BUFFER_BYTES]),
    st.sampled_from([50, MOST_BODY_BYTES]), st.sampled_from([fill, hand]),
)
def test_any_bytes_in_any_slices_mean_what_they_mean_to_pika(
    data: bytes, sizes: list[int], buffer_bytes: int, most_body_bytes: int, receive: Callable[[FrameReader, bytes, Outcome], None]
) -> None:
    slices = list(cut(data, sizes))
    theirs, waiting = by_pika(slices)
    reader, ours = FrameReader(buffer_bytes, most_body_bytes), Outcome()
    ours.run(slices, lambda piece: receive(reader, piece, ours))
    assert ours.seen == theirs.seen
    if theirs.error is None and len(waiting) >= HEAD.size and waiting[:4] != b"AMQP" and HEAD.unpack_from(waiting)[2] + 8 > MOST_FRAME_BYTES:
        assert isinstance(ours.error, InvalidFrameError)   # where pika would wait for up to 4 GiB
    else:
        assert (type(ours.error), str(ours.error)) == (type(theirs.error), str(theirs.error))


@pytest.mark.parametrize("size", [1, BUFFER_BYTES, 3_000_000, MOST_BODY_BYTES, MOST_BODY_BYTES + 1])
def test_a_large_body_comes_whole_and_as_bytes(size: int) -> None:
    body = bytes(range(251)) * (size // 251 + 1)
    wire = b"".join(message(1, body[:size], 131_064)) + b"".join(message(2, b"next", 10))
    reader, outcome = FrameReader(), Outcome()
    for piece in cut(wire, [100_000] * (len(wire) // 100_000)):
        fill(reader, piece, outcome)
    (first, second) = (one for one in outcome.seen if isinstance(one, tuple))
    assert (type(first[3]), first[3], second[3]) == (bytes, body[:size], b"next")


@pytest.mark.parametrize("piece_bytes", [1_000, 100_000])
def test_what_came_of_bodies_is_counted_as_it_comes_whole_or_not(piece_bytes: int) -> None:
    body = bytes(300_000)
    wire = b"".join(message(1, body, 131_064)) + pika.frame.Heartbeat().marshal() * 50 + b"".join(message(2, b"next", 2))
    reader, outcome, counts = FrameReader(), Outcome(), [0]
    for piece in cut(wire, [piece_bytes] * (len(wire) // piece_bytes)):
        fill(reader, piece, outcome)
        counts.append(reader.body_bytes)
        assert counts[-2] <= counts[-1] <= counts[-2] + len(piece)
    assert counts[-1] == 300_004
    assert len({*counts}) > 300_000 // piece_bytes


def begun(size: int) -> FrameReader:
    """A reader in the middle of a body, whose first frame has 100,000 bytes."""
    reader = FrameReader()
    list(reader.feed(method(1) + header(1, size) + HEAD.pack(3, 1, 100_000)))
    return reader


def test_a_body_is_received_where_it_stays_in_one_go() -> None:
    reader = begun(250_000)
    room = reader.room()
    assert [len(piece) for piece in room] == [100_000, GAP_BYTES, 100_000, GAP_BYTES, 50_000, BEHIND_BYTES]
    wire = b"x" * 100_000 + b"\xce" + fragment(1, b"y" * 100_000) + fragment(1, b"z" * 50_000)
    at = 0
    for piece in room[:-1]:
        piece[:] = wire[at : at + len(piece)]
        at += len(piece)
    room[-1][:1] = b"\xce"
    del piece, room   # nobody can write to the body any more
    (frame,) = reader.take(len(wire))
    assert frame.fragment == b"x" * 100_000 + b"y" * 100_000 + b"z" * 50_000


def test_only_so_many_frames_are_received_in_one_go() -> None:
    assert len(begun(100_000 * 50).room()) == 1 + 2 * FRAMES_AHEAD + 1


@pytest.mark.parametrize("other", [method(2), fragment(2, b"of another channel"), fragment(1, b"z" * 300), pika.frame.Heartbeat().marshal()])
def test_what_comes_instead_of_the_frame_that_was_guessed_is_read_all_the_same(other: bytes) -> None:
    rest = b"x" * 100_000 + b"\xce" + other + fragment(1, b"y" * 100_000) + method(3)
    for count in (100_001, 100_005, 100_020, 150_000, len(rest)):
        reader, frames = begun(250_000), list[Any]()
        for piece in (rest[:count], rest[count:]):
            at = 0
            for room in reader.room():
                size = min(len(room), len(piece) - at)
                room[:size] = piece[at : at + size]
                at += size
            frames += [*reader.take(at), *reader.feed(piece[at:])]
        assert frames[-1].channel_number == 3
        assert reader._body is not None
        assert reader._body.filled == 200_000 + (300 if b"z" in other else 0)


def test_a_body_is_written_once_and_never_again_after_it_was_handed_out() -> None:
    fresh = bytes(1_000)
    where, content = id(fresh), BytesIO(fresh)
    del fresh
    content.getbuffer()[:3] = b"abc"
    assert id(content.getvalue()) == where   # what the reader rests on: neither takes a copy
    reader, bodies, kept = FrameReader(), list[bytes](), list[BytesIO]()
    for letter in (b"a", b"b"):
        start, rest = cut(b"".join(message(1, letter * 500, 100)), [300])
        list(reader.feed(start))
        assert reader._body is not None
        kept.append(reader._body._content)
        outcome = Outcome()
        outcome.process = lambda frame: bodies.append(frame.fragment)  # type: ignore[method-assign]
        fill(reader, rest, outcome)
    assert bodies == [b"a" * 500, b"b" * 500]
    assert all(body is content.getvalue() for body, content in zip(bodies, kept, strict=True))


@pytest.mark.parametrize("size", [MOST_FRAME_BYTES, 2**32 - 1])
def test_a_frame_that_claims_to_be_larger_than_any_is_refused_at_its_head(size: int) -> None:
    with pytest.raises(InvalidFrameError, match="at most"):
        list(FrameReader().feed(struct.pack(">BHI", 1, 0, size)))


def test_what_is_announced_takes_no_more_memory_than_one_body_of_the_largest_size() -> None:
    reader = FrameReader(most_body_bytes=1_000)
    announced = [*(header(channel, 1_000) for channel in range(1, 200)), header(7, 2**63), header(7, 1_001)]
    assert len(list(reader.feed(b"".join(announced)))) == len(announced)
    assert reader._body is not None
    assert (reader._body.channel, reader._body.size, len(reader._buffer)) == (1, 1_000, BUFFER_BYTES)


def test_a_frame_larger_than_the_buffer_gets_a_buffer_for_as_long_as_it_comes() -> None:
    reader = FrameReader()
    large = fragment(5, bytes(3 * BUFFER_BYTES))
    assert list(reader.feed(large[:BUFFER_BYTES])) == []
    assert len(reader._buffer) == len(large)
    (frame,) = reader.feed(large[BUFFER_BYTES:])
    assert (len(frame.fragment), len(reader._buffer)) == (3 * BUFFER_BYTES, BUFFER_BYTES)


def test_pika_still_decodes_and_joins_as_the_reader_expects() -> None:
    assert callable(pika.frame.decode_frame)
    body = bytes(100_000)
    assembler = pika.channel.ContentFrameAssembler()
    for frame in (pika.frame.Method(1, DELIVER), pika.frame.Header(1, len(body), PROPERTIES)):
        assert assembler.process(frame) is None
    content = assembler.process(pika.frame.Body(1, body))
    assert content is not None
    assert content[2] is body   # one piece is passed on as it is
