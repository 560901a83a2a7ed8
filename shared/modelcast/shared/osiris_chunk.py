"""What a Deliver frame carries: an osiris chunk, the unit in which RabbitMQ stores and sends a stream, with its entries.

Decides where each entry lies and which offset it has; one whose bytes are not there is a ``ProtocolViolation``, since the broker
wrote the lengths. Refuses to look into batches, which only the stream protocol writes: whatever stands in one is not ours. Source:
the head of ``osiris_log.erl``. No I/O; imports the errors.
"""

import struct
import zlib
from dataclasses import dataclass

from modelcast.shared.errors import ProtocolViolation

DELIVER_BYTES = 1 + 48
"""What stands before the entries: the number of the subscription and the head of the osiris chunk."""
ENTRY_BYTES, BATCH_BYTES = 4, 11
"""The heads of a simple entry, and of a batch."""

_HEAD = struct.Struct(">BBBHIqQQIIII")
_MAGIC, _USER = 0x50, 0
_BATCH = struct.Struct(">BHII")
_IS_BATCH = 0x80


@dataclass(frozen=True, slots=True)
class OsirisChunk:
    """The head of an osiris chunk.

    Attributes:
        subscription: Whose it is.
        entries: How many entries it has.
        records: How many messages, and so offsets.
        first_offset: The offset of the first.
        crc: CRC-32 of the entries' bytes.
        data_bytes: How many bytes the entries have.
        trailing_bytes: How many more are in the frame, to be passed over.
    """

    subscription: int
    entries: int
    records: int
    first_offset: int
    crc: int
    data_bytes: int
    trailing_bytes: int


@dataclass(frozen=True, slots=True)
class Entry:
    """What comes next in an osiris chunk.

    Attributes:
        offset: Its offset, or that of the first message in it.
        head_bytes: The bytes before it.
        size: Its own bytes.
        is_message: Whether it is one message; a batch is not, and is to be passed over.
    """

    offset: int
    head_bytes: int
    size: int
    is_message: bool = True


def read_chunk_head(body_bytes: int, head: bytes | memoryview) -> OsirisChunk:
    """Read the first ``DELIVER_BYTES`` of a Deliver frame whose body has ``body_bytes``.

    Raises:
        ProtocolViolation: They contradict each other.
    """
    if body_bytes < DELIVER_BYTES or len(head) < DELIVER_BYTES:
        raise ProtocolViolation(f"A Deliver frame of {body_bytes} bytes has no room for an osiris chunk.")
    subscription, magic, kind, entries, records, _, _, first, crc, data_bytes, _, _ = _HEAD.unpack(head[:DELIVER_BYTES])
    if magic != _MAGIC:
        raise ProtocolViolation(f"A Deliver frame carries no osiris chunk of version 0 (it begins with {magic:#x}).")
    rest = body_bytes - DELIVER_BYTES
    if data_bytes > rest:
        raise ProtocolViolation(f"An osiris chunk claims {data_bytes} bytes of a frame that has {rest}.")
    if kind != _USER:   # the broker's own bookkeeping, which it does not send to readers
        return OsirisChunk(subscription, 0, 0, first, crc, 0, rest)
    if records < entries:
        raise ProtocolViolation(f"An osiris chunk claims {records} messages in {entries} entries.")
    return OsirisChunk(subscription, entries, records, first, crc, data_bytes, rest - data_bytes)


def check_crc(chunk: OsirisChunk, data: bytes | memoryview) -> None:
    """Compare all bytes of the entries with the CRC-32 that the broker stored; raises ProtocolViolation."""
    if zlib.crc32(data) != chunk.crc:
        raise ProtocolViolation(
            f"The osiris chunk at offset {chunk.first_offset} does not have its checksum.",
            hint="If it happens again at the same offset, the broker's disk or memory is damaged.",
            facts={"offset": chunk.first_offset},
        )


class EntryWalk:
    """Goes through the entries of an osiris chunk: look at ``head_bytes``, ask ``next`` what they begin, take that, again.

    Args:
        chunk: The head of the osiris chunk.
    """

    def __init__(self, chunk: OsirisChunk) -> None:
        self._chunk = chunk
        self._entries_left, self._bytes_left, self._records = chunk.entries, chunk.data_bytes, 0

    @property
    def is_done(self) -> bool:
        """Whether nothing is left; raises ProtocolViolation when bytes or offsets are left over."""
        if self._entries_left:
            return False
        if self._bytes_left or self._records != self._chunk.records:
            raise ProtocolViolation(f"The osiris chunk at offset {self._chunk.first_offset} is not made of its entries.")
        return True

    def head_bytes(self, first: int) -> int:
        """Return how many bytes the head of the next entry has whose first byte is ``first``."""
        return BATCH_BYTES if first & _IS_BATCH else ENTRY_BYTES

    def next(self, head: bytes | memoryview) -> Entry:
        """Take the head of the next entry.

        Raises:
            ProtocolViolation: The entry would not end within the osiris chunk.
        """
        offset = self._chunk.first_offset + self._records
        if head[0] & _IS_BATCH:
            _, records, _, size = _BATCH.unpack(head[:BATCH_BYTES])
            entry = Entry(offset, BATCH_BYTES, size, is_message=False)
        else:
            entry, records = Entry(offset, ENTRY_BYTES, int.from_bytes(head[:ENTRY_BYTES], "big")), 1
        self._entries_left -= 1
        self._records += records
        self._bytes_left -= entry.head_bytes + entry.size
        if self._bytes_left < 0 or self._entries_left < 0 or self._records > self._chunk.records:
            raise ProtocolViolation(f"An entry of the osiris chunk at offset {self._chunk.first_offset} does not fit into it.")
        return entry
