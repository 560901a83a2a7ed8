"""Names in a depot: no name from outside leaves its folder, and what is no name of ours is not taken for one."""

import pytest

from modelcast.shared.depot.layout import (
    ChannelPlaces,
    InstancePlaces,
    ModelPlaces,
    digest_of,
    is_chunk_folder,
    is_letter,
    letter_name,
    number_name,
    number_of,
    segment_hour,
    segment_name,
)
from modelcast.shared.errors import InvalidName

DIGEST = "ab" * 32


def test_a_folder_of_chunks_has_two_digits() -> None:
    assert [name for name in ("00", "af", "zz", "AF", "0", "000", "00\n") if is_chunk_folder(name)] == ["00", "af"]


def test_a_chunk_lies_under_its_digest_in_the_folder_of_its_first_two_digits() -> None:
    places = ModelPlaces("fraud")
    assert places.chunk(DIGEST, is_packed=False) == f"models/fraud/chunks/ab/{DIGEST}"
    assert places.chunk(DIGEST, is_packed=True) == f"models/fraud/chunks/ab/{DIGEST}.zst"


def test_orders_and_instances_lie_in_their_channel() -> None:
    assert ChannelPlaces("fraud", "staging").orders == "models/fraud/channels/staging/orders"
    assert InstancePlaces("fraud", "staging", "a").settled == "models/fraud/channels/staging/at/a/settled"


@pytest.mark.parametrize("name", ["..", "a/b", "", ".", "A", "a\0b"])
def test_a_name_from_outside_cannot_lead_elsewhere(name: str) -> None:
    for places in (lambda: ModelPlaces(name), lambda: ChannelPlaces("m", name), lambda: InstancePlaces("m", "c", name)):
        with pytest.raises(InvalidName):
            places()


def test_names_of_records_have_the_order_of_their_numbers() -> None:
    names = [number_name(number) for number in (1, 9, 10, 99_999, 10**11)]
    assert names == sorted(names)
    assert [number_of(name) for name in names] == [1, 9, 10, 99_999, 10**11]
    assert [number_of(name) for name in ("1", ".tmp-1", "00000000000a", "")] == [None] * 4


def test_what_is_no_file_of_ours_is_not_taken_for_one() -> None:
    assert [digest_of(name) for name in (DIGEST, f"{DIGEST}.zst", DIGEST[1:], f"{DIGEST}.tmp", "..")] == [DIGEST, DIGEST, None, None, None]
    assert is_letter(letter_name(1_700_000_000_000, "ab" * 12))
    assert not is_letter(".tmp-1")
    assert segment_hour(segment_name("2026112610", "fraud", "production", "a", "0123abcd")) == "2026112610"
    assert segment_hour("2026112610.fraud.production.a") is None
