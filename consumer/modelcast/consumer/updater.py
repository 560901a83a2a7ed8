"""The shell between road and worker: orders in, jobs out, verdicts settled and reported. Runs in the I/O thread, never slow.

Decides nothing by itself: ``trust`` and ``rules`` judge, ``agenda`` chooses, ``lifecycle`` says what comes next, ``ledger``
what is owed. Starts no thread and knows no broker. Everything that touches the disk is a job for the worker.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from modelcast.consumer.agenda import Agenda
from modelcast.consumer.announcements import Announcements
from modelcast.consumer.journal import Rejection
from modelcast.consumer.lifecycle import Action, Event, State, step
from modelcast.consumer.policy import Policy, Timing, pause_seconds
from modelcast.consumer.rules import Host, Ruling, Standing, rule
from modelcast.consumer.trial import Dropped, Trial
from modelcast.consumer.trust import TrustedOrder, open_announcement, open_order
from modelcast.consumer.verdicts import Decision, Submit, Verdicts
from modelcast.consumer.workshop import Workshop
from modelcast.shared.errors import HostFault, SenderFault
from modelcast.shared.order import order_id
from modelcast.shared.reasons import OF_THE_SETTING
from modelcast.shared.report import Verdict
from modelcast.shared.road import ArrivedOrder, Bookmark, Target
from modelcast.shared.signing import KeyRing


@dataclass(frozen=True, slots=True)
class Setting:
    """What an updater is told once.

    Attributes:
        target: Which model and channel, and who this is.
        policy: What the application accepts.
        timing: How long things may take.
        ring: Trusted keys.
        host: What this host has.
    """

    target: Target
    policy: Policy
    timing: Timing
    ring: KeyRing
    host: Host


@dataclass(slots=True)
class Updater:
    """One instance's bookkeeping.

    Args:
        setting: What it is told once.
        workshop: Where the worker's steps are done.
        verdicts: Where decisions go.
        submit: Gives jobs to the worker.
        log: Bound logger.
        kept: Where the store says that the history is read on.
    """

    setting: Setting
    workshop: Workshop
    verdicts: Verdicts
    submit: Submit
    log: Any
    standing: Standing = field(default_factory=Standing)
    state: State = State.IDLE
    fault: str | None = None
    foreign: int = 0
    passed_over: str | None = None
    kept: Bookmark | None = None
    _agenda: Agenda = field(default_factory=Agenda)
    _trial: Trial | None = None
    _announcements: Announcements = field(default_factory=Announcements)
    _heard: str | None = None
    _pauses: dict[str, tuple[int, float]] = field(default_factory=dict)

    def remember(
        self, standing: Standing, rejections: Mapping[str, Rejection], unsent: Sequence[tuple[str, bytes]]
    ) -> None:
        """Take over what the disk remembers of the time before this start."""
        self.standing = standing
        for name, body in unsent:
            self.verdicts.ledger.owe(name, body)
        for order, rejection in self.verdicts.replays.recall(rejections).items():
            if rejection.reason not in OF_THE_SETTING:
                self.verdicts.ledger.decide(order, Verdict.REJECTED, None)

    @property
    def in_hand(self) -> Trial | None:
        """The work on the order that is being carried out, or None."""
        return self._trial

    @property
    def version_ahead(self) -> str | None:
        """The version that is being received ahead of its order, or None."""
        running = self._announcements.running
        return running.version if running is not None and self.state is State.AHEAD else None

    def stop(self) -> None:
        """Drop what is in hand."""
        self._announcements.drop()
        if self._trial is not None:
            self._trial.dropped = True
        if self.state is not State.STOPPED:
            self.state, _ = step(self.state, Event.STOP_REQUESTED)

    def go_on_from(self) -> Bookmark | None:
        """Return where a new connection begins to read the history; None is at its beginning."""
        return self._agenda.go_on_from(self.kept)

    def on_order(self, arrived: ArrivedOrder) -> None:
        """Judge an order as it arrives (known, trusted, allowed), then note how far the history is read."""
        identity = order_id(arrived.body)
        self._judge(identity, arrived)
        if arrived.offset is not None:
            self._agenda.passed(Bookmark(arrived.offset, identity))

    def _judge(self, identity: str, arrived: ArrivedOrder) -> None:
        ledger = self.verdicts.ledger
        ledger.hold(identity, arrived)
        self.verdicts.reopen(identity, arrived.replay)
        if ledger.knows(identity) or identity in self._agenda:
            return   # decided or in hand: the receipt joins it
        target = self.setting.target
        try:
            trusted = open_order(arrived.body, self.setting.ring, model=target.model, channel=target.channel)
        except SenderFault as fault:
            if arrived.receipt is None:
                self.foreign += 1   # the history has no addressee; what was meant for us came through the queue as well
                self.passed_over = f"{fault.reason.value}: {fault}"
                self.log.debug("passed over in the history", reason=fault.reason.value)
            else:
                self._decide(Decision(identity, Verdict.REJECTED, fault=fault))
            return
        self._announcements.note(trusted)
        if not trusted.order.is_for(target.instance):
            if arrived.receipt is not None:
                self._decide(Decision(identity, Verdict.DEFERRED, trusted))
        elif self._is_allowed(trusted, is_addressed=arrived.receipt is not None):
            for dropped in self._agenda.add(trusted):
                self._pass_over(dropped)

    def on_announcement(self, arrived: ArrivedOrder) -> None:
        """Remember what will be ordered, if it may be carried out here as far as that is known; decides nothing."""
        target, identity = self.setting.target, order_id(arrived.body)
        if identity == self._heard:
            return
        self._heard = identity
        try:
            announced = open_announcement(arrived.body, self.setting.ring, model=target.model, channel=target.channel)
            now_ms = self.verdicts.reporter.clock_ms()
            ruling = rule(announced, self.standing, self.setting.policy, self.setting.host, now_ms=now_ms)
        except SenderFault as fault:   # whoever sent it will hear so when the order comes
            self.log.debug("announcement passed over", reason=fault.reason.value)
            return
        if ruling is Ruling.CARRY_OUT:
            self._announcements.add(announced)

    def _decide(self, decision: Decision) -> None:
        self._agenda.remove(decision.order)
        self._announcements.make_room_for_a_verdict(decision.trusted)
        if self._pauses.pop(decision.order, None) is not None:
            self.fault = None   # the fault of the host was this order's
        self.verdicts.note(decision)

    def _is_allowed(self, trusted: TrustedOrder, *, is_addressed: bool = True) -> bool:
        try:
            standing = replace(self.standing, floor=None) if self._agenda.lifts_floor_for(trusted) else self.standing
            ruling = rule(trusted, standing, self.setting.policy, self.setting.host, now_ms=self.verdicts.reporter.clock_ms())
        except SenderFault as fault:
            self._decide(Decision(trusted.id, Verdict.REJECTED, trusted, fault))
            return False
        if ruling is Ruling.STALE:
            self._agenda.remove(trusted.id)
            if is_addressed:   # it changes nothing here, but its publisher may wait for the report that a crash swallowed
                verdict = Verdict.PROMOTED if trusted.release == self.standing.active_release else Verdict.SUPERSEDED
                self._decide(Decision(trusted.id, verdict, trusted, is_repeated=True))
            return False
        return True

    def dispatch(self) -> float | None:
        """Begin the best order when nothing is in hand; drop what is in hand when a better one came.

        Returns:
            Seconds until something has to be tried again, or None.
        """
        if self.state is State.STOPPED:
            return None
        if self._trial is not None:
            best = self._agenda.best()
            if self.state is not State.PROMOTING and best is not None and best.id != self._trial.trusted.id:
                self._trial.dropped = True
                self._announcements.make_way_for(best)
            return None
        while (best := self._agenda.best()) is not None:
            wait_seconds = self._pauses.get(best.id, (0, 0.0))[1] - time.monotonic()
            if wait_seconds > 0:
                return wait_seconds
            if self._is_allowed(best):
                self._announcements.make_way_for(best)
                self._trial = Trial(best, floor_lifted=self._agenda.lifts_floor_for(best))
                self.log.info("order", version=best.manifest.version, sequence=best.order.sequence, kind=best.order.kind.value)
                self._advance(Event.ORDER_CHOSEN, None)
                return None
        self._begin_ahead()
        return None

    def _begin_ahead(self) -> None:
        """Begin to receive what was announced last."""
        if self.state is not State.IDLE or not self._announcements.is_waiting:
            return
        ahead = self._announcements.begin()
        assert ahead is not None
        self.state, _ = step(self.state, Event.ANNOUNCED)
        self.log.info("announced", version=ahead.version)
        self.submit(partial(self.workshop.receive_ahead, ahead), self._after_ahead)

    def _after_ahead(self, _result: object, error: BaseException | None) -> None:
        """Take the worker's result: whatever went wrong, the order will show whether it matters."""
        ended = self._announcements.end()
        if ended is not None:
            unexpected = None if error is None or isinstance(error, Dropped | HostFault | SenderFault) else error
            self.log.info(
                "received ahead", version=ended.version, fetched_bytes=ended.fetched_bytes, chunks=len(ended.digests),
                is_wanted=not ended.dropped, fault=None if error is None else str(error) or type(error).__name__, exc_info=unexpected,
            )
        if self.state is State.AHEAD:
            self.state, _ = step(self.state, Event.AHEAD_ENDED)

    def _advance(self, event: Event, error: BaseException | None) -> None:
        trial = self._trial
        assert trial is not None
        self.state, action = step(self.state, event)
        steps = {
            Action.RECEIVE: (self.workshop.receive, Event.RECEIVED), Action.VERIFY: (self.workshop.verify, Event.VERIFIED),
            Action.LOAD: (self.workshop.load, Event.LOADED), Action.PROBE: (self.workshop.probe, Event.PROBED),
            Action.PROMOTE: (self.workshop.promote, Event.PROMOTED),
        }
        if action is Action.PROMOTE:
            trial.bookmark = self._agenda.bookmark_after(trial.trusted)
        if action in steps:
            work, then = steps[action]
            self.submit(partial(work, trial), partial(self._after, then))
            return
        self._trial = None
        self.verdicts.tallies.worked(trial.stages_ms, trial.transfer)
        if action is Action.ACCEPT:
            self._promoted(trial)
        elif action is Action.REJECT and isinstance(error, SenderFault):
            self._decide(Decision(trial.trusted.id, Verdict.REJECTED, trial.trusted, error, trial))
        elif action is Action.RETRY_LATER:
            self._pause(trial, error)

    def _after(self, then: Event, result: object, error: BaseException | None) -> None:
        """Take the worker's result of one step."""
        if isinstance(result, Standing):
            self.standing = result   # also when the host stops: the pointer is written
        trial = self._trial
        if trial is None or self.state is State.STOPPED:
            return
        best = self._agenda.best()
        is_best = best is None or best.id == trial.trusted.id   # a rollback may have come since the last dispatch
        if (trial.dropped or not is_best) and self.state is not State.PROMOTING:
            self._advance(Event.SUPERSEDED, None)
        elif error is None:
            self._advance(then, None)
        elif isinstance(error, SenderFault):
            self._advance(Event.REJECTED, error)
        else:
            self._advance(Event.SUPERSEDED if isinstance(error, Dropped) else Event.FAULTED, error)

    def _pause(self, trial: Trial, error: BaseException | None) -> None:
        trusted = trial.trusted
        count = self._pauses.get(trusted.id, (0, 0.0))[0] + 1
        seconds = pause_seconds(self.setting.timing, count)
        self._pauses[trusted.id] = (count, time.monotonic() + seconds)
        self.fault = str(error) or type(error).__name__
        unexpected = None if isinstance(error, HostFault) else error   # a bug of ours or a broken library: show where
        self.verdicts.put_off(trial, self.fault, seconds, unexpected)

    def _promoted(self, trial: Trial) -> None:
        trusted = trial.trusted
        self.fault = None
        self._decide(Decision(trusted.id, Verdict.PROMOTED, trusted, trial=trial))
        for passed in self._agenda.below(trusted.order.sequence):
            self._pass_over(passed)

    def _pass_over(self, trusted: TrustedOrder) -> None:
        if self.verdicts.ledger.holds(trusted.id):
            self._decide(Decision(trusted.id, Verdict.SUPERSEDED, trusted))
        else:
            self._agenda.remove(trusted.id)   # of the history: ordered before this instance came, so nobody waits for it
