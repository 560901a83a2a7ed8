"""The best order is the highest version since the last rollback; of two builds of one version the later order decides."""

from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import specimens

from modelcast.shared.names import Version
from modelcast.shared.order import Kind, Order
from modelcast.shared.ranking import best_first

VERSIONS = st.sampled_from(["1.0.0", "1.9.1", "1.9.2", "2.0.0", "2.0.0+b"])
ORDERS = st.lists(st.tuples(VERSIONS, st.sampled_from(list(Kind))), min_size=1, max_size=8)
Known = tuple[Order, Version]


def ranked(orders: list[tuple[str, Kind]]) -> list[Known]:
    known = [(specimens.order(sequence=at, kind=kind), Version(version)) for at, (version, kind) in enumerate(orders, 1)]
    return best_first(known, lambda each: each)


@given(ORDERS)
def test_what_a_rollback_left_is_below_it_and_what_came_after_it_by_version(orders: list[tuple[str, Kind]]) -> None:
    order, version = ranked(orders)[0]
    last = max((at for at, (_, kind) in enumerate(orders, 1) if kind is Kind.ROLLBACK), default=1)
    assert order.sequence >= last
    assert all(Version(other) <= version for other, _ in orders[last - 1 :])


def test_of_two_builds_of_a_version_the_later_order_is_the_better_one() -> None:
    assert [str(version) for _, version in ranked([("2.0.0+b", Kind.PROMOTION), ("2.0.0", Kind.PROMOTION)])] == ["2.0.0", "2.0.0+b"]
