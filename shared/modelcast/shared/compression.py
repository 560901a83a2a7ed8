"""zstd frames around chunks: made where a look at the data shows that it pays, opened within bounds.

Decides when it pays, from figures (``docs/adr/0019-zstd.md``): packing runs at 300 to 550 MB/s and unpacking at 1,000 to 1,500. To
half the size or less, every wire slower than that gains (300 MB/s are 2.4 Gbit/s), and the broker stores and sends half; weights
of floats shrink by 8 % and only cost time. A digest is always that of the bytes before packing: what is shared with other
releases does not depend on it. Imports ``zstandard``, when it is first needed.
"""

from collections.abc import Iterable
from functools import cache
from typing import Any

from modelcast.shared.limits import KIB

CODEC = "zstd"
LEVEL = 1
"""The higher ones take twice the time for a few per cent."""
PAYS_BELOW = 0.5
"""Share of the size at or under which packing is worth its time."""
PROBE_BYTES, PROBES = 16 * KIB, 16
"""A look at a file: pieces of this size, so many, spread over it; under 1 ms."""


@cache
def _zstd() -> Any:
    import zstandard  # noqa: PLC0415 - 10 ms that only those pay who pack or meet what is packed

    return zstandard


def pays(pieces: Iterable[bytes | memoryview]) -> bool:
    """Whether packing is worth its time, judged by a few pieces of the data."""
    raw = packed = 0
    compressor = _zstd().ZstdCompressor(level=LEVEL)
    for piece in pieces:
        raw += len(piece)
        packed += len(compressor.compress(piece))
    return raw > 0 and packed <= PAYS_BELOW * raw


def pack_chunk(content: bytes | memoryview) -> bytes | None:
    """Return a chunk as one zstd frame that says its size, or None when this one does not shrink enough."""
    packed: bytes = _zstd().ZstdCompressor(level=LEVEL).compress(content)
    return packed if len(packed) <= PAYS_BELOW * len(content) else None


def unpack_chunk(frame: bytes | memoryview, *, max_bytes: int) -> bytes | None:
    """Return what a zstd frame holds, or None when it is none, does not say its size, or says more than ``max_bytes``.

    The size is looked at before anything is allocated: a few bytes may claim to hold terabytes.
    """
    zstd = _zstd()
    try:
        if not 0 <= zstd.frame_content_size(frame) <= max_bytes:
            return None
        decompressor = zstd.ZstdDecompressor(max_window_size=max(2 * max_bytes, PROBE_BYTES))
        content: bytes = decompressor.decompress(frame, allow_extra_data=False)
    except (zstd.ZstdError, MemoryError):
        return None
    return content
