"""Every road: what a publisher, an instance and an operator can rely on, on the broker in memory, on RabbitMQ and in a directory."""

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.fakes.faulty_broker import CutAfter, FaultyBroker

from modelcast.shared.amqp_road import AmqpInstanceRoad, AmqpRoad
from modelcast.shared.compression import pack_chunk
from modelcast.shared.depot.layout import InstancePlaces
from modelcast.shared.digest import digest
from modelcast.shared.errors import (
    AuthenticationRefused,
    BrokerUnreachable,
    HostFault,
    NotFound,
    PublisherBusy,
    SenderFault,
    VhostMissing,
)
from modelcast.shared.http_road import HttpRoad
from modelcast.shared.link import Broker
from modelcast.shared.operating_road import OpenRoad
from modelcast.shared.order import order_id
from modelcast.shared.pika_link import PikaBroker
from modelcast.shared.reasons import Reason
from modelcast.shared.road import ArrivedOrder, Bookmark, InstanceRoad, Target
from modelcast.shared.stream_source import ChosenChunks
from modelcast.shared.topology import Queue, instance_queue_name

SOON = 20.0
BRIEF = 0.2
HERE = Target("fraud", "production", "a")


@pytest.fixture
def opened() -> Iterator[Callable[..., object]]:
    """Remembers what a test opened and closes it afterwards."""
    things: list[object] = []

    def remember(thing: object) -> object:
        things.append(thing)
        return thing

    yield remember
    for thing in reversed(things):
        thing.close()  # type: ignore[attr-defined]


def next_order(joined: InstanceRoad) -> ArrivedOrder:
    """Return the next order; a wait may end early for other reasons."""
    deadline = time.monotonic() + SOON
    while time.monotonic() < deadline:
        arrived = joined.next_order(1.0)
        if arrived is not None:
            return arrived
    raise AssertionError("no order came")


def next_from_queue(joined: InstanceRoad) -> ArrivedOrder:
    """Return the next order that can be settled, and skip the history."""
    while True:
        arrived = next_order(joined)
        if arrived.receipt is not None:
            return arrived


# --------------------------------------------------------------------------- register


def test_the_register_is_read_completely_and_in_order(road: OpenRoad, opened) -> None:
    publisher = opened(road.publish("fraud", "production"))
    assert list(publisher.register.read()) == []
    records = [b"record %d" % number for number in range(100)]
    for record in records:
        publisher.register.append(record)
    assert list(publisher.register.read()) == records
    publisher.close()
    assert list(opened(road.publish("fraud", "staging")).register.read()) == records


def test_each_model_has_a_register_of_its_own(road: OpenRoad, opened) -> None:
    opened(road.publish("fraud", "production")).register.append(b"mine")
    assert list(opened(road.publish("churn", "production")).register.read()) == []


# --------------------------------------------------------------------------- lock


def test_one_publisher_of_a_model_keeps_the_next_out_until_it_closes(road: OpenRoad, opened) -> None:
    first = opened(road.publish("fraud", "production"))
    with pytest.raises(PublisherBusy):
        road.publish("fraud", "staging")
    first.close()
    opened(road.publish("fraud", "staging"))


def test_who_sends_lets_others_order_meanwhile_and_keeps_out_who_would_send(road: OpenRoad, opened) -> None:
    sender = opened(road.publish("fraud", "production"))
    with pytest.raises(PublisherBusy):
        road.publish("fraud", "staging", sends=False)
    sender.apart()
    with pytest.raises(PublisherBusy):
        road.publish("fraud", "staging")
    orderer = opened(road.publish("fraud", "staging", sends=False))
    with pytest.raises(PublisherBusy):
        sender.rejoin()
    with pytest.raises(PublisherBusy):
        road.publish("fraud", "production", sends=False)
    begin = sender.chunks.mark()
    orderer.register.append(b"theirs")
    send(sender, "release", b"chunk")
    orderer.order("staging", b"order")
    assert list(sender.chunks.held_since(begin)) == [digest(b"chunk")]
    orderer.close()
    sender.rejoin()
    with pytest.raises(PublisherBusy):
        road.publish("fraud", "production", sends=False)
    assert list(sender.register.read()) == [b"theirs"]
    sender.register.append(b"mine")
    sender.close()
    assert list(opened(road.publish("fraud", "production")).register.read()) == [b"theirs", b"mine"]


