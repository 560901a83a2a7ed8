"""Dead letters on a broker: nothing is lost wherever the line is cut, and a mark of a stranger is only a mark."""

from dataclasses import replace

import pytest
from tests.fakes.fake_broker import FakeBroker
from tests.fakes.faulty_broker import CutAfter, FaultyBroker

from modelcast.shared import amqp_letters as module
from modelcast.shared.amqp_letters import MOST_REPLAY_CHARACTERS, AmqpLetterDesk, replay_of
from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.errors import HostFault, NotFound
from modelcast.shared.link import Delivery
from modelcast.shared.road import DeadLetter, Target

HERE = Target("fraud", "production", "a")
QUEUE = "modelcast.fraud.production.at.a"


def refuse(broker: FakeBroker, *bodies: bytes) -> None:
    road = AmqpRoad(broker)
    joined, publisher = road.join(HERE), road.publish("fraud", "production")
    for body in bodies:
        publisher.order("production", body)
        while (arrived := joined.next_order(5.0)) is not None and arrived.receipt is None:
            pass
        assert arrived is not None
        joined.settle(arrived, accept=False)
    joined.close()
    publisher.close()


def held(broker: FakeBroker, queue: str) -> list[bytes]:
    """What waits in a queue when nobody holds any of it."""
    assert not broker.links
    return [held.message.body for held in broker.node.queues[queue].ready]  # type: ignore[union-attr]


def move_all(broker: object) -> None:
    desk = AmqpRoad(broker).letters()  # type: ignore[arg-type]
    try:
        for letter in desk.read(100):
            desk.send_back(letter)
            desk.remove(letter)
    finally:
        desk.close()


def test_wherever_the_line_is_cut_each_letter_is_there_or_with_its_instance() -> None:
    bodies, operations, cuts = [b"1", b"2", b"3"], 0, 0
    while True:
        broker = FakeBroker()
        refuse(broker, *bodies)
        fault = CutAfter(operations)
        try:
            move_all(FaultyBroker(broker, fault))
        except HostFault:
            cuts += 1
        dead, back = held(broker, "modelcast.dead"), held(broker, QUEUE)
        assert set(dead) | set(back) == set(bodies), operations
        assert len(set(dead) & set(back)) <= 1, operations   # at most the one that was under way is in both
        move_all(broker)   # an operator calls again
        assert (held(broker, "modelcast.dead"), set(held(broker, QUEUE))) == ([], set(bodies))
        if not fault.happened:
            break
        operations += 1
    assert cuts == operations >= 12


def test_a_letter_that_does_not_say_who_refused_it_goes_nowhere(fake_broker: FakeBroker) -> None:
    desk = AmqpLetterDesk(fake_broker.connect(name="operator"))
    for receipt in (None, "of another road", (object(), 1), (object(), 1, None)):
        letter = DeadLetter(b"order", None, receipt=receipt)
        with pytest.raises(NotFound, match="who refused it"):
            desk.send_back(letter)
        desk.remove(letter)   # of no desk, or of another one: nothing is acknowledged
    desk.close()


def test_a_receipt_of_an_earlier_reading_removes_nothing(fake_broker: FakeBroker) -> None:
    refuse(fake_broker, b"1", b"2")
    desk = AmqpRoad(fake_broker).letters()
    first, *_ = list(desk.read(10))
    list(desk.read(10))
    desk.remove(first)
    desk.close()
    assert held(fake_broker, "modelcast.dead") == [b"1", b"2"]


def test_however_many_are_passed_over_only_one_window_of_them_is_sent_ahead(fake_broker: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WINDOW", 3)
    refuse(fake_broker, b"0")
    dead = fake_broker.node.queues["modelcast.dead"]
    for number in range(1, 12):
        dead.put(replace(dead.ready[0].message, body=b"%d" % number))  # type: ignore[union-attr]
    desk, seen = AmqpRoad(fake_broker).letters(), list[bytes]()
    for letter in desk.read(11):
        seen.append(letter.body)
        assert 12 - len(seen) - dead.depth <= 3   # sent ahead and not looked at
        if int(letter.body) % 2:
            desk.remove(letter)
    desk.close()
    assert seen == [b"%d" % number for number in range(11)]
    assert held(fake_broker, "modelcast.dead") == [b"0", b"2", b"4", b"6", b"8", b"10", b"11"]


def test_after_an_instance_that_is_gone_the_next_letters_go_back(fake_broker: FakeBroker) -> None:
    refuse(fake_broker, b"1", b"2")
    fake_broker.delete_queue(QUEUE)
    desk = AmqpRoad(fake_broker).letters()
    for letter in desk.read(10):
        with pytest.raises(NotFound, match="has no queue"):
            desk.send_back(letter)
    desk.close()
    refuse(fake_broker, b"3")
    move_all(fake_broker)
    assert held(fake_broker, QUEUE) == [b"1", b"2", b"3"]


@pytest.mark.parametrize(("headers", "expected"), [
    ({}, None), ({"mc-kind": "replay"}, None), ({"mc-kind": "replay", "mc-replay": ""}, None), ({"mc-kind": ["replay"], "mc-replay": "x"}, None),
    ({"mc-kind": "replay", "mc-replay": 7}, None), ({"mc-replay": "x"}, None), ({"mc-kind": "replay", "mc-replay": "x"}, "x"),
    ({"mc-kind": "replay", "mc-replay": "x" * 1000}, "x" * MOST_REPLAY_CHARACTERS),
])
def test_a_mark_is_taken_from_headers_of_any_type(headers: dict[str, object], expected: str | None) -> None:
    assert replay_of(Delivery(b"order", headers)) == expected
