"""What the headers of a message say, of whatever type somebody gave them."""

from hypothesis import given
from hypothesis import strategies as st

from modelcast.shared.chunk_message import CHUNK_HEADERS, END, MARKERS, arrived_chunk
from modelcast.shared.topology import (
    HEADER_CODEC,
    HEADER_DIGEST,
    HEADER_INDEX,
    HEADER_KIND,
    HEADER_RELEASE,
    HEADER_VERSION,
)

ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.binary() | st.text() | st.lists(st.text()) | st.sampled_from([*MARKERS])


def test_a_chunk_says_which_one_it_is() -> None:
    chunk = arrived_chunk(b"body", {
        HEADER_KIND: "chunk", HEADER_VERSION: "1.0.0", HEADER_INDEX: 7, HEADER_DIGEST: "ab", HEADER_CODEC: "zstd",
    }, 12)
    assert (chunk.is_chunk, chunk.version, chunk.index, chunk.claim, chunk.is_packed, chunk.offset, chunk.ends) == (
        True, "1.0.0", 7, "ab", True, 12, None,
    )


def test_an_end_marker_names_its_release_and_no_other_marker_does() -> None:
    ends = {kind: arrived_chunk(b"", {HEADER_KIND: kind, HEADER_RELEASE: "r"}, 1).ends for kind in MARKERS}
    assert ends == {kind: "r" if kind == END else None for kind in MARKERS}
    assert not any(arrived_chunk(b"", {HEADER_KIND: kind}, 1).is_chunk for kind in MARKERS)


@given(st.dictionaries(st.sampled_from(sorted(CHUNK_HEADERS)) | st.text(), ANYTHING))
def test_headers_of_any_type_are_texts_and_numbers_or_nothing(headers: dict[str, object]) -> None:
    chunk = arrived_chunk(b"", headers, None)
    for text in (chunk.claim, chunk.ends, chunk.version):
        assert text is None or isinstance(text, str)
    assert chunk.index is None or isinstance(chunk.index, int)