def test_who_is_kept_out_keeps_out_nobody_and_who_leaves_apart_neither(road: OpenRoad, opened) -> None:
    orderer = opened(road.publish("fraud", "production", sends=False))
    with pytest.raises(PublisherBusy):
        road.publish("fraud", "production")
    orderer.close()
    sender = opened(road.publish("fraud", "production"))
    sender.apart()
    sender.close()
    opened(road.publish("fraud", "production"))


def test_publishers_of_two_models_do_not_meet(road: OpenRoad, opened) -> None:
    opened(road.publish("fraud", "production"))
    opened(road.publish("churn", "production"))


def test_a_publisher_that_fails_to_open_leaves_no_lock_behind(broker: Broker, opened) -> None:
    for operations in range(8):   # connect, declare, declare and the outboxes
        fault = CutAfter(operations)
        try:
            opened(AmqpRoad(FaultyBroker(broker, fault)).publish("fraud", "production")).close()
        except BrokerUnreachable:
            assert fault.happened
        opened(AmqpRoad(broker).publish("fraud", "production")).close()


# --------------------------------------------------------------------------- chunks


def id_of(name: str) -> str:
    """Return an id of a release for a name."""
    return digest(name.encode()).hex()


def send(publisher, release: str, *bodies: bytes) -> None:
    for index, body in enumerate(bodies):
        publisher.chunks.send(body, version="1.0.0", index=index, count=len(bodies), digest=digest(body).hex())
    publisher.chunks.finish(id_of(release))


def test_chunks_are_read_from_the_mark_to_the_end_of_the_release(chunk_road: OpenRoad, opened) -> None:
    publisher = opened(chunk_road.publish("fraud", "production"))
    send(publisher, "old", b"x", b"y")
    mark = publisher.chunks.mark()
    bodies = [b"%d" % number for number in range(100)]
    send(publisher, "new", *bodies)
    source = opened(chunk_road.chunks("fraud", mark))
    seen, ended = [], None
    while ended is None:
        arrived = source.receive(SOON)
        assert arrived is not None
        assert arrived.offset is not None
        assert arrived.offset >= mark
        ended = arrived.ends
        if arrived.is_chunk:
            seen.append(bytes(arrived.body))
    if isinstance(chunk_road, HttpRoad):   # batches may change places there, and all of them have come before the end
        seen.sort(key=int)
    assert (seen, ended) == (bodies, id_of("new"))
    assert source.receive(BRIEF) is None


def test_a_chunk_says_which_one_of_which_version_it_is_however_it_is_read(chunk_road: OpenRoad, opened) -> None:
    publisher = opened(chunk_road.publish("fraud", "production"))
    begin = publisher.chunks.mark()
    for index in (0, 1, 255, 70_000):
        publisher.chunks.send(b"x", version="2.1.0-rc.1", index=index, count=70_001, digest=digest(b"x").hex())
    publisher.chunks.finish(id_of("release"))
    source = opened(chunk_road.chunks("fraud", begin))
    came: list[tuple[str | None, int | None]] = []
    while (arrived := source.receive(SOON)) is not None and arrived.ends is None:
        if arrived.is_chunk:
            came.append((arrived.version, arrived.index))
    assert came == [("2.1.0-rc.1", index) for index in (0, 1, 255, 70_000)]


def test_without_an_offset_chunks_are_read_from_the_oldest(chunk_road: OpenRoad, opened) -> None:
    publisher = opened(chunk_road.publish("fraud", "production"))
    send(publisher, "one", b"x")
    send(publisher, "two", b"y")
    source = opened(chunk_road.chunks("fraud", None))

    def taken() -> tuple[bytes, bool, str | None]:
        arrived = source.receive(SOON)
        return bytes(arrived.body), arrived.is_chunk, arrived.ends   # a body is good until the next one is asked for

    assert [taken() for _ in range(4)] == [
        (b"x", True, None), (b"", False, id_of("one")), (b"y", True, None), (b"", False, id_of("two")),
    ]


