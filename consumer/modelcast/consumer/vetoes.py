"""Taking a release out of service that passed every check and failed at its work: at once in memory, then on disk, then in a report.

Decides what is told: a rejection with the reason ``reported-bad``, which takes the place of the promotion. The order was
acknowledged, so there is no dead letter. A pointer that cannot be written is written later, with growing pauses, unless a new order
has brought the release back by then. What followers complain of is treated as if it had been reported here; a complaint is removed
when all of it is on disk. Imports active, complaints, the updater and verdicts.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import Any

from modelcast.consumer.active import ActiveModel, Slot
from modelcast.consumer.companions import Aside
from modelcast.consumer.complaints import Complaint, Complaints
from modelcast.consumer.keeper import PointerUnwritten
from modelcast.consumer.policy import pause_seconds
from modelcast.consumer.rules import Standing
from modelcast.consumer.updater import Updater
from modelcast.consumer.verdicts import Decision, Submit
from modelcast.shared.errors import HostFault, SenderFault
from modelcast.shared.limits import shortened
from modelcast.shared.reasons import Reason
from modelcast.shared.report import Verdict

LOOK_SECONDS = 1.0
"""Between two looks at what followers left."""


@dataclass(slots=True)
class Veto:
    """A release that is being taken out.

    Attributes:
        complaint: What is said of it.
        active: What was in service, or None when it is not in service here any more.
        about: The same with the order that put it there; set by the worker.
        failures: How often its pointer could not be written.
        due: When that is tried again, on the monotonic clock.
        fault: What the status says meanwhile.
        is_told: Whether it was reported.
    """

    complaint: Complaint
    active: ActiveModel | None
    about: ActiveModel | None = None
    failures: int = 0
    due: float = 0.0
    fault: str | None = None
    is_told: bool = False


@dataclass(slots=True)
class Vetoes:
    """What the processes of an instance report about what they serve, as its receiver deals with it.

    Args:
        slot: The active slot.
        updater: What is told that another release runs.
        complaints: What followers left.
        submit: Gives jobs to the worker.
        aside: Does what may hang, such as a look at the disk: ``turn`` is called in the I/O thread.
        ring: Has ``turn`` called soon.
    """

    slot: Slot
    updater: Updater
    complaints: Complaints
    submit: Submit
    aside: Aside
    ring: Callable[[], None]
    _reported: set[int] = field(default_factory=set)
    _open: set[tuple[str, int]] = field(default_factory=set)
    _settled: set[tuple[str, int]] = field(default_factory=set)
    _unwritten: list[Veto] = field(default_factory=list)
    _heard: deque[Complaint] = field(default_factory=deque)
    _next_look: float = 0.0
    _lock: Lock = field(default_factory=Lock)

    def report_bad(self, active: ActiveModel, reason: str) -> bool:
        """Go back to the model before; any thread may call it, and several may about the same release.

        Returns:
            Whether another model serves already; False when it has to be loaded first, or there is none.
        """
        with self._lock:
            served = self.slot.active
            is_served = served is not None and _is_same(served, active)   # by now it may be known which order put it there
            if active.generation in self._reported or not is_served:
                return not is_served   # many requests fail at once
            self._reported.add(active.generation)
            is_done = self.slot.step_back(active) is not None
            self._begin(Veto(Complaint(active.release, self.updater.standing.sequence, reason), active))
            return is_done

    def _begin(self, veto: Veto) -> None:
        self._open.add(veto.complaint.key)
        self.submit(partial(self._take_out, veto), partial(self._taken_out, veto))

    def turn(self) -> None:
        """Deal with what was heard, and listen again now and then; called in the I/O thread, in every turn."""
        self.deal()
        for veto in [veto for veto in self._unwritten if time.monotonic() >= veto.due]:
            self._unwritten.remove(veto)
            self._begin(veto)
        if time.monotonic() >= self._next_look:
            self.aside(self._look)

    def deal(self) -> bool:
        """Deal with what was heard; returns whether there was anything. The worker has it done before its next job."""
        is_something = bool(self._heard)
        while self._heard:
            self._heed(self._heard.popleft())
        return is_something

    def hear(self, complaints: Iterable[Complaint]) -> None:
        """Have complaints dealt with in the next turn."""
        self._heard.extend(complaints)

    def _look(self) -> None:
        """Run beside the I/O thread."""
        self._next_look = time.monotonic() + LOOK_SECONDS
        with suppress(HostFault):   # a disk that fails: the next look may see it
            found = self.complaints.read()
            self.hear(found)
            if found:
                self.ring()

    def _heed(self, complaint: Complaint) -> None:
        """Treat a complaint as a report of this process, if it is about what the last order put into service."""
        standing, active = self.updater.standing, self.slot.active
        if complaint.key in self._open:
            return
        is_current = complaint.release == standing.ordered_release or complaint.release in standing.bad   # or a crash kept it untold
        if complaint.key in self._settled or complaint.sequence != standing.sequence or not is_current:
            self.submit(partial(self.complaints.remove, complaint), _ignore)
        elif active is not None and active.release == complaint.release:
            self.report_bad(active, complaint.reason)
        else:
            self._begin(Veto(complaint, None))   # this process serves another one already

    def before_restore(self) -> None:
        """Have the pointer leave what was complained of, so that it is not loaded again; run by the worker of an heir."""
        with suppress(HostFault):
            found = self.complaints.read()
            self.hear(found)
            for complaint in found:
                self.updater.workshop.leave(complaint.release, complaint.sequence)

    def _take_out(self, veto: Veto) -> Standing | None:
        """Run in the worker; returns None when a new order has brought the release back."""
        workshop, release, served = self.updater.workshop, veto.complaint.release, self.slot.active
        if veto.failures and served is not None and served.release == release and not _is_same(served, veto.active):
            return None
        with suppress(HostFault, SenderFault):   # it cannot be read: then its order is not known
            veto.about = workshop.as_ordered(release, veto.active)
        return workshop.take_out(release)

    def _taken_out(self, veto: Veto, result: object, error: BaseException | None) -> None:
        """Run in the I/O thread."""
        updater, complaint = self.updater, veto.complaint
        is_written = not isinstance(error, PointerUnwritten)
        if isinstance(result, Standing):
            updater.standing = result
        if not is_written:
            veto.failures += 1
            veto.due = time.monotonic() + pause_seconds(updater.setting.timing, veto.failures)
            self._unwritten.append(veto)
            updater.fault = veto.fault = f"A release that was reported as bad would come back with a restart: {error}"
        elif veto.fault is not None and updater.fault == veto.fault:
            updater.fault = None
        if (is_written or not veto.is_told) and (error is not None or result is not None):
            self._tell(veto, error)   # once more when it is written: the disk may not have kept the report either
        if is_written:
            self._settled.add(complaint.key)
            self._open.discard(complaint.key)
            self.submit(partial(self.complaints.remove, complaint), _ignore)   # after the job that keeps the report

    def _tell(self, veto: Veto, error: BaseException | None) -> None:
        complaint, served = veto.complaint, self.slot.active
        facts = {"served": served.version if served else None, "fault": None if error is None else str(error)}
        fault = SenderFault(Reason.REPORTED_BAD, shortened(complaint.reason or "The application reported it.", 1000), facts=facts)
        about = veto.about or veto.active
        order = about.order if about is not None and about.order is not None else complaint.release
        self.updater.verdicts.note(Decision(order, Verdict.REJECTED, fault=fault, about=about, is_repeated=veto.is_told))
        veto.is_told = True


def _is_same(served: ActiveModel, reported: ActiveModel | None) -> bool:
    return reported is not None and served.generation == reported.generation


def _ignore(_result: Any, _error: BaseException | None) -> None:
    """Nothing depends on it."""
