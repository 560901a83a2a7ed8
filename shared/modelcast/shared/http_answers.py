"""What an answer of a server means: the bytes asked for, or a fault of one of the three families.

Decides which status belongs to which family, and what a person is told. Nothing of a request is repeated in an error. Imports
the errors and packing.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelcast.shared.errors import (
    AuthenticationRefused,
    BrokerUnreachable,
    HostFault,
    ModelcastError,
    NotFound,
    PermissionRefused,
    ProtocolViolation,
    PublisherBusy,
    SenderFault,
)
from modelcast.shared.limits import MIB, shortened
from modelcast.shared.packing import unpack
from modelcast.shared.reasons import Reason

MAX_ANSWER_BYTES = 32 * MIB
"""Largest answer that is held in memory: twice what a server gives at a time."""
MOST_REST_SECONDS = 120.0
"""Longest rest that a server can ask for; what it says beyond that is an error of its own."""
BUSY_STATUSES = frozenset({429, 503})


class ServerBusy(HostFault):
    """The server asks to come again later.

    Attributes:
        rest_seconds: After how long, as it says.
    """

    def __init__(self, message: str, rest_seconds: float) -> None:
        super().__init__(message, hint="It is tried again by itself.", facts={"rest_seconds": rest_seconds})
        self.rest_seconds = rest_seconds


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer.

    Attributes:
        status: Its status.
        headers: Its headers, by their names in small letters.
        body: Its body.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    def message(self, what: str) -> dict[str, Any]:
        """Return the map that the body holds, msgpack or JSON as its type says.

        Raises:
            ProtocolViolation: It holds none.
        """
        try:
            if self.headers.get("content-type", "").startswith("application/json"):
                found = json.loads(self.body)
                if isinstance(found, dict):
                    return found
                raise ValueError
            return unpack(self.body, what=what, max_bytes=MAX_ANSWER_BYTES)
        except (SenderFault, ValueError, RecursionError) as error:
            raise ProtocolViolation(f"The server's {what} cannot be read.", hint="Is this a server of modelcast?") from error


def fault_of(answer: Answer, what: str) -> ModelcastError:
    """Return the error that an answer stands for, which is none of success.

    Args:
        answer: The answer.
        what: What was asked for, for the message.
    """
    status, problem = answer.status, _problem(answer)
    said = problem.get("detail") or problem.get("title") or f"status {status}"
    message, hint, facts = f"{what}: {said}", problem.get("hint"), {"status": status}
    if status == 401:
        return AuthenticationRefused(message, hint=hint or "Set MODELCAST_TOKEN to a token that is valid here.", facts=facts)
    if status == 403:
        return PermissionRefused(message, hint=hint or "Use a token whose scopes reach that far.", facts=facts)
    if status == 404:
        return NotFound(message, hint=hint, facts=facts)
    if status == 409:
        return PublisherBusy(message, hint=hint or "Wait until the other one is done, or stop it.", facts=facts)
    if status in BUSY_STATUSES:
        return ServerBusy(message, _rest_seconds(answer.headers.get("retry-after")))
    if 300 <= status < 400:
        elsewhere = "The address leads elsewhere, and a token is sent to nobody else: write that address."
        return ProtocolViolation(message, hint=elsewhere, facts=facts)
    if status == 422 and problem.get("reason") in set(Reason):
        return SenderFault(Reason(problem["reason"]), message, hint=hint, facts=facts)
    if status >= 500:
        return BrokerUnreachable(message, hint=hint or "The server's log says more.", facts=facts)
    return ProtocolViolation(message, hint=hint, facts=facts)


def _problem(answer: Answer) -> dict[str, str]:
    if not answer.headers.get("content-type", "").startswith("application/problem+json"):
        return {}
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    texts = found if isinstance(found, dict) else {}
    return {key: shortened(texts[key], 500) for key in ("title", "detail", "hint", "reason") if isinstance(texts.get(key), str)}


def _rest_seconds(text: str | None) -> float:
    """Return the seconds of a Retry-After; a date or nonsense counts as one second."""
    if text is None or not text.strip().isdecimal():
        return 1.0
    return min(float(text), MOST_REST_SECONDS)
