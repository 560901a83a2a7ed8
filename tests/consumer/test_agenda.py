"""Which order comes next: whatever an instance saw first, and however quick it was, it ends up where the others do."""

from dataclasses import replace
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.publisher_sim import PublisherSimulator, Release

from modelcast.consumer.agenda import MAX_PENDING, Agenda
from modelcast.consumer.policy import Policy
from modelcast.consumer.rules import Host, Ruling, Standing, floor_after, rule
from modelcast.consumer.trust import TrustedOrder, open_order
from modelcast.shared.errors import SenderFault
from modelcast.shared.order import Kind
from modelcast.shared.road import Bookmark
from modelcast.shared.signing import KeyRing, SigningKey

HOST = Host("3.11.7", "cpython", lambda _name: None, frozenset({"files"}))
VERSIONS = ("1.0.0", "1.1.0", "1.2.0-rc.1", "1.2.0+a", "1.2.0+b", "1.2.1", "2.0.0")


class Instance:
    """An instance whose every step succeeds, unless a release is one of ``broken``."""

    def __init__(self, broken: frozenset[str] = frozenset()) -> None:
        self.agenda, self.standing, self._broken = Agenda(), Standing(), broken
        self.decided: set[str] = set()

    def sees(self, orders: list[TrustedOrder]) -> None:
        """Orders arrive together; then the instance works until nothing is left."""
        for trusted in orders:
            if trusted.id not in self.decided and self._is_allowed(trusted):
                self.agenda.add(trusted)
        while (best := self.agenda.best()) is not None:
            if self._is_allowed(best) and best.version.text not in self._broken:
                floor = floor_after(best, None if self.agenda.lifts_floor_for(best) else self.standing.floor)
                self.standing = Standing(best.order.sequence, floor, best.release, ordered_release=best.release)
            self.decided.add(best.id)
            self.agenda.remove(best.id)
            for passed in self.agenda.below(self.standing.sequence):
                self.decided.add(passed.id)
                self.agenda.remove(passed.id)

    def _is_allowed(self, trusted: TrustedOrder) -> bool:
        try:
            standing = replace(self.standing, floor=None) if self.agenda.lifts_floor_for(trusted) else self.standing
            return rule(trusted, standing, Policy(), HOST, now_ms=0) is Ruling.CARRY_OUT
        except SenderFault:
            return False


@pytest.fixture(scope="module")
def ordering(signing_key: SigningKey, key_ring: KeyRing):
    """Makes trusted orders: ``ordering(sequence, version, is_rollback)``."""
    sim = PublisherSimulator(None, signing_key)
    built = cache(sim.release)

    def make(sequence: int, version: str, is_rollback: bool = False) -> TrustedOrder:
        release: Release = built(version)
        body = sim.order(release, sequence=sequence, kind=Kind.ROLLBACK if is_rollback else Kind.PROMOTION)
        return open_order(body, key_ring, model="fraud", channel="production")

    return cache(make)


def agenda_of(*orders: TrustedOrder) -> Agenda:
    agenda = Agenda()
    for trusted in orders:
        agenda.add(trusted)
    return agenda


def test_nothing_comes_next_when_nothing_is_pending() -> None:
    assert Agenda().best() is None


def test_the_highest_version_comes_first_not_the_latest_order(ordering) -> None:
    agenda = agenda_of(ordering(1, "1.2.0+a"), ordering(2, "1.1.0"))
    assert [t.version.text for t in agenda.ranked()] == ["1.2.0+a", "1.1.0"]


def test_of_one_version_the_later_order_comes_first(ordering) -> None:
    assert agenda_of(ordering(1, "1.2.0+a"), ordering(2, "1.2.0+a")).best() is ordering(2, "1.2.0+a")


def test_what_was_ordered_after_a_rollback_comes_before_it_and_the_rollback_before_the_rest(ordering) -> None:
    agenda = agenda_of(ordering(1, "2.0.0"), ordering(2, "1.0.0", True), ordering(3, "1.2.0+a"))
    assert [t.order.sequence for t in agenda.ranked()] == [3, 2, 1]


def test_the_last_of_several_rollbacks_counts(ordering) -> None:
    agenda = agenda_of(ordering(1, "1.1.0", True), ordering(2, "1.2.1"), ordering(3, "1.0.0", True))
    assert [t.order.sequence for t in agenda.ranked()] == [3, 2, 1]


