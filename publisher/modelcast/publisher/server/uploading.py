"""Endpoints that take chunks in a publisher's session.

Decides that bytes with another digest are not kept. Imports the call, sessions and the depot.
"""

import re
from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from modelcast.publisher.server.call import Call, done, text_of, wire
from modelcast.publisher.server.feed import MOST_CHUNKS, codec_of, digest_in
from modelcast.publisher.server.problems import Problem
from modelcast.publisher.server.publishing import session_of
from modelcast.publisher.server.work import work
from modelcast.shared.compression import CODEC, unpack_chunk
from modelcast.shared.depot.chunks import CHUNK_ROOM, read_entries
from modelcast.shared.depot.depot import Depot
from modelcast.shared.depot.index import Entry, EntryKind
from modelcast.shared.depot.layout import ModelPlaces
from modelcast.shared.digest import digest as digest_of
from modelcast.shared.digest import same
from modelcast.shared.errors import SenderFault
from modelcast.shared.file_publishing import FilePublisherRoad
from modelcast.shared.http_sending import BATCH_BYTES
from modelcast.shared.limits import DEFAULT_LIMITS
from modelcast.shared.names import Version
from modelcast.shared.reasons import Reason

_LISTED = re.compile(r"([0-9a-f]{64})(-zstd)?:([0-9]{1,8}):([0-9]{1,8})")
HELD_BYTES = 512 * 1024 * 1024
"""So much is read and hashed for one answer: a fifth of a second."""


async def mark(call: Call) -> Response:
    """Note in the index that a release begins."""
    async with session_of(call).sending() as road:
        offset = await work(road.chunks.mark)
    _tell_of_chunks(call)
    return call.answer({"offset": offset})


async def put_chunk(call: Call) -> Response:
    """Keep a chunk whose digest is the one in the path."""
    session, digest, headers = session_of(call), digest_in(call), call.request.headers
    codec = codec_of(headers.get("modelcast-codec")) or "none"
    version = Version(headers.get("modelcast-version", "0.0.0")).text
    index, count = _number(headers.get("modelcast-index")), _number(headers.get("modelcast-count"))
    body = await call.body(DEFAULT_LIMITS.chunk_bytes)
    async with session.checking:
        await work(check_chunk, body, digest, codec)
    async with session.sending() as road:
        is_new = call.service.shelves.chunk(call.model, digest, codec) is None
        await work(road.chunks.send, body, version=version, index=index, count=count, digest=digest, codec=codec)
    _tell_of_chunks(call)
    return done(201 if is_new else 204)


async def put_batch(call: Call) -> Response:
    """Keep several chunks, which follow one another in the body; none of them is kept when one is not what it claims to be."""
    session, headers = session_of(call), call.request.headers
    entries = _listed(headers.get("modelcast-chunks", ""), Version(headers.get("modelcast-version", "0.0.0")).text)
    with session.asking():
        async with call.large_body(BATCH_BYTES) as body:
            if sum(entry.size for entry in entries) != len(body):
                raise Problem(400, f"The chunks that are listed do not have {len(body)} bytes together.")
            parts = _parts(entries, body)
            async with session.checking:   # while another batch of this session is written
                await work(_check, entries, parts)
            async with session.sending() as road:
                await work(_keep, road, entries, parts)
    _tell_of_chunks(call)
    return done()


def _listed(text: str, version: str) -> list[Entry]:
    found = [_LISTED.fullmatch(part) for part in text.split(",")[: MOST_CHUNKS + 1]]
    if None in found or len(found) > MOST_CHUNKS:
        raise Problem(
            400, "Modelcast-Chunks is no list of chunks.",
            hint=f"Write 1 to {MOST_CHUNKS} of DIGEST:SIZE:INDEX with commas, -zstd behind the digests of packed ones.",
        )
    return [
        Entry(EntryKind.CHUNK, bytes.fromhex(match[1]), int(match[3]), match[2] is not None, version, _number(match[4]))
        for match in found if match is not None
    ]


def _parts(entries: Sequence[Entry], body: memoryview) -> list[memoryview]:
    at, parts = 0, list[memoryview]()
    for entry in entries:
        parts.append(body[at : at + entry.size])
        at += entry.size
    return parts


def _check(entries: Sequence[Entry], parts: Sequence[memoryview]) -> None:
    for entry, part in zip(entries, parts, strict=True):
        check_chunk(part, entry.digest.hex(), CODEC if entry.is_packed else "none")


def _keep(road: FilePublisherRoad, entries: Sequence[Entry], parts: Sequence[memoryview]) -> None:
    for entry, part in zip(entries, parts, strict=True):
        road.chunks.keep(entry, part)


def _number(text: str | None) -> int:
    if text is None:
        return 0
    if not (text.isascii() and text.isdecimal()) or int(text[:12]) >= DEFAULT_LIMITS.chunk_count:
        raise Problem(400, f"{text[:20]!r} is no number of a chunk.")
    return int(text)


def check_chunk(body: bytes | memoryview, digest: str, codec: str) -> None:
    """Refuse bytes that are not the chunk that they claim to be.

    Raises:
        SenderFault: They are other ones, none at all, or no frame.
    """
    content: bytes | memoryview | None = body
    if codec == CODEC:
        content = unpack_chunk(body, max_bytes=DEFAULT_LIMITS.chunk_bytes)
    if not content or not same(digest_of(content), bytes.fromhex(digest)):
        raise SenderFault(
            Reason.CHUNK_DAMAGED, "These bytes have another digest than the one they were sent under; nothing was kept.",
            hint="They were damaged on the way, or have changed: send them again.",
        )


async def finish(call: Call) -> Response:
    """Make all that was sent durable, and note that the release ends here."""
    session, release = session_of(call), text_of(await call.fields(), "release")
    if len(release) != 64 or set(release) - set("0123456789abcdef"):
        raise Problem(400, "release is no id of a release.", hint="Write 64 hexadecimal digits.")
    async with session.sending() as road:
        await work(road.chunks.finish, release)
    _tell_of_chunks(call)
    return done()


async def held(call: Call) -> Response:
    """The digests of the chunks that are held from an offset on; each was read and compared."""
    offset = call.count("from", 0, most=2**62)
    async with session_of(call).turn():
        return wire(await work(_held, call.service.depot, call.model, offset))


def _held(depot: Depot, model: str, offset: int) -> dict[str, Any]:
    shelf, found, left = depot.shelf(model), list[bytes](), HELD_BYTES
    buffer = memoryview(bytearray(CHUNK_ROOM))
    for at, entry in read_entries(depot.disk, depot.root / ModelPlaces(model).index, offset):
        if left <= 0:
            return {"next": at, "digests": found}
        size = shelf.read_into(entry, buffer) if entry.kind is EntryKind.CHUNK else None
        left -= size or 0
        if size is not None and _is_whole(entry.digest, buffer[:size], is_packed=entry.is_packed):
            found.append(entry.digest)
    return {"next": None, "digests": found}


def _is_whole(digest: bytes, body: memoryview, *, is_packed: bool) -> bool:
    content: bytes | memoryview | None = unpack_chunk(body, max_bytes=DEFAULT_LIMITS.chunk_bytes) if is_packed else body
    return content is not None and same(digest_of(content), digest)


def _tell_of_chunks(call: Call) -> None:
    call.service.notices.tell(call.service.depot.root / ModelPlaces(call.model).folder)
