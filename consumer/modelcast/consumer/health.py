"""Health of a consumer for whoever asks over HTTP: three questions as functions, and a small application for WSGI and ASGI servers.

Decides what is healthy: ``live`` is about the threads, ``ready`` about a model in service, ``fresh`` about the connection. A broker
that is away never turns ``ready`` red while a good model serves. Starts no server and no thread. Imports the status.
"""

import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Protocol

from modelcast.consumer.status import Status

OK, UNAVAILABLE, NOT_FOUND, NOT_ALLOWED = "200 OK", "503 Service Unavailable", "404 Not Found", "405 Method Not Allowed"
JSON = "application/json"

StartResponse = Callable[[str, list[tuple[str, str]]], object]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class HasStatus(Protocol):
    """What can be asked for its status: a ``ModelConsumer``."""

    def status(self) -> Status:
        """Return the status now."""
        ...


def live(status: Status) -> bool:
    """Whether its threads run in this process and turned lately: for a liveness probe; restart the process when they do not."""
    return status.live


def ready(status: Status) -> bool:
    """Whether a model is in service: for a readiness probe. True without a broker, too: an instance needs none to serve."""
    return status.ready


def fresh(status: Status) -> bool:
    """Whether newer orders would have been heard of: for an alarm to people, never for readiness."""
    return status.fresh


QUESTIONS: dict[str, Callable[[Status], bool]] = {"live": live, "ready": ready, "fresh": fresh}


def answer(consumer: HasStatus, path: str) -> tuple[str, bytes]:
    """Return the status line and the JSON body for a path: ``/live``, ``/ready``, ``/fresh``, or ``/`` for everything.

    The last part of the path counts, so that the application may be mounted anywhere. ``/`` is always 200: it is for people.
    """
    name = path.rstrip("/").rpartition("/")[2]
    status = consumer.status()
    if name in QUESTIONS:
        is_well = QUESTIONS[name](status)
        told: dict[str, object] = {name: is_well, "version": status.version, "detail": status.detail}
        return OK if is_well else UNAVAILABLE, json.dumps(told).encode()
    if path.strip("/") in {"", "health", "status"}:
        return OK, json.dumps(status.to_dict()).encode()
    return NOT_FOUND, json.dumps({"error": f"There are /{', /'.join(QUESTIONS)} and /."}).encode()


class HealthApp:
    """A WSGI application, and an ASGI one by ``asgi``, that answers about one consumer.

    Args:
        consumer: Who is asked.

    Example:
        ``app.mount("/health", HealthApp(consumer).asgi)`` in Starlette or FastAPI; ``DispatcherMiddleware(app, {"/health":
        HealthApp(consumer)})`` beside Flask.
    """

    def __init__(self, consumer: HasStatus) -> None:
        self._consumer = consumer

    def __call__(self, environ: MutableMapping[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer a WSGI request (PEP 3333)."""
        line, body = self._answer(str(environ.get("REQUEST_METHOD", "GET")), str(environ.get("PATH_INFO", "/")))
        start_response(line, [("Content-Type", JSON), ("Content-Length", str(len(body))), ("Cache-Control", "no-store")])
        return [] if environ.get("REQUEST_METHOD") == "HEAD" else [body]

    async def asgi(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer an ASGI request; looking at the status waits for nothing."""
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        if scope["type"] != "http":
            return
        line, body = self._answer(scope["method"], scope["path"])
        headers = [(b"content-type", JSON.encode()), (b"content-length", str(len(body)).encode()), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": int(line[:3]), "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def _answer(self, method: str, path: str) -> tuple[str, bytes]:
        if method not in {"GET", "HEAD"}:
            return NOT_ALLOWED, json.dumps({"error": "Only GET and HEAD."}).encode()
        return answer(self._consumer, path)
