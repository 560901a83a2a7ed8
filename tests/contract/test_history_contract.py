"""A bookmark in a channel's history, on the broker in memory and on RabbitMQ: a good one saves reading, a bad one costs no order."""

import time
from collections.abc import Callable, Iterator

import pytest
from tests.contract.conftest import Operator

from modelcast.shared import amqp_history
from modelcast.shared.amqp_history import PATIENCE_SECONDS, AmqpHistory
from modelcast.shared.amqp_road import AmqpInstanceRoad, AmqpRoad
from modelcast.shared.link import Broker, WaitingLink
from modelcast.shared.order import order_id
from modelcast.shared.road import ArrivedOrder, Bookmark, Target
from modelcast.shared.topology import channel_parts, history_name

SOON, BRIEF = 20.0, 0.3
HERE = Target("fraud", "production", "a")
STREAM = history_name("fraud", "production")
BODIES = [b"order %d" % number for number in range(40)]


def stopped() -> float:
    """Return the time on a clock that stands still."""
    return 0.0


def ticking() -> float:
    """Return the time on a clock that is fast: a history's patience ends soon, and yet nobody looks as if held up."""
    return time.monotonic() * 20


@pytest.fixture
def road(broker: Broker) -> AmqpRoad:
    return AmqpRoad(broker, name="contract", retention_bytes=64 * 1024 * 1024)


@pytest.fixture
def order(road: AmqpRoad) -> Callable[[list[bytes]], None]:
    """Sends orders."""

    def send(bodies: list[bytes]) -> None:
        session = road.publish("fraud", "production")
        for body in bodies:
            session.order("production", body)
        session.close()

    return send


@pytest.fixture
def read(connect: Callable[[], WaitingLink]) -> Callable[..., list[ArrivedOrder]]:
    """Reads the history from a bookmark until ``count`` orders came; with a count of None, what comes in a short while."""

    def read(bookmark: Bookmark | None, count: int | None, clock: Callable[[], float] = stopped) -> list[ArrivedOrder]:
        link, found = connect(), list[ArrivedOrder]()
        link.declare(channel_parts("fraud", "production"))
        history = AmqpHistory(link, STREAM, bookmark, clock)
        deadline = time.monotonic() + (BRIEF if count is None else SOON)
        while (count is None or len(found) < count) and time.monotonic() < deadline:
            arrived = history.next()
            if arrived is None:
                link.wait(0.1)
            else:
                found.append(arrived)
        return found

    return read


def mark(arrived: ArrivedOrder) -> Bookmark:
    assert arrived.offset is not None
    return Bookmark(arrived.offset, order_id(arrived.body))


def bodies(found: list[ArrivedOrder]) -> list[bytes]:
    return [arrived.body for arrived in found]


def test_reading_goes_on_with_the_order_of_the_bookmark(order, read) -> None:
    order(BODIES)
    everything = read(None, 40)
    assert bodies(everything) == BODIES
    assert bodies(read(mark(everything[25]), 15)) == BODIES[25:]
    assert bodies(read(mark(everything[-1]), 1)) == BODIES[-1:]


def test_where_another_order_stands_all_of_the_history_is_read(order, read, operator: Operator) -> None:
    order(BODIES)
    tenth = mark(read(None, 40)[10])
    operator.delete_queue(STREAM)
    order([b"new %d" % number for number in range(30)])
    assert bodies(read(tenth, 30)) == [b"new %d" % number for number in range(30)]


@pytest.mark.parametrize("left", [0, 3])
def test_beyond_the_end_of_a_stream_that_was_made_anew_all_is_read_after_a_while(order, read, operator: Operator, left: int) -> None:
    order(BODIES)
    last = mark(read(None, 40)[-1])
    operator.delete_queue(STREAM)
    order(BODIES[:left])
    assert read(last, None) == []
    assert bodies(read(last, left, ticking)) == BODIES[:left]


@pytest.fixture
def join(road: AmqpRoad) -> Iterator[Callable[..., AmqpInstanceRoad]]:
    """Joins; every connection is closed after the test."""
    joined: list[AmqpInstanceRoad] = []

    def join(bookmark: Bookmark | None = None) -> AmqpInstanceRoad:
        joined.append(road.join(HERE, bookmark=bookmark))
        return joined[-1]

    yield join
    for each in joined:
        each.close()


