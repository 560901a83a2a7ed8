"""The pointer: one small self-checking record that says what an instance runs. Pure: bytes to value and back.

Decides the commit point of every promotion. A record that is torn or altered does not parse; the caller falls back to the
one before. Imports sealed and the road's values.
"""

from dataclasses import dataclass

from modelcast.consumer.sealed import seal, unseal
from modelcast.shared.road import Bookmark

MAGIC = b"modelcast pointer 1\n"
MAX_POINTER_BYTES = 64 * 1024
TRIES = 3
"""How often a release may be loaded at a start of the process before it counts as the cause of the crashes."""


@dataclass(frozen=True, slots=True)
class KeptBookmark:
    """A bookmark as the pointer keeps it.

    Attributes:
        bookmark: The order in the history, and where it stands.
        reader: Digest of who read the history up to there (``trust.reader_of``): another reader may find orders before it.
    """

    bookmark: Bookmark
    reader: bytes


@dataclass(frozen=True, slots=True)
class Pointer:
    """What an instance runs.

    Attributes:
        generation: Rises by one with every record.
        release: Release id of the active model; None when it was lost and there was none before it.
        previous: Release id of the one before, or None.
        sequence: Sequence of the last order that was carried out.
        floor: Highest version promoted here since the last rollback.
        floor_artifact: Identity of that version's artifact, so that its number is never taken for other bytes.
        tries_left: Starts of the process left before ``previous`` is taken; set back after a good start.
        bad: Release ids that crashed their process at start or that the application reported, newest last.
        is_lost: Whether the release of that order was damaged on this disk, so that the order may be carried out again.
        order: Identity of that order, or None where an earlier modelcast wrote the record.
        is_back: Whether the release came back because that of the order could not stay: no order put it into service.
        bookmark: Where the history is read on; what stands before was decided or has a lower sequence. None: from its beginning.
    """

    generation: int
    release: str | None
    previous: str | None
    sequence: int
    floor: str
    floor_artifact: bytes
    tries_left: int = TRIES
    bad: tuple[str, ...] = ()
    is_lost: bool = False
    bookmark: KeptBookmark | None = None
    order: str | None = None
    is_back: bool = False

    @property
    def put_there_by(self) -> tuple[int, str | None]:
        """Sequence and identity of the order that put the release into service; 0 and None when it came back."""
        return (0, None) if self.is_back else (self.sequence, self.order)

    def to_bytes(self) -> bytes:
        """Return the record."""
        kept = self.bookmark
        return seal(MAGIC, {
            "generation": self.generation, "release": self.release, "previous": self.previous, "sequence": self.sequence,
            "floor": self.floor, "floor_artifact": self.floor_artifact, "tries_left": self.tries_left, "bad": list(self.bad),
            "is_lost": self.is_lost, "order": self.order, "is_back": self.is_back,
            "bookmark": None if kept is None else [kept.bookmark.offset, kept.bookmark.order, kept.reader],
        })

    @classmethod
    def from_bytes(cls, record: bytes) -> "Pointer | None":
        """Return the pointer that ``record`` holds, or None when it is torn, altered or of another format."""
        fields = unseal(MAGIC, record, max_bytes=MAX_POINTER_BYTES)
        if fields is None:
            return None
        try:
            return cls(
                fields["generation"], fields["release"], fields["previous"], fields["sequence"], fields["floor"],
                fields["floor_artifact"], fields["tries_left"], tuple(fields["bad"]), fields["is_lost"],
                _bookmark(fields.get("bookmark")), fields.get("order"), fields.get("is_back") is True,   # none in an earlier record
            )
        except (KeyError, TypeError):
            return None

    def bookmark_of(self, reader: bytes) -> Bookmark | None:
        """Return the bookmark if it is of this reader."""
        return self.bookmark.bookmark if self.bookmark is not None and self.bookmark.reader == reader else None


def _bookmark(field: object) -> KeptBookmark | None:
    match field:
        case [int(offset), str(order), bytes(reader)]:
            return KeptBookmark(Bookmark(offset, order), reader)
        case _:
            return None   # none was known, or another modelcast wrote it: it must not cost the pointer
