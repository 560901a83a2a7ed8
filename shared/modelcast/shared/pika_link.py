"""The module that knows pika (with its levers): a link over one ``SelectConnection``, driven by the thread that owns it.

Decides how AMQP 0-9-1 is spoken: confirms in a window, one channel for each inbox and outbox (an error of one never
closes another), every wait with a deadline, every broker error mapped to one of ours at one place. ``SelectConnection``
rather than ``BlockingConnection``, which waits for each confirm, nacks stream deliveries on close (RabbitMQ 3.10 then
closes the connection), and is to be removed in pika 2.
"""

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import pika
from pika.adapters.select_connection import IOLoop
from pika.exceptions import AMQPError

from modelcast.shared.amqp_channel import AmqpChannel, AmqpInbox, AmqpOutbox
from modelcast.shared.amqp_errors import FREE_HINT, SILENT_HINT, connect_error, lost_error
from modelcast.shared.broker_url import BrokerUrl
from modelcast.shared.errors import BrokerUnreachable, HostFault, MisuseError
from modelcast.shared.link import Offset
from modelcast.shared.pika_levers import LeanConnection, hang_up, publish, tolerate_strange_headers, unsent_bytes
from modelcast.shared.topology import Binding, Exchange, Part, Queue

HEARTBEAT_SECONDS = 30
"""Survives a stall of the interpreter and keeps load balancers from cutting an idle connection (often 60 s)."""
CONNECT_SECONDS = 15.0
REPLY_SECONDS = 30.0
"""Longest wait for a broker's answer or for the next confirm; a broker in alarm is waited for BLOCKED_SECONDS."""
BLOCKED_SECONDS = 300
GOODBYE_SECONDS = 3.0
"""Longest wait for a broker's answer to a goodbye; after that the socket is closed without it."""
PERSISTENT = 2
CONTENT_TYPE = "application/vnd.modelcast"


class PikaBroker:
    """A RabbitMQ reached by ``amqp://`` or ``amqps://``.

    Args:
        url: ``amqp://user:password@host:port/vhost``.

    Raises:
        MisuseError: The URL is none.
    """

    def __init__(self, url: str) -> None:
        self.url = BrokerUrl.parse(url)
        try:
            _parameters(self.url, "checked")
        except (ValueError, TypeError, SyntaxError, OSError) as error:   # what pika raises for an option that it cannot read
            raise MisuseError(
                f"An option in the broker's URL cannot be read: {error}.", hint="Write it as in amqp://host/vhost?heartbeat=30"
            ) from error

    def connect(self, *, name: str) -> "PikaLink":
        """Open a connection; see ``link.Broker.connect``."""
        return PikaLink(self.url, name)


def _parameters(url: BrokerUrl, name: str) -> pika.URLParameters:
    parameters = pika.URLParameters(url.text)
    if not url.sets("heartbeat"):
        parameters.heartbeat = HEARTBEAT_SECONDS
    if not url.sets("blocked_connection_timeout"):
        parameters.blocked_connection_timeout = BLOCKED_SECONDS
    if not url.sets("socket_timeout"):
        parameters.socket_timeout = parameters.stack_timeout = CONNECT_SECONDS - 1
    if sys.platform == "linux" and not url.sets("tcp_options"):
        parameters.tcp_options = {"TCP_USER_TIMEOUT": 2 * HEARTBEAT_SECONDS * 1000}
    parameters.client_properties = {"connection_name": name, "product": "modelcast"}
    return parameters


