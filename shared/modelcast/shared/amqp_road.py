"""The main road: RabbitMQ through a ``link.Broker``; the same code runs on the real broker and on the fake one.

Decides how an instance and an operator use exchanges, queues and streams; ``amqp_publishing`` is the publisher's half.
Imports link, topology and the road's protocols; no client library.
"""

import secrets
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from functools import partial
from typing import TypeVar, cast

from modelcast.shared import topology as names
from modelcast.shared.amqp_history import ORDERS_AHEAD, AmqpHistory
from modelcast.shared.amqp_letters import MOST_UNSETTLED, AmqpLetterDesk, replay_of
from modelcast.shared.amqp_publishing import READ_AHEAD, AmqpPublisherRoad, AmqpRegister
from modelcast.shared.amqp_reach import Reach
from modelcast.shared.chunk_message import ANNOUNCEMENT, PART, PROBE, arrived_chunk
from modelcast.shared.link import Broker, Delivery, Inbox, Offset, WaitingLink
from modelcast.shared.road import ArrivedChunk, ArrivedOrder, Bookmark, ChunkSource, Confirmed, DeadLetter, Target, Wanted

REPORTS_UNDER_WAY = 64
"""More than an instance sends at once, so that sending never waits."""

ChunkOpener = Callable[[str, int | None, Callable[[], ChunkSource]], ChunkSource]
"""Opens a model's chunks from an offset; the last argument opens them by AMQP."""


class AmqpRoad:
    """See ``road.Road``.

    Args:
        broker: Where connections come from.
        name: What the broker's operators see the connections as.
        retention_bytes: How many bytes of chunks the stream of a new model keeps.
        queue_type: ``classic``, or ``quorum`` on a cluster whose instances' orders must survive a lost node.
        open_chunks: A faster way to read chunks, such as ``stream_source.ChosenChunks.open``; AMQP when None.
    """

    def __init__(
        self, broker: Broker, *, name: str = "modelcast", retention_bytes: int = names.CHUNKS_RETENTION_BYTES,
        queue_type: str = "classic", open_chunks: "ChunkOpener | None" = None,
    ) -> None:
        self._broker, self._name = broker, name
        self._retention_bytes, self._queue_type, self._open_chunks = retention_bytes, queue_type, open_chunks

    def publish(self, model: str, channel: str, *, sends: bool = True) -> "AmqpPublisherRoad":
        """See ``road.Road.publish``."""
        link = self._broker.connect(name=f"{self._name} publisher of {model}")
        return _closing_on_error(link, lambda: AmqpPublisherRoad(link, model, channel, self._retention_bytes, sends=sends))

    def join(self, target: Target, *, bookmark: Bookmark | None = None) -> "AmqpInstanceRoad":
        """See ``road.Road.join``."""
        link = self._broker.connect(name=f"{self._name} {target.instance} of {target.model}/{target.channel}")
        return _closing_on_error(link, lambda: AmqpInstanceRoad(link, target, self._queue_type, bookmark))

    def chunks(self, model: str, offset: int | None, wanted: Wanted | None = None) -> ChunkSource:
        """See ``road.Road.chunks``; a stream is read through, wanted or not."""
        del wanted

        def by_amqp() -> ChunkSource:
            """Open them over a connection of their own."""
            link = self._broker.connect(name=f"{self._name} chunks of {model}")
            return _closing_on_error(link, lambda: AmqpChunkSource(link, model, "first" if offset is None else offset))

        return by_amqp() if self._open_chunks is None else self._open_chunks(model, offset, by_amqp)

    def records(self, model: str) -> Sequence[bytes]:
        """See ``road.Road.records``."""
        link = self._broker.connect(name=f"{self._name} register of {model}")
        try:
            link.declare(names.register_parts(model))
            return AmqpRegister(link, model).read()
        finally:
            link.close()

    def reports(self, *, since_minutes: int | None) -> "AmqpReportSource":
        """See ``road.Road.reports``."""
        link = self._broker.connect(name=f"{self._name} reports")
        return _closing_on_error(link, lambda: AmqpReportSource(link, since_minutes))

    def letters(self) -> AmqpLetterDesk:
        """See ``operating_road.LetterRoad.letters``."""
        link = self._broker.connect(name=f"{self._name} dead letters")
        return _closing_on_error(link, lambda: AmqpLetterDesk(link))

    def dead_letters(self, limit: int) -> Generator[DeadLetter]:
        """See ``road.DeadLetterRoad.dead_letters``: held unsettled while looking, given back by closing."""
        desk = self.letters()
        try:
            yield from desk.read(limit)
        finally:
            desk.close()

    def retire(self, model: str, channel: str, instances: Iterable[str]) -> None:
        """Remove all that a model has in one channel, its dead letters too; for demonstrations. Reports stay.

        Raises:
            HostFault: The broker did not let it; call again.
        """
        desk = self.letters()
        try:
            for letter in desk.read(MOST_UNSETTLED):
                if letter.target is not None and letter.target.model == model:
                    desk.remove(letter)
        finally:
            desk.close()   # the others go back
        link = self._broker.connect(name=f"{self._name} retiring {model}")
        try:
            link.remove(names.parts_of(model, channel, instances))
        finally:
            link.close()


Opened = TypeVar("Opened")


def _closing_on_error(link: WaitingLink, open_road: Callable[[], Opened]) -> Opened:
    try:
        return open_road()
    except BaseException:
        link.close()
        raise


