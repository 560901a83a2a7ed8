"""The ASGI application: from the table of routes to answers.

Decides what every request goes through: the token, the pace, the scope, then its endpoint; and what becomes of errors. Imports
Starlette and the other modules of this room.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from itertools import groupby

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route as PathRoute

from modelcast.publisher.server.call import Call
from modelcast.publisher.server.openapi import document
from modelcast.publisher.server.problems import Problem
from modelcast.publisher.server.routes import PREFIX, ROUTES, Route
from modelcast.publisher.server.service import Service
from modelcast.shared.errors import HostFault, ModelcastError

Answer = Callable[[Request], Awaitable[Response]]
log = structlog.get_logger("modelcast.server")


def make_app(service: Service) -> Starlette:
    """Return the application over a service."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        """Run the service beside the server."""
        del app
        async with service.running():
            yield

    by_path = sorted(ROUTES, key=lambda route: [ROUTES.index(other) for other in ROUTES if other.path == route.path][0])
    routes = [_path_route(path, list(group), service) for path, group in groupby(by_path, key=lambda route: route.path)]
    routes += [
        PathRoute(f"{PREFIX}/health", _health, methods=["GET"]),
        PathRoute(f"{PREFIX}/openapi.json", _described, methods=["GET"]),
    ]
    return Starlette(
        routes=routes, lifespan=lifespan,
        exception_handlers={HTTPException: _refused, Problem: _told, ModelcastError: _failed, Exception: _broke},
    )


def _path_route(path: str, routes: list[Route], service: Service) -> PathRoute:
    by_method = {route.method: route for route in routes}
    if "GET" in by_method:
        by_method["HEAD"] = by_method["GET"]

    async def answer(request: Request) -> Response:
        """Answer any method of this path."""
        return await _answer(by_method[request.method], request, service)

    return PathRoute(PREFIX + path, answer, methods=sorted(by_method))


async def _answer(route: Route, request: Request, service: Service) -> Response:
    token = await service.door.enter(request.headers.get("authorization"))
    call = Call(request, service, token)
    if route.scopes:
        model, channel = request.path_params["model"], request.path_params.get("channel")
        if not any(token.allows(scope, model, channel) for scope in route.scopes):
            call.must(route.scopes[0], model, channel)
    return await route.endpoint(call)


async def _health(request: Request) -> Response:
    """Whether the server answers."""
    del request
    return JSONResponse({"status": "ok", "modelcast": version("modelcast")})


async def _described(request: Request) -> Response:
    """This document."""
    del request
    return JSONResponse(document())


# --------------------------------------------------------------------------- errors


async def _refused(request: Request, error: Exception) -> Response:
    """Starlette's own errors: no such path, no such method."""
    assert isinstance(error, HTTPException)
    hint = f"What there is stands in {PREFIX}/openapi.json."
    detail = f"There is nothing at {request.url.path[:200]}." if error.status_code == 404 else f"{request.method} is not for this path."
    return Problem(error.status_code, detail, hint=hint, headers=error.headers).response()


async def _told(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, Problem)
    return error.response()


async def _failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, ModelcastError)
    if isinstance(error, HostFault):
        log.error("The server's directory fails.", path=request.url.path, error=str(error), hint=error.hint)
    return Problem.of(error).response()


async def _broke(request: Request, error: Exception) -> Response:
    log.error("A request failed in a way that nobody foresaw.", path=request.url.path, error=type(error).__name__)
    return Problem(500, "The server failed at this request.", hint="Its operator finds the cause in its log.").response()
