"""Receiving an artifact: what this host has first, then the chunk stream, read again before giving up.

Decides from where and how often the stream is read. Runs in the worker, which owns the chunk source. Imports assembly, the
road's protocols, compression and errors.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from modelcast.consumer.assembly import Assembly
from modelcast.shared.compression import unpack_chunk
from modelcast.shared.errors import HostFault, SenderFault, StorageFault
from modelcast.shared.limits import DEFAULT_LIMITS, counted
from modelcast.shared.order import Order
from modelcast.shared.reasons import Reason
from modelcast.shared.road import ArrivedChunk, ChunkSource, Wanted

SHOWN_DIGESTS = 3
"""Missing digests named in a report; more would help nobody."""
POLL_SECONDS = 0.25
"""How soon a stop or a better order is noticed while the stream is silent."""
READS = 2
"""Each chunk is looked for at least so often: a bad copy may be followed by a good one, a stream may lag."""
RECONNECTS = 3
"""Lost connections within one transfer that are mended on the spot; then it rests and is taken up again later."""

OpenSource = Callable[[int | None, Wanted | None], ChunkSource]
"""Opens the chunk stream at an offset, for what is wanted; None is the oldest chunk that is kept, and all of them."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """What is fetched and how patiently.

    Attributes:
        order: The order, with its hints where to read.
        release: Release id; the end marker names it.
        idle_seconds: Silence after which the stream counts as read to its end.
        stopped: Raises when the work is to be dropped.
    """

    order: Order
    release: str
    idle_seconds: float
    stopped: Callable[[], None]


def fetch(assembly: Assembly, open_source: OpenSource, what: Fetch) -> None:
    """Fetch what an assembly lacks.

    Raises:
        SenderFault: ``chunks-missing`` or ``chunk-damaged``, after the stream was read again.
        HostFault: The road broke too often, or the disk failed; what was received stays.
    """
    has_some = assembly.progress.reused_chunks > 0 or assembly.progress.ahead_bytes > 0
    starts = read_plan(what.order.chunks_offset, what.order.oldest_offset, has_some=has_some)
    resumed = assembly.resume_offset if has_some else None
    if resumed is not None and resumed > (starts[0] or 0):
        starts[0] = resumed   # as far as it was read before the process ended; the rest of the plan mends what this misses
    for reading, start in enumerate(starts):
        if assembly.progress.is_complete:
            return
        _read_once(assembly, open_source, start, what, notes=reading == 0)
    if assembly.progress.is_complete:
        return
    progress = assembly.progress
    missing = counted(progress.missing_chunks, "chunk")
    facts: dict[str, object] = {
        "missing_chunks": progress.missing_chunks, "damaged_chunks": progress.damaged_chunks, "reads": len(starts),
        "missing_digests": [chunk.digest.hex() for chunk in islice(progress.missing(), SHOWN_DIGESTS)], **progress.first_damage,
    }
    if progress.damaged_chunks:
        raise SenderFault(
            Reason.CHUNK_DAMAGED, f"{missing} arrived only with bytes that do not match the digests.",
            facts=facts,
        )
    raise SenderFault(Reason.CHUNKS_MISSING, f"{missing} cannot be found in the stream.", facts=facts)


def read_plan(chunks_offset: int | None, oldest_offset: int | None, *, has_some: bool) -> list[int | None]:
    """Return where to begin each reading: near first, far when that was not enough.

    Args:
        chunks_offset: Where the release's own chunks begin.
        oldest_offset: Where the oldest chunk it needs lies.
        has_some: Whether this host holds chunks of earlier releases.
    """
    first = chunks_offset if has_some and chunks_offset is not None else oldest_offset
    starts = [first, *[oldest_offset] * (READS - 1)]
    return starts if None in starts else [*starts, None]


def _read_once(assembly: Assembly, open_source: OpenSource, start: int | None, what: Fetch, *, notes: bool) -> None:
    """Read from ``start`` until complete, or the release's end marker, or silence; a lost connection goes on where it was."""
    reader = _Reader(assembly, what, start, notes=notes)
    read_on(lambda: open_source(reader.next_offset, assembly.progress.lacks), reader.read, what.stopped)


def read_on(open_here: Callable[[], ChunkSource], read: Callable[[ChunkSource], None], stopped: Callable[[], None]) -> None:
    """Open the stream where it is to be read on and let ``read`` read it; after a lost connection again.

    Raises:
        HostFault: The connection was lost too often, or the disk failed.
    """
    losses = 0
    while True:
        try:
            source = open_here()
            try:
                read(source)
            finally:
                source.close()
        except StorageFault:
            raise   # no connection that is mended helps a disk
        except HostFault:
            losses += 1
            if losses > RECONNECTS:
                raise
            stopped()
        else:
            return


class _Reader:
    """One reading of the stream; remembers where it is, and ``notes`` it on disk if what lies before is complete."""

    def __init__(self, assembly: Assembly, what: Fetch, start: int | None, *, notes: bool) -> None:
        self._assembly, self._what, self.next_offset = assembly, what, start
        self._notes = notes

    def read(self, source: ChunkSource) -> None:
        """Read until the artifact is complete, or the end marker comes by, or nothing comes any more."""
        self._assembly.progress.sources.add(source.name)
        quiet_since = time.monotonic()
        while not self._assembly.progress.is_complete:
            self._what.stopped()
            arrived = source.receive(POLL_SECONDS)
            if arrived is None:
                if time.monotonic() - quiet_since > self._what.idle_seconds:
                    return
                continue
            quiet_since = time.monotonic()
            if arrived.ends == self._what.release:
                return
            self._take(arrived)

    def _take(self, arrived: ArrivedChunk) -> None:
        self._assembly.progress.wire_bytes += len(arrived.body)
        if arrived.is_chunk:
            body: bytes | memoryview | None = arrived.body
            if arrived.is_packed:
                body = unpack_chunk(arrived.body, max_bytes=DEFAULT_LIMITS.chunk_bytes)
            self._assembly.take(body or b"", arrived.claim)   # no chunk is empty: a frame that cannot be unpacked is damage
        if arrived.offset is not None:
            self.next_offset = arrived.offset + 1
            if self._notes:
                self._assembly.note_offset(self.next_offset, len(arrived.body))
