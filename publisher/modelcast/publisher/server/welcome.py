"""Endpoints that need no token: whether the server answers, and what it answers to.

Decides that they say nothing of what is in the depot. Imports the call.
"""

from importlib.metadata import version

from starlette.responses import JSONResponse, Response

from modelcast.publisher.server.call import Call


async def health(call: Call) -> Response:
    """Whether the server answers."""
    return JSONResponse({"status": "stopping" if call.service.is_stopping else "ok", "modelcast": version("modelcast")})


async def described(call: Call) -> Response:
    """This document."""
    return JSONResponse(call.service.document)
