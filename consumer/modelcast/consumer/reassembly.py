"""Putting an artifact together from chunks in any order. Sans I/O: digests in, places out.

Decides where a chunk belongs, by its digest alone: order, duplicates and other releases' chunks do not matter. Imports the
manifest.
"""

from collections.abc import Iterator

from modelcast.shared.manifest import Artifact, Chunk


class Reassembly:
    """What of an artifact is there and what is missing.

    Args:
        artifact: What is put together.

    Attributes:
        wire_bytes: Bytes of the messages that were read; counted by whoever reads them.
        ahead_bytes: Bytes that were received ahead of the order.
        sources: How they were read (``road.ChunkSource.name``).
    """

    def __init__(self, artifact: Artifact) -> None:
        self._missing: dict[bytes, list[Chunk]] = {}
        self.total_bytes = artifact.size
        self.fetched_bytes = self.reused_bytes = 0
        self.fetched_chunks = self.reused_chunks = 0
        self.wire_bytes = self.ahead_bytes = 0
        self.sources: set[str] = set()
        self.foreign_messages = 0
        self.damaged_chunks = 0
        self.first_damage: dict[str, str] = {}
        for chunk in artifact.chunks():
            self._missing.setdefault(chunk.digest, []).append(chunk)

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing."""
        return not self._missing

    @property
    def missing_chunks(self) -> int:
        """How many different chunks are missing."""
        return len(self._missing)

    def missing(self) -> Iterator[Chunk]:
        """Yield one place of each missing chunk."""
        for places in list(self._missing.values()):
            yield places[0]

    def lacks(self, identity: bytes) -> bool:
        """Whether bytes with this digest are missing somewhere."""
        return identity in self._missing

    def places(self, identity: bytes, size: int) -> list[Chunk]:
        """Return where bytes with this digest are missing; empty when nowhere. Changes nothing."""
        return [chunk for chunk in self._missing.get(identity, []) if chunk.size == size]

    def placed(self, identity: bytes, size: int, *, fetched: bool) -> None:
        """Note that the bytes with this digest stand in all places of their size."""
        places = self.places(identity, size)
        left = [chunk for chunk in self._missing.pop(identity, []) if chunk.size != size]
        if left:   # the manifest contradicts itself: these bytes can never come
            self._missing[identity] = left
        written = sum(chunk.size for chunk in places)
        if fetched:
            self.fetched_chunks += len(places)
            self.fetched_bytes += written
        else:
            self.reused_chunks += len(places)
            self.reused_bytes += written

    def note_stranger(self, claim: str | None, identity: bytes = b"") -> None:
        """Note a message whose bytes are missing nowhere: damage if it claims to be a missing chunk, else somebody else's.

        Args:
            claim: The digest that it claims to have, hexadecimal.
            identity: The digest that its bytes have.
        """
        try:
            is_ours = claim is not None and bytes.fromhex(claim) in self._missing
        except ValueError:
            is_ours = False
        if is_ours:
            self.damaged_chunks += 1
            self.first_damage = self.first_damage or {"expected_digest": claim or "", "arrived_digest": identity.hex()}
        else:
            self.foreign_messages += 1

    def transfer(self) -> dict[str, int | str]:
        """Return what was fetched and reused, for the report."""
        sources = {"source": ", ".join(sorted(self.sources))} if self.sources else {}
        return {
            "total_bytes": self.total_bytes, "fetched_bytes": self.fetched_bytes, "reused_bytes": self.reused_bytes,
            "fetched_chunks": self.fetched_chunks, "reused_chunks": self.reused_chunks, "damaged_chunks": self.damaged_chunks,
            "foreign_messages": self.foreign_messages, "wire_bytes": self.wire_bytes, "ahead_bytes": self.ahead_bytes, **sources,
        }
