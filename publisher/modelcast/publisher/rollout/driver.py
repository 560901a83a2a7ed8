"""Driving a rollout: one wave after the other, each when the verdicts of the one before are in and it was watched for a while.

Decides when a wave is accepted and when the rollout halts. Whatever it knows it has from the register and the reports, so that another
driver can go on at any time; a clock is used only for how long something lasts. Imports the desk, the tally and the plan.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from modelcast.publisher.rollout.desk import Desk, patiently
from modelcast.publisher.rollout.plan import reach_of, reached
from modelcast.publisher.rollout.records import Phase, Rollout, Step
from modelcast.publisher.rollout.tally import Said, Tally
from modelcast.shared.errors import HostFault
from modelcast.shared.limits import shortened
from modelcast.shared.report import Report
from modelcast.shared.road import ReportSource

POLL_SECONDS = 0.5
"""Longest wait for a report."""
LOOK_SECONDS = 5.0
"""Between two looks whether somebody paused the rollout, or took it over."""
COUNT_SECONDS = 0.5
"""Between two looks at all instances while reports keep coming: 10,000 send hundreds a second, and each look takes milliseconds."""
GRACE_SECONDS = 10.0
"""An instance that serves something else again mostly says why, a moment later: that its application reported it as bad."""
NAMED = 5
"""So many instances are named."""


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that a driver saw or did.

    Attributes:
        what: ``ordered``, ``decided``, ``soaking``, ``accepted``, ``halted``, ``completed`` or ``left``.
        wave: In which wave, counted from 0.
        instances: Whom it is about.
        why: In words, where there is something to say.
        report: What was reported, of ``decided``.
    """

    what: str
    wave: int
    instances: tuple[str, ...] = ()
    why: str = ""
    report: Report | None = None


def unwatched(_happening: Happening) -> None:
    """Watch nothing."""


@dataclass(frozen=True, slots=True)
class _Wave:
    """A wave that was ordered: its number, up to which turn it reaches, and who is waited for."""

    number: int
    up_to: int | None
    names: Sequence[str]


