"""Frames of a file of reports: each report with its time and a check, so that a torn one is seen as not there yet. Pure.

Decides the bytes of a frame and where reading stops. Imports the limits.
"""

import struct
import zlib
from dataclasses import dataclass

from modelcast.shared.limits import DEFAULT_LIMITS

_HEAD = struct.Struct(">4sIQI")
_MAGIC = b"mcr1"


@dataclass(frozen=True, slots=True, order=True)
class Frame:
    """A report as it was written.

    Attributes:
        time_ms: When, by the writer's clock, milliseconds since 1970 UTC.
        body: The report's bytes.
    """

    time_ms: int
    body: bytes

    def to_bytes(self) -> bytes:
        """Return the frame's bytes."""
        check = zlib.crc32(self.body, self.time_ms & 0xFFFF_FFFF)
        return _HEAD.pack(_MAGIC, len(self.body), self.time_ms, check) + self.body


def read_frames(content: bytes) -> tuple[list[Frame], int]:
    """Return the whole frames at the beginning of ``content`` and how many bytes they take.

    What follows is torn or not written to its end yet; it is looked at again when there is more of it.
    """
    frames: list[Frame] = []
    at = 0
    while len(content) - at >= _HEAD.size:
        magic, length, time_ms, check = _HEAD.unpack_from(content, at)
        body = content[at + _HEAD.size : at + _HEAD.size + length]
        is_whole = magic == _MAGIC and length <= DEFAULT_LIMITS.report_bytes and len(body) == length
        if not is_whole or zlib.crc32(body, time_ms & 0xFFFF_FFFF) != check:
            break
        frames.append(Frame(time_ms, body))
        at += _HEAD.size + length
    return frames, at
