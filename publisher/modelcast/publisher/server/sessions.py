"""Publishers' sessions: each holds the lock of its model, for as long as it asks or nobody else wants to publish.

Decides when a session is over. Everything in a session is done one after the other. Imports the file road.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager

from modelcast.publisher.server.problems import Problem
from modelcast.publisher.server.settings import ServerLimits
from modelcast.publisher.server.work import work
from modelcast.shared.depot.depot import Depot
from modelcast.shared.errors import PublisherBusy
from modelcast.shared.file_publishing import FilePublisherRoad
from modelcast.shared.http_publishing import LINES


class Session:
    """One publisher's session.

    Attributes:
        id: What its client sends with each request; nobody can guess it.
        model: The model.
        road: The publisher's half of the directory.
        checking: Held while bytes are hashed, beside a turn; by as many requests as a publisher has batches on their way.
    """

    def __init__(self, model: str, road: FilePublisherRoad) -> None:
        self.id, self.model, self.road = secrets.token_hex(16), model, road
        self.checking = asyncio.Semaphore(LINES)
        self._lock = asyncio.Lock()
        self._asking, self._asked_at = 0, time.monotonic()
        self._is_over = False

    @asynccontextmanager
    async def turn(self) -> AsyncGenerator[FilePublisherRoad]:
        """Hold the session while the block runs: one request after the other, and the lease begins anew after each."""
        self._asking += 1
        try:
            async with self._lock:
                if self._is_over:
                    raise over()
                yield self.road
        finally:
            self._asking, self._asked_at = self._asking - 1, time.monotonic()

    @contextmanager
    def asking(self) -> Generator[None]:
        """Note that its client is there while the block runs: a large body on a slow way is no silence."""
        self._asking += 1
        try:
            yield
        finally:
            self._asking, self._asked_at = self._asking - 1, time.monotonic()

    def is_silent(self, seconds: float) -> bool:
        """Whether it asked for nothing for so long."""
        return not self._asking and time.monotonic() - self._asked_at > seconds

    async def close(self) -> None:
        """End it, after what is being done for it."""
        async with self._lock:
            self._is_over = True
            await work(self.road.close)


def over() -> Problem:
    """Return the answer for a session that is none any more."""
    return Problem(
        409, "This session is over: another publisher took it, it was silent for too long, or the server was started again.",
        hint="Publish again: only what is missing is sent.",
    )


class Sessions:
    """All sessions, one for each model at most.

    Args:
        depot: The depot.
        limits: When a session is over.
    """

    def __init__(self, depot: Depot, limits: ServerLimits) -> None:
        self._depot, self._limits = depot, limits
        self._sessions: dict[str, Session] = {}
        self._opening = asyncio.Lock()

    async def open(self, model: str, channel: str) -> Session:
        """Open a session.

        Raises:
            PublisherBusy: Another publisher is publishing this model, here or on the directory.
            Problem: 409, the same.
        """
        async with self._opening:
            before = self._sessions.get(model)
            if before is not None:
                if not before.is_silent(self._limits.lease_seconds):
                    raise Problem(
                        409, f"Another publisher is publishing {model} right now.", hint="Wait until it is done, or stop it.",
                        headers={"Retry-After": "1"},
                    )
                await self._remove(before)
            road = await work(FilePublisherRoad, self._depot, model, channel)
            session = self._sessions[model] = Session(model, road)
            return session

    def get(self, model: str, identity: str | None) -> Session:
        """Return the session that a client means.

        Raises:
            Problem: 400 when it names none, 409 when it is over.
        """
        if not identity:
            raise Problem(
                400, "This needs a publisher's session.", hint=f"POST /v1/models/{model}/publishing; send its id as Modelcast-Session."
            )
        session = self._sessions.get(model)
        if session is None or not secrets.compare_digest(session.id.encode(), identity.encode()):
            raise over()
        return session

    async def end(self, model: str, identity: str) -> None:
        """End a session, if it is one."""
        session = self._sessions.get(model)
        if session is not None and secrets.compare_digest(session.id.encode(), identity.encode()):
            await self._remove(session)

    async def free(self, model: str) -> None:
        """End the session of a model if it is silent.

        Raises:
            PublisherBusy: It is not.
        """
        session = self._sessions.get(model)
        if session is not None:
            if not session.is_silent(self._limits.lease_seconds):
                raise PublisherBusy(f"Somebody is publishing {model} right now.", hint="Wait until it is done, or stop it.")
            await self._remove(session)

    async def _remove(self, session: Session) -> None:
        if self._sessions.get(session.model) is session:
            del self._sessions[session.model]
        await session.close()

    async def sweep(self) -> None:
        """End those that were silent for so long that their publisher will not come again."""
        for session in list(self._sessions.values()):
            if session.is_silent(self._limits.abandoned_seconds):
                await self._remove(session)

    async def close(self) -> None:
        """End all."""
        for session in list(self._sessions.values()):
            await self._remove(session)
