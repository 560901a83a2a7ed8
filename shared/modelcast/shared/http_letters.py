"""Dead letters of a server: asked for page by page, sent back and taken away by their names there.

Imports the line and the road's values.
"""

import re
from collections.abc import Generator
from typing import Any

from modelcast.shared.errors import MisuseError, NotFound, ProtocolViolation
from modelcast.shared.http_line import MESSAGE_TYPE, Ask, Query, Server
from modelcast.shared.road import DeadLetter, Target

LETTERS_AT_ONCE = 100
WHOLE_LIST = {"Accept": MESSAGE_TYPE}
_NAME = re.compile(r"[0-9a-z-]{1,64}")


class HttpLetterDesk:
    """See ``operating_road.LetterDesk``.

    Args:
        server: The server.
    """

    def __init__(self, server: Server) -> None:
        self._line = server.line()

    def read(self, limit: int) -> Generator[DeadLetter]:
        """See ``operating_road.LetterDesk.read``."""
        start: str | int | None = None
        while limit > 0:
            query: Query = {"limit": min(limit, LETTERS_AT_ONCE), "from": start}
            ask = Ask("GET", "/dead-letters", query, headers=WHOLE_LIST)
            page = self._line.call(ask, "dead letters").message("list of dead letters")
            letters, start = [_letter(told) for told in list_of(page, "letters")], page.get("next")
            yield from letters[:limit]
            limit -= len(letters)
            if start is None:
                return

    def send_back(self, letter: DeadLetter) -> None:
        """See ``operating_road.LetterDesk.send_back``."""
        self._line.call(Ask("POST", f"/dead-letters/{_name(letter)}/replay"), "replay of a dead letter")

    def remove(self, letter: DeadLetter) -> None:
        """See ``operating_road.LetterDesk.remove``."""
        self._line.call(Ask("DELETE", f"/dead-letters/{_name(letter)}"), "removal of a dead letter")

    def close(self) -> None:
        """See ``operating_road.LetterDesk.close``."""
        self._line.close()


def _name(letter: DeadLetter) -> str:
    if letter.target is None:
        raise NotFound("This letter does not say who refused it.", hint="Publish again: a new order reaches every instance.")
    if not isinstance(letter.receipt, str):
        raise MisuseError(
            "This server does not say how its dead letters are called: it can neither send back nor remove one.",
            hint="Upgrade modelcast on the server, or do it there, on its directory.",
        )
    return letter.receipt


def list_of(page: dict[str, Any], name: str) -> list[Any]:
    """Return a list out of a server's answer; raises ProtocolViolation when there is none."""
    found = page.get(name)
    if not isinstance(found, list):
        raise ProtocolViolation(f"The server's answer has no {name}.", hint="Is this a server of modelcast?")
    return found


def _letter(told: Any) -> DeadLetter:
    try:
        target = Target(str(told["model"]), str(told["channel"]), str(told["instance"])) if told.get("model") else None
        body, died_ms, deaths = told["body"], told.get("died_ms"), told.get("deaths")
        cause = str(told.get("cause") or "unknown")
    except (KeyError, TypeError, AttributeError) as error:
        raise ProtocolViolation("The server's list of dead letters holds one that is none.") from error
    if not isinstance(body, bytes):
        raise ProtocolViolation("The server's list of dead letters holds one without a body.")
    deaths, name = tuple(deaths) if isinstance(deaths, list) else (), told.get("id")
    receipt = name if isinstance(name, str) and _NAME.fullmatch(name) else None
    return DeadLetter(body, target, died_ms if isinstance(died_ms, int) else None, cause, deaths, receipt)
