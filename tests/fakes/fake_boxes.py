"""Inboxes and outboxes of the fake broker: who has which message unsettled, and what a publisher is told.

Decides prefetch, settling and delayed errors as RabbitMQ does. Knows the node, and of its link only whether it lives.
"""

from collections import deque
from collections.abc import Mapping
from typing import Protocol

from tests.fakes.fake_node import FakeNode
from tests.fakes.fake_queues import ClassicQueue, Held, Message, StreamQueue

from modelcast.shared.errors import BrokerUnreachable, HostFault, ModelcastError, TopologyMismatch
from modelcast.shared.link import Delivery
from modelcast.shared.topology import DEFAULT_EXCHANGE


class Link(Protocol):
    """What an inbox or outbox knows of its link."""

    def check(self) -> None:
        """Raise when it is gone."""
        ...

    def lose(self, why: str) -> None:
        """Break it, as the broker does on a protocol error."""
        ...


class FakeInbox:
    """See ``link.Inbox``. The broker pushes up to ``prefetch`` messages ahead; they count as unsettled before they are read."""

    def __init__(
        self, node: FakeNode, link: Link, source: ClassicQueue | StreamQueue, prefetch: int, *, exclusive: bool
    ) -> None:
        self.exclusive, self.ended = exclusive, False
        self._node, self._link, self._source, self._prefetch = node, link, source, prefetch
        self._arrived: deque[Delivery] = deque()
        self._unsettled: dict[int, Held] = {}
        self._tags = 0
        self._failure: ModelcastError | None = None

    @property
    def capacity(self) -> int:
        """See ``fake_queues.Consumer``."""
        return self._prefetch - len(self._unsettled)

    @property
    def is_due(self) -> bool:
        """Whether ``receive`` would return or raise at once."""
        return bool(self._arrived) or self._failure is not None

    def hand_out(self, held: Held, offset: int | None) -> None:
        """See ``fake_queues.Consumer``."""
        self._tags += 1
        self._unsettled[self._tags] = held
        headers = dict(held.message.headers) | ({} if offset is None else {"x-stream-offset": offset})
        self._arrived.append(Delivery(held.message.body, headers, self._tags, offset, held.redelivered))

    def receive(self, seconds: float) -> Delivery | None:
        """See ``link.Inbox.receive``."""
        with self._node.changed:
            self._node.changed.wait_for(lambda: self.is_due, seconds)
            if self._arrived:
                return self._arrived.popleft()
            self._check()
            return None

    def _check(self) -> None:
        if self._failure is not None:
            raise type(self._failure)(str(self._failure))   # a new one each time: a raised error collects tracebacks

    def accept(self, delivery: Delivery) -> None:
        """See ``link.Inbox.accept``."""
        self._settle(delivery, refused=False)

    def refuse(self, delivery: Delivery) -> None:
        """See ``link.Inbox.refuse``."""
        self._settle(delivery, refused=True)

    def _settle(self, delivery: Delivery, *, refused: bool) -> None:
        with self._node.changed:
            self._link.check()
            self._check()
            held = self._unsettled.pop(delivery.tag, None)
            if held is None:
                self.end(TopologyMismatch(f"The broker closed the channel: unknown delivery tag {delivery.tag}."))
                return
            if refused and isinstance(self._source, StreamQueue):
                self._link.lose("The connection broke: basic.reject is not supported by stream queues.")
                return
            if refused:
                self._node.bury(self._source.part, held.message)
            self._source.dispatch()
            self._node.changed.notify_all()

    def cancel(self) -> None:
        """The queue was deleted: there will be no more."""
        self._failure = TopologyMismatch("The broker ended the subscription; the queue may have been deleted.")
        self._unsettled.clear()

    def end(self, failure: HostFault | None) -> None:
        """End the subscription and give back what is unsettled."""
        unsettled, self._unsettled = list(self._unsettled.values()), {}
        self._failure = self._failure or failure
        self._source.unsubscribe(self, unsettled)
        self._node.changed.notify_all()

    def close(self) -> None:
        """See ``link.Inbox.close``."""
        with self._node.changed:
            self.ended = True
            self.end(BrokerUnreachable("The subscription was closed."))


class FakeOutbox:
    """See ``link.Outbox``. What goes wrong with a message is told by the next call, as with confirms."""

    def __init__(self, node: FakeNode, link: Link) -> None:
        self._node, self._link = node, link
        self._failure: str | None = None
        self._closed: str | None = None

    def _check(self) -> None:
        self._link.check()
        if self._closed is not None:
            raise TopologyMismatch(self._closed)
        failure, self._failure = self._failure, None
        if failure is not None:
            raise TopologyMismatch(failure)

    def post(
        self, exchange: str, body: bytes | memoryview, *, headers: Mapping[str, str | int] | None = None, routing_key: str = "",
        mandatory: bool = True,
    ) -> int:
        """See ``link.Outbox.post``."""
        with self._node.changed:
            self._check()
            if exchange not in {DEFAULT_EXCHANGE, *self._node.exchanges}:
                self._closed = f"The broker's queues are not as they should be: no exchange {exchange!r}."
            elif not self._node.route(Message(bytes(body), dict(headers or {}), exchange, routing_key)) and mandatory:
                self._failure = f"No queue takes what is published to {exchange}: its binding is missing."
        return 0

    def is_confirmed(self, number: int) -> bool:
        """See ``link.Outbox.is_confirmed``: what was routed is kept at once."""
        with self._node.changed:
            self._check()
        return True

    def flush(self) -> None:
        """See ``link.Outbox.flush``."""
        with self._node.changed:
            self._check()
