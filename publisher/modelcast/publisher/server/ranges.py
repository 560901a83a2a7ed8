"""Conditional requests and ranges (RFC 9110), as far as immutable bytes need them. Pure.

Decides that several ranges in one request are answered with the whole, which is allowed and what nobody here asks for.
"""

import re
from dataclasses import dataclass

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class Part:
    """Which bytes of something are asked for.

    Attributes:
        start: First byte.
        length: How many.
        is_whole: Whether it is the answer to a request without a range.
    """

    start: int
    length: int
    is_whole: bool = False


class NoSuchRange(ValueError):
    """The range lies beyond the end, or ends before it begins."""


def part_of(size: int, range_header: str | None, if_range: str | None, etag: str) -> Part:
    """Return which bytes of ``size`` to send.

    Args:
        size: Bytes that there are.
        range_header: The header ``Range``, or None.
        if_range: The header ``If-Range``, or None; a date never holds, because what never changes has none.
        etag: The ETag of the bytes, with its quotes.

    Raises:
        NoSuchRange: The range cannot be had.
    """
    whole = Part(0, size, is_whole=True)
    if range_header is None or (if_range is not None and if_range.strip() != etag):
        return whole
    found = _RANGE.fullmatch(range_header.strip())
    if found is None:
        return whole   # another unit, several ranges, or no range at all: to be ignored (RFC 9110, 14.2)
    first, last = found.groups()
    if not first and not last:
        return whole
    if not first:   # the last so many bytes
        length = min(int(last), size)
        if length == 0:
            raise NoSuchRange
        return Part(size - length, length)
    start = int(first)
    end = min(int(last), size - 1) if last else size - 1
    if last and int(last) < start:
        return whole   # no valid range: ignored as well
    if start >= size:
        raise NoSuchRange
    return Part(start, end - start + 1)


def is_known(if_none_match: str | None, etag: str) -> bool:
    """Whether the client has these bytes already, by the header ``If-None-Match``."""
    if if_none_match is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in tags or etag in tags
