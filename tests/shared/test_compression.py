"""Packing is a matter of size and time only: what is unpacked is what was packed, or nothing, within bounds."""

import random

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from modelcast.shared.compression import PAYS_BELOW, pack_chunk, pays, unpack_chunk

TEXT = b"a model that repeats itself, " * 4000
NOISE = random.Random(1).randbytes(len(TEXT))


@given(st.binary(min_size=1, max_size=2000), st.integers(min_value=1, max_value=50))
def test_what_is_packed_comes_back_as_it_was(content: bytes, times: int) -> None:
    packed = pack_chunk(memoryview(content * times))
    if packed is not None:
        assert len(packed) <= PAYS_BELOW * len(content) * times
        assert unpack_chunk(memoryview(packed), max_bytes=len(content) * times) == content * times


def test_only_what_shrinks_is_packed() -> None:
    assert pack_chunk(TEXT) is not None
    assert pack_chunk(NOISE) is None
    assert pays([TEXT, TEXT])
    assert not pays([NOISE, TEXT[: len(NOISE) // 100]])
    assert not pays([])


PACKED = zstandard.ZstdCompressor().compress(TEXT)
BOMB = zstandard.ZstdCompressor(level=19).compress(bytes(64 * 2**20))


@pytest.mark.parametrize(
    "frame",
    [
        b"", b"x", PACKED[:3], PACKED[:9], PACKED[:-1], PACKED + b"x", PACKED + PACKED,
        zstandard.ZstdCompressor(write_content_size=False).compress(TEXT), BOMB, b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd",
        b"\x28\xb5\x2f\xfd\xe0" + (2**62).to_bytes(8, "little") + b"\x01\x00\x00",
    ],
    ids=["empty", "short", "magic", "head", "cut", "more", "two", "no size", "bomb", "skippable", "terabytes"],
)
def test_what_is_no_frame_of_at_most_the_allowed_size_is_nothing(frame: bytes) -> None:
    assert unpack_chunk(frame, max_bytes=len(TEXT)) is None


@given(st.binary(max_size=300), st.integers(min_value=0, max_value=len(PACKED) - 1))
def test_no_bytes_whatever_break_it_or_become_larger_than_allowed(rubbish: bytes, at: int) -> None:
    for frame in (rubbish, b"\x28\xb5\x2f\xfd" + rubbish, PACKED[:at] + rubbish):
        content = unpack_chunk(frame, max_bytes=4096)
        assert content is None or len(content) <= 4096
