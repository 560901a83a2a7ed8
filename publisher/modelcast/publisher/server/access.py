"""Who may come in: the token of a request, and how many requests it has left this second.

Decides that every refusal looks the same and names nothing that the asker did not send. Imports the tokens and the problems.
"""

import time
from collections.abc import Callable

from modelcast.publisher.server.problems import Problem
from modelcast.publisher.server.settings import ServerLimits
from modelcast.publisher.server.tokens import ANYBODY, Token, TokenBook, matching
from modelcast.publisher.server.work import work
from modelcast.shared.depot.reports import now_ms

LOOK_SECONDS = 0.5
"""How often the folder of tokens is looked at: a revoked one works at most so long."""
MOST_BUCKETS = 10_000


class Pace:
    """How many requests each token may make: a bucket that fills steadily.

    Args:
        limits: How fast, and how many at once.
        clock: Seconds that only rise.
    """

    def __init__(self, limits: ServerLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = limits, clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, identity: str) -> float:
        """Count one request; returns 0, or after how many seconds it may come again."""
        now = self._clock()
        level, at = self._buckets.get(identity, (float(self._limits.burst), now))
        level = min(self._limits.burst, level + (now - at) * self._limits.requests_per_second)
        if level < 1:
            self._buckets[identity] = (level, now)
            return (1 - level) / self._limits.requests_per_second
        if len(self._buckets) >= MOST_BUCKETS:   # tokens come and go; who begins anew begins with a full one
            self._buckets.clear()
        self._buckets[identity] = (level - 1, now)
        return 0.0


class Door:
    """Looks at the token of each request.

    Args:
        book: The tokens; None lets anybody in.
        limits: The pace.
    """

    def __init__(self, book: TokenBook | None, limits: ServerLimits) -> None:
        self._book, self._pace = book, Pace(limits)
        self._known: dict[str, Token] = {}
        self._looked_at = float("-inf")

    async def enter(self, authorization: str | None) -> Token:
        """Return the token of a request.

        Args:
            authorization: The header ``Authorization``, or None.

        Raises:
            Problem: 401 without a valid token, 429 when it asks too often.
        """
        token = ANYBODY
        if self._book is not None:
            kind, _, text = (authorization or "").partition(" ")
            found = await self._matching(text.strip()) if kind.lower() == "bearer" else None
            if found is None:
                raise Problem(
                    401, "This needs a valid token.", headers={"WWW-Authenticate": "Bearer"},
                    hint="Send the header 'Authorization: Bearer mct_…'; modelcast tokens create makes one.",
                )
            token = found
        seconds = self._pace.take(token.id)
        if seconds:
            raise Problem(
                429, "This token asks too often.", headers={"Retry-After": str(max(1, round(seconds + 0.5)))},
                hint="Wait as long as Retry-After says.",
            )
        return token

    async def _matching(self, text: str) -> Token | None:
        assert self._book is not None
        is_fresh = time.monotonic() - self._looked_at < LOOK_SECONDS
        found = matching(text, self._known, now_ms()) if is_fresh else None
        if found is None:   # a new one works at once
            self._looked_at = time.monotonic()
            self._known = await work(self._book.read)
            found = matching(text, self._known, now_ms())
        return found
