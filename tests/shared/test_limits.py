"""Limits fit together, and long texts are cut."""

from hypothesis import given
from hypothesis import strategies as st

from modelcast.shared.digest import DIGEST_BYTES
from modelcast.shared.limits import DEFAULT_LIMITS, GIB, KIB, MIB, counted, shortened
from modelcast.shared.manifest import DEFAULT_CHUNK_BYTES
from modelcast.shared.topology import MESSAGE_OVERHEAD_BYTES


def test_units_are_binary() -> None:
    assert (KIB, MIB, GIB) == (2**10, 2**20, 2**30)


def test_the_largest_artifact_can_be_described_in_an_order() -> None:
    assert DEFAULT_LIMITS.chunk_count * DEFAULT_CHUNK_BYTES >= DEFAULT_LIMITS.artifact_bytes
    assert DEFAULT_LIMITS.chunk_count * (DIGEST_BYTES + 5) < DEFAULT_LIMITS.order_bytes


def test_a_chunk_with_its_headers_passes_through_the_newest_broker() -> None:
    assert DEFAULT_LIMITS.chunk_bytes + MESSAGE_OVERHEAD_BYTES < 16 * MIB


@given(st.text(), st.integers(1, 50))
def test_a_text_is_cut_to_its_length_and_says_so(text: str, characters: int) -> None:
    short = shortened(text, characters)
    assert len(short) <= characters
    assert short == text or short.endswith("…")
    assert text.startswith(short.removesuffix("…"))


def test_what_other_peoples_errors_say_can_always_be_sent() -> None:
    class Unspeakable(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert shortened(Unspeakable()) == "<a Unspeakable without a text>"
    assert shortened(ValueError("caf\udce9")) == "caf\\udce9"


def test_one_is_no_plural() -> None:
    assert [counted(n, "chunk") for n in (0, 1, 2)] == ["0 chunks", "1 chunk", "2 chunks"]
