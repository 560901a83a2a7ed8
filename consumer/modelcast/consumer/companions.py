"""What the receiver does for the other processes of its store: names the candidate, and waits for them before it promotes.

Decides how long it waits. Without followers it waits for nobody. Starts no thread. Imports the store, the notice and the workshop.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from threading import Lock
from typing import Any

from modelcast.consumer.active import Slot
from modelcast.consumer.host_facts import HostFacts
from modelcast.consumer.journal import Journal
from modelcast.consumer.notice import Notice
from modelcast.consumer.rules import Standing
from modelcast.consumer.store import Store
from modelcast.consumer.trial import Trial
from modelcast.consumer.workshop import Tools, Workshop
from modelcast.shared.errors import HostFault

BEAT_SECONDS = 10.0
"""How often the receiver shows that it turns: touches the notice."""
PATIENCE_SECONDS = 10.0
"""Longest wait for followers, which have begun when the receiver began: one that is stopped or dead must not hold up the others."""
LOOK_SECONDS = 0.005
"""How soon it is noticed that all are ready."""


Aside = Callable[[Callable[[], None]], None]
"""Has a job done that may hang."""


def at_once(job: Callable[[], None]) -> None:
    """Do it here and now."""
    job()


class Companions:
    """The other processes, as the receiver sees them.

    Args:
        store: The store that all of them use.
        instance: Id of the instance.
        log: Bound logger.
        patience_seconds: Longest wait for them.
        aside: How ``beat`` writes: it is called in the I/O thread, which must wait for no disk.
    """

    def __init__(
        self, store: Store, instance: str, log: Any, patience_seconds: float = PATIENCE_SECONDS, *, aside: Aside = at_once,
    ) -> None:
        self._store, self._log, self._patience_seconds, self._aside = store, log, patience_seconds, aside
        self._lock, self._disk = Lock(), Lock()   # the first is never held while a disk is waited for
        self._notice, self._beaten = Notice(os.getpid(), instance), 0.0
        self._told: Notice | None = None
        self._tell()

    def name_candidate(self, release: str) -> None:
        """Tell that a release is about to be loaded and tried, so that the others do the same at the same time."""
        with self._lock:
            self._notice = replace(self._notice, candidate=release)
        self._tell()

    def beat(self, connected_since_ms: int | None, *, is_idle: bool) -> None:
        """Show that this process turns, and whether it is connected; called in every turn.

        Args:
            connected_since_ms: Since when it is connected, or None.
            is_idle: Whether nothing is being tried, so that there is no candidate any more.
        """
        with self._lock:
            candidate = None if is_idle else self._notice.candidate
            self._notice = replace(self._notice, candidate=candidate, connected_since_ms=connected_since_ms)
            is_due = self._notice != self._told or time.monotonic() - self._beaten >= BEAT_SECONDS
        if is_due:
            self._aside(self._tell)   # what is passed over because the last one is not written yet is told in a later turn

    def _tell(self) -> None:
        with self._disk:
            with self._lock:
                self._told, self._beaten = self._notice, time.monotonic()
                notice = self._told
            with suppress(HostFault):   # a full disk: the others follow the pointer all the same, only later
                self._store.post(notice)

    def are_ready(self) -> bool:
        """Whether every follower has prepared the candidate, or has failed to; true without followers."""
        everybody = self._store.followers   # who is not ready holds it shared; the kernel lets go for who died
        if not everybody.take():
            return False
        everybody.release()
        return True

    def wait(self, check: Callable[[], None]) -> None:
        """Wait until they are ready, but not for ever.

        Args:
            check: Raises when nobody wants the result any more.
        """
        deadline = time.monotonic() + self._patience_seconds
        while not self.are_ready():
            check()
            if time.monotonic() >= deadline:
                self._log.warning("not all processes of this host are ready for the release; it is promoted without them")
                return
            time.sleep(LOOK_SECONDS)


class HostWorkshop(Workshop):
    """The steps of a receiver that has companions.

    Args:
        store: Where releases are kept.
        journal: Where reports and rejections are kept.
        slot: The active slot.
        tools: Everything else.
        companions: The other processes.
        facts: What is told of this one.
    """

    def __init__(
        self, store: Store, journal: Journal, slot: Slot, tools: Tools, companions: Companions, *, facts: HostFacts | None = None
    ) -> None:
        super().__init__(store, journal, slot, tools)
        self._companions, self._facts = companions, facts or HostFacts()

    def standing(self) -> Standing:
        """Return what this instance runs and has run, after every change of it; and know the libraries of what it runs now."""
        self._facts.know(self._slot.active)
        return super().standing()

    def load(self, trial: Trial) -> None:
        """Name the candidate, then load it."""
        self._companions.name_candidate(trial.trusted.release)
        super().load(trial)

    def probe(self, trial: Trial) -> None:
        """Let the candidate prove itself here, then wait until the others have it: what follows is the switch."""
        super().probe(trial)
        if not self._companions.are_ready():
            with trial.timed("awaited"):
                self._companions.wait(trial.check)
