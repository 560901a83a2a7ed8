"""What a follower does about a release that failed at its work: another model at once, and a complaint to the receiver.

Decides what may be complained of: the release that the pointer names. The application's threads wait for no disk; the complaint is
written by the I/O thread, again and again until it is there or the pointer has moved on. Imports active, complaints and following.
"""

import time
from collections import deque
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from modelcast.consumer.active import ActiveModel, Slot
from modelcast.consumer.complaints import Complaint, Complaints
from modelcast.consumer.following import Seen
from modelcast.shared.errors import HostFault

PAUSE_SECONDS = 1.0
"""Between two attempts to write a complaint on a disk that fails."""


@dataclass(slots=True)
class Complaining:
    """The complaints of one follower.

    Args:
        slot: The active slot.
        complaints: Where they are left.
        log: Bound logger.
    """

    slot: Slot
    complaints: Complaints
    log: Any
    fault: str | None = None
    _made: deque[Complaint] = field(default_factory=deque)
    _unheard: dict[tuple[str, int], Complaint] = field(default_factory=dict)
    _about: set[tuple[str, int]] = field(default_factory=set)
    _reported: set[int] = field(default_factory=set)
    _next_attempt: float = 0.0
    _lock: Lock = field(default_factory=Lock)

    def report_bad(self, active: ActiveModel, reason: str, seen: Seen) -> bool:
        """Go back to the model before and complain; any thread may call it, and several may about the same release.

        Args:
            active: What was found to be bad.
            reason: Why.
            seen: What the store said last.

        Returns:
            Whether another model serves already; False when it has to be loaded first, or there is none.

        Raises:
            StorageFault: The receiver cannot be told.
        """
        with self._lock:
            if self.slot.active is not active or active.generation in self._reported or active.release != seen.active:
                return self.slot.active is not active   # or it is about to be replaced: the pointer names another one
            try:
                self.complaints.refuse_if_in_vain()
            except HostFault as error:
                self.log.warning("a complaint cannot be made; the release stays", release=active.release[:12], fault=str(error))
                raise
            self._reported.add(active.generation)
            self._made.append(Complaint(active.release, seen.sequence, reason))   # before the step: see ``is_about``
            return self.slot.step_back(active) is not None

    def is_about(self, seen: Seen) -> bool:
        """Whether this process complained of the release that the pointer names; called in the I/O thread after a look at the slot."""
        while self._made:
            made = self._made.popleft()
            self._unheard.setdefault(made.key, made)
            self._about.add(made.key)
        self._about = {key for key in self._about if key == (seen.active, seen.sequence)}
        self._unheard = {key: complaint for key, complaint in self._unheard.items() if key in self._about}
        return bool(self._about)

    def turn(self) -> None:
        """Write what the receiver does not know yet. Never raises for a disk that fails."""
        if not self._unheard:
            self.fault = None
        if not self._unheard or time.monotonic() < self._next_attempt:
            return
        try:
            for key, complaint in list(self._unheard.items()):
                self.complaints.leave(complaint)
                del self._unheard[key]
                self.log.warning("complained of a release", release=complaint.release[:12], reason=complaint.reason)
            self.fault = None
        except HostFault as error:
            self._next_attempt = time.monotonic() + PAUSE_SECONDS
            told = f"The receiver cannot be told that a release is bad: {error}"
            if told != self.fault:
                self.log.warning("a complaint cannot be written; it is tried again", fault=str(error))
            self.fault = told

    def unheard(self) -> list[Complaint]:
        """Return what could not be written: the process that becomes the receiver deals with it itself."""
        return [*self._unheard.values(), *self._made]
