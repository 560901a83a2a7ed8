"""Dead letters are sent back and taken away; wherever the line is cut none is lost."""

import os
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.consumer.deadletters.test_browse import refuse
from tests.fakes import specimens
from tests.fakes.fake_broker import FakeBroker
from tests.fakes.faulty_broker import CutAfter, FaultyBroker

from modelcast.consumer.deadletters.browse import page_after, read_letters
from modelcast.consumer.deadletters.choosing import Wish, grouped
from modelcast.consumer.deadletters.letter import Letter
from modelcast.consumer.deadletters.moving import choose, remove, send_back
from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.depot.depot import Depot
from modelcast.shared.depot.layout import letter_name
from modelcast.shared.depot.reports import ReportWriter
from modelcast.shared.errors import HostFault, NotFound
from modelcast.shared.limits import MIB
from modelcast.shared.order import order_id
from modelcast.shared.packing import pack
from modelcast.shared.pika_link import PikaBroker
from modelcast.shared.report import ReportKind, Verdict
from modelcast.shared.road import Target
from modelcast.shared.roads import open_road
from modelcast.shared.topology import DEAD, instance_queue_name

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


# --------------------------------------------------------------------------- ten thousand


MANY = 10_000
BOUND_BYTES = 64 * MIB
"""Ten thousand letters of ten kilobytes are a hundred megabytes; their reports with facts as many again."""


def many(depot: Depot, count: int) -> None:
    """Write letters as instances do, without syncing each, and the report of every other one."""
    folder, reports = depot.root / "dead-letters", ReportWriter(depot.disk, depot.root / "reports", Target("fraud", "production", "web-0"))
    for number in range(count):
        target, body = Target("fraud", "production", f"web-{number % 50}"), b"order %d " % (number // 50) + b"x" * 10_000
        fields = {"format": 1, "model": target.model, "channel": target.channel, "instance": target.instance, "number": number // 50 + 1}
        content = pack(fields | {"died_ms": 1_767_225_600_000 + number, "cause": "rejected", "body": body})
        (folder / letter_name(1_767_225_600_000 + number, f"{number:024x}")).write_bytes(content)
        if number % 2:
            reports.append(specimens.report(
                kind=ReportKind.VERDICT, verdict=Verdict.REJECTED, instance=target.instance, order=order_id(body), reason="load-failed",
                facts={"traceback": "y" * 10_000},
            ).to_bytes())
    reports.close()


@pytest.fixture
def peak() -> Iterator[Callable[[], int]]:
    """The most memory that Python held since the test began to ask."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


@pytest.mark.parametrize("count", [200, pytest.param(MANY, marks=pytest.mark.torture)])
def test_very_many_letters_are_counted_paged_sent_back_and_removed_in_little_memory(depot_url: str, tmp_path: Path, count: int, request) -> None:
    depot = Depot(tmp_path / "depot")
    many(depot, count)
    depot.make_model("fraud")
    depot.make_channel("fraud", "production")
    for number in range(50):
        depot.make_instance(Target("fraud", "production", f"web-{number}"))
    road = open_road(depot_url)
    peak = request.getfixturevalue("peak")
    groups = grouped(read_letters(road, limit=MANY + 1, with_facts=False), "reason")
    assert {group.name: group.letters for group in groups} == {"load-failed": count // 2, "unreported": count // 2}
    page, following = page_after(road, read_letters(road, limit=count // 2)[-1].id[:12], limit=50, with_facts=False)
    assert (len(page), following) == (50, page[-1].id)
    failed = choose(road, (), Wish(reason="load-failed"))
    assert sum(problem is None for _, problem in send_back(road, failed)) == count // 2
    assert sum(1 for _ in remove(road, choose(road, (), Wish(instance="web-0")))) == count // 50
    print(f"{count} letters of 10 kB: {peak() / MIB:.1f} MiB at most")
    assert peak() < BOUND_BYTES * count // MANY + 16 * MIB
    left = len(list(road.dead_letters(MANY)))
    sent = sum(len(os.listdir(tmp_path / "depot/models/fraud/channels/production/at" / f"web-{number}" / "replays")) for number in range(50))
    assert (left, sent) == (count // 2 - count // 50, count // 2)


@pytest.mark.torture
def test_thousands_of_letters_on_a_broker_are_sent_back_in_little_memory_though_it_is_cut_again_and_again(broker_url: str) -> None:
    count, road, target = 3000, AmqpRoad(PikaBroker(broker_url)), Target("fraud", "production", "web-1")
    road.join(target).close()   # its queue is there
    link = PikaBroker(broker_url).connect(name="an instance that refuses everything")
    queue = instance_queue_name("fraud", "production", "web-1")
    outbox, inbox = link.companion().outbox(window=500), link.inbox(queue, prefetch=500)
    for number in range(count):
        outbox.post("", b"order %d " % number + b"x" * 10_000, routing_key=queue)
    outbox.flush()
    for _ in range(count):
        delivery = inbox.receive(30.0)
        assert delivery is not None
        inbox.refuse(delivery)
    deadline = time.monotonic() + 60
    while link.depth(DEAD) < count:
        assert time.monotonic() < deadline
    link.close()
    tracemalloc.start()
    cuts = 0
    while letters := choose(road, ()):
        fault = CutAfter(1500, times=100_000)
        try:
            for _ in send_back(AmqpRoad(FaultyBroker(PikaBroker(broker_url), fault)), letters):
                pass
        except HostFault:
            cuts += 1
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    back, seen = PikaBroker(broker_url).connect(name="who looks"), set[bytes]()
    copies, inbox = back.depth(queue), back.inbox(queue, prefetch=500)
    while len(seen) < count:
        delivery = inbox.receive(30.0)
        assert delivery is not None
        inbox.accept(delivery)
        seen.add(delivery.body)
    back.close()
    print(f"{count} letters, {cuts} cuts, {copies} copies, {most / MIB:.1f} MiB at most")
    assert cuts >= 5
    assert copies <= count + cuts   # one more at most for each cut
    assert most < BOUND_BYTES
