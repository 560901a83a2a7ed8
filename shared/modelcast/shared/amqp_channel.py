"""Channels, inboxes and outboxes over a client library's raw channel, which comes in as an argument.

Decides how deliveries, confirms, returns and cancellations become our words. Imports no client library: ``pika_link``
hands in the raw channel and serves the connection.
"""

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

from modelcast.shared.amqp_errors import channel_error
from modelcast.shared.errors import BrokerUnreachable, HostFault, TopologyMismatch
from modelcast.shared.link import Delivery, Offset

CREDIT_SHARE = 4
"""A reader of a stream acknowledges once for each quarter of its prefetch: each time costs a system call here and wakes the broker."""


class Pump(Protocol):
    """What a channel needs of its connection: to be served while it waits."""

    def pump(self, done: Callable[[], bool], seconds: float) -> bool:
        """Serve the connection until ``done()`` or for ``seconds``; returns whether it is done."""
        ...

    def await_reply(self, done: Callable[[], bool], what: str) -> None:
        """Serve the connection until ``done()``; raises HostFault when it breaks or nothing comes in time."""
        ...

    def check(self) -> None:
        """Raise HostFault when the connection is gone."""
        ...


class AmqpChannel:
    """One AMQP channel: calls with answers, and the error that closed it.

    Args:
        link: The connection that serves it.
        open_raw: Opens the library's channel and calls back when it is open.
    """

    def __init__(self, link: Pump, open_raw: Callable[[Callable[[Any], None]], Any]) -> None:
        self.link = link
        self.closed: BaseException | None = None
        opened: list[Any] = []
        self.raw: Any = open_raw(opened.append)
        self.raw.add_on_close_callback(self._on_close)
        link.await_reply(lambda: bool(opened) or self.closed is not None, "open a channel")

    def _on_close(self, _channel: object, error: BaseException) -> None:
        self.closed = error

    def call(self, send: Callable[[Callable[[Any], None]], object], what: str) -> Any:
        """Send a method and return the broker's answer; raises the mapped error when the broker closes the channel."""
        answers: list[Any] = []
        self.check(what)
        send(answers.append)
        self.link.await_reply(lambda: bool(answers) or self.closed is not None, what)
        if not answers:
            self.check(what)
        return answers[0]

    def check(self, what: str) -> None:
        """Raise the mapped error when the channel or its connection is closed."""
        self.link.check()
        if self.closed is not None:
            raise channel_error(self.closed, what)

    def close(self) -> None:
        """Close it within a few seconds; never raises."""
        try:
            if self.raw.is_open:
                self.raw.close()
                self.link.pump(lambda: self.closed is not None, 3.0)
        except HostFault:
            pass   # closed already, with its connection