def test_what_is_below_the_last_rollback_waits_for_it(ordering) -> None:
    agenda = agenda_of(ordering(1, "1.1.0", True), ordering(2, "1.0.0"))
    assert [t.order.sequence for t in agenda.ranked()] == [1, 2]


def test_two_builds_of_a_version_tie_and_the_later_order_decides(ordering) -> None:
    for first, second in [("1.2.0+a", "1.2.0+b"), ("1.2.0+b", "1.2.0+a")]:
        orders = [ordering(1, first), ordering(2, second)]
        assert agenda_of(*orders).best() is agenda_of(*reversed(orders)).best() is orders[1]


def test_a_pending_rollback_lifts_the_floor_for_what_was_ordered_after_it(ordering) -> None:
    agenda = agenda_of(ordering(3, "1.0.0", True))
    assert agenda.lifts_floor_for(ordering(4, "1.1.0"))
    assert not agenda.lifts_floor_for(ordering(2, "1.1.0"))
    assert not agenda.lifts_floor_for(ordering(3, "1.0.0", True))
    assert not Agenda().lifts_floor_for(ordering(4, "1.1.0"))


def test_an_order_that_is_added_twice_is_there_once(ordering) -> None:
    agenda = agenda_of(ordering(1, "1.0.0"), ordering(1, "1.0.0"))
    assert len(agenda) == 1
    assert ordering(1, "1.0.0").id in agenda
    agenda.remove(ordering(1, "1.0.0").id)
    agenda.remove(ordering(1, "1.0.0").id)
    assert len(agenda) == 0


def test_what_a_promotion_leaves_behind_are_the_orders_before_it(ordering) -> None:
    agenda = agenda_of(*(ordering(n, "1.0.0") for n in (1, 2, 3)))
    assert [t.order.sequence for t in agenda.below(3)] == [1, 2]


def test_a_flood_of_orders_drops_the_least_and_keeps_the_best(ordering) -> None:
    orders = [ordering(n, "1.0.0") for n in range(1, MAX_PENDING + 1)]
    agenda = agenda_of(ordering(MAX_PENDING + 1, "2.0.0"), *orders[1:])
    assert len(agenda) == MAX_PENDING
    assert agenda.add(orders[0]) == [orders[0]]
    assert len(agenda) == MAX_PENDING
    assert agenda.best() is ordering(MAX_PENDING + 1, "2.0.0")


PROMOTIONS = st.lists(st.tuples(st.sampled_from(VERSIONS), st.booleans()), min_size=1, max_size=7)


@given(wanted=PROMOTIONS, cuts=st.sets(st.integers(1, 7)), seed=st.randoms(use_true_random=False))
def test_a_quick_instance_a_slow_one_and_a_late_one_end_up_with_the_same_release(ordering, wanted, cuts, seed) -> None:
    """The road keeps the order of orders; how many of them an instance sees at once differs. Whoever has nothing may see them in any."""
    orders = [ordering(number, version, is_rollback) for number, (version, is_rollback) in enumerate(wanted, 1)]
    late = Instance()
    late.sees(seed.sample(orders, len(orders)))
    quick = Instance()
    for trusted in orders:
        quick.sees([trusted])
    slow = Instance()
    borders = [0, *sorted(cut for cut in cuts if cut < len(orders)), len(orders)]
    for start, end in pairwise(borders):
        slow.sees(orders[start:end])
    assert quick.standing == slow.standing == late.standing


@given(wanted=PROMOTIONS, seed=st.randoms(use_true_random=False))
def test_the_release_they_end_up_with_is_the_highest_since_the_last_rollback(ordering, wanted, seed) -> None:
    orders = [ordering(number, version, is_rollback) for number, (version, is_rollback) in enumerate(wanted, 1)]
    late = Instance()
    late.sees(seed.sample(orders, len(orders)))
    since = max((number for number, t in enumerate(orders) if t.is_rollback), default=0)
    expected = max(orders[since:], key=lambda t: (t.version.parsed, t.order.sequence))
    assert late.standing.active_release == expected.release


