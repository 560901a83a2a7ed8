"""The second way to chunks: what the main road has dropped is fetched by its digest from another one.

Decides when that is tried (after everything else) and what its faults cost: nothing but itself. Runs in the worker. Imports assembly,
compression and the road's protocols.
"""

from collections.abc import Callable
from contextlib import closing

from modelcast.consumer.assembly import Assembly
from modelcast.shared.compression import unpack_chunk
from modelcast.shared.errors import MisuseError, ModelcastError
from modelcast.shared.finding import ChunkFinder, FindingRoad
from modelcast.shared.limits import DEFAULT_LIMITS, shortened
from modelcast.shared.road import ArrivedChunk, Road

Mend = Callable[[Assembly, Callable[[], None]], str | None]
"""Fetches what an assembly lacks; returns why not all of it came, or None. The second argument raises when the work is dropped."""


def as_fallback(road: Road | FindingRoad) -> FindingRoad:
    """Return a road that finds chunks by their digests.

    Raises:
        MisuseError: It does not.
    """
    if not callable(getattr(road, "finder", None)):
        raise MisuseError(
            "The fallback cannot give out chunks by their digests: a broker's stream is read from an offset only.",
            hint="Name a server, https://models.example, or a shared directory, file:///srv/models",
        )
    return road  # type: ignore[return-value]


def mend(road: FindingRoad, model: str, assembly: Assembly, stopped: Callable[[], None]) -> str | None:
    """Fetch what an assembly lacks; see ``Mend``. Raises only what our own disk raises, and what ``stopped`` does."""
    wanted = [chunk.digest.hex() for chunk in assembly.progress.missing()]
    try:
        finder = road.finder(model)
    except ModelcastError as fault:
        return _told(fault)
    with closing(finder):
        found = iter(finder.find(wanted))
        while not assembly.progress.is_complete:
            stopped()
            try:
                arrived = next(found, None)
            except ModelcastError as fault:   # a token that is refused, a server that is gone, a directory that is not mounted
                return _told(fault)
            if arrived is None:
                return "It does not have them either."
            _take(assembly, finder, arrived)
    return None


def _take(assembly: Assembly, finder: ChunkFinder, arrived: ArrivedChunk) -> None:
    assembly.progress.wire_bytes += len(arrived.body)
    body: bytes | memoryview | None = arrived.body
    if arrived.is_packed:
        body = unpack_chunk(arrived.body, max_bytes=DEFAULT_LIMITS.chunk_bytes)
    if assembly.take(body or b"", arrived.claim):
        assembly.progress.sources.add(finder.name)


def _told(fault: ModelcastError) -> str:
    return shortened(f"{type(fault).__name__}: {fault}", 500)
