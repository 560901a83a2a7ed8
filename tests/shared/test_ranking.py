"""The best order is the highest version since the last rollback; of two builds of one version the later order decides."""

from hypothesis import given
from hypothesis import strategies as st

from modelcast.shared.names import Version
from modelcast.shared.ranking import Standing, best_first

VERSIONS = st.sampled_from(["1.0.0", "1.9.1", "1.9.2", "2.0.0", "2.0.0+b"])
ORDERS = st.lists(st.tuples(VERSIONS, st.booleans()), min_size=1, max_size=8)


def ranked(orders: list[tuple[str, bool]]) -> list[Standing]:
    return best_first([Standing(at, goes_back, Version(version)) for at, (version, goes_back) in enumerate(orders, 1)], lambda each: each)


@given(ORDERS)
def test_what_a_rollback_left_is_below_it_and_what_came_after_it_by_version(orders: list[tuple[str, bool]]) -> None:
    best = ranked(orders)[0]
    last = max((at for at, (_, goes_back) in enumerate(orders, 1) if goes_back), default=1)
    assert best.sequence >= last
    assert all(Version(other) <= best.version for other, _ in orders[last - 1 :])


def test_of_two_builds_of_a_version_the_later_order_is_the_better_one() -> None:
    assert [str(each.version) for each in ranked([("2.0.0+b", False), ("2.0.0", False)])] == ["2.0.0", "2.0.0+b"]
