"""Ranges and conditions, as RFC 9110 has them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelcast.publisher.server.ranges import NoSuchRange, Part, is_known, part_of

ETAG = '"abc"'


@pytest.mark.parametrize(
    ("header", "part"),
    [
        (None, Part(0, 100, is_whole=True)), ("bytes=0-9", Part(0, 10)), ("bytes=90-", Part(90, 10)), ("bytes=90-200", Part(90, 10)),
        ("bytes=-10", Part(90, 10)), ("bytes=-200", Part(0, 100)), ("bytes=5-4", Part(0, 100, is_whole=True)),
        ("bytes=-", Part(0, 100, is_whole=True)), ("lines=1-2", Part(0, 100, is_whole=True)),
        ("bytes=0-1,5-6", Part(0, 100, is_whole=True)), ("nonsense", Part(0, 100, is_whole=True)),
    ],
)
def test_a_range_names_bytes_or_is_ignored(header: str | None, part: Part) -> None:
    assert part_of(100, header, None, ETAG) == part


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=200-300", "bytes=-0"])
def test_a_range_without_a_byte_is_none(header: str) -> None:
    with pytest.raises(NoSuchRange):
        part_of(100, header, None, ETAG)


def test_a_range_of_other_bytes_gets_the_whole() -> None:
    assert part_of(100, "bytes=0-9", '"other"', ETAG).is_whole
    assert part_of(100, "bytes=0-9", "Wed, 21 Oct 2015 07:28:00 GMT", ETAG).is_whole
    assert not part_of(100, "bytes=0-9", ETAG, ETAG).is_whole


@given(st.integers(0, 10**6), st.text(max_size=30) | st.tuples(st.integers(0, 10**7), st.integers(0, 10**7)).map("bytes=%d-%d".__mod__))
def test_whatever_is_asked_for_lies_within(size: int, header: str) -> None:
    try:
        part = part_of(size, header, None, ETAG)
    except NoSuchRange:
        return
    assert 0 <= part.start <= part.start + part.length <= size


@pytest.mark.parametrize(("header", "known"), [(None, False), (ETAG, True), ('"x", "abc"', True), ('W/"abc"', True), ("*", True), ('"x"', False)])
def test_what_the_client_has_is_known(header: str | None, known: bool) -> None:
    assert is_known(header, ETAG) is known