class AmqpInbox:
    """See ``link.Inbox``."""

    def __init__(self, channel: AmqpChannel, queue: str, prefetch: int, offset: Offset | None, *, exclusive: bool) -> None:
        self._channel, self._queue = channel, queue
        self._deliveries: deque[Delivery] = deque()
        self._cancelled = self.ended = False
        self._is_stream = offset is not None
        self._credit, self._credit_step = 0, max(1, prefetch // CREDIT_SHARE)
        raw = channel.raw
        raw.add_on_cancel_callback(self._on_cancel)
        self._channel.call(lambda callback: raw.basic_qos(prefetch_count=prefetch, callback=callback), queue)
        arguments = {} if offset is None else {"x-stream-offset": offset}
        self._channel.call(
            lambda callback: raw.basic_consume(
                queue, self._on_message, exclusive=exclusive, arguments=arguments, callback=callback
            ),
            f"read {queue}",
        )

    @property
    def is_due(self) -> bool:
        """Whether ``receive`` would return or raise at once."""
        return bool(self._deliveries) or self._cancelled or self._channel.closed is not None

    def _on_cancel(self, _frame: object) -> None:
        self._cancelled = True   # the queue was deleted or its leader moved; pika would say nothing more

    def _on_message(self, _channel: object, method: Any, properties: Any, body: bytes) -> None:
        headers: Mapping[str, Any] = properties.headers or {}
        offset = headers.get("x-stream-offset")
        self._deliveries.append(
            Delivery(body, headers, method.delivery_tag, offset if isinstance(offset, int) else None, method.redelivered)
        )

    def receive(self, seconds: float) -> Delivery | None:
        """See ``link.Inbox.receive``."""
        if not self._deliveries:
            self._channel.link.pump(lambda: self.is_due, seconds)
        if self._deliveries:
            return self._deliveries.popleft()
        self._channel.check(f"read {self._queue}")
        if self._cancelled:
            raise TopologyMismatch(f"The broker ended the subscription to {self._queue}; the queue may have been deleted.")
        return None

    def accept(self, delivery: Delivery) -> None:
        """See ``link.Inbox.accept``."""
        self._channel.check(f"acknowledge in {self._queue}")
        if not self._is_stream:
            self._channel.raw.basic_ack(delivery.tag)
            return
        self._credit += 1
        if self._credit == self._credit_step:
            self._credit = 0
            self._channel.raw.basic_ack(delivery.tag, multiple=True)

    def refuse(self, delivery: Delivery) -> None:
        """See ``link.Inbox.refuse``: ``basic.reject``, singly, because since 4.3 only that counts as a bad message."""
        self._channel.check(f"reject in {self._queue}")
        self._channel.raw.basic_reject(delivery.tag, requeue=False)

    def close(self) -> None:
        """See ``link.Inbox.close``."""
        self.ended = True
        self._channel.close()


class AmqpOutbox:
    """See ``link.Outbox``."""

    def __init__(self, channel: AmqpChannel, window: int, publish: Callable[..., None]) -> None:
        self._channel, self._window, self._publish = channel, window, publish
        self._unconfirmed: dict[int, str] = {}
        self._posted = 0
        self._failure: HostFault | None = None
        self.has_news = False
        channel.raw.add_on_return_callback(self._on_return)
        self._channel.call(
            lambda callback: self._channel.raw.confirm_delivery(self._on_confirm, callback=callback), "select confirms"
        )

    def _on_confirm(self, frame: Any) -> None:
        self.has_news = True
        method = frame.method
        upto = [tag for tag in self._unconfirmed if tag <= method.delivery_tag] if method.multiple else [method.delivery_tag]
        for tag in upto:
            exchange = self._unconfirmed.pop(tag, "")
            if method.NAME == "Basic.Nack":
                self._failure = BrokerUnreachable(f"The broker could not store a message for {exchange}; try again.")

    def _on_return(self, _channel: object, method: Any, _properties: object, _body: bytes) -> None:
        self._failure = TopologyMismatch(
            f"No queue takes what is published to {method.exchange}: its binding is missing.",
            hint="Somebody deleted the queue behind it; call again: what is missing is made again.",
        )

    def post(
        self, exchange: str, body: bytes | memoryview, *, headers: Mapping[str, str | int] | None = None, routing_key: str = "",
        mandatory: bool = True,
    ) -> int:
        """See ``link.Outbox.post``."""
        self._await_fewer_than(self._window)
        self._posted += 1
        self._unconfirmed[self._posted] = exchange
        self._publish(self._channel.raw, exchange, routing_key, body, headers, mandatory=mandatory)
        number = self._posted
        self._channel.link.pump(lambda: False, 0.0)   # one round without waiting: bytes leave while the next chunk is prepared
        return number

    def is_confirmed(self, number: int) -> bool:
        """See ``link.Outbox.is_confirmed``."""
        self._check()
        return number not in self._unconfirmed

    def _check(self) -> None:
        self._channel.check("publish")
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def flush(self) -> None:
        """See ``link.Outbox.flush``."""
        self._await_fewer_than(1)
        self.has_news = False   # whoever waited for the confirms knows of them

    def _await_fewer_than(self, bound: int) -> None:
        while True:
            self._check()
            before = len(self._unconfirmed)
            if before < bound:
                return
            self._channel.link.await_reply(partial(self._settled, before), "confirm what was published")

    def _settled(self, before: int) -> bool:
        return len(self._unconfirmed) < before or self._failure is not None or self._channel.closed is not None
