"""A record comes back as it was written, or not at all."""

from hypothesis import given
from hypothesis import strategies as st

from modelcast.consumer.sealed import seal, unseal
from modelcast.shared.digest import digest

MAGIC = b"test record 1\n"
FIELDS = {"number": 7, "text": "seven", "bytes": b"7"}
RECORD = seal(MAGIC, FIELDS)


def test_what_was_sealed_is_what_comes_back() -> None:
    assert unseal(MAGIC, RECORD, max_bytes=100) == FIELDS


@given(st.integers(min_value=0, max_value=len(RECORD) - 1), st.integers(min_value=1, max_value=255))
def test_one_altered_byte_or_a_torn_end_is_no_record(at: int, change: int) -> None:
    altered = RECORD[:at] + bytes([RECORD[at] ^ change]) + RECORD[at + 1 :]
    assert unseal(MAGIC, altered, max_bytes=100) is None
    assert unseal(MAGIC, RECORD[:at], max_bytes=100) is None


def test_a_record_of_another_kind_or_without_fields_or_too_long_is_none() -> None:
    assert unseal(b"test record 2\n", RECORD, max_bytes=100) is None
    assert unseal(MAGIC, MAGIC + digest(b"\x01") + b"\x01", max_bytes=100) is None
    assert unseal(MAGIC, RECORD, max_bytes=5) is None
