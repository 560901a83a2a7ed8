"""A road that damages bytes on the way to the broker: the publisher is honest, the network is not.

Decides which byte changes: one bit in the middle of the first chunk that is large enough to be part of the model. Everything
else passes through unchanged. Imports the road's protocols.
"""

from collections.abc import Iterator

from modelcast.shared.publishing_road import ChunkSink, PublisherRoad, Register
from modelcast.shared.road import (
    Bookmark,
    ChunkSource,
    ReportSource,
    Road,
    Target,
    WakeableInstanceRoad,
    Wanted,
)

MIN_BYTES = 16 * 1024
"""Smaller chunks are layout and samples, which the next release may share; damage to one would hit that release too."""


class DamagingRoad:
    """See ``road.Road``: publishes with one bit flipped.

    Args:
        road: The road that is damaged.

    Attributes:
        flipped: How many chunks were damaged.
    """

    def __init__(self, road: Road) -> None:
        self._road = road
        self.flipped = 0

    def publish(self, model: str, channel: str, *, sends: bool = True) -> PublisherRoad:
        """See ``road.Road.publish``."""
        return _DamagingSession(self._road.publish(model, channel, sends=sends), self)

    def join(self, target: Target, *, bookmark: Bookmark | None = None) -> WakeableInstanceRoad:
        """See ``road.Road.join``."""
        return self._road.join(target, bookmark=bookmark)

    def chunks(self, model: str, offset: int | None, wanted: Wanted | None = None) -> ChunkSource:
        """See ``road.Road.chunks``."""
        return self._road.chunks(model, offset, wanted)

    def reports(self, *, since_minutes: int | None) -> ReportSource:
        """See ``road.Road.reports``."""
        return self._road.reports(since_minutes=since_minutes)

    def damage(self, body: bytes | memoryview) -> bytes | memoryview:
        """Return ``body``, with one bit flipped if it is the first that is large enough."""
        if self.flipped or len(body) < MIN_BYTES:
            return body
        self.flipped += 1
        damaged = bytearray(body)
        damaged[len(damaged) // 2] ^= 1
        return bytes(damaged)


class _DamagingSession:
    """See ``publishing_road.PublisherRoad``."""

    def __init__(self, session: PublisherRoad, road: DamagingRoad) -> None:
        self._session = session
        self.register: Register = session.register
        self.chunks: ChunkSink = _DamagingSink(session.chunks, road)
        self.retention_bytes: int | None = session.retention_bytes

    def announce(self, channel: str, body: bytes) -> None:
        """See ``publishing_road.PublisherRoad.announce``."""
        self._session.announce(channel, body)

    def order(self, channel: str, body: bytes) -> None:
        """See ``publishing_road.PublisherRoad.order``."""
        self._session.order(channel, body)

    def apart(self) -> None:
        """See ``publishing_road.PublisherRoad.apart``."""
        self._session.apart()

    def rejoin(self) -> None:
        """See ``publishing_road.PublisherRoad.rejoin``."""
        self._session.rejoin()

    def close(self) -> None:
        """See ``publishing_road.PublisherRoad.close``."""
        self._session.close()


class _DamagingSink:
    """See ``publishing_road.ChunkSink``."""

    def __init__(self, sink: ChunkSink, road: DamagingRoad) -> None:
        self._sink, self._road = sink, road

    def mark(self) -> int:
        """See ``publishing_road.ChunkSink.mark``."""
        return self._sink.mark()

    def send(self, body: bytes | memoryview, *, version: str, index: int, count: int, digest: str, codec: str = "none") -> None:
        """See ``publishing_road.ChunkSink.send``; the digest stays that of the undamaged bytes."""
        self._sink.send(self._road.damage(body), version=version, index=index, count=count, digest=digest, codec=codec)

    def finish(self, release: str) -> None:
        """See ``publishing_road.ChunkSink.finish``."""
        self._sink.finish(release)

    def held_since(self, offset: int) -> Iterator[bytes]:
        """See ``publishing_road.ChunkSink.held_since``."""
        return self._sink.held_since(offset)
