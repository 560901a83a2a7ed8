"""The ASGI application: from the table of routes to answers.

Decides what every request goes through: the token, the pace, the scope, then its endpoint; and what becomes of errors. It looks up the
table itself: Starlette's own layers took half of the time of a request for a chunk. Imports Starlette and this room's modules.
"""

import re
from collections.abc import Mapping
from contextlib import AsyncExitStack

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from modelcast.publisher.server.call import Call
from modelcast.publisher.server.openapi import document
from modelcast.publisher.server.problems import Problem
from modelcast.publisher.server.routes import PREFIX, ROUTES, Route
from modelcast.publisher.server.service import Service
from modelcast.publisher.server.tokens import ANYBODY
from modelcast.shared.errors import HostFault, ModelcastError

_PARAMETER = re.compile(r"\{(\w+)(:path)?\}")
log = structlog.get_logger("modelcast.server")


def pattern_of(path: str) -> re.Pattern[str]:
    """Return what a path of the table matches."""
    parts = _PARAMETER.split(path)   # text, name, kind, text, name, kind, …, text
    pattern = re.escape(PREFIX) + re.escape(parts[0])
    for name, kind, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        pattern += f"(?P<{name}>{'.+' if kind else '[^/]+'}){re.escape(text)}"
    return re.compile(pattern)


def by_path() -> list[tuple[re.Pattern[str], Mapping[str, Route]]]:
    """Return the table by path, in its order: for each what its methods do."""
    methods: dict[str, dict[str, Route]] = {}
    for route in ROUTES:
        methods.setdefault(route.path, {})[route.method] = route
        if route.method == "GET":
            methods[route.path]["HEAD"] = route
    return [(pattern_of(path), found) for path, found in methods.items()]


class Application:
    """Answers requests over a service.

    Args:
        service: What the server has.
    """

    def __init__(self, service: Service) -> None:
        self._service, self._table = service, by_path()
        service.document = document()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        response = await self.respond(Request(scope, receive))
        await response(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        async with AsyncExitStack() as stack:
            await receive()
            await stack.enter_async_context(self._service.running())
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def respond(self, request: Request) -> Response:
        """Return the answer to a request; whatever fails is one."""
        try:
            route, names = self._find(request.method, request.scope["path"])
            token = ANYBODY if route.is_open else await self._service.door.enter(request.headers.get("authorization"))
            request.scope["path_params"] = names
            call = Call(request, self._service, token)
            if route.scopes:
                call.must_any(route.scopes, names.get("model"), names.get("channel"))
            return await route.endpoint(call)
        except Problem as problem:
            return problem.response()
        except ModelcastError as error:
            if isinstance(error, HostFault):
                # Without the traceback: the error says which path failed, and each request would log one.
                log.error("The server's directory fails.", path=request.scope["path"], error=str(error), hint=error.hint)  # noqa: TRY400 - see above
            return Problem.of(error).response()
        except ClientDisconnect:
            return Problem(400, "The connection ended within the body.").response()
        except Exception as error:
            log.exception("A request failed in a way that nobody foresaw.", path=request.scope["path"], error=type(error).__name__)
            return Problem(500, "The server failed at this request.", hint="Its operator finds the cause in its log.").response()

    def _find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        for pattern, methods in self._table:
            found = pattern.fullmatch(path)
            if found is None:
                continue
            if method not in methods:
                allowed = ", ".join(sorted(methods))
                raise Problem(405, f"{method[:20]} is not for this path.", hint=f"There are: {allowed}.", headers={"Allow": allowed})
            return methods[method], found.groupdict()
        raise Problem(404, f"There is nothing at {path[:200]}.", hint=f"What there is stands in {PREFIX}/openapi.json.")
