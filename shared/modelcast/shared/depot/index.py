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

VERSION_BYTES = 64
"""The longest version there is (``names.MAX_VERSION_CHARACTERS``), all of it ASCII."""
_NO_INDEX = 2**32 - 1
_BODY = struct.Struct(f">2sBBII{DIGEST_BYTES}s{VERSION_BYTES}s")
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
        version: The version that it was sent for, or None; a hint, like the next one.
        index: Which chunk of that version it is, counted from 0, or None.
    """

    kind: EntryKind
    digest: bytes = bytes(DIGEST_BYTES)
    size: int = 0
    is_packed: bool = False
    version: str | None = None
    index: int | None = None

    def to_bytes(self) -> bytes:
        """Return the entry's bytes."""
        index, version = _NO_INDEX if self.index is None else self.index, (self.version or "").encode("ascii")
        body = _BODY.pack(_MAGIC, self.kind, self.is_packed, self.size, index, self.digest, version)
        return body + zlib.crc32(body).to_bytes(4, "big")

    @classmethod
    def from_bytes(cls, content: bytes) -> Self | None:
        """Return the entry, or None if these bytes are none."""
        if len(content) != ENTRY_BYTES or zlib.crc32(content[:-4]).to_bytes(4, "big") != content[-4:]:
            return None
        magic, kind, is_packed, size, index, digest, padded = _BODY.unpack(content[:-4])
        version = padded.rstrip(b"\0")
        if magic != _MAGIC or kind not in set(EntryKind) or not version.isascii():
            return None
        return cls(
            EntryKind(kind), digest, size, bool(is_packed), version.decode() or None, None if index == _NO_INDEX else index
        )
