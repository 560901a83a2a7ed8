"""Endpoints for chunks: one by its digest, and the index that says which came when.

Decides what an entry of the index looks like to a client. A chunk is sent as it is stored; whoever gets it compares its digest.
Imports the call, the ranges and the depot's index.
"""

import asyncio
import os
import re
from pathlib import Path
from typing import Any

from starlette.responses import Response

from modelcast.publisher.server.call import IMMUTABLE, Call, wire
from modelcast.publisher.server.problems import Problem
from modelcast.publisher.server.ranges import is_known
from modelcast.publisher.server.reading import BYTES_TYPE, asked_part, immutable, partial, present
from modelcast.publisher.server.sending import PiecesResponse
from modelcast.publisher.server.shelves import Piece, Shelves
from modelcast.publisher.server.work import work
from modelcast.shared.compression import CODEC
from modelcast.shared.depot.chunks import read_entries
from modelcast.shared.depot.depot import Depot
from modelcast.shared.depot.index import ENTRY_BYTES, Entry, EntryKind
from modelcast.shared.depot.layout import ModelPlaces
from modelcast.shared.http_sending import BATCH_CHUNKS

MOST_ENTRIES = 4096
MOST_CHUNKS = 64
"""Chunks of one answer."""
GATHER_SECONDS = 0.05
"""So long is waited for more chunks of a release that is being sent: an answer for each of them cost more than the chunks."""
_DIGEST = re.compile(r"[0-9a-f]{64}")
_CHUNK = re.compile(r"([0-9a-f]{64})(-zstd)?")


def digest_in(call: Call) -> str:
    """Return the digest of the path.

    Raises:
        Problem: 400 when it is none.
    """
    digest: str = call.request.path_params["digest"]
    if not _DIGEST.fullmatch(digest):
        raise Problem(400, "That is no digest.", hint="Write 64 hexadecimal digits, in lower case.")
    return digest


def codec_of(text: str | None) -> str | None:
    """Return a codec, or None where none is named.

    Raises:
        Problem: 400 when it is none.
    """
    if text is not None and text not in {"none", CODEC}:
        raise Problem(400, f"{text[:40]!r} is no codec.", hint=f"There are none and {CODEC}.")
    return text


async def chunk(call: Call) -> Response:
    """One chunk, as it is stored."""
    digest, codec, model = digest_in(call), codec_of(call.request.query_params.get("codec")), call.model
    found = call.service.shelves.chunk(model, digest, codec)   # one look at the file's facts: a thread would cost ten times as much
    if found is None:
        await present(call)
        raise Problem(404, f"{model} has no chunk {digest}{f' with the codec {codec}' if codec else ''}.")
    path, is_packed = found
    etag = f'"{digest}{"-zstd" if is_packed else ""}"'
    headers = {"Modelcast-Codec": CODEC if is_packed else "none"}
    if is_known(call.request.headers.get("if-none-match"), etag):
        return Response(None, 304, {**immutable(etag), **headers})
    size = os.stat(path).st_size
    part = asked_part(call, size, etag)
    return PiecesResponse(
        [Piece(path, False, part.start, part.length)], status=200 if part.is_whole else 206,
        headers={**partial(part, size, etag), **headers}, media_type=BYTES_TYPE,
    )


async def batch(call: Call) -> Response:
    """Several chunks in one answer, one after the other, each as it is stored: all of them, or none."""
    names = call.request.query_params.get("chunks", "").split(",")
    found = [_CHUNK.fullmatch(name) for name in names[: MOST_CHUNKS + 1]]
    if None in found or len(found) > MOST_CHUNKS:
        raise Problem(
            400, "chunks is no list of chunks.",
            hint=f"Write 1 to {MOST_CHUNKS} digests with commas, -zstd behind those of packed ones.",
        )
    wanted = [(match[1], match[2] is not None) for match in found if match is not None]
    if len(wanted) <= BATCH_CHUNKS:   # a look at each file's facts: a thread would cost more
        pieces = _pieces(call.service.shelves, call.model, wanted)
    else:
        pieces = await work(_pieces, call.service.shelves, call.model, wanted)
    if len(pieces) < len(wanted):
        await present(call)
        raise Problem(404, f"{call.model} has not all of these chunks; the first that is missing is {names[len(pieces)]}.")
    return PiecesResponse(pieces, status=200, headers={"Cache-Control": IMMUTABLE}, media_type=BYTES_TYPE)


def _pieces(shelves: Shelves, model: str, wanted: list[tuple[str, bool]]) -> list[Piece]:
    """Return where the chunks lie, up to the first that is missing."""
    pieces: list[Piece] = []
    for digest, is_packed in wanted:
        place = shelves.chunk(model, digest, CODEC if is_packed else "none")
        try:
            size = None if place is None else os.stat(place[0]).st_size
        except FileNotFoundError:   # it was pruned between two looks
            size = None
        if place is None or size is None:
            break
        pieces.append(Piece(place[0], False, 0, size))
    return pieces


async def index(call: Call) -> Response:
    """The entries of the index from an offset on, at once or when there are some."""
    model = await present(call)
    offset = call.count("from", 0, most=2**62)
    limit = call.count("limit", MOST_ENTRIES, least=1, most=MOST_ENTRIES)
    seconds = call.number("wait", 0, most=call.service.limits.wait_seconds)
    path = call.service.depot.root / ModelPlaces(model).index
    if not seconds:
        return wire(await work(_entries, call.service.depot, path, offset, limit))
    with call.service.notices.at([path.parent], lambda: call.service.depot.disk.size_of(path)) as topic:
        found = await call.when_there(topic, seconds, lambda: work(_entries, call.service.depot, path, offset, limit), "entries")
    if found["entries"] and found["entries"][-1]["kind"] != "end" and not call.service.is_stopping:
        await asyncio.sleep(GATHER_SECONDS)   # more are on their way
        found = await work(_entries, call.service.depot, path, offset, limit)
    return wire(found)


def _entries(depot: Depot, path: Path, offset: int, limit: int) -> dict[str, Any]:
    found: list[dict[str, Any]] = []
    following = offset
    for at, entry in read_entries(depot.disk, path, offset):
        if len(found) >= limit:
            break
        found.append(_entry(at, entry))
        following = at + 1
    size = depot.disk.size_of(path) or 0
    return {"next": following, "end": size // ENTRY_BYTES, "entries": found}


def _entry(offset: int, entry: Entry) -> dict[str, Any]:
    fields: dict[str, Any] = {"offset": offset, "kind": entry.kind.name.lower()}
    if entry.kind is EntryKind.END:
        return {**fields, "release": entry.digest.hex()}
    if entry.kind is EntryKind.BEGIN:
        return fields
    return {
        **fields, "digest": entry.digest.hex(), "size": entry.size, "codec": CODEC if entry.is_packed else "none",
        "version": entry.version, "index": entry.index,
    }