def test_reading_goes_on_where_another_source_stopped(chunk_road: OpenRoad, opened) -> None:
    publisher = opened(chunk_road.publish("fraud", "production"))
    send(publisher, "one", *[b"%d" % number for number in range(20)])
    next_offset, seen = None, []
    while len(seen) < 20:
        source = chunk_road.chunks("fraud", next_offset)
        for _ in range(3):
            arrived = source.receive(SOON)
            assert arrived is not None
            assert arrived.offset is not None
            next_offset = arrived.offset + 1
            if arrived.is_chunk:
                seen.append(bytes(arrived.body))
        source.close()
    assert seen == [b"%d" % number for number in range(20)]


def test_what_is_not_wanted_need_not_come_and_what_is_wanted_comes(chunk_road: OpenRoad, opened) -> None:
    publisher = opened(chunk_road.publish("fraud", "production"))
    send(publisher, "one", b"a", b"b", b"a", b"c")
    wanted = {digest(b"b"), digest(b"c")}
    source = opened(chunk_road.chunks("fraud", None, wanted.__contains__))
    seen = list[bytes]()
    while (arrived := source.receive(SOON)) is not None and arrived.ends is None:
        assert arrived.offset is not None   # reading can go on behind what was passed over as well
        if arrived.is_chunk:
            seen.append(bytes(arrived.body))
    assert seen == ([b"b", b"c"] if source.name in {"file", "http"} else [b"a", b"b", b"a", b"c"])
    assert arrived is not None


def test_a_message_of_a_stranger_whose_headers_are_no_texts_is_nobodys_chunk(
    broker: Broker, request: pytest.FixtureRequest, opened
) -> None:
    publisher = opened(AmqpRoad(broker).publish("fraud", "production"))
    outbox = opened(broker.connect(name="stranger")).outbox(window=1)
    headers = {"mc-kind": ["end"], "mc-release": ["r"], "mc-digest": 7, "mc-codec": [1]}
    outbox.post("modelcast.fraud.chunks", b"x", headers=headers)  # type: ignore[arg-type]
    outbox.flush()
    roads = [AmqpRoad(broker)]
    if isinstance(broker, PikaBroker):
        url = replace(broker.url, chunks="stream", stream_port=request.getfixturevalue("node").status().stream_port)
        roads.append(AmqpRoad(broker, open_chunks=ChosenChunks(url).open))
    for road in roads:
        arrived = opened(road.chunks("fraud", None)).receive(SOON)
        assert (bytes(arrived.body), arrived.is_chunk, arrived.claim, arrived.ends) == (b"x", True, None, None)
    assert list(publisher.chunks.held_since(0)) == [digest(b"x")]


def test_a_source_says_how_it_reads(chunk_road: OpenRoad, opened) -> None:
    opened(chunk_road.publish("fraud", "production"))
    assert opened(chunk_road.chunks("fraud", None)).name in {"amqp", "stream", "file", "http"}


def test_a_source_of_a_model_that_nobody_published_is_a_fault_of_the_host(chunk_road: OpenRoad) -> None:
    with pytest.raises(HostFault):
        chunk_road.chunks("nobody", None)


def test_a_packed_chunk_says_so_and_is_held_by_what_is_in_it(chunk_road: OpenRoad, opened) -> None:
    publisher = opened(chunk_road.publish("fraud", "production"))
    mark, content = publisher.chunks.mark(), b"again and " * 1000
    for codec, body in (("zstd", pack_chunk(content)), ("none", content)):
        publisher.chunks.send(body, version="1.0.0", index=0, count=1, digest=digest(content).hex(), codec=codec)
    publisher.chunks.finish(id_of("new"))
    source = opened(chunk_road.chunks("fraud", mark))
    seen = []
    while (arrived := source.receive(SOON)) is not None and arrived.ends is None:
        if arrived.is_chunk:
            seen.append((arrived.is_packed, bytes(arrived.body)))
    assert seen == [(True, pack_chunk(content)), (False, content)]
    assert list(publisher.chunks.held_since(mark)) == [digest(content)] * 2