@given(
    versions=st.lists(st.sampled_from(VERSIONS), min_size=1, max_size=7), broken=st.frozensets(st.sampled_from(VERSIONS)),
    seed=st.randoms(use_true_random=False),
)
def test_releases_that_every_instance_refuses_do_not_drive_them_apart(ordering, versions, broken, seed) -> None:
    orders = [ordering(number, version) for number, version in enumerate(versions, 1)]
    late, quick = Instance(broken), Instance(broken)
    late.sees(seed.sample(orders, len(orders)))
    for trusted in orders:
        quick.sees([trusted])
    assert quick.standing.active_release == late.standing.active_release


@given(wanted=PROMOTIONS, seed=st.randoms(use_true_random=False))
def test_seeing_everything_again_changes_nothing(ordering, wanted, seed) -> None:
    orders = [ordering(number, version, is_rollback) for number, (version, is_rollback) in enumerate(wanted, 1)]
    instance = Instance()
    instance.sees(orders)
    before = instance.standing
    instance.decided.clear()   # as after a restart without a journal
    instance.sees(seed.sample(orders, len(orders)))
    assert instance.standing == before


# --------------------------------------------------------------------------- where the history is read on


def at(offset: int, trusted: TrustedOrder) -> Bookmark:
    return Bookmark(offset, trusted.id)


def reading(*orders: TrustedOrder) -> Agenda:
    """An agenda that read orders at the offsets 0, 10, 20, …"""
    agenda = Agenda()
    for number, trusted in enumerate(orders):
        agenda.add(trusted)
        agenda.passed(at(10 * number, trusted))
    return agenda


def test_a_new_connection_goes_on_at_the_last_order_that_was_read(ordering) -> None:
    assert Agenda().go_on_from() is None
    agenda = reading(ordering(1, "1.0.0"), ordering(2, "1.1.0"))
    agenda.remove(ordering(2, "1.1.0").id)   # whatever became of it
    assert agenda.go_on_from() == agenda.go_on_from() == at(10, ordering(2, "1.1.0"))


def test_the_first_connection_goes_on_where_the_store_says(ordering) -> None:
    kept = Bookmark(7, "ab" * 32)
    assert Agenda().go_on_from(kept) == kept
    assert reading(ordering(1, "1.0.0")).go_on_from(kept) == at(0, ordering(1, "1.0.0"))


def test_after_a_restart_the_order_that_was_carried_out_is_read_again_and_what_is_open_beside_it(ordering) -> None:
    orders = [ordering(1, "2.0.0"), ordering(2, "1.0.0"), ordering(3, "1.1.0")]
    assert reading(*orders).bookmark_after(orders[2]) == at(20, orders[2])
    assert reading(*orders).bookmark_after(orders[0]) == at(0, orders[0])
    assert reading(orders[2], orders[0], orders[1]).bookmark_after(orders[1]) == at(0, orders[2])   # out of sequence, and open


def test_an_order_that_the_history_has_not_shown_yet_moves_no_bookmark(ordering) -> None:
    agenda = reading(ordering(1, "1.0.0"))
    agenda.add(ordering(2, "1.1.0"))
    assert agenda.bookmark_after(ordering(2, "1.1.0")) is None
    agenda.passed(at(10, ordering(2, "1.1.0")))
    assert agenda.bookmark_after(ordering(2, "1.1.0")) == at(10, ordering(2, "1.1.0"))


def test_an_order_that_was_dropped_for_want_of_room_is_read_again(ordering) -> None:
    orders = [ordering(number, "1.0.0") for number in range(1, MAX_PENDING + 2)]
    agenda = reading(*orders)
    kept = Bookmark(7, "ab" * 32)
    assert agenda.bookmark_after(orders[-1]) is None
    agenda.passed(at(1000, ordering(MAX_PENDING + 2, "1.0.0")))
    assert agenda.go_on_from(kept) == kept
    agenda.passed(at(0, orders[0]))   # it is read from there
    assert agenda.go_on_from(kept) == at(0, orders[0])