class AmqpInstanceRoad:
    """See ``road.InstanceRoad``: the instance's queue, and the history stream for what was ordered before it came."""

    def __init__(self, link: WaitingLink, target: Target, queue_type: str, bookmark: Bookmark | None = None) -> None:
        self._link = link
        link.declare([
            *names.channel_parts(target.model, target.channel),
            *names.instance_parts(target.model, target.channel, target.instance, queue_type=queue_type),
        ])
        self._bindings = [
            part for part in names.instance_parts(target.model, target.channel, target.instance) if isinstance(part, names.Binding)
        ]
        self._reach = Reach(time.monotonic)
        self._history = AmqpHistory(link, names.history_name(target.model, target.channel), bookmark, time.monotonic)
        queue = names.instance_queue_name(target.model, target.channel, target.instance)
        self._orders = link.inbox(queue, prefetch=ORDERS_AHEAD, exclusive=queue_type == "classic")
        self._arrived: deque[ArrivedOrder] = deque()
        self._publishing = link.companion()
        self._outbox = self._publishing.outbox(window=REPORTS_UNDER_WAY)

    def next_order(self, seconds: float) -> ArrivedOrder | None:
        """See ``road.InstanceRoad.next_order``."""
        arrived = self._pending()
        if arrived is None and seconds > 0:
            self._link.wait(seconds)
            arrived = self._pending()
        return arrived

    def _pending(self) -> ArrivedOrder | None:
        if self._reach.is_doubtful:
            self._reach.begin()
            self._link.declare(self._bindings)   # changes nothing where they are; of a deleted exchange nobody tells a queue
        past = self._history.next()
        if past is not None:
            self._reach.by_history(past.body)
            return past
        while (delivery := self._orders.receive(0)) is not None:
            is_announcement, replay = delivery.headers.get(names.HEADER_KIND) == ANNOUNCEMENT, replay_of(delivery)
            if replay is None:   # of the exchange it tells nothing: it came to the queue alone
                self._reach.by_queue(delivery.body)
            receipt = (self._orders, delivery)
            self._arrived.append(ArrivedOrder(delivery.body, receipt, is_announcement=is_announcement, replay=replay))
        return self._arrived.popleft() if self._arrived and self._may_be_judged(self._arrived[0]) else None

    def _may_be_judged(self, arrived: ArrivedOrder) -> bool:
        return self._history.is_proven if arrived.is_announcement else self._history.is_read_until(arrived.body)

    def settle(self, arrived: ArrivedOrder, *, accept: bool) -> None:
        """See ``road.InstanceRoad.settle``; a receipt of an earlier connection is dead and nothing is sent for it."""
        if arrived.receipt is None:
            return
        inbox, delivery = cast("tuple[Inbox, Delivery]", arrived.receipt)
        if inbox is not self._orders:
            return   # its channel died; the broker gives the order out again, and that one will be settled
        if accept:
            inbox.accept(delivery)
        else:
            inbox.refuse(delivery)

    def report(self, body: bytes) -> Confirmed:
        """See ``road.InstanceRoad.report``: a broker in alarm confirms late, and orders must go on meanwhile."""
        return partial(self._outbox.is_confirmed, self._outbox.post(names.REPORTS, body))

    def wake(self) -> None:
        """See ``road.Wakeable.wake``."""
        self._link.wake()

    def close(self) -> None:
        """See ``road.InstanceRoad.close``."""
        self._link.close()


class AmqpChunkSource:
    """See ``road.ChunkSource``: the chunk stream read by AMQP."""

    name = "amqp"

    def __init__(self, link: WaitingLink, model: str, offset: Offset) -> None:
        self._link = link
        self._inbox = link.inbox(names.chunks_name(model), prefetch=READ_AHEAD, offset=offset)
        self._current: Delivery | None = None

    def receive(self, seconds: float) -> ArrivedChunk | None:
        """See ``road.ChunkSource.receive``; asking for the next chunks lets the broker send as many more."""
        if self._current is not None:
            self._inbox.accept(self._current)
        before = self._link.body_bytes
        self._current = self._inbox.receive(seconds)
        if self._current is None:
            return PART if self._link.body_bytes > before else None
        return arrived_chunk(self._current.body, self._current.headers, self._current.offset)

    def close(self) -> None:
        """See ``road.ChunkSource.close``."""
        self._link.close()


class AmqpReportSource:
    """See ``road.ReportSource``: a marker of its own, posted when it is opened, tells where the past ends."""

    def __init__(self, link: WaitingLink, since_minutes: int | None) -> None:
        self._link = link
        self.is_caught_up = False
        link.declare(names.common_parts())
        offset = "first" if since_minutes is None else f"{since_minutes}m"
        self._inbox = link.inbox(names.REPORTS, prefetch=256, offset=offset)
        self._nonce = secrets.token_hex(8)
        self._outbox = link.companion().outbox(window=1)   # in an alarm the broker must not stop taking our acknowledgements
        self._marker = self._outbox.post(
            names.REPORTS, b"", headers={names.HEADER_KIND: PROBE, names.HEADER_RELEASE: self._nonce}
        )

    def receive(self, seconds: float) -> bytes | None:
        """See ``road.ReportSource.receive``; markers, one's own and those of others, are passed over."""
        deadline = time.monotonic() + seconds
        while (delivery := self._inbox.receive(max(0.0, deadline - time.monotonic()))) is not None:
            self._inbox.accept(delivery)
            if delivery.headers.get(names.HEADER_KIND) != PROBE:
                return delivery.body
            self.is_caught_up = self.is_caught_up or delivery.headers.get(names.HEADER_RELEASE) == self._nonce
            if time.monotonic() >= deadline:
                break   # whoever floods the stream with markers must not hold us here
        if not self.is_caught_up:
            self._outbox.is_confirmed(self._marker)   # raises when the marker was refused and will never come
        return None

    def close(self) -> None:
        """See ``road.ReportSource.close``."""
        self._link.close()
