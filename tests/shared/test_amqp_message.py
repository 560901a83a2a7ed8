"""The message in which RabbitMQ wraps a chunk, and the bytes that anybody else may have put in its place."""

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import stream_peer as peer

from modelcast.shared.amqp_message import MOST_CHARACTERS, MOST_PROPERTIES, MOST_SECTIONS, read_message
from modelcast.shared.errors import ProtocolViolation

WANTED = frozenset({"mc-kind", "mc-release", "mc-digest"})
SEEN_ON_3_10 = bytes.fromhex(
    "005372c14f06a30d782d726f7574696e672d6b6579a100a30a782d65786368616e6765a1166d6f64656c636173742e70726f62652e6368756e6b73"
    "a315782d62617369632d64656c69766572792d6d6f6465500200"
    "5373c0280d404040404040a3196170706c69636174696f6e2f766e642e6d6f64656c63617374404040404040"
    "005374c12f04a1076d632d6b696e64a105626567696ea10a6d632d72656c65617365a11062363036643662616466636166666266"
    "005375a000"
)


def read(message: bytes) -> tuple[bytes, dict[str, str | int]]:
    found = read_message(memoryview(message), WANTED)
    return bytes(found.body), dict(found.properties)


def test_a_marker_as_rabbitmq_3_10_stores_it_is_read() -> None:
    assert read(SEEN_ON_3_10) == (b"", {"mc-kind": "begin", "mc-release": "b606d6badfcaffbf"})


def test_the_body_is_a_view_and_no_copy() -> None:
    stored = bytearray(peer.message(b"body", {"mc-kind": "chunk"}))
    found = read_message(memoryview(stored), WANTED)
    stored[-1:] = b"!"
    assert bytes(found.body) == b"bod!"


@given(st.binary(max_size=600), st.dictionaries(st.sampled_from([*sorted(WANTED), "other"]), st.text(max_size=99) | st.integers(-(2**31), 2**31 - 1)))
def test_body_texts_and_integers_are_read_as_they_were_written(body: bytes, properties: dict[str, str | int]) -> None:
    wanted = {key: item for key, item in properties.items() if key in WANTED}
    assert read(peer.message(body, properties)) == (body, wanted)


@pytest.mark.parametrize(("encoded", "number"), [
    (b"\x50\xff", 255), (b"\x51\xff", -1), (b"\x60\x01\x00", 256), (b"\x61\xff\xfe", -2), (b"\x70\x00\x00\x00\x07", 7), (b"\x43", 0),
    (b"\x52\x09", 9), (b"\x71\xff\xff\xff\xff", -1), (b"\x54\x80", -128), (b"\x80" + b"\xff" * 8, 2**64 - 1), (b"\x53\x03", 3),
    (b"\x44", 0), (b"\x81" + b"\xff" * 8, -1), (b"\x55\x7f", 127),
])
def test_every_encoding_of_an_integer_is_read(encoded: bytes, number: int) -> None:
    pair = b"\xa1\x07mc-kind" + encoded
    assert read(b"\x00\x53\x74\xc1" + bytes([len(pair) + 1, 2]) + pair) == (b"", {"mc-kind": number})


def test_a_body_in_pieces_is_put_together_and_a_message_without_one_is_empty() -> None:
    assert read(b"\x00\x53\x75\xa0\x01a\x00\x53\x75\xb0\x00\x00\x00\x01b") == (b"ab", {})
    assert read(b"") == (b"", {})
    assert read(b"\x00\x53\x77\xa1\x04text") == (b"", {})   # an AMQP 1.0 client's, and none of ours


def test_a_section_may_be_named_at_full_length() -> None:
    assert read(b"\x00\x80" + struct.pack(">Q", 0x75) + b"\xa0\x01a") == (b"a", {})


def test_a_property_that_is_too_long_is_not_read() -> None:
    assert read(peer.message(b"", {"mc-digest": "a" * MOST_CHARACTERS}))[1] == {"mc-digest": "a" * MOST_CHARACTERS}
    assert read(peer.message(b"", {"mc-digest": "a" * (MOST_CHARACTERS + 1), "mc-kind": "x"}))[1] == {"mc-kind": "x"}


def test_a_value_of_another_type_is_passed_over() -> None:
    values = [b"\x40", b"\x41", b"\x50\x01", b"\x60\0\0", b"\x70\0\0\0\0", b"\x80" + b"\0" * 8, b"\x98" + b"\0" * 16, b"\xa0\x01x",
              b"\xb0\0\0\0\x01x", b"\xc0\x01\x00", b"\xd0\0\0\0\x04\0\0\0\0", b"\xe0\x02\x00\x40", b"\xf0\0\0\0\x05\0\0\0\0\x40"]
    for one in values:
        pairs = b"\xa1\x01k" + one + b"\xa1\x07mc-kind" + b"\xa1\x05chunk"
        assert read(b"\x00\x53\x74\xd1" + struct.pack(">II", len(pairs) + 4, 4) + pairs) == (b"", {"mc-kind": "chunk"})


@pytest.mark.parametrize(
    "message",
    [
        b"hello", b"\x00", b"\x00\x53", b"\x00\x53\x75", b"\x00\x53\x75\xa0", b"\x00\x53\x75\xb0\xff\xff\xff\xff", b"\x00\x53\x75\xa0\x02a",
        b"\x00\x53\x75\xa1\x01a",                                  # a body that is a text
        b"\x00\x53\x10\x45", b"\x00\x80" + struct.pack(">Q", 2**63), b"\x00\xa3\x04data\xa0\x00",   # sections that there are not
        b"\x00\x53\x74\xc1\x02\x04\x40",                           # more pairs than there is room for
        b"\x00\x53\x74\xc1\x03\x01\xa1\x00", b"\x00\x53\x74\xd1\0\0\0\x04\xff\xff\xff\xfe",
        b"\x00\x53\x70\x00\x53\x10\x45", b"\x00\x53\x70\x15", b"\x00\x53\x70\x45" * (MOST_SECTIONS + 1),
        peer.message(b"", {f"key {number}": number for number in range(MOST_PROPERTIES + 1)}),
    ],
)
def test_what_is_no_message_is_a_violation(message: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        read(message)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_violation(message: bytes) -> None:
    with suppress(ProtocolViolation):
        read(message)


@given(st.data())
def test_a_message_with_other_bytes_in_it_is_a_message_or_a_violation(data: st.DataObject) -> None:
    message = bytearray(SEEN_ON_3_10)
    for at in data.draw(st.lists(st.integers(0, len(message) - 1), min_size=1, max_size=5)):
        message[at] = data.draw(st.integers(0, 255))
    with suppress(ProtocolViolation):
        read(bytes(message[: data.draw(st.integers(0, len(message)))]))
