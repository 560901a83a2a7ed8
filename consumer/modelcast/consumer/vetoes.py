"""Taking a release out of service that passed every check and failed at its work: at once in memory, then on disk, then in a report.

Decides what is told: a rejection with the reason ``reported-bad``, which takes the place of the promotion. The order was
acknowledged, so there is no dead letter. Imports active, the updater and verdicts.
"""

from dataclasses import dataclass, field
from functools import partial
from threading import Lock

from modelcast.consumer.active import ActiveModel, Slot
from modelcast.consumer.rules import Standing
from modelcast.consumer.updater import Updater
from modelcast.consumer.verdicts import Decision, Submit
from modelcast.shared.errors import SenderFault
from modelcast.shared.limits import shortened
from modelcast.shared.reasons import Reason
from modelcast.shared.report import Verdict


@dataclass(slots=True)
class Vetoes:
    """Reports of the application about what it serves.

    Args:
        slot: The active slot.
        updater: What is told that another release runs.
        submit: Gives jobs to the worker.
    """

    slot: Slot
    updater: Updater
    submit: Submit
    _reported: set[int] = field(default_factory=set)
    _lock: Lock = field(default_factory=Lock)

    def report_bad(self, active: ActiveModel, reason: str) -> bool:
        """Go back to the model before; any thread may call it, and several may about the same release.

        Returns:
            Whether another model serves already; False when it has to be loaded first, or there is none.
        """
        with self._lock:
            if active.generation in self._reported or self.slot.active is not active:
                return self.slot.active is not active   # many requests fail at once
            self._reported.add(active.generation)
            is_done = self.slot.step_back(active) is not None
            self.submit(partial(self.updater.workshop.take_out, active.release), partial(self._taken_out, active, reason))
            return is_done

    def _taken_out(self, active: ActiveModel, reason: str, result: object, error: BaseException | None) -> None:
        """Run in the I/O thread."""
        updater, served = self.updater, self.slot.active
        if isinstance(result, Standing):
            updater.standing = result
        facts = {"served": served.version if served else None, "fault": None if error is None else str(error)}
        fault = SenderFault(Reason.REPORTED_BAD, shortened(reason or "The application reported it.", 1000), facts=facts)
        updater.verdicts.note(Decision(active.order or active.release, Verdict.REJECTED, fault=fault, about=active))
