"""Chunks cover a file exactly, and begin again at its parts."""

from hypothesis import given
from hypothesis import strategies as st

from modelcast.publisher.chunking import MIN_CUT_BYTES, chunk_sizes
from modelcast.shared.limits import KIB, MIB

SIZES = st.integers(0, 20 * MIB)


@given(SIZES, st.integers(64 * KIB, 8 * MIB), st.lists(SIZES, max_size=20))
def test_chunks_cover_the_file_exactly_and_none_is_empty_or_too_large(size: int, chunk_bytes: int, cuts: list[int]) -> None:
    sizes = chunk_sizes(size, chunk_bytes, cuts)
    assert sum(sizes) == size
    assert all(0 < one <= chunk_bytes for one in sizes)


@given(st.integers(1, 10 * MIB), st.integers(1, 10 * MIB))
def test_a_part_keeps_its_chunks_whatever_stands_before_it(before: int, part: int) -> None:
    alone = chunk_sizes(part, MIB)
    behind = chunk_sizes(before + part, MIB, [before])
    if before >= MIN_CUT_BYTES:
        assert behind[-len(alone):] == alone


def test_small_parts_share_a_chunk() -> None:
    assert chunk_sizes(10 * KIB, MIB, [1 * KIB, 2 * KIB, 3 * KIB]) == [10 * KIB]