def test_what_cannot_be_unpacked_is_refused_at_once_or_is_not_held(chunk_road: OpenRoad, opened) -> None:
    publisher = opened(chunk_road.publish("fraud", "production"))
    mark = publisher.chunks.mark()
    publisher.chunks.send(b"no frame", version="1.0.0", index=0, count=1, digest=digest(b"lost").hex(), codec="zstd")
    if isinstance(chunk_road, HttpRoad):
        with pytest.raises(SenderFault) as refused:   # a server looks at what it gets
            publisher.chunks.finish(id_of("new"))
        assert refused.value.reason is Reason.CHUNK_DAMAGED
    else:
        publisher.chunks.finish(id_of("new"))
        source = opened(chunk_road.chunks("fraud", mark))
        arrived = source.receive(SOON)
        while not arrived.is_chunk:
            arrived = source.receive(SOON)
        assert (arrived.is_packed, bytes(arrived.body)) == (True, b"no frame")
    assert list(publisher.chunks.held_since(mark)) == []


def test_a_mark_is_no_chunk_and_marks_rise(road: OpenRoad, opened) -> None:
    publisher = opened(road.publish("fraud", "production"))
    marks = [publisher.chunks.mark() for _ in range(3)]
    assert marks == sorted(set(marks))
    assert list(publisher.chunks.held_since(marks[0])) == []


def test_what_the_stream_holds_is_read_completely(road: OpenRoad, opened) -> None:
    publisher = opened(road.publish("fraud", "production"))
    first = publisher.chunks.mark()
    send(publisher, "one", *[b"a%d" % number for number in range(50)])
    second = publisher.chunks.mark()
    send(publisher, "two", b"b0", b"b1")
    assert list(publisher.chunks.held_since(second)) == [digest(b"b0"), digest(b"b1")]
    assert list(publisher.chunks.held_since(first)) == [*[digest(b"a%d" % n) for n in range(50)], digest(b"b0"), digest(b"b1")]


def test_looking_at_what_is_held_may_be_given_up_in_the_middle(road: OpenRoad, opened) -> None:
    publisher = opened(road.publish("fraud", "production"))
    first = publisher.chunks.mark()
    send(publisher, "one", *[b"%d" % number for number in range(50)])
    held = publisher.chunks.held_since(first)
    assert next(held) == digest(b"0")
    held.close()
    assert len(list(publisher.chunks.held_since(first))) == 50


# --------------------------------------------------------------------------- orders


def test_an_order_reaches_every_instance_of_its_channel_and_no_other(road: OpenRoad, opened) -> None:
    publisher = opened(road.publish("fraud", "production"))
    instances = [opened(road.join(Target("fraud", "production", name))) for name in ("a", "b")]
    elsewhere = opened(road.join(Target("fraud", "staging", "a")))
    publisher.order("production", b"order")
    assert [next_from_queue(joined).body for joined in instances] == [b"order", b"order"]
    assert elsewhere.next_order(BRIEF) is None


def test_an_announcement_reaches_the_instances_that_are_there_before_its_order_and_is_in_no_history(road: OpenRoad, opened) -> None:
    publisher = opened(road.publish("fraud", "production"))
    publisher.announce("production", b"nobody is there")
    here = opened(road.join(HERE))
    elsewhere = opened(road.join(Target("fraud", "staging", "a")))
    publisher.announce("production", b"announced")
    publisher.order("production", b"order")
    came = [next_from_queue(here) for _ in range(2)]
    assert [(arrived.body, arrived.is_announcement) for arrived in came] == [(b"announced", True), (b"order", False)]
    assert elsewhere.next_order(BRIEF) is None
    late = opened(road.join(Target("fraud", "production", "late")))
    assert next_order(late).body == b"order"
    assert late.next_order(BRIEF) is None


def test_an_announcement_is_settled_like_an_order(road: OpenRoad, opened) -> None:
    publisher, joined = opened(road.publish("fraud", "production")), road.join(HERE)
    publisher.announce("production", b"announced")
    publisher.order("production", b"order")
    joined.settle(next_from_queue(joined), accept=True)
    joined.close()
    assert next_from_queue(opened(road.join(HERE))).body == b"order"


def test_an_instance_that_comes_late_finds_the_orders_in_the_history(road: OpenRoad, opened) -> None:
    publisher = opened(road.publish("fraud", "production"))
    for body in (b"1", b"2", b"3"):
        publisher.order("production", body)
    joined = opened(road.join(HERE))
    arrived = [next_order(joined) for _ in range(3)]
    assert [(order.body, order.receipt) for order in arrived] == [(b"1", None), (b"2", None), (b"3", None)]
    for order in arrived:
        joined.settle(order, accept=True)   # nobody settles the past, and it does no harm
    publisher.order("production", b"4")
    assert next_from_queue(joined).body == b"4"


