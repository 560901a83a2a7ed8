"""The ledger: what was decided is settled once, and a rejection only when its reason has arrived."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from modelcast.consumer import ledger as module
from modelcast.consumer.ledger import MAX_DECIDED, Ledger
from modelcast.shared.report import Verdict
from modelcast.shared.road import ArrivedOrder

ORDERS = ("one", "two", "three")


def arrived() -> ArrivedOrder:
    return ArrivedOrder(b"order", object())


def settled(ledger: Ledger) -> list[tuple[ArrivedOrder, bool]]:
    return [(settlement.arrived, settlement.accept) for settlement in ledger.settlements()]


@pytest.mark.parametrize("verdict", [Verdict.PROMOTED, Verdict.SUPERSEDED])
def test_what_was_promoted_or_passed_over_is_accepted_at_once(verdict: Verdict) -> None:
    ledger, order = Ledger(), arrived()
    ledger.hold("one", order)
    assert settled(ledger) == []
    ledger.decide("one", verdict, ("report-1", b"body"))
    assert settled(ledger) == [(order, True)]
    assert settled(ledger) == []


def test_a_rejection_is_settled_only_when_its_report_is_confirmed() -> None:
    ledger, order = Ledger(), arrived()
    ledger.hold("one", order)
    ledger.decide("one", Verdict.REJECTED, ("report-1", b"reason"))
    assert settled(ledger) == []
    ledger.confirmed("report-1")
    assert settled(ledger) == [(order, False)]


def test_a_rejection_that_was_reported_before_the_restart_is_settled_at_once() -> None:
    ledger, order = Ledger(), arrived()
    ledger.decide("one", Verdict.REJECTED, None)
    ledger.hold("one", order)
    assert settled(ledger) == [(order, False)]


def test_a_receipt_that_comes_after_the_verdict_is_settled_by_it() -> None:
    ledger, late = Ledger(), arrived()
    ledger.decide("one", Verdict.PROMOTED, None)
    assert settled(ledger) == []
    ledger.hold("one", late)
    assert settled(ledger) == [(late, True)]


def test_every_copy_of_an_order_is_settled() -> None:
    """A copy that is never settled takes a place in the prefetch for good; sixteen of them and no order comes any more."""
    ledger, copies = Ledger(), [arrived() for _ in range(20)]
    for copy in copies:
        ledger.hold("one", copy)
    ledger.decide("one", Verdict.PROMOTED, None)
    assert settled(ledger) == [(copy, True) for copy in copies]
    assert settled(ledger) == []


def test_receipts_die_with_their_connection_and_new_ones_take_their_place() -> None:
    ledger, new = Ledger(), arrived()
    ledger.hold("one", arrived())
    ledger.lost_connection()
    ledger.decide("one", Verdict.PROMOTED, None)
    assert settled(ledger) == []
    ledger.hold("one", new)
    assert settled(ledger) == [(new, True)]


def test_an_order_from_the_history_has_nothing_to_settle() -> None:
    ledger = Ledger()
    ledger.hold("one", ArrivedOrder(b"order"))
    ledger.decide("one", Verdict.PROMOTED, None)
    assert settled(ledger) == []


def test_an_order_whose_verdict_is_being_written_down_is_known() -> None:
    ledger = Ledger()
    assert not ledger.knows("one")
    ledger.expect("one")
    assert ledger.knows("one")
    ledger.decide("one", Verdict.REJECTED, None)
    assert ledger.knows("one")


def test_only_what_was_refused_and_told_is_judged_anew() -> None:
    ledger = Ledger()
    assert not ledger.reopen("one")
    ledger.expect("one")
    assert not ledger.reopen("one")   # its verdict is being written down
    ledger.decide("one", Verdict.REJECTED, ("report-1", b"reason"))
    assert not ledger.reopen("one")   # nobody has heard why yet
    ledger.confirmed("report-1")
    assert ledger.reopen("one")
    assert not ledger.knows("one")
    for verdict in (Verdict.PROMOTED, Verdict.SUPERSEDED):
        ledger.decide("two", verdict, None)
        assert not ledger.reopen("two")


def test_reports_are_sent_oldest_first_those_of_an_earlier_start_before() -> None:
    ledger = Ledger()
    ledger.owe("report-1", b"earlier")
    ledger.decide("one", Verdict.PROMOTED, ("report-2", b"later"))
    assert list(ledger.unsent.items()) == [("report-1", b"earlier"), ("report-2", b"later")]
    ledger.confirmed("report-1")
    ledger.confirmed("report-1")
    assert list(ledger.unsent) == ["report-2"]


def test_the_oldest_verdicts_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_DECIDED", 3)
    assert MAX_DECIDED > 100
    ledger = Ledger()
    for order in "abcd":
        ledger.decide(order, Verdict.PROMOTED, None)
    assert [order for order in "abcd" if ledger.knows(order)] == ["b", "c", "d"]


class AnyCourse(RuleBasedStateMachine):
    """Arrivals, verdicts, confirmations and lost connections in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.live: dict[ArrivedOrder, str] = {}
        self.verdicts: dict[str, tuple[Verdict, str]] = {}
        self.unconfirmed: set[str] = set()
        self.reports = 0

    @rule(order=st.sampled_from(ORDERS))
    def arrives(self, order: str) -> None:
        copy = arrived()
        self.live[copy] = order
        self.ledger.hold(order, copy)

    @rule(order=st.sampled_from(ORDERS), verdict=st.sampled_from(Verdict))
    def is_decided(self, order: str, verdict: Verdict) -> None:
        if order not in self.verdicts:
            self.reports += 1
            name = f"report-{self.reports}"
            self.verdicts[order] = (verdict, name)
            self.unconfirmed.add(name)
            self.ledger.decide(order, verdict, (name, b""))

    @rule(data=st.data())
    def a_report_is_confirmed(self, data: st.DataObject) -> None:
        if self.unconfirmed:
            name = data.draw(st.sampled_from(sorted(self.unconfirmed)))
            self.unconfirmed.remove(name)
            self.ledger.confirmed(name)

    @rule()
    def the_connection_is_lost(self) -> None:
        self.live.clear()
        self.ledger.lost_connection()

    @rule()
    def what_is_due_is_settled(self) -> None:
        for settlement in self.ledger.settlements():
            order = self.live.pop(settlement.arrived)   # raises when it was settled before, or died
            verdict, report = self.verdicts[order]
            assert settlement.accept == (verdict is not Verdict.REJECTED)
            assert settlement.accept or report not in self.unconfirmed
        for order in self.live.values():   # and nothing that is due was left
            verdict, report = self.verdicts.get(order, (Verdict.REJECTED, ""))
            assert order not in self.verdicts or (verdict is Verdict.REJECTED and report in self.unconfirmed)

    @invariant()
    def what_is_not_confirmed_is_unsent(self) -> None:
        assert set(self.ledger.unsent) == self.unconfirmed


TestAnyCourse = AnyCourse.TestCase
