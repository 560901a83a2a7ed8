"""The instances that are connected by HTTP: each is an instance of the directory, held by the server for as long as it asks.

Decides when an instance has left: it says so, its connection ends, or it did not ask for a minute. Everything of an instance is
done one after the other. Imports the file road and the notices.
"""

import asyncio
import time
from collections.abc import Generator
from contextlib import contextmanager

from modelcast.publisher.server.problems import Problem
from modelcast.publisher.server.settings import ServerLimits
from modelcast.publisher.server.work import work
from modelcast.shared.depot.depot import Depot
from modelcast.shared.errors import HostFault
from modelcast.shared.file_road import FileInstanceRoad
from modelcast.shared.road import ArrivedOrder, Bookmark, Target

NO_WATCH_SECONDS = 3600.0
"""Makes an instance's own watch one that does nothing: the server's wakes all."""

LOCKS = 64
"""So many instances join at once; two that share a lock by chance do so one after the other."""


class Member:
    """One connected instance.

    Attributes:
        joined: What its client calls this connection.
        lock: Held while something is done for it.
        is_loose: Whether its connection ended: another one may take its place at once.
        line: The connection over which it was last heard of.
    """

    def __init__(self, joined: str, road: FileInstanceRoad) -> None:
        self.joined, self.road = joined, road
        self.lock = asyncio.Lock()
        self.is_loose = False
        self.line: object = None
        self._asking, self._asked_at = 0, time.monotonic()
        self._given: dict[int, ArrivedOrder] = {}

    @contextmanager
    def asking(self) -> Generator[None]:
        """Count it as here while the block runs."""
        self._asking, self.is_loose = self._asking + 1, False
        try:
            yield
        finally:
            self._asking, self._asked_at = self._asking - 1, time.monotonic()

    def is_absent(self, absence_seconds: float) -> bool:
        """Whether it has not asked for so long."""
        return not self._asking and time.monotonic() - self._asked_at > absence_seconds

    async def take(self, max_bytes: int) -> list[ArrivedOrder]:
        """Return what it was not given yet, up to about ``max_bytes``."""
        async with self.lock:
            return await work(self._take, max_bytes)

    def _take(self, max_bytes: int) -> list[ArrivedOrder]:
        found: list[ArrivedOrder] = []
        while max_bytes > 0 and (arrived := self.road.next_order(0)) is not None:
            found.append(arrived)
            max_bytes -= len(arrived.body)
            number = number_of(arrived)
            if number is not None:
                self._given[number] = arrived
        return found

    async def settle(self, number: int, *, accept: bool) -> bool:
        """Settle an order that it was given; returns False for one that it was not."""
        async with self.lock:
            arrived = self._given.get(number)
            if arrived is None:
                return False
            await work(self.road.settle, arrived, accept=accept)
            del self._given[number]
            return True


def number_of(arrived: ArrivedOrder) -> int | None:
    """Return the number by which an order is settled, or None for what is not."""
    receipt = arrived.receipt
    number = receipt[1] if isinstance(receipt, tuple) else None
    return number if isinstance(number, int) else None


class Members:
    """All connected instances.

    Args:
        depot: The depot.
        limits: How many, and when one has left.
    """

    def __init__(self, depot: Depot, limits: ServerLimits) -> None:
        self._depot, self._limits = depot, limits
        self._members: dict[Target, Member] = {}
        self._joining = [asyncio.Lock() for _ in range(LOCKS)]

    def get(self, target: Target, joined: str) -> Member | None:
        """Return the member that a client means, if it is here."""
        member = self._members.get(target)
        return member if member is not None and member.joined == joined else None

    async def join(self, target: Target, joined: str, bookmark: Bookmark | None = None) -> Member:
        """Return the member that a client means; it joins if it is not here.

        Raises:
            Problem: 409 when another one is here under this name, 503 when there are too many.
        """
        member = self.get(target, joined)
        if member is not None:
            return member
        async with self._joining[hash(target) % LOCKS]:
            return self.get(target, joined) or await self._join(target, joined, bookmark)

    async def _join(self, target: Target, joined: str, bookmark: Bookmark | None) -> Member:
        before = self._members.get(target)
        if before is not None:
            if not before.is_loose and not before.is_absent(self._limits.absence_seconds):
                raise _taken(target)
            await self._remove(target, before)
        if len(self._members) >= self._limits.members:
            raise Problem(503, "There are too many instances.", headers={"Retry-After": "5"})
        try:
            road = await work(FileInstanceRoad, self._depot, target, NO_WATCH_SECONDS, bookmark)
        except HostFault as fault:
            if "connected already" in str(fault):   # by the directory itself
                raise _taken(target) from fault
            raise
        member = self._members[target] = Member(joined, road)
        return member

    async def leave(self, target: Target, joined: str) -> None:
        """Let go of a member, if it is here."""
        member = self.get(target, joined)
        if member is not None:
            await self._remove(target, member)

    async def _remove(self, target: Target, member: Member) -> None:
        if self._members.get(target) is member:
            del self._members[target]
        async with member.lock:
            await work(member.road.close)

    async def sweep(self) -> None:
        """Let go of those that have left without a word."""
        for target, member in list(self._members.items()):
            if member.is_absent(self._limits.absence_seconds):
                await self._remove(target, member)

    async def dismiss(self, model: str) -> None:
        """Let go of all instances of a model that ends."""
        for target, member in list(self._members.items()):
            if target.model == model:
                await self._remove(target, member)

    async def close(self) -> None:
        """Let go of all."""
        for target, member in list(self._members.items()):
            await self._remove(target, member)


def _taken(target: Target) -> Problem:
    return Problem(
        409, f"An instance {target.instance} of {target.model}/{target.channel} is connected already.",
        hint="Give each instance a name of its own.", headers={"Retry-After": "1"},
    )
