"""Digests are BLAKE3."""

from hypothesis import given
from hypothesis import strategies as st

from modelcast.shared.digest import DIGEST_BYTES, digest, same, short


def test_the_digest_is_blake3() -> None:
    # https://github.com/BLAKE3-team/BLAKE3/blob/master/test_vectors/test_vectors.json, input_len 0 and 1
    assert digest(b"").hex() == "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    assert digest(b"\x00").hex() == "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213"


@given(st.binary())
def test_bytes_and_views_have_one_digest(content: bytes) -> None:
    assert digest(content) == digest(bytearray(content)) == digest(memoryview(content))
    assert len(digest(content)) == DIGEST_BYTES


def test_digests_are_compared_whole() -> None:
    assert same(digest(b"a"), digest(b"a"))
    assert not same(digest(b"a"), digest(b"b"))
    assert not same(digest(b"a"), digest(b"a")[:-1])


def test_an_identity_is_shown_in_twelve_digits_whatever_its_form() -> None:
    identity = digest(b"a")
    assert short(identity) == short(identity.hex()) == identity.hex()[:12]
