"""Receiving ahead of an order: what was announced is read and written while it is still being sent.

Decides which messages of the stream belong to what was announced, and when to stop waiting for more. Nothing here says that a chunk is
right: the digests are not known yet. Each chunk's digest is computed while it is written, and compared when the order brings them.
Runs in the worker, which owns the chunk source. Imports assembly, the road's protocols, compression and trust.
"""

import time

from modelcast.consumer.assembly import Assembly
from modelcast.consumer.receiving import POLL_SECONDS, OpenSource
from modelcast.consumer.trial import Dropped
from modelcast.consumer.trust import TrustedOrder
from modelcast.shared.compression import unpack_chunk
from modelcast.shared.digest import digest
from modelcast.shared.limits import DEFAULT_LIMITS
from modelcast.shared.manifest import Chunk, Manifest
from modelcast.shared.packing import pack
from modelcast.shared.road import ArrivedChunk


def layout_of(manifest: Manifest) -> str:
    """Return the same name for a manifest and for its draft: a digest of version, files and sizes, 64 hexadecimal digits."""
    files = [[entry.path, entry.size, list(entry.chunk_sizes)] for entry in manifest.artifact.files]
    return digest(pack({"version": manifest.version, "files": files})).hex()


class Ahead:
    """An announced release on its way. Two writers, each for its own fields.

    The I/O thread sets ``dropped`` and ``is_ordered``, the worker everything else.

    Args:
        announced: The announcement; its manifest is a draft.

    Attributes:
        layout: See ``layout_of``; names the folder in which it is put together.
        dropped: Nobody wants it any more.
        is_ordered: Its order is here: no more waiting for what may still come.
        digests: The digest of what was written in the place of each chunk, by the chunk's index.
        is_whole: Whether the digests are of everything that its folder holds: no earlier attempt left anything there.
        fetched_bytes: Bytes that were written.
        wire_bytes: Bytes of the messages that were read.
        next_offset: Where in the stream to go on.
        sources: How they were read (``road.ChunkSource.name``).
    """

    def __init__(self, announced: TrustedOrder) -> None:
        self.announced, self.layout = announced, layout_of(announced.manifest)
        self.dropped = self.is_ordered = False
        self.is_whole = True
        self.digests: dict[int, bytes] = {}
        self.fetched_bytes = self.wire_bytes = 0
        self.next_offset = announced.order.chunks_offset
        self.sources: set[str] = set()

    @property
    def version(self) -> str:
        """The version that was announced."""
        return self.announced.manifest.version

    def fits(self, manifest: Manifest) -> bool:
        """Whether a release has the version, the files and the chunks that were announced."""
        return layout_of(manifest) == self.layout

    def check(self) -> None:
        """Raise Dropped when nobody wants it any more."""
        if self.dropped:
            raise Dropped


def receive_ahead(assembly: Assembly, open_source: OpenSource, ahead: Ahead, idle_seconds: float) -> None:
    """Read the stream until every chunk came, the end marker comes by, or nothing comes for ``idle_seconds``.

    Raises:
        Dropped: Nobody wants it any more.
        HostFault: The road or the disk failed; what was received stays.
    """
    chunks = list(ahead.announced.manifest.artifact.chunks())
    source = open_source(ahead.next_offset)
    ahead.sources.add(source.name)
    try:
        quiet_since = time.monotonic()
        while len(ahead.digests) < len(chunks):
            ahead.check()
            arrived = source.receive(POLL_SECONDS)
            if arrived is None:
                if ahead.is_ordered or time.monotonic() - quiet_since > idle_seconds:
                    return
                continue
            quiet_since = time.monotonic()
            if arrived.ends is not None and ahead.digests:
                return   # one publisher at a time: it is the end of what was announced
            _take(assembly, ahead, chunks, arrived)
    finally:
        source.close()


def _take(assembly: Assembly, ahead: Ahead, chunks: list[Chunk], arrived: ArrivedChunk) -> None:
    ahead.wire_bytes += len(arrived.body)
    index = arrived.index
    if arrived.is_chunk and arrived.version == ahead.version and index is not None and 0 <= index < len(chunks):
        body: bytes | memoryview | None = arrived.body
        if arrived.is_packed:
            body = unpack_chunk(arrived.body, max_bytes=DEFAULT_LIMITS.chunk_bytes)
        if body is not None and len(body) == chunks[index].size:
            assembly.write_ahead(chunks[index], body)
            ahead.digests[index] = digest(body)
            ahead.fetched_bytes += len(body)
    if arrived.offset is not None:
        ahead.next_offset = arrived.offset + 1
        assembly.note_offset(ahead.next_offset, len(arrived.body))
