"""Receiving ahead of an order: what was announced is read and written while it is still being sent.

Decides which messages of the stream belong to what was announced, and when to stop waiting for more. Nothing here says that a chunk is
right: the digests are not known yet. Each chunk's digest is computed while it is written, and compared when the order brings them.
Runs in the worker, which owns the chunk source. Imports assembly, the road's protocols, compression and trust.
"""

import time
from collections.abc import Sequence
from functools import partial

from modelcast.consumer.assembly import Assembly
from modelcast.consumer.receiving import POLL_SECONDS, OpenSource, read_on
from modelcast.consumer.trial import Dropped
from modelcast.consumer.trust import TrustedOrder
from modelcast.shared.compression import unpack_chunk
from modelcast.shared.digest import digest
from modelcast.shared.limits import DEFAULT_LIMITS
from modelcast.shared.manifest import Chunk, Manifest
from modelcast.shared.packing import pack
from modelcast.shared.road import ArrivedChunk, ChunkSource

ORDERED_QUIET_SECONDS = 2.0
"""Longest silence that is waited out when the order is there: everything was confirmed before it, and fetching goes on here."""


def layout_of(manifest: Manifest) -> str:
    """Return the same name for a manifest and for its draft: a digest of version, files and sizes, 64 hexadecimal digits."""
    files = [[entry.path, entry.size, list(entry.chunk_sizes)] for entry in manifest.artifact.files]
    return digest(pack({"version": manifest.version, "files": files})).hex()


class Ahead:
    """An announced release on its way. Two writers, each for its own fields.

    The I/O thread sets ``dropped``, ``is_interrupted`` and ``ordered_release``, the worker everything else.

    Args:
        announced: The announcement; its manifest is a draft.

    Attributes:
        layout: See ``layout_of``; names the folder in which it is put together.
        dropped: Nobody wants it any more.
        is_interrupted: The worker is needed for something short; it goes on afterwards.
        ordered_release: The release that its order names: no more waiting for what may still come. None before.
        digests: The digest of what was written in the place of each chunk, by the chunk's index.
        is_whole: Whether the digests are of everything that its folder holds: no earlier attempt left anything there.
        fetched_bytes: Bytes that were written.
        wire_bytes: Bytes of the messages that were read.
        next_offset: Where in the stream to go on.
        sources: How they were read (``road.ChunkSource.name``).
    """

    def __init__(self, announced: TrustedOrder) -> None:
        self.announced, self.layout = announced, layout_of(announced.manifest)
        self.dropped = self.is_interrupted = False
        self.ordered_release: str | None = None
        self.begin_again(is_whole=True)

    def begin_again(self, *, is_whole: bool) -> None:
        """Know of nothing that was received; ``is_whole`` says that its folder holds nothing, either."""
        self.is_whole = is_whole
        self.digests: dict[int, bytes] = {}
        self.fetched_bytes = self.wire_bytes = 0
        order = self.announced.order
        self.next_offset = order.chunks_offset if order.oldest_offset is None else order.oldest_offset
        self.sources: set[str] = set()

    @property
    def version(self) -> str:
        """The version that was announced."""
        return self.announced.manifest.version

    @property
    def sequence(self) -> int:
        """The sequence that its order will have, or a later one."""
        return self.announced.order.sequence

    def fits(self, manifest: Manifest) -> bool:
        """Whether a release has the version, the files and the chunks that were announced."""
        return layout_of(manifest) == self.layout

    def check(self) -> None:
        """Raise Dropped when nobody wants it any more."""
        if self.dropped:
            raise Dropped

    def is_ended_by(self, arrived: ArrivedChunk) -> bool:
        """Whether a message is the end marker of what was announced: one publisher at a time, so the first one behind its beginning.

        A publication that goes on after an interruption begins before the ends of others.
        """
        begin, offset = self.announced.order.chunks_offset, arrived.offset
        is_behind = begin is None or offset is None or offset >= begin
        return arrived.ends is not None and (is_behind or arrived.ends == self.ordered_release)


def receive_ahead(assembly: Assembly, open_source: OpenSource, ahead: Ahead, idle_seconds: float) -> None:
    """Read the stream until every chunk came, the end marker comes by, or nothing comes for ``idle_seconds``.

    Raises:
        Dropped: Nobody wants it any more.
        HostFault: The road broke too often, or the disk failed; what was received stays.
    """
    chunks = list(ahead.announced.manifest.artifact.chunks())
    if len(ahead.digests) < len(chunks):
        read_on(lambda: open_source(ahead.next_offset, None), partial(_read, assembly, ahead, chunks, idle_seconds), ahead.check)


def _read(assembly: Assembly, ahead: Ahead, chunks: Sequence[Chunk], idle_seconds: float, source: ChunkSource) -> None:
    ahead.sources.add(source.name)
    quiet_since = time.monotonic()
    while len(ahead.digests) < len(chunks) and not ahead.is_interrupted:
        ahead.check()
        arrived = source.receive(POLL_SECONDS)
        if arrived is None:
            patience = idle_seconds if ahead.ordered_release is None else min(idle_seconds, ORDERED_QUIET_SECONDS)
            if time.monotonic() - quiet_since > patience:
                return
            continue
        quiet_since = time.monotonic()
        if ahead.is_ended_by(arrived):
            return
        _take(assembly, ahead, chunks, arrived)


def _take(assembly: Assembly, ahead: Ahead, chunks: Sequence[Chunk], arrived: ArrivedChunk) -> None:
    ahead.wire_bytes += len(arrived.body)
    index = arrived.index
    if arrived.is_chunk and arrived.version == ahead.version and index is not None and 0 <= index < len(chunks):
        body: bytes | memoryview | None = arrived.body
        if arrived.is_packed:
            body = unpack_chunk(arrived.body, max_bytes=DEFAULT_LIMITS.chunk_bytes)
        if body is not None and len(body) == chunks[index].size:
            ahead.digests.pop(index, None)   # a write that fails half-way must not leave the digest of what was there before
            assembly.write_ahead(chunks[index], body)
            ahead.digests[index] = digest(body)
            ahead.fetched_bytes += len(body)
    if arrived.offset is not None:
        ahead.next_offset = arrived.offset + 1
        assembly.note_offset(ahead.next_offset, len(arrived.body))
