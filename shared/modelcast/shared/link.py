"""The seam to a message broker: four small protocols that the real one and the fake one both keep.

Decides what modelcast asks of a broker and no more. Contract: ``tests/contract``. Imports the topology.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from modelcast.shared.topology import Part

Offset = int | str | datetime
"""Where to begin in a stream: an offset, ``first``, ``next``, ``last``, an age such as ``1h``, or a time by the broker's clock."""


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """One message as it arrived.

    Attributes:
        body: Its bytes.
        headers: Its headers; hints from strangers.
        tag: The channel's number for it; only the inbox that gave it out may settle it.
        offset: Its offset, if it came from a stream.
        redelivered: Whether the broker says that it was given out before.
    """

    body: bytes
    headers: Mapping[str, object] = field(default_factory=dict)
    tag: int = 0
    offset: int | None = None
    redelivered: bool = False


class Inbox(Protocol):
    """Messages of one queue or stream, each settled once. Used by the thread that owns the link."""

    def receive(self, seconds: float) -> Delivery | None:
        """Return the next message, or None when none came within ``seconds``.

        Raises:
            HostFault: The link broke, or the broker ended the subscription.
        """
        ...

    def accept(self, delivery: Delivery) -> None:
        """Acknowledge: the broker may forget it (queue), or soon send another (stream, whose messages are accepted in order)."""
        ...

    def refuse(self, delivery: Delivery) -> None:
        """Reject for good: the broker passes it on to the dead letters."""
        ...

    def close(self) -> None:
        """End the subscription; what was not settled goes back to the queue. Never raises."""
        ...


class Outbox(Protocol):
    """Confirmed publishing with a bounded number of messages under way."""

    def post(
        self, exchange: str, body: bytes | memoryview, *, headers: Mapping[str, str | int] | None = None, routing_key: str = "",
        mandatory: bool = True,
    ) -> int:
        """Send a persistent message and return its number; waits while the window is full.

        With ``mandatory`` it is an error that no queue takes it; without, such a message is lost and nothing is said.

        Raises:
            HostFault: The link broke, the broker refused the message, or no queue takes it.
        """
        ...

    def is_confirmed(self, number: int) -> bool:
        """Whether the broker has a message for good; does not wait, raises like ``post``."""
        ...

    def flush(self) -> None:
        """Wait until the broker confirmed everything that was posted; raises like ``post``."""
        ...


class Link(Protocol):
    """One connection, owned by one thread."""

    def declare(self, parts: Iterable[Part]) -> None:
        """Make sure that ``parts`` exist exactly so.

        Raises:
            TopologyMismatch: One exists with other arguments.
            PermissionRefused: This user may not.
            PublisherBusy: An exclusive queue is held by another connection.
        """
        ...

    def outbox(self, *, window: int) -> Outbox:
        """Return an outbox with at most ``window`` unconfirmed messages."""
        ...

    def inbox(self, queue: str, *, prefetch: int, offset: Offset | None = None, exclusive: bool = False) -> Inbox:
        """Subscribe to a queue, or to a stream from ``offset``, with at most ``prefetch`` unsettled messages.

        Raises:
            TopologyMismatch: There is no such queue.
            PermissionRefused: This user may not read it, or another consumer holds it exclusively.
        """
        ...

    def close(self) -> None:
        """Close the connection within a few seconds. Never raises."""
        ...


class WaitingLink(Link, Protocol):
    """A link whose owner can wait for whatever comes first, and be woken."""

    def wait(self, seconds: float) -> None:
        """Return when any inbox has a message, a message was confirmed, when woken, or after ``seconds``.

        Raises:
            HostFault: The link or a companion of it broke.
        """
        ...

    def wake(self) -> None:
        """End a ``wait`` at once; the only call that any thread may make."""
        ...

    @property
    def body_bytes(self) -> int:
        """How many bytes of messages' bodies came so far, also of one that is not whole yet: a slow line is no silent one."""
        ...

    def companion(self) -> "WaitingLink":
        """Open a second connection that lives by this link's ``wait``: one for publishing beside one for consuming.

        A broker in alarm stops reading from connections that publish; acknowledgements must not stop with them.
        """
        ...


class OperatorLink(Link, Protocol):
    """A link for looking and for clearing away."""

    def depth(self, queue: str) -> int:
        """Return the number of messages that wait in a queue."""
        ...

    def remove(self, parts: Iterable[Part]) -> None:
        """Delete queues and exchanges; what does not exist is passed over, and bindings go with what they bind."""
        ...


class FullLink(WaitingLink, OperatorLink, Protocol):
    """Everything that a connection can do."""


class Broker(Protocol):
    """Where links come from."""

    def connect(self, *, name: str) -> FullLink:
        """Open a connection that the broker's operators see as ``name``.

        Raises:
            BrokerUnreachable: Nothing answered.
            AuthenticationRefused: Wrong user or password.
            VhostMissing: No such virtual host.
        """
        ...