class Reader(Instance):
    """An instance that sees orders in the history only, and may be killed at any moment.

    ``uses_bookmarks`` is what the tests compare: whether it begins again at the beginning, or where it may.
    """

    def __init__(self, history: list[TrustedOrder], broken: frozenset[str], *, uses_bookmarks: bool) -> None:
        super().__init__(broken)
        self._history, self._uses_bookmarks, self._reached, self.read = history, uses_bookmarks, 0, 0
        self.kept: Bookmark | None = None
        self.rejected: set[str] = set()

    def reads(self, count: int) -> None:
        """Read on; a connection that begins further ahead has less to read."""
        self._goes_on(min(self._reached + count, len(self._history)))

    def _goes_on(self, until: int, begin: int | None = None) -> None:
        for offset in range(self._reached if begin is None else begin, until):
            trusted = self._history[offset]
            self.read += 1
            if trusted.id not in self.decided and trusted.id not in self.agenda and self._is_judged(trusted):
                self.agenda.add(trusted)
            self.agenda.passed(at(offset, trusted))
        self._reached = max(self._reached, until)

    def _is_judged(self, trusted: TrustedOrder) -> bool:
        try:
            standing = replace(self.standing, floor=None) if self.agenda.lifts_floor_for(trusted) else self.standing
            return rule(trusted, standing, Policy(), HOST, now_ms=0) is Ruling.CARRY_OUT
        except SenderFault:
            self._decide(trusted, rejected=True)
            return False

    def _decide(self, trusted: TrustedOrder, *, rejected: bool = False) -> None:
        self.agenda.remove(trusted.id)
        self.decided.add(trusted.id)
        if rejected:
            self.rejected.add(trusted.id)

    def works(self, steps: int) -> None:
        """Carry out the best order, some times."""
        for _ in range(steps):
            best = self.agenda.best()
            if best is None:
                return
            if not self._is_judged(best):
                self.agenda.remove(best.id)
            elif best.version.text in self._broken:
                self._decide(best, rejected=True)
            else:
                floor = floor_after(best, None if self.agenda.lifts_floor_for(best) else self.standing.floor)
                self.kept = self.agenda.bookmark_after(best) or self.kept
                self.standing = Standing(best.order.sequence, floor, best.release, ordered_release=best.release)
                self._decide(best)
                for passed in self.agenda.below(best.order.sequence):
                    self.agenda.remove(passed.id)

    def reconnects(self) -> None:
        """Lose the connection and come back."""
        self._begins(self.agenda.go_on_from(self.kept) if self._uses_bookmarks else None)

    def is_killed(self, *, loses_release: bool = False) -> None:
        """End without notice and start again with what is on disk; the release may be lost to damage."""
        self.agenda, self.decided = Agenda(), set(self.rejected)
        if loses_release and self.standing.ordered_release is not None:
            self.standing = replace(self.standing, active_release=None, ordered_release=None)
        self._begins(self.agenda.go_on_from(self.kept) if self._uses_bookmarks else None)

    def _begins(self, bookmark: Bookmark | None) -> None:
        begin = 0 if bookmark is None else bookmark.offset
        assert bookmark is None or self._history[begin].id == bookmark.order
        self._goes_on(self._reached, begin)


ROUNDS = st.lists(
    st.tuples(st.integers(0, 7), st.integers(0, 3), st.sampled_from(["nothing", "reconnects", "is killed", "is damaged"])), max_size=5
)


@settings(max_examples=300)
@given(
    wanted=PROMOTIONS, broken=st.frozensets(st.sampled_from(VERSIONS), max_size=3), rounds=ROUNDS,
    places=st.permutations(range(7)),
)
def test_whenever_an_instance_is_killed_bookmarks_change_nothing_but_how_much_it_reads(ordering, wanted, broken, rounds, places) -> None:
    orders = [ordering(number, version, is_rollback) for number, (version, is_rollback) in enumerate(wanted, 1)]
    history = [orders[place] for place in places if place < len(orders)]   # also one that is out of sequence
    plain, marked = (Reader(history, broken, uses_bookmarks=uses) for uses in (False, True))
    for count, steps, trouble in [*rounds, (len(history), 99, "reconnects"), (0, 99, "nothing")]:
        for reader in (plain, marked):
            reader.reads(count)
            reader.works(steps)
            if trouble == "reconnects":
                reader.reconnects()
            elif trouble != "nothing":
                reader.is_killed(loses_release=trouble == "is damaged")
        assert marked.standing == plain.standing
        assert {t.id for t in marked.agenda.ranked()} == {t.id for t in plain.agenda.ranked()}
    assert marked.rejected == plain.rejected
    assert marked.read <= plain.read
