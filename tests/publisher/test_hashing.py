"""Digests of what is read once are those of the whole, however it is cut and however far the thread lags behind."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelcast.publisher.hashing import MIN_BESIDE_BYTES, MOST_WAITING, Hashing
from modelcast.shared.digest import digest

SIZES = st.sampled_from([0, 1, 100, MIN_BESIDE_BYTES - 1, MIN_BESIDE_BYTES, MIN_BESIDE_BYTES + 1])


@given(st.lists(st.lists(SIZES, max_size=2 * MOST_WAITING), min_size=1, max_size=3), st.lists(st.booleans(), min_size=3, max_size=3))
def test_every_chunk_has_its_own_digest_and_every_file_that_wants_one(files: list[list[int]], wanted: list[bool]) -> None:
    contents = [[bytes([index % 256]) * size for index, size in enumerate(sizes)] for sizes in files]
    with Hashing(wanted[: len(files)]) as hashing:
        for file, chunks in enumerate(contents):
            for chunk in chunks:
                assert hashing.take(file, memoryview(chunk)) == digest(chunk)
        digests = hashing.digests()
    wholes = [hashlib.sha256(b"".join(chunks)).digest() for chunks in contents]
    assert digests.files == tuple(whole if wants else None for whole, wants in zip(wholes, wanted, strict=False))
    assert digests.chunks == tuple(b"".join(map(digest, chunks)) for chunks in contents)


def test_what_cannot_be_hashed_is_an_error_of_the_caller() -> None:
    with pytest.raises(TypeError), Hashing([True]) as hashing:
        hashing.take(0, "text")   # type: ignore[arg-type]
