"""One request as the endpoints see it: who asks, for what, with which body; and how an answer is put.

Decides what is looked at first (the token, then the rate, then the scope, then the rest), how much of a body is read, and that
answers are JSON for people and msgpack for programs that ask for it. Imports Starlette, the tokens and the problems.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from modelcast.publisher.server.problems import Problem
from modelcast.publisher.server.protocol import LINE
from modelcast.publisher.server.tokens import Scope, Token
from modelcast.shared.limits import MIB
from modelcast.shared.names import check_name
from modelcast.shared.packing import pack, unpack

if TYPE_CHECKING:
    from modelcast.publisher.server.notices import Topic
    from modelcast.publisher.server.service import Service

WIRE_TYPE = "application/vnd.modelcast"
JSON_TYPE = "application/json"
IMMUTABLE = "private, max-age=31536000, immutable"
"""``private``: what a token was needed for is in no shared cache."""


class Call:
    """One request.

    Args:
        request: As it came.
        service: What the server has.
        token: Who asks.
    """

    def __init__(self, request: Request, service: "Service", token: Token) -> None:
        self.request, self.service, self.token = request, service, token

    # ------------------------------------------------------------------- what is asked for

    def name(self, kind: str) -> str:
        """Return a name out of the path.

        Raises:
            InvalidName: It is none.
        """
        return check_name(kind, self.request.path_params[kind])

    @property
    def model(self) -> str:
        """The model of the path."""
        return self.name("model")

    @property
    def channel(self) -> str:
        """The channel of the path."""
        return self.name("channel")

    def number(self, name: str, default: float, *, least: float = 0, most: float) -> float:
        """Return a number out of the query; one over ``most`` is ``most``."""
        text = self.request.query_params.get(name)
        if text is None:
            return default
        try:
            value = float(text) if text.isascii() else -1.0
        except ValueError:
            value = -1.0
        if not least <= value < float("inf"):
            raise Problem(400, f"{name}={text[:40]} is no number that can be.", hint=f"Write {least:g} to {most:g}.")
        return min(value, most)

    def count(self, name: str, default: int, *, least: int = 0, most: int) -> int:
        """Return a whole number out of the query; one over ``most`` is ``most``."""
        text = self.request.query_params.get(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdecimal()) or len(text) > 19 or int(text) < least:
            raise Problem(400, f"{name}={text[:40]} is no whole number that can be.", hint=f"Write {least} to {most}.")
        return min(int(text), most)

    def must_any(self, scopes: Sequence[Scope], model: str | None, channel: str | None) -> None:
        """Refuse a token that has none of some scopes that reaches so far.

        Raises:
            Problem: 403.
        """
        if not any(self.token.allows(scope, model, channel) for scope in scopes):
            self.must(scopes[-1], model, channel)   # the one that allows least of all others

    def must(self, scope: Scope, model: str | None = None, channel: str | None = None) -> None:
        """Refuse a token that does not reach so far.

        Raises:
            Problem: 403.
        """
        if not self.token.allows(scope, model, channel):
            where = "/".join(part for part in (model, channel) if part)
            raise Problem(
                403, f"This token has no scope {scope} that reaches {where or 'this'}.",
                hint=f"Its operator makes one that does: modelcast tokens create --scope {scope}{':' + where if where else ''}",
            )

    # ------------------------------------------------------------------- bodies

    async def body(self, max_bytes: int) -> bytes:
        """Return the body.

        Raises:
            Problem: 400 when there is none, 413 when it is larger than ``max_bytes``, 408 when it does not come.
        """
        claimed = self.request.headers.get("content-length")
        if claimed is not None and claimed.isdecimal() and int(claimed) > max_bytes:
            raise self._too_large(max_bytes)
        line = self.request.scope.get("extensions", {}).get(LINE)
        if line is not None:
            line.gather(max_bytes)
        pieces: list[bytes] = []
        size = 0
        async with self._in_time():
            async for piece in self.request.stream():
                size += len(piece)
                if size > max_bytes:
                    raise self._too_large(max_bytes)
                pieces.append(piece)
        if not size:
            raise Problem(400, "This needs a body.")
        return b"".join(pieces)

    @asynccontextmanager
    async def large_body(self, max_bytes: int) -> AsyncGenerator[memoryview]:
        """Hold the body while the block runs, received straight into memory that is used again afterwards.

        Args:
            max_bytes: At most ``http_sending.BATCH_BYTES``.

        Raises:
            Problem: Like ``body``.
        """
        scope, claimed = self.request.scope, self.request.headers.get("content-length", "")
        line, size = scope.get("extensions", {}).get(LINE), int(claimed) if claimed.isdecimal() and len(claimed) <= 12 else 0
        with self.service.buffers.one() as buffer:
            if buffer is None or line is None or not 0 < size <= max_bytes or not line.can_fill(scope):
                yield memoryview(await self.body(max_bytes))
                return
            async with self._in_time():
                await line.fill(buffer[:size])
            yield buffer[:size]

    @asynccontextmanager
    async def _in_time(self) -> AsyncGenerator[None]:
        """Give the body that is received in the block its time, and say what became of it when it does not come."""
        try:
            async with asyncio.timeout(self.service.limits.body_seconds * max(1.0, self._claimed_mib)):
                yield
        except TimeoutError:
            raise Problem(408, "The body did not come to an end in time.", headers={"Connection": "close"}) from None
        except (ClientDisconnect, ConnectionError):
            raise Problem(400, "The connection ended within the body.") from None

    @property
    def _claimed_mib(self) -> float:
        claimed = self.request.headers.get("content-length", "")
        return int(claimed[:12]) / MIB if claimed.isdecimal() else 0.0

    def _too_large(self, max_bytes: int) -> Problem:
        return Problem(413, f"At most {max_bytes} bytes are taken here.", facts={"max_bytes": max_bytes})

    async def fields(self) -> dict[str, Any]:
        """Return a small body that is one map, JSON or msgpack."""
        body = await self.body(self.service.limits.small_bytes)
        if self.request.headers.get("content-type", JSON_TYPE).startswith(WIRE_TYPE):
            return unpack(body, what="request", max_bytes=self.service.limits.small_bytes)
        try:
            fields = json.loads(body)
        except (ValueError, RecursionError):
            fields = None
        if not isinstance(fields, dict):
            raise Problem(400, "The body is no JSON object.", hint='Write one, such as {"channel": "production"}.')
        return fields

    async def when_there(
        self, topic: "Topic", seconds: float, look: Callable[[], Awaitable[dict[str, Any]]], name: str
    ) -> dict[str, Any]:
        """Look until there is something under ``name``, the time is over, the client has gone or the server stops."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        gone = loop.create_task(self.gone())
        try:
            while True:
                count = topic.count
                found = await look()
                if found[name] or self.service.is_stopping or gone.done():
                    return found
                changed = loop.create_task(topic.changed(count))
                finished, _ = await asyncio.wait({changed, gone}, timeout=deadline - loop.time(), return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
                if not finished:
                    return found
        finally:
            gone.cancel()

    async def gone(self) -> None:
        """Return when the client has gone."""
        while (await self.request.receive())["type"] != "http.disconnect":
            pass

    # ------------------------------------------------------------------- answers

    @property
    def wants_wire(self) -> bool:
        """Whether the answer is for a program that speaks msgpack."""
        return WIRE_TYPE in self.request.headers.get("accept", "")

    def answer(self, fields: Mapping[str, object], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
        """Answer with a map, JSON unless msgpack is asked for."""
        if self.wants_wire:
            return wire(fields, status, headers)
        body = json.dumps(fields, ensure_ascii=False, indent=1, default=_as_text).encode() + b"\n"
        return Response(body, status, {"Cache-Control": "no-store", **(headers or {})}, media_type=JSON_TYPE)


def wire(fields: Mapping[str, object], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with a map in msgpack."""
    return Response(pack(fields), status, {"Cache-Control": "no-store", **(headers or {})}, media_type=WIRE_TYPE)


def done(status: int = 204) -> Response:
    """Answer that it is done."""
    return Response(None, status, {"Cache-Control": "no-store"})


def text_of(fields: Mapping[str, Any], name: str) -> str:
    """Return a text out of a map.

    Raises:
        Problem: It is missing, or no text.
    """
    value = fields.get(name)
    if not isinstance(value, str):
        raise Problem(400, f"{name} is missing, or no text.")
    return value


def _as_text(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
