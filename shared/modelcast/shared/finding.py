"""The seam to a road that gives out chunks by their digests. Not every road does: a stream is read from an offset only.

Decides the protocols. Imports the road's values.
"""

from collections.abc import Iterable, Iterator
from typing import Protocol

from modelcast.shared.road import ArrivedChunk


class ChunkFinder(Protocol):
    """Single chunks of a model, by their digests. Owned by the worker."""

    @property
    def name(self) -> str:
        """How they are read, for reports."""
        ...

    def find(self, digests: Iterable[str]) -> Iterator[ArrivedChunk]:
        """Yield those of the chunks that are there, each valid until the next; raises HostFault when the road broke."""
        ...

    def close(self) -> None:
        """Leave. Never raises."""
        ...


class FindingRoad(Protocol):
    """A road that gives out chunks by their digests: a fallback for one that has dropped some."""

    def finder(self, model: str) -> ChunkFinder:
        """Return what finds a model's chunks; nothing is connected yet."""
        ...
