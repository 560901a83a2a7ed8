"""Entries of an osiris chunk: where they lie and which offsets they have; what contradicts itself is a violation."""

import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import stream_peer as peer

from modelcast.shared.errors import ProtocolViolation
from modelcast.shared.osiris_chunk import DELIVER_BYTES, Entry, EntryWalk, check_crc, read_chunk_head


def walked(content: bytes) -> list[tuple[int, bytes | None]]:
    """Return offset and bytes of every entry, None for what is to be passed over."""
    chunk = read_chunk_head(len(content), content)
    walk, at, found = EntryWalk(chunk), DELIVER_BYTES, list[tuple[int, bytes | None]]()
    while not walk.is_done:
        if at >= len(content):
            raise ProtocolViolation("the source would wait here")
        size = walk.head_bytes(content[at])
        head = content[at : at + size]
        if len(head) < size:
            raise ProtocolViolation("the source would wait here")
        entry = walk.next(head)
        at += entry.head_bytes
        found.append((entry.offset, content[at : at + entry.size] if entry.is_message else None))
        at += entry.size
        assert at <= len(content)
    assert at + chunk.trailing_bytes == len(content)
    return found


@given(st.lists(st.binary(max_size=40), max_size=20), st.integers(0, 2**63), st.binary(max_size=10))
def test_entries_are_found_with_their_offsets(stored: list[bytes], first: int, trailer: bytes) -> None:
    content = peer.chunk(first, [peer.entry(one) for one in stored], trailer=trailer)
    assert walked(content) == [(first + number, one) for number, one in enumerate(stored)]


def test_a_batch_is_passed_over_and_its_messages_count_as_offsets() -> None:
    content = peer.chunk(10, [peer.entry(b"a"), peer.batch(5, b"packed"), peer.batch(2, b"plain", 0), peer.entry(b"b")], records=9)
    assert walked(content) == [(10, b"a"), (11, None), (16, None), (18, b"b")]


def test_what_the_broker_keeps_for_itself_is_passed_over() -> None:
    assert walked(peer.chunk(10, [peer.entry(b"tracking")], kind=1)) == []


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\0" * 48, peer.chunk(0, [], magic=0x51), peer.chunk(0, [], magic=0),
        peer.chunk(0, [peer.entry(b"a")], data_bytes=6), peer.chunk(0, [peer.entry(b"a")], data_bytes=0xFFFFFFFF),
        peer.chunk(0, [peer.entry(b"a")], records=0),
    ],
)
def test_a_head_that_contradicts_itself_is_a_violation(content: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        read_chunk_head(len(content), content)


@pytest.mark.parametrize(
    "content",
    [
        peer.chunk(0, [peer.entry(b"a")], records=2),                      # an offset without a message
        peer.chunk(0, [peer.entry(b"a"), peer.entry(b"b")], data_bytes=5, trailer=b""),   # the second lies beyond the data
        peer.chunk(0, [b"\x00\x00\x00\x05abc"]),                           # longer than what is there
        peer.chunk(0, [b"\x7f\xff\xff\xff"]),
        peer.chunk(0, [peer.batch(9, b"x")], records=1),                   # more messages than the chunk has
        peer.chunk(0, [peer.batch(1, b"x")[:-1]]),
        peer.chunk(0, [peer.entry(b"a") + b"left over"]),
    ],
)
def test_entries_that_do_not_fill_their_chunk_are_a_violation(content: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        walked(content)


def test_the_checksum_is_that_of_all_entries() -> None:
    data = peer.entry(b"a") + peer.entry(b"b")
    chunk = read_chunk_head(DELIVER_BYTES + len(data), peer.chunk(7, [peer.entry(b"a"), peer.entry(b"b")]))
    assert chunk.crc == zlib.crc32(data)
    check_crc(chunk, data)
    with pytest.raises(ProtocolViolation, match="offset 7"):
        check_crc(chunk, data[:-1] + b"c")


@given(st.data())
def test_a_chunk_with_other_bytes_in_it_is_walked_or_a_violation(data: st.DataObject) -> None:
    content = bytearray(peer.chunk(3, [peer.entry(b"abc"), peer.batch(2, b"xyz"), peer.entry(b"")], records=4))
    for at in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[at] = data.draw(st.integers(0, 255))
    with suppress(ProtocolViolation):
        walked(bytes(content))


def test_an_entry_is_a_value() -> None:
    assert Entry(1, 4, 2) == Entry(1, 4, 2, is_message=True)
