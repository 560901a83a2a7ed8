"""An entry of the index checks itself: whatever a crash leaves is no entry."""

from hypothesis import given
from hypothesis import strategies as st

from modelcast.shared.depot.index import ENTRY_BYTES, VERSION_BYTES, Entry, EntryKind
from modelcast.shared.names import MAX_VERSION_CHARACTERS

entries = st.builds(
    Entry, st.sampled_from(list(EntryKind)), st.binary(min_size=32, max_size=32), st.integers(0, 2**32 - 1), st.booleans(),
    st.none() | st.from_regex(r"[0-9]\.[0-9]{1,60}", fullmatch=True), st.none() | st.integers(0, 2**32 - 2),
)


@given(entries)
def test_an_entry_comes_back_as_it_was(entry: Entry) -> None:
    content = entry.to_bytes()
    assert len(content) == ENTRY_BYTES
    assert Entry.from_bytes(content) == entry


@given(entries, st.integers(0, ENTRY_BYTES * 8 - 1))
def test_one_flipped_bit_makes_it_none(entry: Entry, bit: int) -> None:
    content = bytearray(entry.to_bytes())
    content[bit // 8] ^= 1 << bit % 8
    assert Entry.from_bytes(bytes(content)) is None


@given(entries, st.integers(0, ENTRY_BYTES - 1))
def test_a_part_of_it_is_none_and_zeros_are_none(entry: Entry, length: int) -> None:
    assert Entry.from_bytes(entry.to_bytes()[:length]) is None
    assert Entry.from_bytes(bytes(ENTRY_BYTES)) is None


def test_the_longest_version_fits() -> None:
    assert VERSION_BYTES >= MAX_VERSION_CHARACTERS
