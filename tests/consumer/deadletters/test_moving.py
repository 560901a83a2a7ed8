"""Dead letters are sent back and taken away; wherever the line is cut none is lost."""

from dataclasses import replace

import pytest
from tests.consumer.deadletters.test_browse import refuse
from tests.fakes.fake_broker import FakeBroker
from tests.fakes.faulty_broker import CutAfter, FaultyBroker

from modelcast.consumer.deadletters.browse import read_letters
from modelcast.consumer.deadletters.choosing import Wish
from modelcast.consumer.deadletters.letter import Letter
from modelcast.consumer.deadletters.moving import choose, remove, send_back
from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.errors import HostFault, NotFound
from modelcast.shared.topology import DEAD

QUEUE = "modelcast.fraud.production.at."


def held(broker: FakeBroker, queue: str) -> list[bytes]:
    assert not broker.links
    return [held.message.body for held in broker.node.queues[queue].ready]  # type: ignore[union-attr]


def some(broker: FakeBroker) -> AmqpRoad:
    road = AmqpRoad(broker)
    refuse(road, b"one", "web-1", "load-failed")
    refuse(road, b"two", "web-1", "malformed")
    refuse(road, b"one", "web-2", "timed-out")
    for name in ("web-1", "web-2"):
        broker.node.queues[QUEUE + name].ready.clear()   # type: ignore[union-attr] - what was ordered while they were away
    return road


def whose(letters: list[Letter]) -> list[tuple[str | None, str | None]]:
    return [(letter.instance, letter.reason) for letter in letters]


def test_letters_are_chosen_by_id_by_filter_or_both_and_with_those_of_others_that_refused(fake_broker: FakeBroker) -> None:
    road = some(fake_broker)
    first, third, second = read_letters(road, limit=10)
    assert whose(choose(road, ())) == [("web-1", "load-failed"), ("web-1", "malformed"), ("web-2", "timed-out")]
    assert whose(choose(road, [third.id[:8], first.id])) == [("web-1", "load-failed"), ("web-1", "malformed")]
    assert whose(choose(road, (), Wish(reason="timed-out"))) == [("web-2", "timed-out")]
    assert whose(choose(road, [second.id], spreads=True)) == [("web-1", "load-failed"), ("web-2", "timed-out")]
    assert whose(choose(road, (), Wish(reason="timed-out"), spreads=True)) == [("web-1", "load-failed"), ("web-2", "timed-out")]
    with pytest.raises(NotFound):
        choose(road, [second.id], Wish(reason="malformed"))


def test_an_order_that_one_instance_refused_twice_goes_back_once_and_both_letters_go(fake_broker: FakeBroker) -> None:
    road = some(fake_broker)
    queue = fake_broker.node.queues[DEAD]
    twice = queue.ready[0].message  # type: ignore[union-attr]
    queue.put(replace(twice, headers={**twice.headers, "x-death": [{**twice.headers["x-death"][0], "time": None}]}))  # type: ignore[index]
    assert len(list(send_back(road, choose(road, ())))) == 4
    assert held(fake_broker, DEAD) == []
    assert (held(fake_broker, QUEUE + "web-1"), held(fake_broker, QUEUE + "web-2")) == ([b"one", b"two"], [b"one"])


def test_what_nobody_refused_or_does_not_say_who_did_stays(fake_broker: FakeBroker) -> None:
    road = some(fake_broker)
    queue = fake_broker.node.queues[DEAD]
    whole = queue.ready[0].message  # type: ignore[union-attr]
    (death,) = whole.headers["x-death"]  # type: ignore[misc]
    queue.ready.clear()  # type: ignore[union-attr]
    for headers in ({}, {"x-death": [death | {"reason": "expired"}]}, {"x-death": [death | {"queue": "somebody.elses"}]}):
        queue.put(replace(whole, headers=headers))
    problems = [problem for _, problem in send_back(road, choose(road, ()))]
    assert [bool(problem) for problem in problems] == [True] * 3
    assert len(held(fake_broker, DEAD)) == 3
    assert [problem for _, problem in send_back(road, choose(road, ()), tries=True)] == problems


@pytest.mark.parametrize("act", [send_back, remove])
def test_wherever_the_line_is_cut_nothing_is_lost_and_the_next_call_finishes(act) -> None:
    operations = 0
    while True:
        broker = FakeBroker()
        road, fault = some(broker), CutAfter(operations)
        letters, done = choose(road, ()), 0
        try:
            for _ in act(AmqpRoad(FaultyBroker(broker, fault)), letters):
                done += 1
        except HostFault:
            assert fault.happened
        dead = held(broker, DEAD)
        back = held(broker, QUEUE + "web-1") + held(broker, QUEUE + "web-2")
        assert len(dead) == 3 - done, operations
        if act is send_back:
            assert 0 <= len(dead) + len(back) - 3 <= 1, operations   # one more at most: sent back, and its letter still there
        for _ in act(road, choose(road, ())):
            pass
        assert held(broker, DEAD) == []
        if not fault.happened:
            break
        operations += 1
    assert operations >= 9
