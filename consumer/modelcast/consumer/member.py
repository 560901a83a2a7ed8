"""One process of an instance: it receives when it holds the store's lock, and follows otherwise.

Decides which role it begins with and when it changes: a follower that gets the lock becomes the receiver, never the other way
round. Owns the runtime, so that a role can change under running threads. Imports the parts.
"""

import os
import time
from threading import Lock

from modelcast.consumer.active import ActiveModel
from modelcast.consumer.follower import Follower
from modelcast.consumer.overview import overview, overview_of_follower
from modelcast.consumer.parts import Blueprint
from modelcast.consumer.receiver import Receiver
from modelcast.consumer.runtime import Runtime
from modelcast.consumer.status import Status
from modelcast.consumer.store import Store
from modelcast.shared.errors import StoreInUse

STALE_NOTICE_SECONDS = 1.0
"""Longest time between taking the lock and writing a notice of one's own."""


class Member:
    """A started consumer.

    Args:
        blueprint: What it was told.

    Raises:
        StoreInUse: Another instance uses the store.
        StorageFault: The store cannot be used.

    Attributes:
        runtime: The threads.
        role: What it is at this moment.
    """

    def __init__(self, blueprint: Blueprint) -> None:
        self._blueprint, self._store = blueprint, blueprint.store()
        self.runtime = Runtime(
            f"modelcast {blueprint.model}", self._turn, self._ring, self._end, self._leave, tend=blueprint.slot.departed.tend
        )
        self._lock = Lock()
        self.role: Receiver | Follower = self._receiver() or self._follower()

    @property
    def store(self) -> Store:
        """The store."""
        return self._store

    def _receiver(self) -> Receiver | None:
        """Return the receiver's role when its place is free; what is known is recalled by its first job."""
        try:
            self._store.open()
        except StoreInUse:
            return None
        try:
            receiver = self._blueprint.receiver(self._store, self.runtime)
        except BaseException:
            self._store.close()
            raise
        receiver.begin()
        return receiver

    def _follower(self) -> Follower:
        notice, instance, deadline = self._store.notice(), self._blueprint.instance, time.monotonic() + STALE_NOTICE_SECONDS
        while notice is not None and instance not in {None, notice.instance} and time.monotonic() < deadline:
            time.sleep(0.02)   # the receiver may have started just now, and the notice be that of one that was killed
            notice = self._store.notice()
        if notice is not None and instance not in {None, notice.instance}:
            raise StoreInUse(
                f"The store {self._store.root} belongs to the instance {notice.instance}.",
                hint="Give each instance a store of its own; processes that share one have the same id.",
                facts={"store": str(self._store.root), "instance": notice.instance, "pid": notice.pid},
            )
        return self._blueprint.follower(self._store, self.runtime, self._take_over)

    def _take_over(self) -> bool:
        """Become the receiver if that place is free; called by a follower in the I/O thread."""
        if self.runtime.stopping:
            return False
        receiver = self._receiver()
        if receiver is None:
            return False
        self._store.followers.release()
        receiver.courier.log.info("receives from now on", pid=os.getpid())
        with self._lock:   # who reports a bad release at this moment does it before or after, never to a role that is over
            left, self.role = self.role, receiver
            if isinstance(left, Follower):
                receiver.vetoes.hear(left.complaining.unheard())
        return True

    def _turn(self) -> None:
        self.role.turn()

    def _ring(self) -> None:
        self.role.ring()

    def _end(self) -> None:
        self.role.end()

    def _leave(self) -> None:
        """Run by the last thread that ends: the next start, or another process, may have the store."""
        if isinstance(self.role, Receiver):
            self.role.leave()
        self._blueprint.slot.departed.forget()
        self._store.close()

    def report_bad(self, active: ActiveModel, reason: str) -> bool:
        """Take a release out of service; see ``vetoes`` and, for a follower, ``complaining``.

        Raises:
            StorageFault: This process follows another one, which it cannot tell.
        """
        with self._lock:
            return self.role.report_bad(active, reason)

    def status(self) -> Status:
        """Return the state at this moment; never waits."""
        role, blueprint = self.role, self._blueprint
        if isinstance(role, Follower):
            return overview_of_follower(role, self.runtime, blueprint.timing, (blueprint.model, blueprint.channel, blueprint.instance))
        return overview(role.courier, role.updater, role.verdicts, self.runtime, blueprint.timing)
