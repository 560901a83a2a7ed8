"""The record of an instance that does not come back, and when it is back all the same."""

import pytest

from modelcast.publisher.catalog import Catalog
from modelcast.publisher.recording import record
from modelcast.publisher.retirement import Retired

RETIRED = Retired("production", "web-1", "00" * 8, 7, 99)


def test_a_register_tells_of_it_and_the_last_word_holds() -> None:
    later = Retired("production", "web-1", "11" * 8, 8, 100)
    catalog = Catalog([RETIRED.to_bytes(), later.to_bytes(), Retired("staging", "web-2", "22" * 8, 1, 1).to_bytes()])
    assert catalog.retired("production") == {"web-1": later}
    assert (list(catalog.retired("staging")), catalog.foreign) == (["web-2"], 0)


@pytest.mark.parametrize("fields", [
    {"boot": 7}, {"reported_ms": -1}, {"reported_ms": None}, {"instance": None}, {"channel": b"production"}, {"at_ms": 2**63},
])
def test_a_damaged_record_is_none(fields: dict[str, object]) -> None:
    whole = {"channel": "production", "instance": "web-1", "boot": "00" * 8, "reported_ms": 7, "at_ms": 99}
    catalog = Catalog([record("retired", **(whole | fields))])
    assert (catalog.retired("production"), catalog.foreign) == ({}, 1)


@pytest.mark.parametrize(("boot", "reported_ms", "away"), [("00" * 8, 7, True), ("00" * 8, 6, True), ("00" * 8, 8, False), ("11" * 8, 7, False)])
def test_it_is_back_when_it_reported_since_or_was_started_again(boot: str, reported_ms: int, away: bool) -> None:
    assert RETIRED.is_still_away(boot, reported_ms) is away
