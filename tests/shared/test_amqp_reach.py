"""An instance's queue that does not bring what the history brings is bound again, and a healthy one hardly ever."""

from tests.fakes.fake_broker import FakeBroker

from modelcast.shared.amqp_reach import DOUBT_SECONDS, MISSED_SECONDS, Reach
from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.road import Target
from modelcast.shared.topology import Exchange, orders_name


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_what_comes_both_ways_leaves_no_doubt_in_whichever_order_it_comes() -> None:
    clock = Clock()
    reach = Reach(clock)
    reach.by_history(b"first")
    reach.by_queue(b"first")
    reach.by_queue(b"second")
    reach.by_history(b"second")
    clock.now += DOUBT_SECONDS - 1
    assert not reach.is_doubtful


def test_what_the_history_alone_brings_is_a_doubt_after_a_moment_and_once() -> None:
    clock = Clock()
    reach = Reach(clock)
    reach.by_history(b"first")
    clock.now += MISSED_SECONDS - 1
    assert not reach.is_doubtful
    reach.by_history(b"first")   # given out again: the moment does not begin anew
    clock.now += 1
    assert reach.is_doubtful
    reach.begin()
    clock.now += DOUBT_SECONDS - 1
    assert not reach.is_doubtful
    clock.now += 1
    assert reach.is_doubtful


def test_another_order_of_the_queue_does_not_end_the_doubt() -> None:
    clock = Clock()
    reach = Reach(clock)
    reach.by_history(b"second")
    reach.by_queue(b"first")
    clock.now += MISSED_SECONDS
    assert reach.is_doubtful


def test_a_road_whose_order_exchange_was_made_anew_gets_the_next_order_by_its_queue(monkeypatch) -> None:
    monkeypatch.setattr("modelcast.shared.amqp_reach.MISSED_SECONDS", 0.0)
    broker = FakeBroker()
    road = AmqpRoad(broker)
    joined = road.join(Target("fraud", "production", "one"))
    operator = broker.connect(name="operator")
    operator.remove([Exchange(orders_name("fraud", "production"))])
    operator.close()
    publisher = road.publish("fraud", "production")
    publisher.order("production", b"first")
    first = joined.next_order(5.0)
    assert first is not None
    assert first.receipt is None
    assert joined.next_order(0) is None
    publisher.order("production", b"second")
    arrived = [order for order in (joined.next_order(5.0), joined.next_order(5.0)) if order is not None]
    assert [(order.body, order.receipt is not None) for order in arrived] == [(b"second", False), (b"second", True)]
    publisher.close()
    joined.close()
