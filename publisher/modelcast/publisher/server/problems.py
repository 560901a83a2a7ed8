"""Errors as ``application/problem+json`` (RFC 9457): what went wrong, and what to do next.

Decides which status each of our errors has, and that an unexpected one says nothing of itself. Imports Starlette and the errors.
"""

import json
from collections.abc import Mapping

from starlette.responses import Response

from modelcast.shared.errors import (
    DepotUnusable,
    HostFault,
    InvalidName,
    InvalidVersion,
    MisuseError,
    ModelcastError,
    NotFound,
    PublisherBusy,
    SenderFault,
)
from modelcast.shared.limits import shortened

PROBLEM_TYPE = "application/problem+json"
TITLES = {
    400: "The request cannot be understood",
    401: "A valid token is needed",
    403: "The token does not reach so far",
    404: "There is no such thing",
    405: "This cannot be done with it",
    406: "It cannot be had in that form",
    408: "The request took too long",
    409: "Somebody else is there already",
    410: "It is over",
    413: "The request is too large",
    416: "There is no such range",
    422: "The bytes are not what they claim to be",
    429: "Too many requests",
    431: "The headers are too large",
    500: "The server failed",
    503: "Not at the moment",
}
RETRY_SECONDS = 1


class Problem(Exception):
    """An answer that is an error.

    Attributes:
        status: HTTP status.
        detail: What happened, one sentence.
        hint: What to do next, or None.
        reason: Code of the reason (``reasons.Reason``), where there is one.
        headers: Further headers.
        facts: Further members of the document.
    """

    def __init__(
        self, status: int, detail: str, *, hint: str | None = None, reason: str | None = None,
        headers: Mapping[str, str] | None = None, facts: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.hint, self.reason = status, detail, hint, reason
        self.headers, self.facts = dict(headers or {}), dict(facts or {})

    @classmethod
    def of(cls, error: ModelcastError) -> "Problem":
        """Return the answer for one of our errors."""
        reason = error.reason.value if isinstance(error, SenderFault) else None
        status = status_of(error)
        headers = {"Retry-After": str(RETRY_SECONDS)} if status in {409, 503} else {}
        detail = str(error)
        if status == 503:   # paths and states of the server's disk are for its log
            detail = "The server cannot read or write its directory at the moment."
            return cls(status, detail, hint="Try again; its operator finds the cause in its log.", headers=headers)
        facts = error.facts if status == 404 else {}
        return cls(status, detail, hint=error.hint, reason=reason, headers=headers, facts=facts)

    def document(self) -> dict[str, object]:
        """Return the members of the JSON document."""
        members = {
            **self.facts, "type": "about:blank", "title": TITLES.get(self.status, "Error"), "status": self.status,
            "detail": shortened(self.detail), "hint": self.hint, "reason": self.reason,
        }
        return {name: value for name, value in members.items() if value is not None}

    def response(self) -> Response:
        """Return the answer."""
        body = json.dumps(self.document()).encode()
        return Response(body, self.status, {**self.headers, "Cache-Control": "no-store"}, media_type=PROBLEM_TYPE)


def status_of(error: ModelcastError) -> int:
    """Return the status that stands for an error."""
    if isinstance(error, NotFound):
        return 404
    if isinstance(error, PublisherBusy):
        return 409
    if isinstance(error, SenderFault):
        return 422
    if isinstance(error, DepotUnusable | HostFault):
        return 503
    if isinstance(error, InvalidName | InvalidVersion | MisuseError):
        return 400
    return 500


def bare(status: int, detail: str) -> bytes:
    """Return a whole answer as bytes, for where no application was asked: the connection ends with it."""
    body = json.dumps(Problem(status, detail).document()).encode()
    kind = f"Content-Type: {PROBLEM_TYPE}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
    head = f"HTTP/1.1 {status} {TITLES[status]}\r\n{kind}"
    retry = f"Retry-After: {RETRY_SECONDS}\r\n" if status == 503 else ""
    return f"{head}{retry}\r\n".encode() + body
