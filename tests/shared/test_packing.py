"""Packing: strict, bounded, total."""

import math
import time

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelcast.shared.errors import SenderFault
from modelcast.shared.packing import pack, unpack
from modelcast.shared.reasons import Reason

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)
messages = st.dictionaries(st.text(), plain, max_size=6)


def refused(body: bytes, **options: int) -> SenderFault:
    with pytest.raises(SenderFault) as caught:
        unpack(body, what="test message", **options)
    return caught.value


def attempt(body: bytes) -> dict[str, object] | SenderFault:
    try:
        return unpack(body, what="test message")
    except SenderFault as error:
        return error


@given(messages)
def test_what_was_packed_is_unpacked_the_same(message: dict[str, object]) -> None:
    assert unpack(pack(message), what="test message") == message


@given(messages)
def test_equal_messages_have_equal_bytes(message: dict[str, object]) -> None:
    assert pack(message) == pack(dict(message))


@given(st.binary(max_size=300))
@example(b"\xc1")
@example(b"\xde\xff\xff")
@example(b"\xdf\xff\xff\xff\xff")
@example(b"\xdd\xff\xff\xff\xff")
@example(b"\xdb\xff\xff\xff\xff")
@example(b"\x81\xa1a" * 100)
def test_any_bytes_are_a_map_or_the_senders_fault(body: bytes) -> None:
    seen = attempt(body)
    assert seen.reason is Reason.MALFORMED if isinstance(seen, SenderFault) else all(isinstance(key, str) for key in seen)


@given(messages, st.data())
def test_a_flipped_byte_gives_a_map_or_the_senders_fault(message: dict[str, object], data: st.DataObject) -> None:
    body = bytearray(pack(message))
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    assert isinstance(attempt(bytes(body)), dict | SenderFault)


@pytest.mark.parametrize(
    "body",
    [
        b"", msgpack.packb([1]), msgpack.packb(1), msgpack.packb(None), msgpack.packb("text"),
        pack({"a": 1}) + b"\x00", pack({"a": 1})[:-1],
        b"\x82\xa1a\x01\xa1a\x02", b"\x81\xa1x\x82\xa1a\x01\xa1a\x02",
        msgpack.packb({1: 2}), msgpack.packb({b"a": 2}), msgpack.packb({"a": {1: 2}}), b"\x81\xc0\x01", b"\x81\x90\x01",
        b"\x81\xa1\xff\x01", b"\x81\xa1a\xa1\xff",
        msgpack.packb({"a": msgpack.ExtType(5, b"x")}), msgpack.packb({"a": msgpack.Timestamp(1)}),
        msgpack.packb({"a": [[msgpack.Timestamp(1)]]}),
    ],
    ids=[
        "nothing", "list", "number", "nil", "text", "something-behind", "cut", "key-twice", "inner-key-twice", "number-key",
        "bytes-key", "inner-number-key", "nil-key", "list-key", "key-not-utf8", "text-not-utf8", "extension", "timestamp",
        "inner-timestamp",
    ],
)
def test_what_is_not_one_map_with_text_keys_is_refused(body: bytes) -> None:
    error = refused(body)
    assert error.reason is Reason.MALFORMED
    assert "test message" in str(error)


@pytest.mark.parametrize("depth", [40, 600, 5_000, 200_000])
def test_deep_nesting_is_refused_without_harm(depth: int) -> None:
    assert refused(b"\x81\xa1a" + b"\x91" * depth + b"\x01").reason is Reason.MALFORMED


def test_our_own_messages_nest_less_deeply_than_is_taken() -> None:
    unpack(pack({"a": [[[[[[[[{"b": 1}]]]]]]]]}), what="test message")


def test_a_body_over_the_limit_is_refused_by_its_length() -> None:
    body = pack({"a": b"x" * 100})
    assert refused(body, max_bytes=len(body) - 1).reason is Reason.TOO_LARGE
    assert unpack(body, what="test message", max_bytes=len(body))


def test_nested_arrays_that_claim_a_million_elements_cost_next_to_nothing() -> None:
    began = time.perf_counter()
    refused(b"\x81\xa1a" + b"\xdd\x00\x0f\x42\x40" * 500)
    assert time.perf_counter() - began < 0.5


def test_a_view_is_unpacked_like_bytes() -> None:
    assert unpack(memoryview(pack({"a": b"1"})), what="test message") == {"a": b"1"}


def test_special_numbers_survive() -> None:
    numbers = unpack(pack({"n": [math.inf, -math.inf, math.nan, -0.0]}), what="test message")["n"]
    assert numbers[:2] == [math.inf, -math.inf]
    assert math.isnan(numbers[2])
    assert math.copysign(1, numbers[3]) == -1
