"""What a fake broker holds: exchanges, queues, bindings, and how a message finds its way.

Decides routing, declaring and dead-lettering as RabbitMQ does. Knows no link.
"""

import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from tests.fakes.fake_queues import ClassicQueue, Message, StreamQueue

from modelcast.shared.errors import PublisherBusy, TopologyMismatch
from modelcast.shared.topology import DEFAULT_EXCHANGE, Binding, Exchange, Part, Queue


class FakeNode:
    """One virtual host; ``changed`` guards all of it, and tells those who wait that something happened.

    Args:
        clock: Seconds since 1970, for the ages of messages in streams and for the times of dead letters.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.exchanges: dict[str, Exchange] = {}
        self.queues: dict[str, ClassicQueue | StreamQueue] = {}
        self.bindings: set[Binding] = set()
        self._clock = clock

    def delete_queue(self, name: str) -> None:
        """Delete a queue, as an operator can; its consumers are told."""
        with self.changed:
            queue = self.queues.pop(name)
            self.bindings = {binding for binding in self.bindings if binding.queue != name}
            for consumer in list(queue.consumers):
                consumer.cancel()
            self.changed.notify_all()

    def remove(self, part: Part) -> None:
        """Delete a queue or an exchange with its bindings, or a binding; what is not there is passed over."""
        if isinstance(part, Queue) and part.name in self.queues:
            self.delete_queue(part.name)
        elif isinstance(part, Exchange):
            self.exchanges.pop(part.name, None)
            self.bindings = {binding for binding in self.bindings if binding.exchange != part.name}
        elif isinstance(part, Binding):
            self.bindings.discard(part)

    def route(self, message: Message) -> bool:
        """Put a message into every queue that its exchange passes it on to; returns whether there was one."""
        if message.exchange == DEFAULT_EXCHANGE:
            queue = self.queues.get(message.routing_key)
            if queue is not None:
                queue.put(message)
                self.changed.notify_all()
            return queue is not None
        exchange = self.exchanges[message.exchange]
        takers = {
            binding.queue for binding in self.bindings if binding.exchange == exchange.name
            and (exchange.kind == "fanout" or binding.routing_key == message.routing_key)
        }
        for name in takers:
            self.queues[name].put(message)
        self.changed.notify_all()
        return bool(takers)

    def bury(self, queue: Queue, message: Message) -> None:
        """Pass a rejected message on to the queue's dead-letter exchange, if it has one that exists."""
        exchange = queue.arguments.get("x-dead-letter-exchange")
        if exchange not in self.exchanges:
            return
        routing_key = str(queue.arguments.get("x-dead-letter-routing-key", message.routing_key))
        headers = with_death(message, queue.name, datetime.fromtimestamp(int(self._clock()), UTC))
        self.route(Message(message.body, headers, str(exchange), routing_key))

    def queue_for(self, name: str, user: object) -> ClassicQueue | StreamQueue:
        """Return a queue that ``user`` may use."""
        queue = self.queues.get(name)
        if queue is None:
            raise TopologyMismatch(f"The broker's queues are not as they should be: no queue {name!r}.")
        if queue.owner not in {None, user}:
            raise PublisherBusy("Somebody else is publishing or ordering this model right now.")
        return queue

    def declare(self, part: Part, user: object) -> None:
        """Make sure that a part exists exactly so."""
        if isinstance(part, Exchange):
            if self.exchanges.setdefault(part.name, part).kind != part.kind:
                raise TopologyMismatch(f"The exchange {part.name!r} exists with another kind.")
        elif isinstance(part, Binding):
            if part.exchange not in self.exchanges:
                raise TopologyMismatch(f"The broker's queues are not as they should be: no exchange {part.exchange!r}.")
            self.queue_for(part.queue, user)
            self.bindings.add(part)
        elif part.name not in self.queues:
            is_stream = part.arguments.get("x-queue-type") == "stream"
            owner = user if part.exclusive else None
            self.queues[part.name] = StreamQueue(part, self._clock) if is_stream else ClassicQueue(part, owner)
        elif _settings(self.queue_for(part.name, user).part) != _settings(part):
            raise TopologyMismatch(f"The queue {part.name!r} exists with other arguments.")

    def release(self, user: object) -> None:
        """Delete the exclusive queues of a connection that ended."""
        with self.changed:
            for name in [name for name, queue in self.queues.items() if queue.owner is user]:
                self.delete_queue(name)
            self.changed.notify_all()


def _settings(queue: Queue) -> tuple[bool, Mapping[str, object]]:
    return queue.exclusive, {"x-queue-type": "classic", **queue.arguments}


def with_death(message: Message, queue: str, now: datetime) -> dict[str, object]:
    """Return the headers of a rejected message as RabbitMQ 3.10 writes them: the newest death first, equal ones counted."""
    headers: dict[str, Any] = dict(message.headers)
    deaths: list[dict[str, Any]] = list(headers.get("x-death", []))
    same = next((death for death in deaths if death["queue"] == queue and death["reason"] == "rejected"), None)
    if same is None:
        newest = {
            "count": 1, "reason": "rejected", "queue": queue, "time": now, "exchange": message.exchange,
            "routing-keys": [message.routing_key],
        }
    else:
        newest = same | {"count": same["count"] + 1}
    headers["x-death"] = [newest, *(death for death in deaths if death is not same)]
    for name, value in {"exchange": message.exchange, "queue": queue, "reason": "rejected"}.items():
        headers.setdefault(f"x-first-death-{name}", value)
    return headers
