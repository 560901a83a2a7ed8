"""What the server has: the depot and all that is remembered between two requests. Made once, handed to every endpoint.

Decides what is begun and ended with the server, and what is tidied up meanwhile. Imports the other modules of this room.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import structlog

from modelcast.publisher.server.access import Door
from modelcast.publisher.server.inflow import Buffers
from modelcast.publisher.server.members import Members
from modelcast.publisher.server.notices import Notices
from modelcast.publisher.server.reportdesk import Readings, ReportDesk
from modelcast.publisher.server.sessions import Sessions
from modelcast.publisher.server.settings import ServerLimits
from modelcast.publisher.server.shelves import Shelves
from modelcast.publisher.server.tokens import TokenBook
from modelcast.publisher.server.work import bound, work
from modelcast.shared.depot.depot import Depot
from modelcast.shared.depot.layout import REPORTS, TOKENS
from modelcast.shared.errors import HostFault
from modelcast.shared.file_url import FileUrl

SWEEP_SECONDS = 5.0
log = structlog.get_logger("modelcast.server")


class Service:
    """One server's depot and memory.

    Args:
        url: Where the depot is.
        limits: What clients may cost.
        needs_tokens: Whether nobody comes in without a token.

    Attributes:
        document: The OpenAPI document; the application, which knows the routes, puts it here.
    """

    def __init__(self, url: FileUrl, limits: ServerLimits | None = None, *, needs_tokens: bool = True) -> None:
        self.limits = limits or ServerLimits()
        self.depot = Depot(Path(url.path), allow_shared_writes=url.allow_shared_writes)
        self.depot.enter()
        self.needs_tokens = needs_tokens
        self.book = TokenBook(self.depot.root / TOKENS)
        self.door = Door(self.book if needs_tokens else None, self.limits)
        self.notices = Notices(url.poll_seconds)
        self.shelves = Shelves(self.depot)
        self.members = Members(self.depot, self.limits)
        self.sessions = Sessions(self.depot, self.limits)
        self.reports = self.depot.root / REPORTS
        self.desk = ReportDesk(self.depot.disk, self.reports)
        self.readings = Readings(self.depot.disk, self.reports, self.limits.readers)
        self.buffers = Buffers()
        self.document: dict[str, Any] = {}
        self.is_stopping = False

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Run beside the server."""
        bound(self.limits.threads)
        sweeping = asyncio.create_task(self._sweep())
        try:
            yield
        finally:
            sweeping.cancel()
            self.notices.close()
            await self.members.close()
            await self.sessions.close()
            await work(self.desk.close)

    def stop(self) -> None:
        """End all long polls: the server goes as soon as they are answered."""
        self.is_stopping = True
        self.notices.tell_all()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            with suppress(HostFault):   # the next one says so to somebody
                await self.members.sweep()
                await self.sessions.sweep()