def test_an_instance_that_was_away_finds_its_orders_in_its_queue(road: OpenRoad, opened) -> None:
    opened(road.join(HERE)).close()
    opened(road.publish("fraud", "production")).order("production", b"order")
    arrived = next_from_queue(opened(road.join(HERE)))
    assert arrived.body == b"order"


def test_who_joins_gets_the_history_and_what_waits_in_the_queue_each_in_its_order(road: OpenRoad, opened) -> None:
    opened(road.join(HERE)).close()
    publisher = opened(road.publish("fraud", "production"))
    bodies = [b"%d" % number for number in range(40)]   # more than the road reads ahead
    for body in bodies:
        publisher.order("production", body)
    joined = opened(road.join(HERE))
    arrived = []
    for _ in range(80):
        arrived.append(next_order(joined))
        joined.settle(arrived[-1], accept=True)
    for from_history in (True, False):
        assert [order.body for order in arrived if (order.receipt is None) is from_history] == bodies


def test_a_bookmark_saves_the_history_before_it_and_a_wrong_one_saves_nothing(road: OpenRoad, opened) -> None:
    publisher, bodies = opened(road.publish("fraud", "production")), [b"order %d" % number for number in range(5)]
    for body in bodies:
        publisher.order("production", body)

    def history(instance: str, bookmark: Bookmark | None, count: int) -> list[ArrivedOrder]:
        joined = road.join(Target("fraud", "production", instance), bookmark=bookmark)
        found = [next_order(joined) for _ in range(count)]
        joined.close()
        return found

    whole = history("first", None, 5)
    assert [arrived.body for arrived in whole] == bodies
    third = whole[2]
    assert third.offset is not None
    assert [order.body for order in history("second", Bookmark(third.offset, order_id(third.body)), 3)] == bodies[2:]
    assert [order.body for order in history("third", Bookmark(third.offset, order_id(b"another")), 5)] == bodies


def test_an_accepted_order_does_not_come_again(road: OpenRoad, opened) -> None:
    joined = opened(road.join(HERE))
    publisher = opened(road.publish("fraud", "production"))
    publisher.order("production", b"1")
    publisher.order("production", b"2")
    joined.settle(next_from_queue(joined), accept=True)
    joined.close()
    assert next_from_queue(opened(road.join(HERE))).body == b"2"


def test_an_order_that_was_not_settled_comes_again(road: OpenRoad, opened) -> None:
    joined = opened(road.join(HERE))
    opened(road.publish("fraud", "production")).order("production", b"1")
    next_from_queue(joined)
    joined.close()
    assert next_from_queue(opened(road.join(HERE))).body == b"1"


def test_a_receipt_of_an_earlier_connection_settles_nothing(road: OpenRoad, opened) -> None:
    joined = opened(road.join(HERE))
    publisher = opened(road.publish("fraud", "production"))
    publisher.order("production", b"1")
    publisher.order("production", b"2")
    stale = next_from_queue(joined)
    joined.close()
    again = opened(road.join(HERE))
    first = next_from_queue(again)
    assert first.body == b"1"
    for accept in (True, False):
        again.settle(stale, accept=accept)
    again.settle(first, accept=True)
    assert next_from_queue(again).body == b"2"
    assert list(road.dead_letters(10)) == []


def test_one_instance_name_is_used_once_at_a_time(road: OpenRoad, opened) -> None:
    opened(road.join(HERE))
    with pytest.raises(HostFault):
        road.join(HERE)


def test_waking_ends_the_wait_for_an_order(road: OpenRoad, opened) -> None:
    joined = opened(road.join(HERE))
    assert joined.next_order(BRIEF) is None
    waker = threading.Timer(0.05, joined.wake)
    began = time.monotonic()
    waker.start()
    assert joined.next_order(SOON) is None
    assert time.monotonic() - began < SOON / 2
    waker.join()


def test_polling_for_an_order_does_not_wait(road: OpenRoad, opened) -> None:
    joined = opened(road.join(HERE))
    began = time.monotonic()
    assert joined.next_order(0) is None
    assert time.monotonic() - began < SOON / 4


