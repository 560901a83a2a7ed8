"""The pointer's record: it is read back exactly, or not at all."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelcast.consumer.pointer import MAGIC, KeptBookmark, Pointer
from modelcast.consumer.sealed import seal, unseal
from modelcast.shared.digest import digest
from modelcast.shared.packing import pack
from modelcast.shared.road import Bookmark

POINTER = Pointer(7, "a" * 64, "b" * 64, 12, "2.1.0", bytes(32), 2, ("c" * 64,))
IDS = st.text("0123456789abcdef", min_size=64, max_size=64)
NUMBERS = st.integers(0, 2**63 - 1)
POINTERS = st.builds(
    Pointer, NUMBERS, st.none() | IDS, st.none() | IDS, NUMBERS, st.text(max_size=64), st.binary(min_size=32, max_size=32),
    st.integers(0, 3), st.lists(IDS, max_size=16).map(tuple), st.booleans(),
    st.none() | st.builds(KeptBookmark, st.builds(Bookmark, NUMBERS, IDS), st.binary(min_size=32, max_size=32)), st.none() | IDS, st.booleans(),
)


@given(POINTERS)
def test_a_record_gives_back_the_pointer(pointer: Pointer) -> None:
    assert Pointer.from_bytes(pointer.to_bytes()) == pointer


def test_any_flipped_bit_makes_it_no_record() -> None:
    record = POINTER.to_bytes()
    for at in range(len(record)):
        for bit in range(8):
            flipped = record[:at] + bytes([record[at] ^ 1 << bit]) + record[at + 1 :]
            assert Pointer.from_bytes(flipped) is None


def test_any_truncation_or_addition_makes_it_no_record() -> None:
    record = POINTER.to_bytes()
    for length in range(len(record)):
        assert Pointer.from_bytes(record[:length]) is None
    assert Pointer.from_bytes(record + b"\0") is None


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_no_record(body: bytes) -> None:
    assert Pointer.from_bytes(body) is None
    assert Pointer.from_bytes(MAGIC + body) is None


@pytest.mark.parametrize("body", [b"", b"\x80", pack({"generation": 1}), pack({"bad": None}), b"\xc1", b"\x93\x01\x02\x03"])
def test_a_record_whose_check_is_right_but_whose_fields_are_not_is_no_record(body: bytes) -> None:
    assert Pointer.from_bytes(MAGIC + digest(body) + body) is None


def test_a_record_of_an_earlier_modelcast_has_no_bookmark() -> None:
    fields = unseal(MAGIC, POINTER.to_bytes(), max_bytes=4096)
    assert fields is not None
    del fields["bookmark"], fields["order"], fields["is_back"]
    assert Pointer.from_bytes(seal(MAGIC, fields)) == POINTER


@pytest.mark.parametrize("bookmark", [[], [1], [1, "a" * 64, b"", 2], ["1", "a" * 64, b""], 7, "abc", {"offset": 1}])
def test_a_bookmark_that_cannot_be_read_costs_the_bookmark_only(bookmark: object) -> None:
    fields = unseal(MAGIC, POINTER.to_bytes(), max_bytes=4096)
    assert fields is not None
    assert Pointer.from_bytes(seal(MAGIC, fields | {"bookmark": bookmark})) == POINTER


def test_a_bookmark_is_good_for_its_own_reader_only() -> None:
    bookmark = Bookmark(3, "d" * 64)
    pointer = replace(POINTER, bookmark=KeptBookmark(bookmark, b"reader"))
    assert pointer.bookmark_of(b"reader") == bookmark
    assert pointer.bookmark_of(b"another") is None
    assert POINTER.bookmark_of(b"reader") is None
