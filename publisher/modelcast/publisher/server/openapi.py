"""The OpenAPI document, made of the table of routes. Pure.

Decides how parameters, bodies and errors are described. Imports the routes.
"""

import re
from importlib.metadata import version
from typing import Any

from modelcast.publisher.server.call import JSON_TYPE, WIRE_TYPE
from modelcast.publisher.server.problems import PROBLEM_TYPE, TITLES
from modelcast.publisher.server.routes import PREFIX, ROUTES, Route

NAME: dict[str, Any] = {"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,63}$"}
COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}
SECONDS: dict[str, Any] = {"type": "number", "minimum": 0}
DIGEST: dict[str, Any] = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
TEXT: dict[str, Any] = {"type": "string"}
CODEC: dict[str, Any] = {"type": "string", "enum": ["none", "zstd"]}
_UPLOAD = "^[0-9a-f]{64}(-zstd)?:[0-9]{1,8}:[0-9]{1,8}(,[0-9a-f]{64}(-zstd)?:[0-9]{1,8}:[0-9]{1,8}){0,63}$"
PARAMETERS: dict[str, dict[str, Any]] = {
    "model": NAME, "channel": NAME, "instance": NAME, "digest": DIGEST, "release": TEXT, "path": TEXT, "session": TEXT,
    "number": COUNT, "from": COUNT, "limit": {"type": "integer", "minimum": 1},
    "letter": {"type": "string", "pattern": "^[0-9]{13,20}-[0-9a-f]{24}$"},
    "cursor": TEXT, "bookmark": TEXT, "wait": SECONDS, "codec": CODEC,
    "chunks": {"type": "string", "pattern": "^[0-9a-f]{64}(-zstd)?(,[0-9a-f]{64}(-zstd)?){0,63}$"},
    "joined": {"type": "string", "pattern": "^[0-9A-Za-z]{1,64}$"}, "since_minutes": {"type": "number", "minimum": 0},
    "Range": TEXT, "If-Range": TEXT, "If-None-Match": TEXT, "Modelcast-Session": TEXT, "Modelcast-Codec": CODEC,
    "Modelcast-Chunks": {"type": "string", "pattern": _UPLOAD},
    "Modelcast-Version": TEXT, "Modelcast-Index": COUNT, "Modelcast-Count": COUNT,
}
FIELDS: dict[str, dict[str, Any]] = {
    "channel": NAME, "release": DIGEST, "accept": {"type": "boolean"}, "sends": {"type": "boolean", "default": True},
}
REQUIRED = {"joined", "chunks", "Modelcast-Session", "Modelcast-Chunks"}
ANY_ROUTE = (400, 401, 403, 408, 413, 422, 429, 503)
_NAMED = r"\1"
_IN_BRACES = re.compile(r"\{(\w+)(?::path)?\}")


def document() -> dict[str, Any]:
    """Return the document."""
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(PREFIX + _IN_BRACES.sub(r"{\1}", route.path), {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "modelcast", "version": version("modelcast"), "description": "A depot of models by HTTP."},
        "paths": paths,
        "security": [{"token": []}],
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "mct_<id>_<secret>"}},
            "schemas": {"Problem": _PROBLEM},
        },
    }


_PROBLEM: dict[str, Any] = {
    "type": "object", "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": TEXT, "title": TEXT, "status": {"type": "integer"}, "detail": TEXT,
        "hint": {"type": "string", "description": "What to do next."},
        "reason": {"type": "string", "description": "Code of the reason, where there is one."},
    },
}


def _operation(route: Route) -> dict[str, Any]:
    named = f"{route.method.lower()}{_IN_BRACES.sub(_NAMED, route.path)}".replace("/", "-").replace(":", "-")
    operation: dict[str, Any] = {
        "operationId": named, "summary": route.summary, "parameters": _parameters(route), "responses": _answers(route),
    }
    if route.is_open:
        operation["security"] = []
    if route.scopes:
        operation["description"] = f"Needs a token with the scope {' or '.join(route.scopes)}."
    if route.takes:
        schema = _fields(route) if route.takes == JSON_TYPE else {"type": "string", "format": "binary", "minLength": 1}
        operation["requestBody"] = {"required": True, "content": {route.takes: {"schema": schema}}}
    return operation


def _fields(route: Route) -> dict[str, Any]:
    properties = {name: FIELDS[name] for name in route.fields}
    required = [name for name, schema in properties.items() if "default" not in schema]
    return {"type": "object", "required": required, "properties": properties}


def _parameters(route: Route) -> list[dict[str, Any]]:
    where = [("path", _IN_BRACES.findall(route.path)), ("query", route.query), ("header", route.headers)]
    return [
        {
            "name": name.partition("=")[0], "in": place, "required": place == "path" or name in REQUIRED,
            "schema": PARAMETERS[name.rpartition("=")[2]],
        }
        for place, names in where for name in names
    ]


def _answers(route: Route) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    for status in route.success:
        answers[str(status)] = {"description": "Done." if status in {201, 204} else "Not modified." if status == 304 else "OK."}
        if status in {200, 201, 206} and route.gives:
            answers[str(status)]["content"] = {kind: {"schema": _schema(kind)} for kind in route.gives}
    for status in sorted({*(() if route.is_open else ANY_ROUTE), *route.errors}):
        content = {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
        answers[str(status)] = {"description": f"{TITLES[status]}.", "content": content}
    return answers


def _schema(kind: str) -> dict[str, Any]:
    if kind == JSON_TYPE:
        return {"type": "object"}
    described = "One map in msgpack." if kind == WIRE_TYPE else "Bytes."
    return {"type": "string", "format": "binary", "description": described}