# --------------------------------------------------------------------------- dead letters


def refuse(road: OpenRoad, opened, *bodies: bytes, target: Target = HERE) -> None:
    joined = opened(road.join(target))
    publisher = opened(road.publish(target.model, target.channel))
    for body in bodies:
        publisher.order(target.channel, body)
        joined.settle(next_from_queue(joined), accept=False)
    publisher.close()
    joined.close()


def test_a_refused_order_is_a_dead_letter_that_names_its_instance(road: OpenRoad, opened) -> None:
    refuse(road, opened, b"bad")
    (letter,) = road.dead_letters(10)
    assert (letter.body, letter.target, letter.cause) == (b"bad", HERE, "rejected")
    assert letter.died_ms is not None
    assert abs(letter.died_ms / 1000 - datetime.now(UTC).timestamp()) < 60
    assert len(letter.deaths) == 1


def test_looking_at_dead_letters_leaves_them_there_in_order(road: OpenRoad, opened) -> None:
    refuse(road, opened, b"1", b"2", b"3")
    for _ in range(2):
        assert [letter.body for letter in road.dead_letters(10)] == [b"1", b"2", b"3"]


def test_looking_may_stop_early(road: OpenRoad, opened) -> None:
    refuse(road, opened, b"1", b"2", b"3")
    assert [letter.body for letter in road.dead_letters(2)] == [b"1", b"2"]
    looking = road.dead_letters(10)
    assert next(looking).body == b"1"
    looking.close()
    assert len(list(road.dead_letters(10))) == 3


def test_a_letter_that_is_removed_is_gone_and_the_others_stay_in_order(road: OpenRoad, opened) -> None:
    refuse(road, opened, b"1", b"2", b"3")
    desk = opened(road.letters())
    for letter in desk.read(10):
        if letter.body == b"2":
            desk.remove(letter)
    desk.close()
    assert [letter.body for letter in road.dead_letters(10)] == [b"1", b"3"]


def test_a_desk_that_is_left_gives_everything_back(road: OpenRoad, opened) -> None:
    refuse(road, opened, b"1", b"2", b"3")
    desk = road.letters()
    reading = desk.read(2)
    assert next(reading).body == b"1"
    reading.close()
    desk.close()
    assert [letter.body for letter in road.dead_letters(10)] == [b"1", b"2", b"3"]


def test_an_order_goes_back_to_the_instance_that_refused_it_and_to_no_other(road: OpenRoad, opened) -> None:
    other = opened(road.join(Target("fraud", "production", "b")))
    refuse(road, opened, b"order")
    assert next_from_queue(other).body == b"order"   # as it was ordered
    here = opened(road.join(HERE))
    assert next_order(here).receipt is None   # the history, in which it stands once
    desk = opened(road.letters())
    (letter,) = desk.read(10)
    desk.send_back(letter)
    back = next_from_queue(here)
    assert (back.body, back.is_announcement, back.offset, bool(back.replay)) == (b"order", False, None, True)
    assert other.next_order(BRIEF) is None
    desk.remove(letter)
    here.settle(back, accept=True)
    assert here.next_order(BRIEF) is None
    desk.close()
    assert list(road.dead_letters(10)) == []
    here.close()
    again = opened(road.join(HERE))
    assert next_order(again).receipt is None
    assert again.next_order(BRIEF) is None   # it was settled


def test_what_is_sent_back_waits_for_an_instance_that_is_away(road: OpenRoad, opened) -> None:
    refuse(road, opened, b"order")
    desk = opened(road.letters())
    (letter,) = desk.read(10)
    desk.send_back(letter)
    desk.remove(letter)
    desk.close()
    here = opened(road.join(HERE))
    first = next_from_queue(here)
    here.close()   # not settled: it comes again, as the same replay
    back = next_from_queue(opened(road.join(HERE)))
    assert (back.body, back.replay) == (b"order", first.replay)


def test_what_is_refused_again_is_another_letter_and_loses_none(road: OpenRoad, opened) -> None:
    refuse(road, opened, b"order")
    here, seen = opened(road.join(HERE)), set[str | None]()
    for _ in range(3):
        desk = road.letters()
        (letter,) = desk.read(10)
        desk.send_back(letter)
        back = next_from_queue(here)
        here.settle(back, accept=False)   # before its letter is removed: the quickest instance there is
        here.next_order(BRIEF)
        desk.remove(letter)
        desk.close()
        (left,) = road.dead_letters(10)
        assert (left.body, left.target, left.cause) == (b"order", HERE, "rejected")
        seen.add(back.replay)
    assert len(seen) == 3   # also within one second, in which a broker does not tell deaths apart


