"""What a broker must do for modelcast, whichever it is; see ``modelcast.shared.link``."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Protocol

import pytest

from modelcast.shared.errors import BrokerUnreachable, HostFault, PermissionRefused, PublisherBusy, TopologyMismatch
from modelcast.shared.limits import MIB
from modelcast.shared.link import Delivery, Inbox, WaitingLink
from modelcast.shared.topology import Binding, Exchange, Part, Queue, stream

Connect = Callable[[], WaitingLink]

SOON = 20.0
"""Longest wait for what must come: a loaded machine is slow, and nobody waits that long for what does come."""
BRIEF = 0.2
"""Wait for what must not come."""

NEWS: list[Part] = [Exchange("news"), Queue("a"), Queue("b"), Binding("a", "news"), Binding("b", "news")]
LOG: list[Part] = [
    Exchange("log"), stream("log", max_bytes=64 * MIB, segment_bytes=16 * MIB), Binding("log", "log"),
]
WORK: list[Part] = [
    Exchange("dead", "direct"), Queue("dead"), Binding("dead", "dead", "gone"),
    Exchange("work"), Queue("work", {"x-dead-letter-exchange": "dead", "x-dead-letter-routing-key": "gone"}), Binding("work", "work"),
]


def publish(link: WaitingLink, exchange: str, *bodies: bytes | memoryview, **options: object) -> None:
    outbox = link.outbox(window=4)
    for body in bodies:
        outbox.post(exchange, body, **options)  # type: ignore[arg-type]
    outbox.flush()


def take(inbox: Inbox) -> Delivery:
    delivery = inbox.receive(SOON)
    assert delivery is not None, "the message did not come"
    return delivery


def take_bodies(inbox: Inbox, count: int) -> list[bytes]:
    bodies = []
    for _ in range(count):
        delivery = take(inbox)
        inbox.accept(delivery)
        bodies.append(delivery.body)
    return bodies


# --------------------------------------------------------------------------- routing


def test_a_fanout_exchange_gives_a_message_to_every_queue_once(connect: Connect) -> None:
    link = connect()
    link.declare(NEWS)
    publish(link, "news", b"1", b"2", headers={"kind": "x", "number": 7})
    for queue in ("a", "b"):
        inbox = link.inbox(queue, prefetch=10)
        first = take(inbox)
        assert (first.body, first.headers["kind"], first.headers["number"], first.redelivered) == (b"1", "x", 7, False)
        assert take(inbox).body == b"2"
        assert inbox.receive(BRIEF) is None


def test_a_direct_exchange_looks_at_the_routing_key(connect: Connect) -> None:
    link = connect()
    link.declare([Exchange("e", "direct"), Queue("a"), Queue("b"), Binding("a", "e", "to-a"), Binding("b", "e", "to-b")])
    publish(link, "e", b"x", routing_key="to-b")
    assert take(link.inbox("b", prefetch=1)).body == b"x"
    assert link.depth("a") == 0


def test_a_message_that_no_queue_takes_is_told_once_at_flush(connect: Connect) -> None:
    link = connect()
    link.declare([Exchange("nowhere")])
    outbox = link.outbox(window=4)
    outbox.post("nowhere", b"lost")
    with pytest.raises(TopologyMismatch, match="nowhere"):
        outbox.flush()
    outbox.flush()
    link.declare([Queue("a"), Binding("a", "nowhere")])
    outbox.post("nowhere", b"found")
    outbox.flush()
    assert link.depth("a") == 1


def test_an_exchange_that_does_not_exist_is_told_at_flush_and_again(connect: Connect) -> None:
    outbox = connect().outbox(window=4)
    outbox.post("no-such-exchange", b"lost")
    for _ in range(2):
        with pytest.raises(TopologyMismatch, match="no-such-exchange"):
            outbox.flush()


def test_an_error_of_one_outbox_leaves_the_rest_of_the_link_alone(connect: Connect) -> None:
    link = connect()
    link.declare(NEWS)
    inbox, broken = link.inbox("a", prefetch=1), link.outbox(window=1)
    broken.post("no-such-exchange", b"lost")
    with pytest.raises(TopologyMismatch):
        broken.flush()
    publish(link, "news", b"fine")
    assert take(inbox).body == b"fine"


def test_a_body_may_be_empty_or_a_view_or_have_many_megabytes(connect: Connect) -> None:
    link = connect()
    link.declare(NEWS)
    large = bytes(range(256)) * (3 * MIB // 256)
    publish(link, "news", b"", memoryview(b"view"), large)
    assert take_bodies(link.inbox("a", prefetch=10), 3) == [b"", b"view", large]


@pytest.mark.parametrize("prefetch", [1, 7, 32])
def test_more_messages_than_the_window_are_all_confirmed_in_order(connect: Connect, prefetch: int) -> None:
    link = connect()
    link.declare(LOG)
    bodies = [b"%d" % number for number in range(100)]
    publish(link, "log", *bodies)
    assert take_bodies(link.inbox("log", prefetch=prefetch, offset="first"), 100) == bodies


# --------------------------------------------------------------------------- declaring


def test_declaring_twice_changes_nothing(connect: Connect) -> None:
    for _ in range(2):
        link = connect()
        link.declare([*NEWS, *LOG, *WORK])
        publish(link, "news", b"x")
    assert link.depth("a") == 2


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Queue("q"), Queue("q", {"x-expires": 60_000})),
        (Queue("q", {"x-expires": 60_000}), Queue("q", {"x-expires": 61_000})),
        (Queue("q", {"x-dead-letter-exchange": "x"}), Queue("q", {"x-dead-letter-exchange": "y"})),
        (Queue("q"), Queue("q", {"x-queue-type": "stream"})),
        (stream("q", max_bytes=20 * MIB, segment_bytes=16 * MIB), stream("q", max_bytes=30 * MIB, segment_bytes=16 * MIB)),
        (Exchange("e", "fanout"), Exchange("e", "direct")),
    ],
    ids=["argument", "value", "dead-letters", "type", "retention", "exchange"],
)
def test_a_part_that_exists_otherwise_is_a_mismatch_and_stays_as_it_is(connect: Connect, first: Part, second: Part) -> None:
    link = connect()
    link.declare([first])
    with pytest.raises(TopologyMismatch):
        link.declare([second])
    link.declare([first])


def test_naming_the_classic_type_is_the_same_as_leaving_it_out(connect: Connect) -> None:
    link = connect()
    link.declare([Queue("q")])
    link.declare([Queue("q", {"x-queue-type": "classic"})])


@pytest.mark.parametrize("binding", [Binding("none", "e"), Binding("q", "none")], ids=["queue", "exchange"])
def test_what_is_not_there_cannot_be_bound(connect: Connect, binding: Binding) -> None:
    link = connect()
    link.declare([Exchange("e"), Queue("q")])
    with pytest.raises(TopologyMismatch):
        link.declare([binding])


def test_a_queue_that_is_not_there_cannot_be_read_or_counted(connect: Connect) -> None:
    link = connect()
    with pytest.raises(TopologyMismatch):
        link.inbox("none", prefetch=1)
    with pytest.raises(TopologyMismatch):
        link.depth("none")


def test_a_stream_is_not_read_without_a_prefetch(connect: Connect) -> None:
    link = connect()
    link.declare(LOG)
    with pytest.raises(TopologyMismatch):
        link.inbox("log", prefetch=0)


# --------------------------------------------------------------------------- locks


def test_an_exclusive_queue_is_a_lock_that_ends_with_its_connection(connect: Connect) -> None:
    first, second, lock = connect(), connect(), Queue("lock", exclusive=True)
    first.declare([lock])
    first.declare([lock])
    with pytest.raises(PublisherBusy):
        second.declare([lock])
    first.close()
    second.declare([lock])


def test_a_companion_is_another_connection_and_held_off_by_the_lock(connect: Connect) -> None:
    link = connect()
    link.declare([Queue("lock", exclusive=True)])
    with pytest.raises(PublisherBusy):
        link.companion().declare([Queue("lock", exclusive=True)])


def test_an_exclusive_reader_keeps_others_out_until_it_closes(connect: Connect) -> None:
    link, other = connect(), connect()
    link.declare(NEWS)
    inbox = link.inbox("a", prefetch=1, exclusive=True)
    for exclusive in (True, False):
        with pytest.raises(PermissionRefused):
            other.inbox("a", prefetch=1, exclusive=exclusive)
    inbox.close()
    other.inbox("a", prefetch=1, exclusive=True)


def test_a_reader_keeps_exclusive_ones_out(connect: Connect) -> None:
    link = connect()
    link.declare(NEWS)
    link.inbox("a", prefetch=1)
    with pytest.raises(PermissionRefused):
        link.inbox("a", prefetch=1, exclusive=True)


# --------------------------------------------------------------------------- settling


def test_an_accepted_message_is_gone(connect: Connect) -> None:
    link, other = connect(), connect()
    link.declare(NEWS)
    publish(link, "news", b"1", b"2")
    inbox = link.inbox("a", prefetch=1)
    inbox.accept(take(inbox))
    link.close()
    assert take(other.inbox("a", prefetch=1)).body == b"2"


def test_the_prefetch_bounds_what_is_unsettled(connect: Connect) -> None:
    link = connect()
    link.declare(NEWS)
    publish(link, "news", b"1", b"2", b"3")
    inbox = link.inbox("a", prefetch=2)
    first, _second = take(inbox), take(inbox)
    assert inbox.receive(BRIEF) is None
    inbox.accept(first)
    assert take(inbox).body == b"3"


def test_the_prefetch_bounds_a_stream_too(connect: Connect) -> None:
    link = connect()
    link.declare(LOG)
    for body in (b"1", b"2", b"3"):
        publish(link, "log", body)   # each a batch of its own: RabbitMQ sends the rest of a batch beyond the bound
    inbox = link.inbox("log", prefetch=2, offset="first")
    first, _second = take(inbox), take(inbox)
    assert inbox.receive(BRIEF) is None
    inbox.accept(first)
    assert take(inbox).body == b"3"


def test_what_was_pushed_ahead_does_not_count_as_waiting(connect: Connect) -> None:
    link = connect()
    link.declare(NEWS)
    publish(link, "news", b"1", b"2", b"3")
    assert link.depth("a") == 3
    inbox = link.inbox("a", prefetch=2)
    take(inbox)
    assert link.depth("a") == 1


@pytest.mark.parametrize("ending", ["inbox", "link"])
def test_what_was_not_settled_comes_again_in_order_and_marked(connect: Connect, ending: str) -> None:
    link, other = connect(), connect()
    link.declare(NEWS)
    publish(link, "news", b"1", b"2", b"3")
    inbox = link.inbox("a", prefetch=3)
    _first, second = take(inbox), take(inbox)
    inbox.accept(second)
    (inbox if ending == "inbox" else link).close()
    again = other.inbox("a", prefetch=3)
    seen = [take(again), take(again)]
    assert [(delivery.body, delivery.redelivered) for delivery in seen] == [(b"1", True), (b"3", True)]


def test_messages_are_spread_over_the_readers_of_a_queue(connect: Connect) -> None:
    link = connect()
    link.declare(NEWS)
    left, right = link.inbox("a", prefetch=5), link.inbox("a", prefetch=5)
    publish(link, "news", *[b"%d" % number for number in range(10)])
    bodies = {take(inbox).body for inbox in (left, right) for _ in range(5)}
    assert len(bodies) == 10


def test_a_refused_message_becomes_a_dead_letter_that_says_where_it_died(connect: Connect) -> None:
    link = connect()
    link.declare(WORK)
    publish(link, "work", b"bad", headers={"mine": "kept"})
    inbox = link.inbox("work", prefetch=1)
    inbox.refuse(take(inbox))
    dead = take(link.inbox("dead", prefetch=1))
    assert (dead.body, dead.headers["mine"], dead.redelivered) == (b"bad", "kept", False)
    deaths = dead.headers["x-death"]
    assert isinstance(deaths, list)
    died = deaths[0].pop("time")
    assert died.tzinfo is not None
    assert abs(datetime.now(UTC) - died) < timedelta(minutes=1)
    assert deaths == [{"count": 1, "reason": "rejected", "queue": "work", "exchange": "work", "routing-keys": [""]}]
    firsts = {name: dead.headers[f"x-first-death-{name}"] for name in ("exchange", "queue", "reason")}
    assert firsts == {"exchange": "work", "queue": "work", "reason": "rejected"}


def test_a_refused_message_of_a_queue_without_dead_letters_is_gone(connect: Connect) -> None:
    link = connect()
    link.declare(NEWS)
    publish(link, "news", b"1", b"2")
    inbox = link.inbox("a", prefetch=1)
    inbox.refuse(take(inbox))
    assert take(inbox).body == b"2"


def test_settling_twice_ends_the_subscription(connect: Connect) -> None:
    link = connect()
    link.declare(NEWS)
    publish(link, "news", b"1")
    inbox = link.inbox("a", prefetch=1)
    delivery = take(inbox)
    inbox.accept(delivery)
    inbox.accept(delivery)
    with pytest.raises(HostFault):
        inbox.receive(SOON)
    assert link.depth("a") == 0


# --------------------------------------------------------------------------- streams


def fill(link: WaitingLink, count: int) -> list[int]:
    """Write ``count`` numbered messages and return their offsets."""
    link.declare(LOG)
    publish(link, "log", *[b"%d" % number for number in range(count)])
    inbox = link.inbox("log", prefetch=50, offset="first")
    offsets = []
    for _ in range(count):
        delivery = take(inbox)
        inbox.accept(delivery)
        assert delivery.offset is not None
        offsets.append(delivery.offset)
    inbox.close()
    return offsets


def test_a_stream_keeps_what_was_read_and_offsets_rise(connect: Connect) -> None:
    link = connect()
    offsets = fill(link, 10)
    assert offsets == sorted(set(offsets))
    assert take_bodies(link.inbox("log", prefetch=5, offset="first"), 10) == [b"%d" % number for number in range(10)]


def test_reading_a_stream_from_an_offset_begins_exactly_there(connect: Connect) -> None:
    link = connect()
    offsets = fill(link, 10)
    inbox = link.inbox("log", prefetch=5, offset=offsets[6])
    assert take_bodies(inbox, 4) == [b"6", b"7", b"8", b"9"]
    assert inbox.receive(BRIEF) is None


@pytest.mark.parametrize("offset", ["next", None])
def test_reading_a_stream_from_next_sees_new_messages_only(connect: Connect, offset: str | None) -> None:
    link = connect()
    fill(link, 3)
    inbox = link.inbox("log", prefetch=5, offset=offset)
    assert inbox.receive(BRIEF) is None
    publish(link, "log", b"new")
    assert take(inbox).body == b"new"


def test_reading_a_stream_from_last_ends_with_the_last_message(connect: Connect) -> None:
    link = connect()
    fill(link, 3)
    publish(link, "log", b"last")
    inbox = link.inbox("log", prefetch=10, offset="last")
    assert take(inbox).body == b"last"   # RabbitMQ begins with the last batch, and this message was one of its own


def test_reading_a_stream_by_age_sees_the_recent_past(connect: Connect) -> None:
    link = connect()
    fill(link, 3)
    assert take_bodies(link.inbox("log", prefetch=10, offset="5m"), 3) == [b"0", b"1", b"2"]


def test_reading_a_stream_from_a_time_begins_with_what_was_written_then(connect: Connect) -> None:
    link, now = connect(), datetime.now(UTC)
    fill(link, 3)
    assert take_bodies(link.inbox("log", prefetch=10, offset=now - timedelta(minutes=1)), 3) == [b"0", b"1", b"2"]
    later = link.inbox("log", prefetch=10, offset=now + timedelta(minutes=1))   # nothing was: then with what comes next
    publish(link, "log", b"next")
    assert take(later).body == b"next"


def test_an_empty_stream_gives_nothing_and_then_what_comes(connect: Connect) -> None:
    link = connect()
    link.declare(LOG)
    inboxes = [link.inbox("log", prefetch=5, offset=offset) for offset in ("first", "last", "next", "5m", 0)]
    for inbox in inboxes:
        assert inbox.receive(0) is None
    publish(link, "log", b"x")
    assert [take(inbox).body for inbox in inboxes] == [b"x"] * 5


def test_refusing_a_message_of_a_stream_leaves_it_there(connect: Connect) -> None:
    link, other = connect(), connect()
    fill(link, 1)
    inbox = link.inbox("log", prefetch=1, offset="first")
    inbox.refuse(take(inbox))
    with suppress(BrokerUnreachable):   # 3.10 closes the connection with 540, 4.0 takes it for an acknowledgement
        inbox.receive(SOON)
    assert take(other.inbox("log", prefetch=1, offset="first")).body == b"0"


def test_every_reader_of_a_stream_sees_all_of_it(connect: Connect) -> None:
    link, other = connect(), connect()
    fill(link, 3)
    for reader in (link, other):
        assert take_bodies(reader.inbox("log", prefetch=1, offset="first"), 3) == [b"0", b"1", b"2"]


# --------------------------------------------------------------------------- waiting and ending


def test_waiting_ends_when_any_inbox_has_a_message(connect: Connect) -> None:
    link, other = connect(), connect()
    link.declare([*NEWS, *LOG])
    inboxes = [link.inbox("a", prefetch=1), link.inbox("log", prefetch=1, offset="next")]
    publish(other, "log", b"x")
    began = time.monotonic()
    link.wait(SOON)
    assert time.monotonic() - began < SOON / 2
    assert [inbox.receive(0) is not None for inbox in inboxes] == [False, True]


def test_waiting_ends_after_its_time(connect: Connect) -> None:
    began = time.monotonic()
    connect().wait(BRIEF)
    assert BRIEF * 0.9 <= time.monotonic() - began < SOON


def test_a_wake_before_the_wait_is_not_lost_and_counts_once(connect: Connect) -> None:
    link = connect()
    link.wake()
    link.wake()
    began = time.monotonic()
    link.wait(SOON)
    assert time.monotonic() - began < SOON / 2
    began = time.monotonic()
    link.wait(BRIEF)
    assert time.monotonic() - began >= BRIEF * 0.9


def test_a_wait_is_woken_from_another_thread(connect: Connect) -> None:
    link = connect()
    waker = threading.Timer(0.05, link.wake)
    waker.start()
    began = time.monotonic()
    link.wait(SOON)
    assert time.monotonic() - began < SOON / 2
    waker.join()


def test_a_companion_publishes_while_its_link_waits_for_messages(connect: Connect) -> None:
    link = connect()
    link.declare(NEWS)
    inbox = link.inbox("a", prefetch=1)
    publish(link.companion(), "news", b"x")
    link.wait(SOON)
    delivery = inbox.receive(0)
    assert delivery is not None
    assert delivery.body == b"x"


def test_closing_a_link_closes_its_companion(connect: Connect) -> None:
    link, other = connect(), connect()
    companion = link.companion()
    companion.declare([Queue("lock", exclusive=True)])
    link.close()
    other.declare([Queue("lock", exclusive=True)])


def test_a_closed_link_says_so_and_may_be_closed_and_woken_again(connect: Connect) -> None:
    link = connect()
    link.declare(NEWS)
    outbox, inbox = link.outbox(window=1), link.inbox("a", prefetch=1)
    link.close()
    link.close()
    link.wake()
    inbox.close()
    with pytest.raises(BrokerUnreachable):
        link.declare(NEWS)
    with pytest.raises(BrokerUnreachable):
        outbox.post("news", b"x")
    with pytest.raises(BrokerUnreachable):
        inbox.receive(0)
    with pytest.raises(BrokerUnreachable):
        link.wait(0)


def test_a_closed_inbox_does_not_end_waits(connect: Connect) -> None:
    link = connect()
    link.declare(NEWS)
    publish(link, "news", b"1")
    inbox = link.inbox("a", prefetch=1)
    link.wait(SOON)
    inbox.close()
    began = time.monotonic()
    link.wait(BRIEF)
    assert time.monotonic() - began >= BRIEF * 0.9


# --------------------------------------------------------------------------- what operators and networks do


class Operator(Protocol):
    """See ``conftest.Operator``."""

    def delete_queue(self, name: str) -> None: ...

    def drop_links(self) -> None: ...


@pytest.mark.parametrize("parts", [NEWS, LOG], ids=["queue", "stream"])
def test_a_reader_learns_that_its_queue_was_deleted(connect: Connect, operator: Operator, parts: list[Part]) -> None:
    link = connect()
    link.declare(parts)
    name = next(part.name for part in parts if isinstance(part, Queue))
    inbox = link.inbox(name, prefetch=1)
    operator.delete_queue(name)
    link.wait(SOON)
    with pytest.raises(TopologyMismatch):
        inbox.receive(SOON)
    inbox.close()
    link.declare(parts)
    link.inbox(name, prefetch=1)


def test_a_deleted_queue_takes_its_bindings_along(connect: Connect, operator: Operator) -> None:
    link = connect()
    link.declare(LOG)
    operator.delete_queue("log")
    with pytest.raises(TopologyMismatch):
        publish(link, "log", b"x")


def test_what_need_not_arrive_is_lost_without_a_word_where_no_queue_takes_it(connect: Connect, operator: Operator) -> None:
    link = connect()
    link.declare(LOG)
    operator.delete_queue("log")
    outbox = link.outbox(window=4)
    for _ in range(3):
        outbox.post("log", b"x", mandatory=False)
    outbox.flush()
    link.declare(LOG)
    number = outbox.post("log", b"y", mandatory=False)
    outbox.flush()
    assert outbox.is_confirmed(number)


def test_everything_of_a_link_says_that_the_connection_was_closed(connect: Connect, operator: Operator) -> None:
    link = connect()
    link.declare(NEWS)
    inbox, outbox = link.inbox("a", prefetch=1), link.outbox(window=1)
    operator.drop_links()
    for ask in (
        lambda: link.wait(SOON), lambda: inbox.receive(SOON), outbox.flush, lambda: outbox.post("news", b"x"),
        lambda: link.depth("a"), lambda: link.declare(NEWS), lambda: link.inbox("a", prefetch=1),
    ):
        with pytest.raises(BrokerUnreachable):
            ask()
    inbox.close()
    link.close()


def test_what_a_broken_link_had_comes_again_on_the_next(connect: Connect, operator: Operator) -> None:
    link = connect()
    link.declare([*NEWS, Queue("lock", exclusive=True)])
    publish(link, "news", b"x")
    inbox = link.inbox("a", prefetch=1, exclusive=True)
    delivery = take(inbox)
    operator.drop_links()
    with pytest.raises(BrokerUnreachable):
        link.wait(SOON)
    with pytest.raises(BrokerUnreachable):
        inbox.accept(delivery)
    again = connect()
    again.declare([Queue("lock", exclusive=True)])
    seen = take(again.inbox("a", prefetch=1, exclusive=True))
    assert (seen.body, seen.redelivered) == (b"x", True)


def test_a_confirm_can_be_asked_for_without_waiting_and_ends_a_wait(connect: Connect) -> None:
    link = connect()
    link.declare(NEWS)
    companion = link.companion()
    outbox = companion.outbox(window=8)
    number = outbox.post("news", b"x")
    while not outbox.is_confirmed(number):
        link.wait(SOON)
    assert outbox.is_confirmed(number)


def test_what_is_removed_is_gone_and_what_is_not_there_is_passed_over(connect: Connect) -> None:
    link = connect()
    link.declare([*NEWS, *LOG])
    link.remove([Queue("a"), Queue("log"), Exchange("news"), Queue("nowhere"), Exchange("nowhere")])
    for name in ("a", "log"):
        with pytest.raises(TopologyMismatch):
            connect().depth(name)
    assert connect().depth("b") == 0
