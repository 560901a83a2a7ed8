"""What the headers of a message on the broker say: whether it is a chunk, which one, or a marker. Hints, all of them.

Decides the kinds of messages and how headers of any type become an ``ArrivedChunk``, whichever way they were read. Trust comes from
the manifest's digests alone. Imports the names and the road's values.
"""

from collections.abc import Mapping

from modelcast.shared import topology as names
from modelcast.shared.compression import CODEC
from modelcast.shared.road import ArrivedChunk

CHUNK, BEGIN, END, PROBE, ANNOUNCEMENT, REPLAY = "chunk", "begin", "end", "probe", "announcement", "replay"
MARKERS = frozenset({BEGIN, END, PROBE})
CHUNK_HEADERS = frozenset({
    names.HEADER_KIND, names.HEADER_RELEASE, names.HEADER_DIGEST, names.HEADER_CODEC, names.HEADER_VERSION, names.HEADER_INDEX,
})
"""The headers that ``arrived_chunk`` looks at."""
PART = ArrivedChunk(b"", is_chunk=False)
"""What a source gives out when a message has begun to come and is not whole: nothing to take, and no silence either."""


def arrived_chunk(body: bytes | memoryview, headers: Mapping[str, object], offset: int | None) -> ArrivedChunk:
    """Return what a message of a chunk stream claims to be; nothing in its headers is believed, or need be of any type."""
    kind, release = headers.get(names.HEADER_KIND), headers.get(names.HEADER_RELEASE)
    ends = release if kind == END and isinstance(release, str) else None
    claim, version, index = (headers.get(name) for name in (names.HEADER_DIGEST, names.HEADER_VERSION, names.HEADER_INDEX))
    return ArrivedChunk(
        body, str(kind) not in MARKERS, claim if isinstance(claim, str) else None, ends, offset,
        headers.get(names.HEADER_CODEC) == CODEC, version if isinstance(version, str) else None,
        index if isinstance(index, int) else None,
    )
