"""The seam to a road: what a release needs to travel, in modelcast's own words, whatever carries it.

Decides the protocols that a road keeps, each of a few methods; those of whoever publishes are in ``publishing_road``. Nothing above
this module knows which road it is on. Imports nothing of any road.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from modelcast.shared.publishing_road import PublisherRoad


@dataclass(frozen=True, slots=True)
class Target:
    """Who an order is for.

    Attributes:
        model: Name of the model.
        channel: Name of the channel.
        instance: Id of the instance.
    """

    model: str
    channel: str
    instance: str


@dataclass(frozen=True, slots=True, eq=False)
class ArrivedOrder:
    """An order message as it arrived.

    Attributes:
        body: Its bytes.
        receipt: What the road needs to settle it; None for one from the history, which nobody settles.
        is_announcement: Whether it claims to say only that an order will follow, when the bytes are there.
        offset: Where it stands in the history; None for one that came to the instance itself.
        replay: Names the time that an operator sent it back to this instance, which had refused it, or None. A claim of whoever wrote
            it there.
    """

    body: bytes
    receipt: object = None
    is_announcement: bool = False
    offset: int | None = None
    replay: str | None = None


@dataclass(frozen=True, slots=True)
class Bookmark:
    """An order in a channel's history, to go on reading from: a hint, worth nothing unless that very order stands there.

    Attributes:
        offset: Where it stands.
        order: Its identity, 64 hexadecimal digits.
    """

    offset: int
    order: str


@dataclass(frozen=True, slots=True, eq=False)
class ArrivedChunk:
    """A message of the chunk stream.

    Attributes:
        body: The chunk's bytes, or a frame that holds them; empty for a marker.
        is_chunk: Whether it claims to be a chunk.
        claim: The digest that it claims to have, hexadecimal; tells damage from absence, proves nothing.
        ends: The release whose last chunk it claims to follow, or None.
        offset: Where in the stream it was.
        is_packed: Whether it claims to be a zstd frame.
        version: The version that it claims to belong to, or None.
        index: Which chunk of that version it claims to be, counted from 0, or None.
    """

    body: bytes | memoryview
    is_chunk: bool = True
    claim: str | None = None
    ends: str | None = None
    offset: int | None = None
    is_packed: bool = False
    version: str | None = None
    index: int | None = None


Confirmed = Callable[[], bool]
"""Answers at once whether something that was sent is kept for good; raises HostFault when it never will be."""


class InstanceRoad(Protocol):
    """An instance's connection: orders in, verdicts and reports out. Owned by the I/O thread."""

    def next_order(self, seconds: float) -> ArrivedOrder | None:
        """Return the next order or announcement, of the history or as they come, or None after ``seconds`` or when woken.

        Announcements are in no history: what they announce is over by then.

        Raises:
            HostFault: The road broke; close it and join again.
        """
        ...

    def settle(self, arrived: ArrivedOrder, *, accept: bool) -> None:
        """Tell the road that an order is dealt with: forget it, or keep it as a dead letter."""
        ...

    def report(self, body: bytes) -> "Confirmed":
        """Send a report without waiting; returns a question: whether the road has it for good."""
        ...

    def close(self) -> None:
        """Leave. Never raises."""
        ...


class Wakeable(Protocol):
    """What can be woken from another thread."""

    def wake(self) -> None:
        """End the wait of ``next_order`` at once."""
        ...


class WakeableInstanceRoad(InstanceRoad, Wakeable, Protocol):
    """An instance's road whose waiting can be ended."""


Wanted = Callable[[bytes], bool]
"""Says of a digest whether the chunk that has it is wanted; asked anew each time."""


class ChunkSource(Protocol):
    """Chunks from an offset on, in the order of their offsets. Owned by the worker.

    That is the order in which they were sent, but for what came to a server over HTTP: two batches of a release may change places.
    """

    @property
    def name(self) -> str:
        """How they are read, for reports: ``stream`` or ``amqp``."""
        ...

    def receive(self, seconds: float) -> ArrivedChunk | None:
        """Return the next message, valid until the next call, or None when none came within ``seconds``, or ``PART`` when part of one.

        Raises:
            HostFault: The road broke; open another source where this one stopped.
        """
        ...

    def close(self) -> None:
        """Leave. Never raises."""
        ...


class ReportSource(Protocol):
    """Reports of instances as they come."""

    @property
    def is_caught_up(self) -> bool:
        """Whether everything that was there when the source was opened has been read."""
        ...

    def receive(self, seconds: float) -> bytes | None:
        """Return the next report, or None when none came within ``seconds``."""
        ...

    def close(self) -> None:
        """Leave. Never raises."""
        ...


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An order that an instance refused, as the road kept it.

    Attributes:
        body: The order message's bytes.
        target: Where it was refused, or None when the road cannot say.
        died_ms: When, by the broker's clock, milliseconds since 1970 UTC, or None.
        cause: The broker's word for why it is here: ``rejected``, ``expired``, ``maxlen``, …
        deaths: What the broker recorded besides.
        receipt: What the road needs to take it away; None when it was only looked at.
    """

    body: bytes
    target: Target | None
    died_ms: int | None = None
    cause: str = "unknown"
    deaths: Sequence[object] = field(default_factory=tuple)
    receipt: object = field(default=None, compare=False, repr=False)


class Road(Protocol):
    """One way for releases to travel, chosen by a URL."""

    def publish(self, model: str, channel: str, *, sends: bool = True) -> PublisherRoad:
        """Open a publisher's session.

        Args:
            model: Name of the model.
            channel: Name of a channel.
            sends: Whether chunks will be sent. A session that only orders is not kept out by one that is sending (``apart``).

        Raises:
            PublisherBusy: Another one is open that keeps this one out.
        """
        ...

    def join(self, target: Target, *, bookmark: Bookmark | None = None) -> WakeableInstanceRoad:
        """Connect an instance; the history is read again from ``bookmark`` on if that order stands there, otherwise all of it."""
        ...

    def chunks(self, model: str, offset: int | None, wanted: Wanted | None = None) -> ChunkSource:
        """Read a model's chunks from ``offset``, None is the oldest; those that are not ``wanted`` may be passed over."""
        ...

    def reports(self, *, since_minutes: int | None) -> ReportSource:
        """Read reports of the last minutes (None: all that are kept) and then as they come."""
        ...


class DeadLetterRoad(Protocol):
    """A road whose dead letters can be looked at."""

    def dead_letters(self, limit: int) -> Generator[DeadLetter]:
        """Yield up to ``limit`` dead letters, oldest first, and leave them where they are."""
        ...