class PikaLink:
    """One connection; see ``link.WaitingLink`` for the contract of the public methods."""

    def __init__(self, url: BrokerUrl, name: str, loop: Any = None) -> None:
        tolerate_strange_headers()
        self.url, self._name = url, name
        self._owns_loop = loop is None
        self._loop: Any = loop or IOLoop()
        self._opened = self._woken = self._closed = False
        self._lost: BaseException | None = None
        self._blocked: str | None = None
        self._inboxes: list[AmqpInbox] = []
        self._outboxes: list[AmqpOutbox] = []
        self._companions: list[PikaLink] = []
        if self._owns_loop:
            self._loop.activate_poller()
        self._connection: Any = LeanConnection(
            _parameters(url, name), custom_ioloop=self._loop,
            on_open_callback=self._on_open, on_open_error_callback=self._on_lost, on_close_callback=self._on_lost,
        )
        self._connection.add_on_connection_blocked_callback(self._on_blocked)
        self._connection.add_on_connection_unblocked_callback(self._on_unblocked)
        try:
            if not self.pump(lambda: self._opened or self._lost is not None, CONNECT_SECONDS):
                raise connect_error(self.url, TimeoutError(f"no answer within {CONNECT_SECONDS:.0f} s"))
            if self._lost is not None:
                raise connect_error(self.url, self._lost)
        except BaseException:
            self.close()
            raise

    def _on_open(self, _connection: object) -> None:
        self._opened = True

    def _on_lost(self, _connection: object, error: BaseException) -> None:
        self._lost = error

    def _on_blocked(self, _connection: object, frame: Any) -> None:
        self._blocked = str(frame.method.reason)
        import structlog  # noqa: PLC0415 - consumers have imported it; others need it when this happens
        structlog.get_logger("modelcast.shared").warning(
            "the broker takes no messages; it is waited for", connection=self._name, why=self._blocked, hint=FREE_HINT
        )

    def _on_unblocked(self, _connection: object, _frame: object) -> None:
        self._blocked = None

    def pump(self, done: Callable[[], bool], seconds: float) -> bool:
        """Serve the connection until ``done()`` or for ``seconds``; returns whether it is done.

        Raises:
            HostFault: Serving it broke in the middle of a frame.
        """
        if self._closed:
            return done()   # the loop is gone; what is asked next says that the connection is
        deadline = time.monotonic() + seconds
        timer = self._loop.call_later(max(seconds, 0.0), lambda: None)   # bounds the poll
        try:
            while not done():
                self._loop.poll()
                self._loop.process_timeouts()
                if time.monotonic() >= deadline:
                    return done()
        except (OSError, ValueError, OverflowError, RecursionError, AMQPError) as error:
            raise lost_error(self.url, error, blocked=self._blocked) from error   # a poisonous header (pika#1698)
        finally:
            self._loop.remove_timeout(timer)
        return True

    def check(self) -> None:
        """Raise HostFault when the connection is gone."""
        if self._lost is not None:
            raise lost_error(self.url, self._lost, blocked=self._blocked)

    def await_reply(self, done: Callable[[], bool], what: str) -> None:
        """Serve the connection until ``done()``; raises HostFault when it breaks, or nothing comes in time after all was sent."""
        ended = lambda: done() or self._lost is not None   # noqa: E731 - asked twice
        if not self._pump_while_sending(ended) and not (self._blocked and self.pump(ended, BLOCKED_SECONDS)):
            why = f" It takes no messages now: {self._blocked}." if self._blocked else ""
            raise BrokerUnreachable(
                f"The broker did not answer within {REPLY_SECONDS:.0f} s: {what}.{why}",
                hint=FREE_HINT if self._blocked else SILENT_HINT,
            )
        if not done():
            self.check()

    def _pump_while_sending(self, ended: Callable[[], bool]) -> bool:
        """Serve the connection until ``ended()``, or nothing was sent or answered for a while: a slow line is no silent broker."""
        waiting = unsent_bytes(self._connection)
        while not self.pump(ended, REPLY_SECONDS):
            before, waiting = waiting, unsent_bytes(self._connection)
            if waiting >= before:
                return False
        return True

    def open_channel(self) -> AmqpChannel:
        """Open a channel of its own for one purpose."""
        self.check()
        return AmqpChannel(self, lambda opened: self._connection.channel(on_open_callback=opened))

    def declare(self, parts: Iterable[Part]) -> None:
        """See ``link.Link.declare``."""
        channel = self.open_channel()
        for part in parts:
            channel.call(partial(_declare, channel.raw, part), f"declare {part}")
        channel.close()

    def depth(self, queue: str) -> int:
        """See ``link.WaitingLink.depth``."""
        channel = self.open_channel()
        frame = channel.call(lambda callback: channel.raw.queue_declare(queue, passive=True, callback=callback), queue)
        channel.close()
        return int(frame.method.message_count)

    def remove(self, parts: Iterable[Part]) -> None:
        """See ``link.OperatorLink.remove``."""
        channel = self.open_channel()
        for part in parts:
            channel.call(partial(_remove, channel.raw, part), f"remove {part}")
        channel.close()

    def outbox(self, *, window: int) -> AmqpOutbox:
        """See ``link.Link.outbox``."""
        outbox = AmqpOutbox(self.open_channel(), window, _publish)
        self._outboxes.append(outbox)
        return outbox

    def inbox(self, queue: str, *, prefetch: int, offset: Offset | None = None, exclusive: bool = False) -> AmqpInbox:
        """See ``link.Link.inbox``."""
        inbox = AmqpInbox(self.open_channel(), queue, prefetch, offset, exclusive=exclusive)
        self._inboxes = [*(other for other in self._inboxes if not other.ended), inbox]
        return inbox

    def wait(self, seconds: float) -> None:
        """See ``link.WaitingLink.wait``."""
        links = [self, *self._companions]
        self.pump(lambda: any(link.is_due for link in links), seconds)
        for link in links:
            link.settle_down()

    @property
    def is_due(self) -> bool:
        """Whether ``wait`` would return at once."""
        has_mail = any(inbox.is_due and not inbox.ended for inbox in self._inboxes)
        return self._woken or self._lost is not None or has_mail or any(outbox.has_news for outbox in self._outboxes)

    def settle_down(self) -> None:
        """Take note of what ended a ``wait``; raises HostFault when it was the end of the connection."""
        self._woken = False
        for outbox in self._outboxes:
            outbox.has_news = False
        self.check()

    def wake(self) -> None:
        """See ``link.WaitingLink.wake``."""
        self._loop.add_callback_threadsafe(self._set_woken)

    def _set_woken(self) -> None:
        self._woken = True

    @property
    def body_bytes(self) -> int:
        """See ``link.WaitingLink.body_bytes``."""
        return int(self._connection.body_bytes)

    def companion(self) -> "PikaLink":
        """See ``link.WaitingLink.companion``."""
        companion = PikaLink(self.url, f"{self._name} (publishing)", self._loop)
        self._companions.append(companion)
        return companion

    def close(self) -> None:
        """See ``link.Link.close``."""
        if self._closed:
            return
        for companion in self._companions:
            companion.close()
        try:
            self._end(self._connection.close)
            self._end(lambda: hang_up(self._connection))   # no answer: the socket, and a lock with it, must not live on
        finally:
            self._closed = True
            self._lost = self._lost or ConnectionError("it was closed here")
            if self._owns_loop:
                self._loop.deactivate_poller()
                self._loop.close()

    def _end(self, act: Callable[[], object]) -> None:
        """Do what ends a connection that is not lost yet, and wait a little until it is."""
        try:
            if self._lost is None and not self._connection.is_closed:
                act()
                self.pump(lambda: self._lost is not None, GOODBYE_SECONDS)
        except (HostFault, AMQPError, AssertionError):   # the last is pika's when a connection is closed while it opens
            return   # it is closed one way or the other; the broker frees everything with the socket


