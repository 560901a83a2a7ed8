"""Which orders are settled: in whatever order they are, and nothing that is torn counts."""

from hypothesis import given
from hypothesis import strategies as st

from modelcast.shared.depot.settled import Settled


@given(st.integers(0, 50), st.permutations(range(1, 30)), st.integers(0, 29))
def test_settled_orders_are_those_up_to_the_first_and_those_that_were_named(first: int, numbers: list[int], count: int) -> None:
    settled = Settled(first)
    for number in numbers[:count]:
        settled = settled.with_order(first + number)
    named = {first + number for number in numbers[:count]}
    assert {number for number in range(1, first + 40) if settled.has(number)} == set(range(1, first + 1)) | named
    assert Settled.from_bytes(settled.to_bytes()) == settled


def test_settling_all_of_them_leaves_one_number() -> None:
    settled = Settled(0)
    for number in (3, 1, 2, 2):
        settled = settled.with_order(number)
    assert settled == Settled(3)


@given(st.binary(max_size=200))
def test_any_bytes_give_a_record_or_none(content: bytes) -> None:
    assert Settled.from_bytes(content) is None


def test_a_torn_or_altered_record_is_none() -> None:
    content = Settled(7, frozenset({9})).to_bytes()
    assert Settled.from_bytes(content[:-1]) is None
    assert Settled.from_bytes(content[:-1] + bytes([content[-1] ^ 1])) is None


def test_what_was_pruned_does_not_hold_up_the_number_up_to_which_all_is_settled() -> None:
    record = Settled(2, frozenset({5, 7}))
    assert record.raised([5, 6, 7, 8]) == Settled(5, frozenset({7}))
    assert record.raised([5, 7]) == Settled(7)
    assert record.raised([]) == record
    assert record.raised([1, 2, 3]) == record
