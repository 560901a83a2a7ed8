"""The receiver: the one process of an instance that holds its store and its queue.

Decides what it recalls from the store before it connects, and what it leaves behind when it ends. Puts courier, updater and
companions together; each has its own rules. Starts no thread.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from modelcast.consumer.active import ActiveModel
from modelcast.consumer.companions import Companions
from modelcast.consumer.courier import Courier
from modelcast.consumer.policy import Timing
from modelcast.consumer.store import Store
from modelcast.consumer.trust import reader_of
from modelcast.consumer.updater import Updater
from modelcast.consumer.verdicts import Submit, Verdicts
from modelcast.consumer.vetoes import Vetoes
from modelcast.shared.errors import HostFault


@dataclass(slots=True)
class Receiver:
    """One process that receives.

    Args:
        store: The store, whose lock this process holds.
        courier: Carries orders and verdicts.
        updater: Takes orders.
        verdicts: What is to be told.
        companions: The other processes.
        vetoes: What this process and the others found to be bad.
        timing: Pauses.
        submit: Gives jobs to the worker.
        rest: Waits in the worker, or until the end is asked for.
    """

    store: Store
    courier: Courier
    updater: Updater
    verdicts: Verdicts
    companions: Companions
    vetoes: Vetoes
    timing: Timing
    submit: Submit
    rest: Callable[[float], None]

    def begin(self) -> None:
        """Have the worker recall what the store holds; connected is only after that."""
        self.submit(self._recall, self._recalled)

    def turn(self) -> None:
        """Do one turn of the courier, and show it to the others. Never raises."""
        self.courier.turn()
        self.companions.beat(self.courier.connected_since_ms, is_idle=self.updater.in_hand is None)
        if self.courier.restored:
            self.vetoes.turn()

    def report_bad(self, active: ActiveModel, reason: str) -> bool:
        """Take what is in service out of it; any thread may call it. See ``vetoes``."""
        return self.vetoes.report_bad(active, reason)

    def ring(self) -> None:
        """End the wait of the current turn; any thread may."""
        self.courier.ring()

    def end(self) -> None:
        """Say goodbye; called once, by the I/O thread when it ends."""
        self.courier.end()

    def leave(self) -> None:
        """Note that an end in order is no crash; called by the last thread that ends."""
        with suppress(HostFault):
            self.updater.workshop.journal.end_try()

    def _recall(self) -> tuple[Any, ...]:
        """Run in the worker, as its first job: a model in service is kept when it is the one that the pointer names."""
        self.vetoes.before_restore()
        workshop, active, pointer = self.updater.workshop, self.verdicts.slot.active, self.store.pointer()
        is_served = active is not None and (pointer is None or pointer.release in {None, active.release})
        if not is_served:
            problem = workshop.restore()
        else:
            problem = None
            if active is not None and active.order is None and pointer is not None:   # it followed until now
                self.verdicts.slot.attribute(active, *pointer.put_there_by)
        pointer = self.store.pointer()   # once more: it may have been taken back
        kept = None if pointer is None else pointer.bookmark_of(reader_of(self.updater.setting.ring))
        return problem, workshop.standing(), workshop.journal.rejections(), workshop.journal.reports(), kept

    def _recalled(self, result: Any, error: BaseException | None) -> None:
        """Run in the I/O thread."""
        if error is not None:
            self.courier.fault = f"The store could not be read: {error}"
            self.courier.log.error("the store could not be read", error=str(error))
            self.submit(self._recall_later, self._recalled)
            return
        problem, standing, rejections, reports, kept = result
        self.updater.remember(standing, rejections, reports)
        self.updater.kept = kept
        self.updater.fault = problem
        active = self.verdicts.slot.active
        self.courier.log.info(
            "started", version=active.version if active else None, problem=problem, unsent_reports=len(reports)
        )
        if self.vetoes.deal():   # told before the history brings the orders of these releases again
            self.submit(lambda: None, self._ready)
        else:
            self._ready()

    def _ready(self, _result: object = None, _error: BaseException | None = None) -> None:
        self.courier.restored = True

    def _recall_later(self) -> tuple[Any, ...]:
        self.rest(self.timing.retry_most_seconds)
        return self._recall()
