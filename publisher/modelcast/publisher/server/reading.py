"""Endpoints that people and programs read: models, releases, manifests, files, channels.

Decides what stands in the JSON for people, and that what never changes may be kept for ever. Imports the call, shelves and ranges.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response

from modelcast.publisher.catalog import KnownRelease
from modelcast.publisher.server.call import IMMUTABLE, WIRE_TYPE, Call
from modelcast.publisher.server.problems import Problem
from modelcast.publisher.server.ranges import NoSuchRange, Part, is_known, part_of
from modelcast.publisher.server.sending import PiecesResponse
from modelcast.publisher.server.shelves import Shelves, listed
from modelcast.publisher.server.tokens import Scope
from modelcast.publisher.server.work import work
from modelcast.shared.order import Order

BYTES_TYPE = "application/octet-stream"


async def models(call: Call) -> Response:
    """The models that the token reaches, each with its highest version."""
    names = [name for name in await work(call.service.shelves.models) if call.token.allows(Scope.FETCH, name)]
    return call.answer({"models": await work(_models, call.service.shelves, names)})


def _models(shelves: Shelves, names: list[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for name in names:
        releases = shelves.releases(name)
        found.append({"model": name, "latest": releases[-1].manifest.version if releases else None, "releases": len(releases)})
    return found


async def releases(call: Call) -> Response:
    """A model's releases, lowest version first."""
    known = await work(call.service.shelves.releases, await present(call))
    return call.answer({"releases": [_about(release) for release in known]})


async def release(call: Call) -> Response:
    """One release, by version or id."""
    known = await _release(call)
    files = [
        {"path": entry.path, "bytes": entry.size, "sha256": entry.sha256.hex() if entry.sha256 else None}
        for entry in known.manifest.artifact.files
    ]
    manifest = known.manifest
    return call.answer({
        **_about(known), "files": files, "training": manifest.training.model_dump(), "lineage": manifest.lineage.model_dump(),
        "environment": manifest.environment.model_dump(), "input_schema": manifest.input_schema,
        "output_schema": manifest.output_schema,
    })


def _about(known: KnownRelease) -> dict[str, Any]:
    artifact = known.manifest.artifact
    return {
        "version": known.manifest.version, "release": known.release, "created": known.manifest.created, "format": artifact.format,
        "bytes": artifact.size, "metrics": known.manifest.training.metrics,
    }


async def present(call: Call) -> str:
    """Return the model of the path.

    Raises:
        Problem: 404 when nobody has published it; the hint lists those that the token reaches.
    """
    model = call.model
    if not await work(call.service.depot.has_model, model):
        names = [name for name in await work(call.service.shelves.models) if call.token.allows(Scope.FETCH, name)]
        raise Problem(404, f"There is no model {model}.", hint=listed(names), facts={"models": names[:20]})
    return model


async def _release(call: Call) -> KnownRelease:
    return await work(call.service.shelves.release, await present(call), call.request.path_params["release"])


async def manifest(call: Call) -> Response:
    """The signed envelope of a release's manifest, as it was signed."""
    known = await _release(call)
    body, etag = known.record.manifest, f'"{known.release}"'
    headers = immutable(etag) if known.release == call.request.path_params["release"] else {"ETag": etag, "Cache-Control": "no-cache"}
    if is_known(call.request.headers.get("if-none-match"), etag):
        return Response(None, 304, headers)
    return Response(body, 200, headers, media_type=WIRE_TYPE)


async def file(call: Call) -> Response:
    """The bytes of an artifact's file, put together from its chunks."""
    known, path, shelves = await _release(call), call.request.path_params["path"], call.service.shelves
    entry = shelves.file(known, path)
    etag = f'"{entry.identity.hex()}"'
    if is_known(call.request.headers.get("if-none-match"), etag):
        return Response(None, 304, immutable(etag))
    part = asked_part(call, entry.size, etag)
    pieces = await work(shelves.pieces, call.model, entry, part.start, part.length)
    return PiecesResponse(pieces, status=200 if part.is_whole else 206, headers=partial(part, entry.size, etag), media_type=BYTES_TYPE)


def immutable(etag: str) -> dict[str, str]:
    """Return the headers of what never changes."""
    return {"ETag": etag, "Cache-Control": IMMUTABLE}


def asked_part(call: Call, size: int, etag: str) -> Part:
    """Return which bytes a request asks for.

    Raises:
        Problem: 416 when there are none such.
    """
    headers = call.request.headers
    try:
        return part_of(size, headers.get("range"), headers.get("if-range"), etag)
    except NoSuchRange:
        raise Problem(
            416, f"There are {size} bytes; none of them is in that range.", headers={"Content-Range": f"bytes */{size}"}
        ) from None


def partial(part: Part, size: int, etag: str) -> dict[str, str]:
    """Return the headers of an answer with some bytes."""
    headers = {**immutable(etag), "Accept-Ranges": "bytes"}
    if not part.is_whole:
        headers["Content-Range"] = f"bytes {part.start}-{part.start + part.length - 1}/{size}"
    return headers


async def channels(call: Call) -> Response:
    """What each channel of a model was last ordered to run."""
    model = await present(call)
    newest = await work(call.service.shelves.channels, model)
    versions = {known.release: known.manifest.version for known in (await work(call.service.shelves.catalog, model)).releases}
    reached = {name: order for name, order in newest.items() if call.token.allows(Scope.FETCH, model, name)}
    return call.answer({"channels": {name: _order(order, versions) for name, order in reached.items()}})


def _order(order: Order | None, versions: Mapping[str, str]) -> dict[str, Any] | None:
    if order is None:
        return None
    release = order.release.hex()
    issued = datetime.fromtimestamp(min(order.issued_ms, MOST_MS) / 1000, UTC).isoformat(timespec="milliseconds")
    return {
        "version": versions.get(release), "release": release, "sequence": order.sequence, "kind": order.kind.value, "issued": issued,
    }


MOST_MS = 253_402_300_799_000
"""The end of the year 9999, after which Python has no dates."""