def test_sending_back_twice_is_the_same_replay(road: OpenRoad, opened) -> None:
    refuse(road, opened, b"order")
    names = set[str | None]()
    for _ in range(2):   # the second time after an end between sending back and removing
        desk = road.letters()
        (letter,) = desk.read(10)
        desk.send_back(letter)
        desk.close()
    here = opened(road.join(HERE))
    names.add(next_from_queue(here).replay)
    while (arrived := here.next_order(1.0)) is not None:   # on a broker it is there twice
        names.add(arrived.replay)
    assert len(names) == 1
    assert len(list(road.dead_letters(10))) == 1


def test_nothing_goes_back_to_an_instance_that_has_no_place_any_more(road: OpenRoad, opened, tmp_path: Path) -> None:
    refuse(road, opened, b"1", b"2")
    refuse(road, opened, b"3", target=Target("fraud", "production", "b"))
    forget(road, HERE, tmp_path / "depot")
    desk, went = opened(road.letters()), list[bytes]()
    for letter in desk.read(10):
        try:
            desk.send_back(letter)
        except NotFound:
            continue
        went.append(letter.body)
        desk.remove(letter)
    desk.close()
    assert went == [b"3"]
    assert [letter.body for letter in road.dead_letters(10)] == [b"1", b"2"]


def forget(road: OpenRoad, target: Target, depot: Path) -> None:
    """Remove an instance's place, as an operator does, or a week of absence."""
    if isinstance(road, AmqpRoad):
        link = road._broker.connect(name="an operator")
        link.remove([Queue(instance_queue_name(target.model, target.channel, target.instance))])
        link.close()
        return
    shutil.rmtree(depot / InstancePlaces(target.model, target.channel, target.instance).folder)


def test_two_desks_at_once_move_each_letter_and_lose_none(road: OpenRoad, opened) -> None:
    refuse(road, opened, *[b"%d" % number for number in range(12)])
    one, other = opened(road.letters()), opened(road.letters())
    for desk, limit in ((one, 6), (other, 12)):   # on a broker the second sees only what the first does not hold
        for letter in desk.read(limit):
            desk.send_back(letter)
            desk.remove(letter)
    one.close()
    other.close()
    left = opened(road.letters())
    for letter in left.read(12):
        left.send_back(letter)
        left.remove(letter)
    left.close()
    here = opened(road.join(HERE))
    found = set[bytes]()
    while len(found) < 12:
        arrived = next_from_queue(here)
        here.settle(arrived, accept=True)
        found.add(arrived.body)
    assert found == {b"%d" % number for number in range(12)}
    assert list(road.dead_letters(10)) == []


def test_without_dead_letters_there_is_nothing_to_see(road: OpenRoad) -> None:
    assert list(road.dead_letters(10)) == []
    assert list(road.dead_letters(0)) == []


# --------------------------------------------------------------------------- reports


def test_reports_are_read_from_the_past_and_as_they_come(road: OpenRoad, opened) -> None:
    joined = opened(road.join(HERE))
    joined.report(b"1")
    everything, recent = opened(road.reports(since_minutes=None)), opened(road.reports(since_minutes=10))
    joined.report(b"2")
    for source in (everything, recent):
        assert [source.receive(SOON), source.receive(SOON), source.receive(BRIEF)] == [b"1", b"2", None]


def test_more_reports_than_the_reader_takes_at_once_all_come(road: OpenRoad, opened) -> None:
    joined = opened(road.join(HERE))
    bodies = [b"%d" % number for number in range(300)]
    for body in bodies:
        joined.report(body)
    source = opened(road.reports(since_minutes=None))
    assert [source.receive(SOON) for _ in bodies] == bodies


