"""Which chunks must be sent, and where an instance finds the others. Pure.

Decides reuse by byte accounting: a chunk of an earlier release counts as held only while so little was sent after it that
retention cannot have dropped it, nor drops it while this release is sent. Imports the catalog.
"""

from collections.abc import Collection, Iterable, Mapping

from modelcast.publisher.catalog import KnownRelease
from modelcast.shared.digest import DIGEST_BYTES


def held_by_earlier(
    releases: Iterable[KnownRelease], *, mark: int, budget_bytes: int | None, oldest: int = 0
) -> dict[bytes, int]:
    """Return the digests that earlier releases left in the stream, each with an offset at or before it.

    Args:
        releases: Earlier releases, oldest first.
        mark: Where the stream ends now; an offset beyond it belongs to a stream that was deleted since.
        budget_bytes: How many bytes may have been sent after a chunk for it to count; None is any number.
        oldest: Where the stream begins now; what stood before it is gone, whatever was reckoned.
    """
    held: dict[bytes, int] = {}
    sent_after = 0
    for known in reversed(list(releases)):
        sent_after += known.record.new_bytes
        offset = known.record.chunks_offset
        if offset is None:
            continue
        if not oldest <= offset < mark or (budget_bytes is not None and sent_after > budget_bytes):
            break
        digests = known.record.new_digests
        for start in range(0, len(digests), DIGEST_BYTES):
            held.setdefault(digests[start : start + DIGEST_BYTES], offset)
    return held


class Plan:
    """Decides for one chunk after the other, as their digests become known, whether it is sent.

    Args:
        mark: Where the next chunk will stand.
        resumed_from: Where an interrupted attempt began, or None.
        resumed: Digests that the attempt left in the stream, seen with their bytes.
        held: Digests of earlier releases with an offset at or before each.
    """

    def __init__(self, *, mark: int, resumed_from: int | None, resumed: Collection[bytes], held: Mapping[bytes, int]) -> None:
        self._resumed, self._held, self._resumed_from = resumed, held, resumed_from
        self._begin = self._mark = mark
        self._sent = 0
        self._seen: set[bytes] = set()
        self._new: list[bytes] = []
        self._oldest_held: int | None = None
        self.sent_bytes = self.new_bytes = self.reused_bytes = 0

    def counts_on(self, identity: bytes) -> bool:
        """Whether a chunk would not be sent because an earlier release left it."""
        return identity in self._held and identity not in self._seen and identity not in self._resumed

    def sends(self, identity: bytes, size: int, *, is_gone: bool = False) -> bool:
        """Return whether the next chunk, of this digest and size in bytes, must be sent.

        ``is_gone`` says of one that is counted on that the road has lost it.
        """
        if identity in self._seen:
            self.reused_bytes += size
            return False
        self._seen.add(identity)
        if identity not in self._resumed and identity in self._held and not is_gone:
            offset = self._held[identity]
            self._oldest_held = offset if self._oldest_held is None else min(offset, self._oldest_held)
            self.reused_bytes += size
            return False
        self._new.append(identity)
        self.new_bytes += size
        if identity in self._resumed and self._resumed_from is not None:
            self._begin = self._resumed_from
            self.reused_bytes += size
            return False
        self._sent += 1
        self.sent_bytes += size
        return True

    @property
    def new_digests(self) -> bytes:
        """Digests of what this release brings into the stream, in this attempt or an interrupted one, joined."""
        return b"".join(self._new)

    @property
    def chunks_offset(self) -> int | None:
        """Where an instance that has the earlier releases begins to read, or None when nothing is new."""
        return self._begin if self._new else None

    @property
    def end_offset(self) -> int:
        """Where a stream ends now, at the earliest: what marks the beginning and the end and each chunk have offsets of their own."""
        return self._mark + self._sent + 2

    @property
    def oldest_offset(self) -> int:
        """Where an instance that has nothing begins to read."""
        return self._begin if self._oldest_held is None else min(self._oldest_held, self._begin)