def take(joined: AmqpInstanceRoad, *, from_history: bool, count: int) -> list[ArrivedOrder]:
    """Return the next orders of one kind."""
    found, deadline = list[ArrivedOrder](), time.monotonic() + SOON
    while len(found) < count and time.monotonic() < deadline:
        arrived = joined.next_order(0.5)
        if arrived is not None and (arrived.receipt is None) is from_history:
            found.append(arrived)
    return found


FEW = BODIES[:5]


def test_who_joins_with_a_bookmark_gets_its_order_first_and_then_what_waits_in_the_queue(
    order, join, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(amqp_history, "PATIENCE_SECONDS", 1.5)   # what stands before the bookmark does not come by: it is waited for
    joined = join()
    order(FEW)
    last = mark(take(joined, from_history=True, count=5)[-1])
    joined.close()
    again = join(last)
    first = again.next_order(SOON)
    assert first is not None
    assert (first.body, first.offset, first.receipt) == (FEW[-1], last.offset, None)
    assert bodies(take(again, from_history=False, count=5)) == FEW   # nobody settled them


def test_orders_of_the_queue_wait_until_it_is_known_from_where_the_history_is_read(
    order, join, monkeypatch: pytest.MonkeyPatch
) -> None:
    join().close()
    order(FEW)
    joined = join(Bookmark(10_000, "ab" * 32))
    deadline = time.monotonic() + SOON
    while len(joined._arrived) < len(FEW) and time.monotonic() < deadline:
        assert joined.next_order(BRIEF) is None
    begin = time.monotonic()
    assert joined.next_order(BRIEF) is None
    assert time.monotonic() - begin >= BRIEF * 0.9   # it rests meanwhile
    monkeypatch.setattr(joined._history, "_heard_at", -1e9)
    found = [joined.next_order(SOON) for _ in range(2 * len(FEW))]
    for from_history in (True, False):
        assert [each.body for each in found if each and (each.receipt is None) is from_history] == FEW


class Hand:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Slow:
    """An inbox that gives out nothing until it may."""

    def __init__(self, inbox) -> None:
        self.inbox, self.may = inbox, False

    def receive(self, seconds: float):
        return self.inbox.receive(seconds) if self.may else None

    def __getattr__(self, name: str):
        return getattr(self.inbox, name)


def test_an_order_of_the_queue_is_not_judged_before_those_that_were_ordered_before_it(order, join, road: AmqpRoad) -> None:
    order(FEW)
    joined = join()   # its queue is new: what was ordered before comes by the history alone
    slow = joined._history._inbox = Slow(joined._history._inbox)
    order([b"newest"])
    publisher = road.publish("fraud", "production")
    publisher.announce("production", b"announced")
    publisher.close()
    while len(joined._arrived) < 2:
        assert joined.next_order(BRIEF) is None
    assert joined.next_order(BRIEF) is None
    slow.may = True
    found = [joined.next_order(SOON) for _ in range(len(FEW) + 3)]
    assert [each.body for each in found if each] == [*FEW, b"newest", b"newest", b"announced"]
    order([b"later"])
    slow.may = False   # from here on the queue alone is enough
    assert bodies(take(joined, from_history=False, count=1)) == [b"later"]


@pytest.mark.parametrize("since", ["_heard_at", "_opened_at"], ids=["silent", "never silent"])
def test_a_history_that_does_not_bring_it_keeps_no_order_back_for_ever(order, join, monkeypatch: pytest.MonkeyPatch, since: str) -> None:
    joined = join()
    joined._history._inbox = Slow(joined._history._inbox)
    order([b"only here"])
    while not joined._arrived:
        assert joined.next_order(BRIEF) is None
    monkeypatch.setattr(joined._history, since, -1e9)
    assert bodies(take(joined, from_history=False, count=1)) == [b"only here"]


def test_a_process_that_was_held_up_does_not_take_its_own_absence_for_silence(order, connect) -> None:
    link, clock = connect(), Hand()
    link.declare(channel_parts("fraud", "production"))
    history = AmqpHistory(link, STREAM, None, clock)
    assert history.next() is None
    clock.now += 10 * PATIENCE_SECONDS   # suspended: what was ordered meanwhile is still in the connection
    assert history.next() is None
    assert not history.is_read_until(b"an order of the queue")
    for _ in range(20):
        clock.now += 1.0
        history.next()
    assert history.is_read_until(b"an order of the queue")


def test_only_so_many_orders_are_remembered_while_the_past_is_read(order, join, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amqp_history, "MOST_PASSED", 3)
    order(FEW)
    joined = join()
    assert bodies(take(joined, from_history=True, count=5)) == FEW
    assert list(joined._history._passed) == [order_id(body) for body in FEW[-3:]]
