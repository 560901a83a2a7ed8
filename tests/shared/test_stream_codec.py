"""What a reader says, byte by byte, and what it makes of whatever a broker, or somebody in its place, answers."""

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import stream_peer as peer

from modelcast.shared import stream_codec as codec
from modelcast.shared.errors import ProtocolViolation
from modelcast.shared.stream_codec import Answer, Closing, CreditRefused, Ended, FrameHead, Heartbeat, Placement, Tuning


def read(frame: bytes) -> codec.Control:
    head = codec.read_head(frame[: codec.HEAD_BYTES])
    assert head.body_bytes == len(frame) - codec.HEAD_BYTES
    return codec.read_control(head, frame[codec.HEAD_BYTES :])


@pytest.mark.parametrize(
    ("request_", "written"),
    [
        (codec.peer_properties(1, {"a": "b"}), "00000012 0011 0001 00000001 00000001 000161 000162"),
        (codec.sasl_handshake(2), "00000008 0012 0001 00000002"),
        (codec.sasl_plain(3, "u", "p"), "00000017 0013 0001 00000003 0005504c41494e 00000004 00750070"),
        (codec.tune(65536, 30), "0000000c 0014 0001 00010000 0000001e"),
        (codec.open_vhost(4, "/"), "0000000b 0015 0001 00000004 00012f"),
        (codec.metadata(5, "s"), "0000000f 000f 0001 00000005 00000001 000173"),
        (codec.subscribe(6, 0, "s", 7, 10), "0000001c 0007 0001 00000006 00 000173 0004 0000000000000007 000a 00000000"),
        (codec.subscribe(6, 0, "s", "first", 10), "00000014 0007 0001 00000006 00 000173 0001 000a 00000000"),
        (codec.subscribe(6, 0, "s", "next", 10), "00000014 0007 0001 00000006 00 000173 0003 000a 00000000"),
        (codec.credit(0, 5), "00000007 0009 0001 00 0005"),
        (codec.heartbeat(), "00000004 0017 0001"),
        (codec.close(7, "ok"), "0000000e 0016 0001 00000007 0001 00026f6b"),
    ],
)
def test_a_request_is_written_as_the_protocol_says(request_: bytes, written: str) -> None:
    assert request_ == bytes.fromhex(written)


@pytest.mark.parametrize(
    ("frame", "means"),
    [
        (peer.answer(peer.PEER, 1, rest=peer.words({"product": "RabbitMQ"})), Answer(0x11, 1, 1, {"product": "RabbitMQ"})),
        (peer.answer(peer.SASL, 2, rest=struct.pack(">I", 1) + peer.text("PLAIN")), Answer(0x12, 2, 1, {"PLAIN": ""})),
        (peer.answer(peer.LOGIN, 3, 8), Answer(0x13, 3, 8, {})),
        (peer.answer(peer.OPEN, 4, 0x0C), Answer(0x15, 4, 0x0C, {})),
        (peer.frame(peer.TUNE, struct.pack(">II", 1 << 20, 60)), Tuning(1 << 20, 60)),
        (peer.frame(peer.HEARTBEAT, b""), Heartbeat()),
        (peer.frame(peer.CLOSE, struct.pack(">IH", 1, 1) + peer.text("bye")), Closing(1, "bye")),
        (peer.frame(peer.UPDATE, struct.pack(">H", 6) + peer.text("s")), Ended(6, "s")),
        (peer.frame(0x8000 | peer.CREDIT, struct.pack(">HB", 4, 0)), CreditRefused(4)),
        (
            peer.placement(5, [("a", 1), ("b", 2), ("c", 3)], 1, [0, 2, 9]),
            Placement(5, 1, ("b", 2), (("a", 1), ("c", 3))),   # node 9 is none of those that were named
        ),
        (peer.placement(5, [], 0xFFFF, [], code=6), Placement(5, 6, None, ())),
    ],
)
def test_an_answer_is_read(frame: bytes, means: codec.Control) -> None:
    assert read(frame) == means


