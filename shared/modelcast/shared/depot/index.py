"""Entries of a model's index: which chunk came when, and where releases begin and end. Pure.

Decides the bytes of an entry. Each checks itself, so that what a killed writer or a power cut left at the end is seen as such.
All have one length: an entry's number is its offset, which orders carry as a hint. Imports digest.
"""

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

from modelcast.shared.digest import DIGEST_BYTES

_BODY = struct.Struct(f">2sBBI{DIGEST_BYTES}s")
_MAGIC = b"mi"
ENTRY_BYTES = _BODY.size + 4


class EntryKind(IntEnum):
    """What an entry stands for."""

    CHUNK = 1
    BEGIN = 2
    END = 3


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry.

    Attributes:
        kind: A chunk, or where a release begins or ends.
        digest: The chunk's digest, or the id of the release that ends, 32 bytes; zeros where one begins.
        size: Bytes of the file.
        is_packed: Whether the chunk is kept as a zstd frame.
    """

    kind: EntryKind
    digest: bytes = bytes(DIGEST_BYTES)
    size: int = 0
    is_packed: bool = False

    def to_bytes(self) -> bytes:
        """Return the entry's bytes."""
        body = _BODY.pack(_MAGIC, self.kind, self.is_packed, self.size, self.digest)
        return body + zlib.crc32(body).to_bytes(4, "big")

    @classmethod
    def from_bytes(cls, content: bytes) -> Self | None:
        """Return the entry, or None if these bytes are none."""
        if len(content) != ENTRY_BYTES or zlib.crc32(content[:-4]).to_bytes(4, "big") != content[-4:]:
            return None
        magic, kind, is_packed, size, digest = _BODY.unpack(content[:-4])
        if magic != _MAGIC or kind not in set(EntryKind):
            return None
        return cls(EntryKind(kind), digest, size, bool(is_packed))
