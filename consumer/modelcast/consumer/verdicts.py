"""Noting verdicts and telling them: journal first, then the report, then the settlement. Runs in the I/O thread.

Decides nothing about orders. What touches the disk is a job for the worker. Imports ledger, reporting and the journal.
"""

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from modelcast.consumer.active import ActiveModel, Slot
from modelcast.consumer.journal import Rejection
from modelcast.consumer.ledger import Ledger
from modelcast.consumer.replays import Replays
from modelcast.consumer.reporting import Reporter
from modelcast.consumer.status import LastVerdict
from modelcast.consumer.tallies import Tallies
from modelcast.consumer.trial import Attempt, Trial
from modelcast.consumer.trust import TrustedOrder
from modelcast.consumer.workshop import Workshop
from modelcast.shared.errors import SenderFault
from modelcast.shared.failpoints import Point, reach
from modelcast.shared.limits import shortened
from modelcast.shared.report import Verdict
from modelcast.shared.road import Confirmed, InstanceRoad

Job = Callable[[], Any]
Submit = Callable[[Job, Callable[[Any, BaseException | None], None]], None]
"""Gives a job to the worker, and what the I/O thread does with its result or its error."""

MAX_UNDER_WAY = 32
"""Reports sent and not confirmed; below the road's window, so that sending one never waits for a broker in alarm."""
TRANSFERRED = (
    "source", "total_bytes", "fetched_bytes", "reused_bytes", "wire_bytes", "ahead_bytes", "fetched_chunks", "reused_chunks",
    "damaged_chunks",
)
"""What a line of the log says of the transfer."""
IN_MEMORY = "memory-"
"""Names reports that could not be journaled: they are sent all the same, but do not survive a crash."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict with what it was about.

    Attributes:
        order: Identity of the order message.
        verdict: The verdict.
        trusted: The order, if it could be opened.
        fault: Why it was rejected.
        trial: The work that was done on it.
        about: What was in service and is taken out, when that is what it is about.
        is_repeated: Whether it was decided before this start already, so that it is told but not counted.
    """

    order: str
    verdict: Verdict
    trusted: TrustedOrder | None = None
    fault: SenderFault | None = None
    trial: Trial | None = None
    is_repeated: bool = False
    about: ActiveModel | None = None

    @property
    def version(self) -> str | None:
        """The version, if it is known."""
        return self.trusted.manifest.version if self.trusted else self.about.version if self.about else None


