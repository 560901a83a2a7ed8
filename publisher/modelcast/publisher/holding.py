"""What a road still holds of earlier releases: asked of the road itself, since an operator or its retention may have taken some.

Decides when a release that the register has must be sent again. Imports catalog, plan and the road's protocols.
"""

from typing import Protocol, runtime_checkable

from modelcast.publisher.catalog import Begun, Catalog, KnownRelease
from modelcast.publisher.plan import held_by_earlier
from modelcast.shared.errors import TopologyMismatch
from modelcast.shared.publishing_road import ChunkCheck, PublisherRoad


@runtime_checkable
class ChunkExtent(Protocol):
    """A sink of chunks on a road that drops the oldest by itself and cannot tell what it holds without reading it."""

    def oldest(self) -> int:
        """Return the offset of the oldest message that is kept: what stood before it is gone."""
        ...


def has_lost(road: PublisherRoad, catalog: Catalog, known: KnownRelease) -> bool:
    """Whether chunks of a release are gone that the register has: pruned, dropped by retention, or with a stream that was deleted.

    Where that was found by a marker, the marker is recorded at once: by it every later reader of the register knows that the stream
    was made anew.
    """
    oldest, sink = known.record.oldest_offset, road.chunks
    if oldest is None:
        return True
    if isinstance(sink, ChunkCheck):
        return not all(sink.has(chunk.digest) for chunk in known.manifest.artifact.chunks())
    if isinstance(sink, ChunkExtent):
        try:
            end = sink.mark()   # first: in a stream that was made anew the marker is all there is
        except TopologyMismatch:   # it is not there: the next publisher makes it
            return True
        if sink.oldest() <= oldest < end:
            return False
        begun = Begun(known.manifest.version, end)
        road.register.append(begun.to_bytes())
        catalog.begin(begun)
        return True
    return False


def kept_from(road: PublisherRoad, offset: int) -> int:
    """Return where what was sent from an offset on begins now: the road may have dropped the beginning."""
    sink = road.chunks
    return max(offset, sink.oldest()) if isinstance(sink, ChunkExtent) else offset


def are_kept(road: PublisherRoad, oldest_offset: int, end_offset: int) -> bool:
    """Whether chunks from one offset to another are still there, as far as a road can lose them that just took them."""
    sink = road.chunks
    if not isinstance(sink, ChunkExtent):
        return True
    end = sink.mark()   # first: in a stream that was made anew the marker is all there is
    return end >= end_offset and sink.oldest() <= oldest_offset < end


def held(road: PublisherRoad, catalog: Catalog, *, mark: int, budget_bytes: int | None) -> dict[bytes, int]:
    """Return the digests that earlier releases left on the road; see ``plan.held_by_earlier``."""
    sink = road.chunks
    oldest = sink.oldest() if catalog.releases and isinstance(sink, ChunkExtent) else 0
    return held_by_earlier(catalog.releases, mark=mark, budget_bytes=budget_bytes, oldest=oldest)
