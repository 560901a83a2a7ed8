"""The register, read back: whatever stands in it, the answers are whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import specimens

from modelcast.publisher.catalog import Begun, Catalog, Ordered, Released
from modelcast.shared.manifest import MANIFEST_TYPE
from modelcast.shared.packing import pack, unpack
from modelcast.shared.signing import SigningKey


def released(key: SigningKey, version: str, **changes: object) -> Released:
    payload = specimens.manifest(version=version, **changes).to_bytes()
    return Released(key.sign(MANIFEST_TYPE, payload), 7, 3, b"", 10)


def test_a_release_is_found_by_its_version_with_its_offsets(signing_key: SigningKey) -> None:
    catalog = Catalog([released(signing_key, "1.0.0").to_bytes(), released(signing_key, "1.1.0").to_bytes()])
    found = catalog.release("1.1.0")
    assert found is not None
    assert (found.manifest.version, found.record.chunks_offset, found.record.oldest_offset) == ("1.1.0", 7, 3)
    assert catalog.release("9.9.9") is None
    assert [known.manifest.version for known in catalog.releases] == ["1.0.0", "1.1.0"]


def test_an_attempt_counts_as_begun_until_its_release_is_recorded(signing_key: SigningKey) -> None:
    begun = Begun("2.1.0", 42)
    assert Catalog([begun.to_bytes()]).begun("2.1.0") == begun
    assert Catalog([begun.to_bytes(), released(signing_key, "2.1.0").to_bytes()]).begun("2.1.0") is None


def test_the_next_sequence_is_above_every_order_that_may_have_been_sent() -> None:
    records = [
        Ordered("production", 1, "aa", 0, "x"), Ordered("production", 2, "bb", 0), Ordered("staging", 9, "cc", 0, "y"),
    ]
    catalog = Catalog([record.to_bytes() for record in records])
    assert (catalog.next_sequence("production", 5), catalog.next_sequence("staging", 5)) == (3, 10)


def test_the_first_sequence_is_above_all_that_a_broker_gave_before_it_lost_its_data() -> None:
    before = Catalog([]).next_sequence("production", 1_700_000_000_000)
    assert Catalog([]).next_sequence("production", 1_700_000_060_000) > before + 1
    assert Catalog([]).next_sequence("production", 0) == 1


def test_an_order_that_was_only_intended_is_not_the_last_order() -> None:
    sent, intended = Ordered("production", 1, "aa", 5, "x"), Ordered("production", 2, "bb", 6)
    assert Catalog([sent.to_bytes()]).last_order("production") == sent
    assert Catalog([sent.to_bytes(), intended.to_bytes()]).last_order("production") is None
    assert Catalog([]).last_order("production") is None


GOOD_RECORDS: dict[str, dict[str, object]] = {
    "begun": {"version": "1.0.0", "offset": 5},
    "ordered": {"channel": "production", "sequence": 9, "release": "aa", "issued_ms": 0, "order": "x"},
    "released": {"chunks_offset": 1, "oldest_offset": 1, "new_digests": b"d" * 32, "new_bytes": 10},
}


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("begun", "version", 1), ("begun", "offset", -1),
        ("begun", "offset", 2**63), ("begun", "offset", True), ("ordered", "channel", b"production"), ("ordered", "channel", []),
        ("ordered", "sequence", "abc"), ("ordered", "sequence", "12"), ("ordered", "sequence", 2**63 - 1), ("ordered", "sequence", 1.5),
        ("ordered", "release", None), ("ordered", "issued_ms", -1), ("ordered", "order", 7), ("released", "manifest", "text"),
        ("released", "chunks_offset", "1"), ("released", "chunks_offset", -1), ("released", "oldest_offset", 2**64 - 1),
        ("released", "new_digests", b"cut"), ("released", "new_digests", None), ("released", "new_bytes", "ten"),
    ],
)
def test_a_record_with_a_field_that_cannot_be_is_a_strangers(
    signing_key: SigningKey, kind: str, field: str, value: object
) -> None:
    fields = {"record": kind, "format": 1} | GOOD_RECORDS[kind]
    if kind == "released":
        fields = {"manifest": released(signing_key, "1.0.0").manifest} | fields
    assert Catalog([pack(fields)]).foreign == 0
    catalog = Catalog([pack(fields | {field: value})])
    assert (catalog.foreign, catalog.releases, catalog.last_order("production")) == (1, [], None)
    assert catalog.next_sequence("production", 5000) == 5


def test_the_order_after_the_highest_number_that_counts_can_still_be_made() -> None:
    catalog = Catalog([Ordered("production", 2**63 - 2, "aa", 0, "x").to_bytes()])
    assert specimens.order(sequence=catalog.next_sequence("production", 0)).sequence == 2**63 - 1


@given(st.lists(st.binary(max_size=60) | st.sampled_from([
    Begun("1.0.0", 1).to_bytes(), b"\x81\xa6record\xa5begun", b"\x81\xa6record\xa8released", b"\x80",
])))
def test_strangers_in_the_register_are_counted_and_passed_over(bodies: list[bytes]) -> None:
    good = Ordered("production", 4, "aa", 0, "x")
    catalog = Catalog([*bodies, good.to_bytes()])
    assert catalog.next_sequence("production", 0) == 5
    assert catalog.foreign <= len(bodies)


def test_an_offset_below_one_before_says_that_the_stream_was_made_anew(signing_key: SigningKey) -> None:
    first = released(signing_key, "1.0.0").to_bytes()
    before = [Begun("1.0.0", 5).to_bytes(), first, Begun("2.0.0", 7).to_bytes()]
    assert [known.is_pruned for known in Catalog(before).releases] == [False]
    catalog = Catalog([*before, Begun("1.1.0", 7).to_bytes(), released(signing_key, "1.1.0").to_bytes()])
    assert [known.is_pruned for known in catalog.releases] == [True, False]
    assert catalog.releases[0].record.chunks_offset is None
    assert (catalog.begun("2.0.0"), catalog.begun("1.1.0")) == (None, None)
    catalog.begin(Begun("1.2.0", 3))
    assert [known.is_pruned for known in catalog.releases] == [True, True]


@pytest.mark.parametrize(("took", "known"), [
    ({"published": 12.5, "confirmed": 13}, {"published": 12.5, "confirmed": 13.0}), ({"confirmed": 1, "else": 2}, {"confirmed": 1.0}),
    ({"confirmed": -1, "published": "x"}, {}), ({"confirmed": float("nan"), "published": float("inf")}, {}), ([1], {}), (None, {}),
])
def test_how_long_the_sender_took_is_read_as_far_as_it_is_there(took: object, known: dict[str, float]) -> None:
    record = unpack(Ordered("production", 4, "aa", 0, "x").to_bytes(), what="record", max_bytes=10_000)
    del record["took_ms"]   # as an earlier modelcast wrote it
    (order,) = Catalog([pack(record | ({} if took is None else {"took_ms": took}))]).orders["production"]
    assert (order.sequence, order.took_ms) == (4, known)
