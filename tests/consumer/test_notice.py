"""The notice's record: it is read back exactly, or not at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelcast.consumer.notice import MAGIC, MAX_NOTICE_BYTES, Notice
from modelcast.shared.digest import digest
from modelcast.shared.packing import pack

NOTICE = Notice(4711, "web-1", "a" * 64, 1_700_000_000_000)
NOTICES = st.builds(
    Notice, st.integers(1, 2**31), st.text(max_size=64), st.none() | st.text("0123456789abcdef", min_size=64, max_size=64),
    st.none() | st.integers(0, 2**63 - 1),
)


@given(NOTICES)
def test_a_record_gives_back_the_notice(notice: Notice) -> None:
    record = notice.to_bytes()
    assert Notice.from_bytes(record) == notice
    assert len(record) <= MAX_NOTICE_BYTES


def test_any_flipped_bit_makes_it_no_record() -> None:
    record = NOTICE.to_bytes()
    for at in range(len(record)):
        for bit in range(8):
            assert Notice.from_bytes(record[:at] + bytes([record[at] ^ 1 << bit]) + record[at + 1 :]) is None


@given(st.binary(max_size=300))
def test_random_bytes_are_no_record(record: bytes) -> None:
    assert Notice.from_bytes(record) is None
    assert Notice.from_bytes(MAGIC + record) is None


@pytest.mark.parametrize("body", [b"\xc1", pack({}), pack({"pid": 1})], ids=["no map", "empty", "too little"])
def test_a_whole_record_of_something_else_is_no_notice(body: bytes) -> None:
    assert Notice.from_bytes(MAGIC + digest(body) + body) is None