@pytest.mark.parametrize(
    "head",
    [
        struct.pack(">IHH", 3, 0x17, 1), struct.pack(">IHH", 4, 0x17, 2), struct.pack(">IHH", 0xFFFFFFFF, 0x8011, 1),
        struct.pack(">IHH", codec.MOST_CONTROL_BYTES + 1, 0x10, 1), struct.pack(">IHH", 60, 0x08, 2), b"", b"HTTP/1.1", b"AMQP\0\0\x09\x01",
    ],
)
def test_what_begins_no_frame_is_a_violation(head: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        codec.read_head(head)


def test_a_delivery_may_be_larger_than_a_control_frame() -> None:
    assert codec.read_head(struct.pack(">IHH", 1 << 31, 0x08, 1)) == FrameHead(0x08, 1, (1 << 31) - 4)


@pytest.mark.parametrize("key", [0x01, 0x02, 0x07, 0x0F, 0x11, 0x1A, 0x7FFF])
def test_a_command_that_a_broker_does_not_send_is_a_violation(key: int) -> None:
    with pytest.raises(ProtocolViolation, match="not asked for"):
        codec.read_control(FrameHead(key, 1, 0), b"")


def test_counts_are_not_believed() -> None:
    for frame in (
        peer.answer(peer.PEER, 1, rest=struct.pack(">I", 0xFFFFFFFF)),
        peer.answer(peer.SASL, 1, rest=struct.pack(">I", codec.MOST_ITEMS + 1) + peer.text("") * (codec.MOST_ITEMS + 1)),
        peer.frame(0x800F, struct.pack(">II", 1, 0xFFFFFFFF)),
        peer.frame(0x800F, struct.pack(">III", 1, 0, 2) + (peer.text("s") + struct.pack(">HHI", 1, 0, 0)) * 2),
        peer.frame(0x800F, struct.pack(">III", 1, 0, 0)),
    ):
        with pytest.raises(ProtocolViolation):
            read(frame)


def test_a_text_that_is_null_is_empty_and_one_that_is_no_utf_8_is_text_all_the_same() -> None:
    assert read(peer.frame(peer.UPDATE, struct.pack(">HH", 6, 0xFFFF))) == Ended(6, "")
    assert read(peer.frame(peer.UPDATE, struct.pack(">HH", 6, 1) + b"\xff")) == Ended(6, "�")


WHOLE = [
    peer.answer(peer.PEER, 1, rest=peer.words({"product": "RabbitMQ", "version": "4"})),
    peer.answer(peer.SASL, 2, rest=struct.pack(">I", 1) + peer.text("PLAIN")),
    peer.frame(peer.CLOSE, struct.pack(">IH", 1, 1) + peer.text("bye")),
    peer.frame(peer.UPDATE, struct.pack(">H", 6) + peer.text("stream")),
    peer.placement(5, [("a", 1), ("b", 2)], 1, [0]),
    peer.frame(peer.TUNE, struct.pack(">II", 1, 2)),
]


@pytest.mark.parametrize("frame", WHOLE)
def test_a_frame_that_is_cut_anywhere_is_a_violation(frame: bytes) -> None:
    head = codec.read_head(frame[: codec.HEAD_BYTES])
    for end in range(codec.HEAD_BYTES, len(frame)):
        if (head.key, end) in {(0x8011, 14), (0x8012, 14)}:
            continue   # an answer without the rest is what a refusal looks like
        with pytest.raises(ProtocolViolation):
            codec.read_control(head, frame[codec.HEAD_BYTES : end])


@given(st.integers(0, 0xFFFF), st.binary(max_size=300))
def test_any_bytes_are_a_frame_or_a_violation(key: int, content: bytes) -> None:
    with suppress(ProtocolViolation):
        codec.read_control(FrameHead(key, 1, len(content)), content)


@given(st.sampled_from(WHOLE), st.data())
def test_a_frame_with_other_bytes_in_it_is_a_frame_or_a_violation(frame: bytes, data: st.DataObject) -> None:
    changed = bytearray(frame)
    for at in data.draw(st.lists(st.integers(0, len(frame) - 1), max_size=4)):
        changed[at] = data.draw(st.integers(0, 255))
    with suppress(ProtocolViolation):
        head = codec.read_head(changed[: codec.HEAD_BYTES])
        codec.read_control(head, changed[codec.HEAD_BYTES :])


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=20), max_size=5), st.integers(0, 2**32 - 1))
def test_words_are_read_as_they_were_written(pairs: dict[str, str], correlation: int) -> None:
    assert read(peer.answer(peer.OPEN, correlation, rest=peer.words(pairs))) == Answer(0x15, correlation, 1, pairs)
