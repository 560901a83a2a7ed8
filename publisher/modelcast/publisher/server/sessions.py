"""Publishers' sessions: each holds locks of its model, for as long as it asks or nobody else wants them.

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

LOCKS = 64
PATIENT_LEASES = 5
"""A command may read reports for two minutes, and ask the server for nothing in its session meanwhile."""


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

    @asynccontextmanager
    async def ordering(self) -> AsyncGenerator[FilePublisherRoad]:
        """Hold the session as ``turn`` does, to write records or orders; raises Problem while others may."""
        async with self.turn() as road:
            if road.locks.are_apart:
                raise Problem(409, "Others may order now.", hint="Rejoin first: POST …/publishing:rejoin.")
            yield road

    @asynccontextmanager
    async def sending(self) -> AsyncGenerator[FilePublisherRoad]:
        """Hold the session as ``turn`` does, to write chunks; raises Problem where others may."""
        async with self.turn() as road:
            if not road.locks.may_send:
                raise Problem(409, "This session was opened to order, not to send chunks.", hint='Open one with "sends": true.')
            yield road

    def keeps_out(self, *, sends: bool) -> bool:
        """Whether it holds what another session would need."""
        return not self.road.locks.are_apart or (sends and self.road.locks.may_send)

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
    """All sessions: of each model one that sends chunks at most, and one that may order.

    Args:
        depot: The depot.
        limits: When a session is over.
    """

    def __init__(self, depot: Depot, limits: ServerLimits) -> None:
        self._depot, self._limits = depot, limits
        self._sessions: dict[str, Session] = {}
        self._deciding = [asyncio.Lock() for _ in range(LOCKS)]
        """One of them, by the model, is held while it is decided who gets a place, before any session's turn."""

    async def open(self, model: str, channel: str, *, sends: bool) -> Session:
        """Open a session.

        Raises:
            PublisherBusy: Somebody on the directory keeps it out.
            Problem: 409, another session does.
        """
        async with self._deciding_on(model):
            if not await self._make_room(model, sends=sends):
                raise Problem(
                    409, f"Somebody else is publishing or ordering {model} right now.", hint="Wait until it is done, or stop it.",
                    headers={"Retry-After": "1"},
                )
            road = await work(FilePublisherRoad, self._depot, model, channel, sends=sends)
            session = Session(model, road)
            self._sessions[session.id] = session
            return session

    async def _make_room(self, model: str, *, sends: bool, beside: Session | None = None) -> bool:
        """End silent sessions that are in the way; returns whether none is left. Who comes back (``beside``) is patient."""
        others = [other for other in self._of(model) if other is not beside and other.keeps_out(sends=sends)]
        seconds = self._limits.lease_seconds * (1 if beside is None else PATIENT_LEASES)
        if not all(other.is_silent(seconds) for other in others):
            return False
        for other in others:
            await self._remove(other)
        return True

    async def rejoin(self, session: Session) -> bool:
        """End a session's time apart, unless another one is ordering; returns whether it is over."""
        with session.asking():   # who waits is not silent
            async with self._deciding_on(session.model):
                if not await self._make_room(session.model, sends=False, beside=session):
                    return False
                async with session.sending() as road:
                    return await work(road.locks.rejoin)

    def _deciding_on(self, model: str) -> asyncio.Lock:
        return self._deciding[hash(model) % LOCKS]

    def _of(self, model: str) -> list[Session]:
        return [session for session in self._sessions.values() if session.model == model]

    def get(self, model: str, identity: str | None) -> Session:
        """Return the session that a client means.

        Raises:
            Problem: 400 when it names none, 409 when it is over.
        """
        if not identity:
            raise Problem(
                400, "This needs a publisher's session.", hint=f"POST /v1/models/{model}/publishing; send its id as Modelcast-Session."
            )
        session = self._find(model, identity)
        if session is None:
            raise over()
        return session

    def _find(self, model: str, identity: str) -> Session | None:
        asked = identity.encode()
        return next((session for session in self._of(model) if secrets.compare_digest(session.id.encode(), asked)), None)

    async def end(self, model: str, identity: str) -> None:
        """End a session, if it is one."""
        session = self._find(model, identity)
        if session is not None:
            await self._remove(session)

    async def free(self, model: str) -> None:
        """End the sessions of a model if they are silent.

        Raises:
            PublisherBusy: One is not.
        """
        async with self._deciding_on(model):
            if not await self._make_room(model, sends=True):
                raise PublisherBusy(f"Somebody is publishing {model} right now.", hint="Wait until it is done, or stop it.")

    async def _remove(self, session: Session) -> None:
        self._sessions.pop(session.id, None)
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