@dataclass(slots=True)
class Verdicts:
    """The verdicts of one instance.

    Args:
        reporter: Builds reports.
        workshop: Writes the journal.
        slot: The active slot.
        submit: Gives jobs to the worker.
        log: Bound logger.
        tallies: What is counted for metrics.
        watchers: Who is told of each attempt that ended.
    """

    reporter: Reporter
    workshop: Workshop
    slot: Slot
    submit: Submit
    log: Any
    ledger: Ledger = field(default_factory=Ledger)
    tallies: Tallies = field(default_factory=Tallies)
    watchers: Sequence[Callable[[Attempt], None]] = ()
    counts: dict[Verdict, int] = field(default_factory=lambda: dict.fromkeys(Verdict, 0))
    last: LastVerdict | None = None
    replays: Replays = field(default_factory=Replays)
    _under_way: dict[str, Confirmed] = field(default_factory=dict)
    _names: "itertools.count[int]" = field(default_factory=itertools.count)

    def reopen(self, order: str, replay: str | None) -> None:
        """Have a refused order that was sent back judged anew, unless this very time was answered already, or it is too often."""
        if replay is not None and self.replays.is_new(order, replay) and self.ledger.reopen(order):
            self.submit(partial(self.workshop.journal.remember, self.replays.begin(order, replay)), self._ignore_replay)
            self.log.info("sent back by an operator; judged anew", order=order[:12])

    def note(self, decision: Decision) -> None:
        """Note a decision: keep its report, settle it once that is written, and write the one line of the log about it."""
        trusted, fault, trial = decision.trusted, decision.fault, decision.trial
        version = decision.version
        reason, message = (fault.reason.value, shortened(fault)) if fault else (None, None)
        self.ledger.expect(decision.order)
        if not decision.is_repeated:
            self.tallies.decided(decision.verdict.value, reason)
            self.counts[decision.verdict] += 1
        self.last = LastVerdict(decision.verdict.value, version, reason, message, self.reporter.clock_ms())
        report = self.reporter.verdict(
            decision.order, decision.verdict, self.slot.active, trusted=trusted or decision.about, fault=fault,
            stages_ms=trial.stages_ms if trial else None, transfer=trial.transfer if trial else None,
        )
        if decision.verdict is Verdict.REJECTED:
            rejection = self.replays.marked(Rejection(decision.order, reason or "", message or "", version))
            job: Job = partial(self.workshop.reject, trial, rejection, report)
        else:
            job = partial(self.workshop.journal.add_report, report)
        self.submit(job, partial(self._noted, decision, report))
        write = self.log.warning if fault else self.log.info   # last: a log that raises costs no verdict
        facts = self.facts_of(decision.order, trusted, trial) | {"reason": reason, "message": message}
        if (about := decision.about) is not None:
            facts |= {"version": about.version, "release": about.release[:12], "sequence": about.sequence}
        if decision.is_repeated:
            write("verdict told again", verdict=decision.verdict.value, **facts)
        else:
            self._show(decision.verdict.value, facts, trusted, trial)
            write(decision.verdict.value, **facts)

    def put_off(self, trial: Trial, fault: str, seconds: float, unexpected: BaseException | None) -> None:
        """Note an attempt that a fault of this host ended; it is made again after so many seconds."""
        facts = self.facts_of(trial.trusted.id, trial.trusted, trial) | {"fault": fault}
        self.tallies.put_off()
        self._show("put off", facts, trial.trusted, trial)
        self.log.warning("will try again", seconds=round(seconds, 1), exc_info=unexpected, **facts)

    def _show(self, outcome: str, facts: dict[str, Any], trusted: TrustedOrder | None, trial: Trial | None) -> None:
        """Have the worker tell those who watch: whatever they do holds up no heartbeat."""
        if not self.watchers:
            return
        target, now, now_ns = self.reporter.target, time.monotonic(), self.reporter.clock_ms() * 1_000_000
        stages = [] if trial is None else [
            (stage, now_ns - round((now - trial.begins[stage]) * 1e9), round(milliseconds * 1e6))
            for stage, milliseconds in trial.stages_ms.items()
        ]
        attempt = Attempt(
            outcome, {"model": target.model, "channel": target.channel, "instance": target.instance, **facts},
            trusted.order.trace if trusted else None, now_ns if trial is None else now_ns - round((now - trial.begun) * 1e9), now_ns,
            tuple((stage, begin, begin + length) for stage, begin, length in stages),
        )
        for watcher in self.watchers:
            self.submit(partial(watcher, attempt), self._watched)

    def _watched(self, _result: object, error: BaseException | None) -> None:
        if error is not None:
            self.log.warning("who watches attempts raised; the update is not touched by it", exc_info=error)

    def facts_of(self, order: str, trusted: TrustedOrder | None, trial: Trial | None) -> dict[str, Any]:
        """Return what the log says of an attempt, always by the same names; None is what is not known, or was not done."""
        active, transfer = self.slot.active, trial.transfer if trial else {}
        return {
            "version": trusted.manifest.version if trusted else None, "release": trusted.release[:12] if trusted else None,
            "order": order[:12], "kind": trusted.order.kind.value if trusted else None,
            "sequence": trusted.order.sequence if trusted else None, "active_version": active.version if active else None,
            "since_order_ms": self.reporter.clock_ms() - trusted.order.issued_ms if trusted else None,
            "stages_ms": dict(trial.stages_ms) if trial else None, **{name: transfer.get(name) for name in TRANSFERRED},
        }

    def _noted(self, decision: Decision, report: bytes, name: object, error: BaseException | None) -> None:
        kept = name if isinstance(name, str) and error is None else f"{IN_MEMORY}{next(self._names)}"
        self.ledger.decide(decision.order, decision.verdict, (kept, report))
        if error is not None:
            self.log.warning("a report could not be journaled", error=str(error))

    def tell(self, road: InstanceRoad) -> None:
        """Settle what is due and send what is unsent, without waiting; what is confirmed later is settled in a later turn.

        Raises:
            HostFault: The road broke; it goes on after the next join.
        """
        self._settle(road)
        self._take_confirms()
        for name, body in self.ledger.unsent.items():
            if name not in self._under_way and len(self._under_way) < MAX_UNDER_WAY:
                self._under_way[name] = road.report(body)
        self._take_confirms()
        self._settle(road)

    def lost_connection(self) -> None:
        """Note that what was under way is lost: reports are sent again, orders are given out again."""
        self._under_way.clear()
        self.ledger.lost_connection()

    def _settle(self, road: InstanceRoad) -> None:
        for settlement in self.ledger.settlements():
            reach(Point.BEFORE_SETTLED)
            road.settle(settlement.arrived, accept=settlement.accept)
            reach(Point.AFTER_SETTLED)

    def _take_confirms(self) -> None:
        for name in [name for name, is_confirmed in self._under_way.items() if is_confirmed()]:
            del self._under_way[name]
            self.ledger.confirmed(name)
            if not name.startswith(IN_MEMORY):
                self.submit(partial(self.workshop.journal.forget_report, name), self._ignore)

    def _ignore_replay(self, _result: object, error: BaseException | None) -> None:
        if error is not None:
            self.log.warning("that an order is judged anew could not be journaled", error=str(error))

    def _ignore(self, _result: object, error: BaseException | None) -> None:
        if error is not None:
            self.log.warning("a confirmed report could not be removed; it will be sent again", error=str(error))
