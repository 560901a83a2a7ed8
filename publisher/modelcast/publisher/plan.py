"""Which chunks must be sent, and where an instance finds the others. Pure.

Decides reuse by byte accounting: a chunk of an earlier release counts as held only while so little was sent after it that
retention cannot have dropped it, nor drops it while this release is sent. Imports catalog and manifest.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from modelcast.publisher.catalog import KnownRelease
from modelcast.shared.digest import DIGEST_BYTES
from modelcast.shared.manifest import Artifact, Chunk


@dataclass(frozen=True, slots=True)
class Plan:
    """What a publication sends.

    Attributes:
        send: Chunks to send, each digest once, in order.
        resumed: Chunks that an interrupted attempt left in the stream.
        reused_bytes: Bytes of the artifact that need not be sent.
        chunks_offset: Where an instance that has the earlier releases begins to read, or None when nothing is new.
        oldest_offset: Where an instance that has nothing begins to read.
    """

    send: tuple[Chunk, ...]
    resumed: tuple[Chunk, ...]
    reused_bytes: int
    chunks_offset: int | None
    oldest_offset: int

    @property
    def send_bytes(self) -> int:
        """Bytes to send."""
        return sum(chunk.size for chunk in self.send)

    @property
    def new(self) -> tuple[Chunk, ...]:
        """Chunks that this release brings into the stream, in this attempt or an interrupted one."""
        return self.send + self.resumed


def held_by_earlier(releases: Iterable[KnownRelease], *, mark: int, budget_bytes: int | None) -> dict[bytes, int]:
    """Return the digests that earlier releases left in the stream, each with an offset at or before it.

    Args:
        releases: Earlier releases, oldest first.
        mark: Where the stream ends now; an offset beyond it belongs to a stream that was deleted since.
        budget_bytes: How many bytes may have been sent after a chunk for it to count; None is any number.
    """
    held: dict[bytes, int] = {}
    sent_after = 0
    for known in reversed(list(releases)):
        sent_after += known.record.new_bytes
        offset = known.record.chunks_offset
        if offset is None:
            continue
        if offset >= mark or (budget_bytes is not None and sent_after > budget_bytes):
            break
        digests = known.record.new_digests
        for start in range(0, len(digests), DIGEST_BYTES):
            held.setdefault(digests[start : start + DIGEST_BYTES], offset)
    return held


def make_plan(
    artifact: Artifact, *, mark: int, resumed_from: int | None, resumed: Collection[bytes], held: dict[bytes, int]
) -> Plan:
    """Decide what to send.

    Args:
        artifact: What is published.
        mark: Where the next chunk will stand.
        resumed_from: Where an interrupted attempt began, or None.
        resumed: Digests that the attempt left in the stream, seen with their bytes.
        held: Digests of earlier releases with an offset at or before each.
    """
    send: list[Chunk] = []
    left: list[Chunk] = []
    offsets: list[int] = []
    seen: set[bytes] = set()
    reused_bytes = 0
    begin = mark if resumed_from is None else resumed_from
    for chunk in artifact.chunks():
        if chunk.digest not in seen and chunk.digest in resumed:
            left.append(chunk)
        elif chunk.digest not in seen and chunk.digest in held:
            offsets.append(held[chunk.digest])
        elif chunk.digest not in seen:
            send.append(chunk)
            seen.add(chunk.digest)
            continue
        seen.add(chunk.digest)
        reused_bytes += chunk.size
    return Plan(tuple(send), tuple(left), reused_bytes, begin if send or left else None, min([*offsets, begin]))
