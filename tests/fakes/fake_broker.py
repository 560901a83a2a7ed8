"""A broker in memory that behaves as RabbitMQ does; ``tests/contract`` holds the two together.

Decides nothing that the protocols of ``modelcast.shared.link`` leave open. It has no switch for faults: wrap it in a
``tests.fakes.faulty_broker.FaultyBroker``. What an operator or an outage can do to a node it can do, too: ``stop``,
``start``, ``drop_links``, ``delete_queue``.
"""

import time
from collections.abc import Callable, Iterable

from tests.fakes.fake_boxes import FakeInbox, FakeOutbox
from tests.fakes.fake_node import FakeNode
from tests.fakes.fake_queues import StreamQueue

from modelcast.shared.errors import BrokerUnreachable, PermissionRefused, TopologyMismatch
from modelcast.shared.link import Offset
from modelcast.shared.topology import Part

LOST = "The connection to the fake broker broke."


class FakeBroker:
    """One virtual host. Everything in it outlives the links, except exclusive queues.

    Args:
        clock: Seconds since 1970, for the ages of messages in streams and for the times of dead letters.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.node = FakeNode(clock)
        self.links: list[FakeLink] = []
        self._running = True

    def connect(self, *, name: str) -> "FakeLink":
        """See ``link.Broker.connect``."""
        with self.node.changed:
            if not self._running:
                raise BrokerUnreachable("No RabbitMQ answers at the fake broker (connection refused).")
            link = FakeLink(self, name)
            self.links.append(link)
            return link

    def drop_links(self) -> None:
        """Close every connection, as an operator or a network can."""
        with self.node.changed:
            for link in list(self.links):
                link.lose(LOST)

    def stop(self) -> None:
        """Stop the node: every link breaks, and none is opened until ``start``."""
        with self.node.changed:
            self._running = False
            self.drop_links()

    def start(self) -> None:
        """Start the node again, with all that is durable."""
        with self.node.changed:
            self._running = True

    def delete_queue(self, name: str) -> None:
        """Delete a queue, as an operator can; its consumers are told."""
        self.node.delete_queue(name)

    def forget(self, link: "FakeLink") -> None:
        """Remove a link that ended, and its exclusive queues."""
        if link in self.links:
            self.links.remove(link)
        self.node.release(link)


class FakeLink:
    """See ``link.WaitingLink``."""

    def __init__(self, broker: "FakeBroker", name: str) -> None:
        self.name = name
        self._broker, self._node = broker, broker.node
        self._inboxes: list[FakeInbox] = []
        self._companions: list[FakeLink] = []
        self._lost: str | None = None
        self._woken = False

    def check(self) -> None:
        """Raise when the link is gone."""
        if self._lost is not None:
            raise BrokerUnreachable(self._lost)

    def lose(self, why: str) -> None:
        """End the connection; the broker takes back what is unsettled and deletes what is exclusive."""
        if self._lost is None:
            self._lost = why
            for inbox in self._inboxes:
                inbox.end(BrokerUnreachable(why))
            self._broker.forget(self)

    def declare(self, parts: Iterable[Part]) -> None:
        """See ``link.Link.declare``."""
        with self._node.changed:
            self.check()
            for part in parts:
                self._node.declare(part, self)

    def outbox(self, *, window: int) -> FakeOutbox:
        """See ``link.Link.outbox``; the fake confirms at once, so that a window is never full."""
        assert window > 0
        with self._node.changed:
            self.check()
            return FakeOutbox(self._node, self)

    def inbox(self, queue: str, *, prefetch: int, offset: Offset | None = None, exclusive: bool = False) -> FakeInbox:
        """See ``link.Link.inbox``."""
        with self._node.changed:
            self.check()
            source = self._node.queue_for(queue, self)
            if isinstance(source, StreamQueue) and prefetch == 0:
                raise TopologyMismatch(f"The stream {queue!r} is read with a prefetch only.")
            held = [consumer for consumer in source.consumers if isinstance(consumer, FakeInbox)]
            if any(exclusive or consumer.exclusive for consumer in held):
                raise PermissionRefused(f"The queue {queue!r} is in exclusive use.")
            inbox = FakeInbox(self._node, self, source, prefetch or 65_535, exclusive=exclusive)
            self._inboxes = [*(other for other in self._inboxes if not other.ended), inbox]
            source.subscribe(inbox, offset)
            return inbox

    def wait(self, seconds: float) -> None:
        """See ``link.WaitingLink.wait``."""
        with self._node.changed:
            self._node.changed.wait_for(
                lambda: self._woken or self._lost is not None or any(i.is_due and not i.ended for i in self._inboxes), seconds
            )
            self._woken = False
            self.check()

    def wake(self) -> None:
        """See ``link.WaitingLink.wake``."""
        with self._node.changed:
            self._woken = True
            self._node.changed.notify_all()

    @property
    def body_bytes(self) -> int:
        """See ``link.WaitingLink.body_bytes``: what comes is whole."""
        return 0

    def companion(self) -> "FakeLink":
        """See ``link.WaitingLink.companion``."""
        with self._node.changed:
            companion = self._broker.connect(name=f"{self.name} (publishing)")
            self._companions.append(companion)
            return companion

    def depth(self, queue: str) -> int:
        """See ``link.WaitingLink.depth``."""
        with self._node.changed:
            self.check()
            return self._node.queue_for(queue, self).depth

    def remove(self, parts: Iterable[Part]) -> None:
        """See ``link.OperatorLink.remove``."""
        with self._node.changed:
            self.check()
            for part in parts:
                self._node.remove(part)

    def close(self) -> None:
        """See ``link.Link.close``."""
        with self._node.changed:
            for companion in self._companions:
                companion.close()
            self.lose("The connection was closed.")