def _declare(raw: Any, part: Part, callback: Callable[[Any], None]) -> None:
    if isinstance(part, Exchange):
        raw.exchange_declare(part.name, part.kind, durable=True, callback=callback)
    elif isinstance(part, Queue):
        raw.queue_declare(
            part.name, durable=not part.exclusive, exclusive=part.exclusive, arguments=dict(part.arguments), callback=callback
        )
    else:
        assert isinstance(part, Binding)
        raw.queue_bind(part.queue, part.exchange, part.routing_key, callback=callback)


def _remove(raw: Any, part: Part, callback: Callable[[Any], None]) -> None:
    if isinstance(part, Exchange):
        raw.exchange_delete(part.name, callback=callback)
    elif isinstance(part, Queue):
        raw.queue_delete(part.name, callback=callback)
    else:
        raw.queue_unbind(part.queue, part.exchange, part.routing_key, callback=callback)


def _publish(
    raw: Any, exchange: str, routing_key: str, body: bytes | memoryview, headers: Mapping[str, str | int] | None, *, mandatory: bool
) -> None:
    properties = pika.BasicProperties(CONTENT_TYPE, headers=dict(headers or {}), delivery_mode=PERSISTENT)
    publish(raw, exchange, routing_key, body, properties, mandatory=mandatory)