@dataclass(slots=True)
class Driver:
    """Carries one rollout on until it is over, halts, or is somebody else's.

    Args:
        desk: Where changes are made.
        source: The reports, from before the rollout began.
        tally: Where they are counted.
        watch: Is told of everything.
        heard: Says which instances reported lately, by the road's time: what was reported since the rollout began may be days old, and
            of instances that are gone.
        clock: A monotonic clock in seconds.
    """

    desk: Desk
    source: ReportSource
    tally: Tally
    watch: Callable[[Happening], None]
    heard: Callable[[], set[str]]
    clock: Callable[[], float] = time.monotonic
    _next_look: float = 0.0
    _next_count: float = 0.0
    _left_at: dict[str, float] = field(default_factory=dict)

    def run(self) -> Rollout:
        """Drive; returns how the rollout stands then.

        Raises:
            HostFault, PublisherBusy: The road stayed away, or another publisher did not end; the rollout stays as it is.
        """
        while True:
            rollout = self.desk.look_patiently()
            if not self.desk.is_mine(rollout):
                is_own_end = rollout.phase in {Phase.COMPLETED, Phase.HALTED} and rollout.driver == self.desk.driver
                if not is_own_end:
                    self.watch(Happening("left", rollout.accepted, why=_who(rollout)))
                return rollout
            if rollout.accepted == len(rollout.plan.waves):
                if self.desk.step(Step.COMPLETED):
                    self.watch(Happening("completed", rollout.accepted - 1, tuple(self.tally.known)))
                continue
            self._wave(rollout)

    def _wave(self, rollout: Rollout) -> None:
        """Order the next wave and see it through."""
        number, plan = rollout.accepted, rollout.plan
        while not self.source.is_caught_up:
            self._take(number)
        heard = self._await_somebody(plan.verdict_seconds)
        if not heard:
            self._halt(number, "No instance is heard.")
            return
        up_to = reach_of(plan.waves[number], heard, rollout.up_to)
        is_new = number in rollout.sent or up_to is None or not rollout.sent or up_to != rollout.up_to
        if is_new:   # in a small fleet a wave may reach nobody that the one before has not
            sent = self.desk.order(number, up_to)
            if sent is None:
                return
            self.tally.expect(sent.order)
            wave = _Wave(number, sent.up_to, reached(heard, sent.up_to))
            self.watch(Happening("ordered", number, tuple(wave.names)))
            breach = self._see_through(rollout, wave)
            if breach is None:
                return
            if breach:
                self._halt(number, breach)
                return
        if self.desk.step(Step.ACCEPTED, wave=number) and is_new:
            self.watch(Happening("accepted", number))

    def _halt(self, number: int, why: str) -> None:
        if self.desk.step(Step.HALTED, wave=number, why=why):
            self.watch(Happening("halted", number, why=why))

    def _await_somebody(self, seconds: float) -> set[str]:
        """Return who is heard, at once when somebody is: a wave that nobody takes would be accepted by nobody."""
        deadline = self.clock() + seconds
        while True:
            heard = patiently(self.heard, self._listen)
            if heard or self.clock() >= deadline or not self.desk.is_mine(self.desk.look_patiently()):
                return heard
            self._listen(POLL_SECONDS)

    def _listen(self, seconds: float) -> None:
        deadline = self.clock() + seconds
        while self.clock() < deadline:
            self._take(0)

    def _see_through(self, rollout: Rollout, wave: _Wave) -> str | None:
        """Wait for the verdicts of a wave, then watch it; returns why it halts, or nothing, or None when it is somebody else's."""
        plan, number, late, soaks_until = rollout.plan, wave.number, list[str](), None
        deadline = self.clock() + plan.verdict_seconds
        self._next_look = self.clock() + LOOK_SECONDS
        while True:
            came, now = self._take(number), self.clock()
            if self.source.is_caught_up and (not came or now >= self._next_count):   # else what is read may be long past
                self._next_count = now + COUNT_SECONDS
                breach, undecided = self._breach(rollout, wave, late), self.tally.undecided(wave.names)
                if breach:
                    return breach
                if soaks_until is None and (not undecided or now >= deadline):
                    late = undecided
                    soaks_until = now + (plan.soak_seconds if number + 1 < len(plan.waves) else 0.0)
                    if not self._breach(rollout, wave, late) and soaks_until > now:
                        self.watch(Happening("soaking", number, why=f"{plan.soak_seconds:g} s"))
                elif soaks_until is not None and now >= soaks_until and not self._left_at:
                    return ""
            if now >= self._next_look:
                self._next_look = now + LOOK_SECONDS
                with suppress(HostFault):   # a road that is away says nothing of others either
                    if not self.desk.is_mine(self.desk.look()):
                        return None

    def _take(self, number: int) -> bool:
        """Count a report, if one comes; returns whether one did."""
        body = self.source.receive(POLL_SECONDS)
        report = None if body is None else self.tally.add(body)
        if report is not None:
            self.watch(Happening("decided", number, (report.instance,), self.tally.why.get(report.instance, ""), report))
        return body is not None

    def _breach(self, rollout: Rollout, wave: _Wave, late: Sequence[str]) -> str:
        """Return why there are more failures or vetoes than are allowed, or nothing."""
        plan, count, now, tally = rollout.plan, len({*wave.names, *self.tally.said}), self.clock(), self.tally
        refused = reached(tally.with_said(Said.REJECTED), wave.up_to)   # who cannot read an order refuses it before its turn, too
        gone = tally.with_said(Said.LEFT) + tally.undecided(tally.with_said(Said.EMPTY))
        self._left_at = {name: self._left_at.get(name, now) for name in gone}
        grace = {Said.LEFT: GRACE_SECONDS, Said.EMPTY: plan.verdict_seconds}   # it has to fetch it, as at first
        left = [name for name, since in self._left_at.items() if now - since >= grace[tally.said[name]]]
        vetoed, failed = tally.vetoed, sorted({*refused, *left, *tally.undecided(late)})
        if len(vetoed) > plan.max_vetoes:
            return f"{len(vetoed)} of {count} reported it as bad, {plan.max_vetoes} may: {self._named(vetoed)}."
        allowed = plan.max_failures.allowed_of(count)
        if len(failed) > allowed:
            return f"{len(failed)} of {count} failed, {allowed} may: {self._named(failed)}."
        return ""

    def _named(self, names: Sequence[str]) -> str:
        listed = "; ".join(f"{name}: {shortened(self.tally.why.get(name, 'has not decided'), 200)}" for name in names[:NAMED])
        return f"{listed.rstrip('.')}{'; …' if len(names) > NAMED else ''}"


def _who(rollout: Rollout) -> str:
    """Return why a driver is not the one any more."""
    if rollout.phase is Phase.RUNNING:
        return f"{rollout.driver} carries it on"
    if rollout.phase is Phase.SUPERSEDED:
        return f"order {rollout.left_by} was given to the channel"
    return f"it is {rollout.phase}{f': {rollout.why}' if rollout.why else ''}"
