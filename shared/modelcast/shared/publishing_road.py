"""The seam to a road for whoever publishes or orders: the register, the sink of chunks, and the session that keeps others out.

Decides nothing; imports nothing of a road.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable


class Register(Protocol):
    """The record of what was begun, released and ordered of one model; only ever appended to."""

    def read(self) -> Sequence[bytes]:
        """Return all records, oldest first, complete up to this call."""
        ...

    def append(self, record: bytes) -> None:
        """Add a record; returns when it is durable."""
        ...


class ChunkSink(Protocol):
    """Where a publisher's chunks go."""

    def mark(self) -> int:
        """Return the offset where the next chunk will stand, at the earliest."""
        ...

    def send(
        self, body: bytes | memoryview, *, version: str, index: int, count: int, digest: str, codec: str = "none"
    ) -> None:
        """Send a chunk, which stays as it is until ``finish``; waits while too many are unconfirmed.

        ``codec`` says how the body holds the chunk: ``none`` or ``zstd``. ``version`` and ``index`` (of ``count`` chunks of
        the artifact) tell an instance that was told of the release in advance where the chunk will belong.
        """
        ...

    def finish(self, release: str) -> None:
        """Mark the end of a release's chunks; returns when everything sent is durable."""
        ...

    def held_since(self, offset: int) -> Iterator[bytes]:
        """Yield the digest of each chunk, unpacked, that the road holds from ``offset`` on, complete up to this call.

        Computed from the bytes where they lie, never taken from what a message or a name claims.
        """
        ...


@runtime_checkable
class ChunkCheck(Protocol):
    """A sink of chunks on a road that can tell cheaply what it holds."""

    def has(self, identity: bytes) -> bool:
        """Whether the road still has a chunk, by its digest; what is in it is not looked at."""
        ...


class PublisherRoad(Protocol):
    """A publisher's session for one model: nobody else orders while it is open, and if it sends, nobody else sends.

    One that is sending may let others order meanwhile: ``apart``, then the chunks, then ``rejoin``.
    """

    @property
    def register(self) -> Register:
        """What was released before."""
        ...

    @property
    def chunks(self) -> ChunkSink:
        """Where the bytes go; the road may keep only so many of them (``retention_bytes``)."""
        ...

    @property
    def retention_bytes(self) -> int | None:
        """How many bytes of chunks the road keeps, or None for all."""
        ...

    def announce(self, channel: str, body: bytes) -> None:
        """Tell the instances that are there that chunks come, and an order after them; who misses it loses only time."""
        ...

    def order(self, channel: str, body: bytes) -> None:
        """Send an order to every instance of a channel; returns when the road has it for good."""
        ...

    def apart(self) -> None:
        """Let others order until ``rejoin``; until then only chunks are sent. What was read of the register is out of date by then."""
        ...

    def rejoin(self) -> None:
        """Keep others from ordering again.

        Raises:
            PublisherBusy: Somebody is ordering right now: call again.
            HostFault: The road broke.
        """
        ...

    def close(self) -> None:
        """Leave and let the next publisher in. Never raises."""
        ...