def test_reading_what_was_there_ends_though_reports_keep_coming(road: OpenRoad, opened) -> None:
    joined = opened(road.join(HERE))
    for number in range(300):
        joined.report(b"past %d" % number)
    assert all_confirmed(joined, b"past 300")
    stop = threading.Event()

    def report_on() -> None:
        busy = road.join(Target("fraud", "production", "busy"))
        while not stop.is_set():
            all_confirmed(busy, b"heartbeat")
        busy.close()

    fleet = threading.Thread(target=report_on)
    fleet.start()
    try:
        source, other = opened(road.reports(since_minutes=None)), opened(road.reports(since_minutes=None))
        for reading in (source, other):   # each passes over the marker of the other one, too
            seen, deadline = [], time.monotonic() + SOON
            while not reading.is_caught_up and time.monotonic() < deadline:
                seen.append(reading.receive(1.0))
            assert reading.is_caught_up
            assert [body for body in seen if body and body.startswith(b"past")] == [b"past %d" % n for n in range(301)]
            assert b"" not in seen
    finally:
        stop.set()
        fleet.join()


def test_an_empty_stream_of_reports_is_read_at_once(road: OpenRoad, opened) -> None:
    source = opened(road.reports(since_minutes=5))
    assert not source.is_caught_up
    deadline = time.monotonic() + SOON
    while not source.is_caught_up and time.monotonic() < deadline:
        assert source.receive(BRIEF) is None
    assert source.is_caught_up


def all_confirmed(joined: InstanceRoad, body: bytes) -> bool:
    """Report, and serve the connection until the broker has it."""
    confirmed, deadline = joined.report(body), time.monotonic() + SOON
    while not confirmed():
        joined.next_order(BRIEF)
        assert time.monotonic() < deadline
    return True


# --------------------------------------------------------------------------- broken links


def test_an_instance_learns_that_its_link_broke_and_joins_again(broker: Broker, opened) -> None:
    road = AmqpRoad(FaultyBroker(broker, CutAfter(0, "wait")))
    joined = opened(road.join(HERE))
    with pytest.raises(BrokerUnreachable):
        joined.next_order(SOON)
    joined.close()
    again = opened(road.join(HERE))
    assert isinstance(again, AmqpInstanceRoad)
    assert again.next_order(0) is None


# --------------------------------------------------------------------------- wrong addresses, on RabbitMQ only


def test_a_wrong_password_is_told_without_showing_it(broker_url: str) -> None:
    user, _, rest = broker_url.removeprefix("amqp://").partition(":")
    wrong = f"amqp://{user}:wrong-secret@{rest.partition('@')[2]}"
    with pytest.raises(AuthenticationRefused, match=user) as caught:
        AmqpRoad(PikaBroker(wrong)).publish("fraud", "production")
    assert "wrong-secret" not in f"{caught.value} {caught.value.hint} {caught.value.facts}"


def test_a_virtual_host_that_is_not_there_is_named(broker_url: str) -> None:
    with pytest.raises(VhostMissing, match="no-such-vhost"):
        AmqpRoad(PikaBroker(broker_url.rpartition("/")[0] + "/no-such-vhost")).join(HERE)


def test_a_port_where_nobody_listens_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))   # bound and not listening: connections are refused
        port = taken.getsockname()[1]
        with pytest.raises(BrokerUnreachable, match=str(port)):
            AmqpRoad(PikaBroker(f"amqp://u:p@127.0.0.1:{port}/")).join(HERE)


def test_a_host_that_does_not_exist_is_named() -> None:
    with pytest.raises(BrokerUnreachable, match=r"no-such-host\.invalid"):
        AmqpRoad(PikaBroker("amqp://u:p@no-such-host.invalid/")).join(HERE)


def test_a_retired_model_leaves_nothing_behind_and_others_are_untouched(road: OpenRoad, opened) -> None:
    other = Target("other", "production", "b")
    for target, body in ((HERE, b"mine"), (other, b"theirs")):
        joined = road.join(target)
        session = road.publish(target.model, target.channel)
        session.order(target.channel, body)
        joined.settle(next_from_queue(joined), accept=False)
        session.close()
        joined.close()
    assert len(list(road.dead_letters(10))) == 2
    road.retire("fraud", "production", ["a"])
    assert [letter.body for letter in road.dead_letters(10)] == [b"theirs"]
    assert list(opened(road.publish("fraud", "production")).register.read()) == []   # all of it is new
    road.retire("nobody", "production", ["x"])
