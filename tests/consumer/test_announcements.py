"""Which announcements are listened to, and what ends them: nothing that was announced keeps an order waiting."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.publisher_sim import PublisherSimulator

from modelcast.consumer.announcements import Announcements
from modelcast.consumer.trust import TrustedOrder, open_announcement, open_order
from modelcast.shared.signing import KeyRing, SigningKey

Announced = Callable[..., TrustedOrder]


@pytest.fixture
def announced(signing_key: SigningKey, key_ring: KeyRing) -> Announced:
    def make(version: str = "1.0.0", sequence: int = 5, issued_ms: int = 1) -> TrustedOrder:
        sim = PublisherSimulator(None, signing_key)
        body = sim.announcement(sim.release(version), sequence=sequence, issued_ms=issued_ms)
        return open_announcement(body, key_ring, model="fraud", channel="production")

    return make


@pytest.fixture
def ordered(signing_key: SigningKey, key_ring: KeyRing) -> Announced:
    def make(version: str = "1.0.0", sequence: int = 5) -> TrustedOrder:
        sim = PublisherSimulator(None, signing_key)
        return open_order(sim.order(sim.release(version), sequence=sequence), key_ring, model="fraud", channel="production")

    return make


def test_one_begins_and_nothing_more_until_it_ended(announced: Announced) -> None:
    heard = Announcements()
    assert heard.add(announced())
    assert heard.is_waiting
    running = heard.begin()
    assert (running, heard.is_waiting) == (heard.running, False)
    assert heard.add(announced("1.1.0", 6))
    assert (heard.is_waiting, running.dropped) == (False, True)
    assert heard.end() is running
    assert heard.is_waiting
    assert heard.begin().version == "1.1.0"


def test_the_same_release_announced_anew_goes_on(announced: Announced) -> None:
    heard = Announcements()
    heard.add(announced(issued_ms=1))
    running = heard.begin()
    assert not heard.add(announced(issued_ms=2))
    assert not running.dropped


def test_its_own_order_lets_it_end_by_itself_and_any_other_at_once(announced: Announced, ordered: Announced) -> None:
    for order, ends_by_itself in ((ordered(), True), (ordered("1.1.0", 4), False)):
        heard = Announcements()
        heard.add(announced())
        running = heard.begin()
        heard.make_way_for(order)
        assert (running.ordered_release == order.release, running.dropped) == (ends_by_itself, not ends_by_itself)
        assert heard.end() is running
        assert not heard.is_waiting


def test_a_verdict_interrupts_and_that_on_its_own_order_ends_it(announced: Announced, ordered: Announced) -> None:
    for verdict_on, goes_on in ((None, True), (ordered("0.9.0", 4), True), (ordered(), False)):
        heard = Announcements()
        heard.add(announced())
        running = heard.begin()
        heard.make_room_for_a_verdict(verdict_on)
        assert running.is_interrupted
        heard.end()
        assert heard.is_waiting is goes_on
        assert not goes_on or heard.begin() is running
        assert not goes_on or not running.is_interrupted


def test_nothing_runs_nothing_happens(ordered: Announced) -> None:
    heard = Announcements()
    heard.make_way_for(ordered())
    heard.make_room_for_a_verdict(None)
    heard.drop()
    assert (heard.end(), heard.begin(), heard.is_waiting) == (None, None, False)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 6), st.integers(1, 3)), max_size=12))
def test_each_that_is_listened_to_is_later_than_the_last_and_than_every_order(announced, ordered, events) -> None:
    heard, listened, orders = Announcements(), [(0, 0)], [0]
    for is_order, sequence, issued_ms in events:
        if is_order:
            orders.append(sequence)
            heard.note(ordered(sequence=sequence))
            assert not heard.is_waiting or heard._waiting.sequence > max(orders)
        elif heard.add(announced(f"{sequence}.0.{issued_ms}", sequence, issued_ms)):
            assert sequence > max(orders)
            assert (sequence, issued_ms) > listened[-1]
            listened.append((sequence, issued_ms))
