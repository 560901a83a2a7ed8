"""What a register says of the rollouts of a channel: what was planned, who drives it, how far it is. Pure: records in, state out.

Decides the two records and what they amount to. The state of a rollout is here and nowhere else: whoever reads the register can go on
with it, and the last one who said so is the one who does. Imports the plan and how records are made.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from modelcast.publisher.recording import number, number_or_none, of, record, text_or_none
from modelcast.publisher.rollout.plan import Amount, RolloutPlan, waves_of
from modelcast.shared.errors import MisuseError


class Step(StrEnum):
    """What happened to a rollout."""

    DRIVEN = "driven"
    """Somebody carries it on; whoever did before does not."""
    ACCEPTED = "accepted"
    """The verdicts of a wave are in, and nothing came up while it was watched."""
    PAUSED = "paused"
    HALTED = "halted"
    """More failed, or were vetoed, than was allowed."""
    ABORTED = "aborted"
    COMPLETED = "completed"


class Phase(StrEnum):
    """How a rollout stands."""

    RUNNING = "running"
    PAUSED = "paused"
    HALTED = "halted"
    ABORTED = "aborted"
    COMPLETED = "completed"
    SUPERSEDED = "superseded"
    """Somebody ordered the channel to run something else."""


PHASES = {
    Step.DRIVEN: Phase.RUNNING, Step.PAUSED: Phase.PAUSED, Step.HALTED: Phase.HALTED, Step.ABORTED: Phase.ABORTED,
    Step.COMPLETED: Phase.COMPLETED,
}
"""What a step leads to; one that is not here leaves the phase as it is."""
OVER = frozenset({Phase.ABORTED, Phase.COMPLETED, Phase.SUPERSEDED})
"""Nobody goes on from here."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A rollout that was begun.

    Attributes:
        channel: Name of the channel.
        sequence: The number of the rollout; its orders have higher sequences, or the first of them the same.
        release: Id of the release.
        version: Its version.
        plan: What it is to do.
        at_ms: When, milliseconds since 1970 UTC.
    """

    channel: str
    sequence: int
    release: str
    version: str
    plan: RolloutPlan
    at_ms: int

    def to_bytes(self) -> bytes:
        """Return the record's bytes."""
        plan = self.plan
        return record(
            "rollout", channel=self.channel, sequence=self.sequence, release=self.release, version=self.version, at_ms=self.at_ms,
            waves=[str(wave) for wave in plan.waves], soak_ms=round(plan.soak_seconds * 1000),
            verdict_ms=round(plan.verdict_seconds * 1000), max_failures=str(plan.max_failures), max_vetoes=plan.max_vetoes,
            rolls_back=plan.rolls_back,
        )

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> "Begun":
        """Take a record apart; raises ValueError, KeyError when it is none."""
        try:
            plan = RolloutPlan(
                waves_of([of(str, wave) for wave in of(list, fields["waves"])]), number(fields["soak_ms"]) / 1000,
                number(fields["verdict_ms"]) / 1000, Amount.parse(of(str, fields["max_failures"])), number(fields["max_vetoes"]),
                of(bool, fields["rolls_back"]),
            )
        except MisuseError as error:
            raise ValueError(str(error)) from error
        return cls(
            of(str, fields["channel"]), number(fields["sequence"]), of(str, fields["release"]), of(str, fields["version"]), plan,
            number(fields["at_ms"]),
        )


@dataclass(frozen=True, slots=True)
class Stepped:
    """Something that happened to a rollout.

    Attributes:
        channel: Name of the channel.
        sequence: Number of the rollout.
        step: What happened.
        at_ms: When, milliseconds since 1970 UTC.
        driver: Who did it.
        wave: About which wave, counted from 0, or None.
        why: Why, in words.
        max_failures: From here on so many may fail; None is as before.
        max_vetoes: From here on so many may veto it; None is as before.
    """

    channel: str
    sequence: int
    step: Step
    at_ms: int
    driver: str
    wave: int | None = None
    why: str = ""
    max_failures: Amount | None = None
    max_vetoes: int | None = None

    def to_bytes(self) -> bytes:
        """Return the record's bytes."""
        return record(
            "rollout-step", channel=self.channel, sequence=self.sequence, step=self.step.value, at_ms=self.at_ms, driver=self.driver,
            wave=self.wave, why=self.why, max_failures=None if self.max_failures is None else str(self.max_failures),
            max_vetoes=self.max_vetoes,
        )

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> "Stepped":
        """Take a record apart; raises ValueError, KeyError when it is none."""
        allowed = text_or_none(fields["max_failures"])
        try:
            max_failures = None if allowed is None else Amount.parse(allowed)
        except MisuseError as error:
            raise ValueError(str(error)) from error
        return cls(
            of(str, fields["channel"]), number(fields["sequence"]), Step(of(str, fields["step"])), number(fields["at_ms"]),
            of(str, fields["driver"]), number_or_none(fields["wave"]), of(str, fields["why"]), max_failures,
            number_or_none(fields["max_vetoes"]),
        )


@dataclass(frozen=True, slots=True)
class Sent:
    """A wave that was ordered.

    Attributes:
        sequence: Sequence of its order.
        up_to: It is for the instances up to this turn; None is for all.
        issued_ms: When, milliseconds since 1970 UTC.
        order: Its identity, or None while it is not known to be sent.
    """

    sequence: int
    up_to: int | None
    issued_ms: int
    order: str | None = None


@dataclass(slots=True)
class Rollout:
    """A rollout as its records tell it.

    Attributes:
        begun: What was begun.
        plan: What it is to do, with what was allowed since.
        phase: How it stands.
        driver: Who carried it on last.
        accepted: Waves that are over, from the first on.
        why: Why it was paused, halted or aborted.
        changed_ms: When something happened last.
        left_by: Sequence of the order that the channel was given meanwhile by others, or None.
        sent: The waves that were ordered, by their number.
        may_be_out: Whether a wave was ordered, or may have been by somebody who was killed.
    """

    begun: Begun
    plan: RolloutPlan
    phase: Phase = Phase.RUNNING
    driver: str = ""
    accepted: int = 0
    why: str = ""
    changed_ms: int = 0
    left_by: int | None = None
    sent: dict[int, Sent] = field(default_factory=dict)
    may_be_out: bool = False

    @property
    def up_to(self) -> int | None:
        """Up to which turn the waves reach that were ordered; None is all, and -1 nobody."""
        reached = [sent.up_to for sent in self.sent.values()]
        return None if None in reached else max((turn for turn in reached if turn is not None), default=-1)

    @property
    def is_over(self) -> bool:
        """Whether nobody goes on with it."""
        return self.phase in OVER

    def add(self, stepped: Stepped) -> None:
        """Take in what happened."""
        self.changed_ms = stepped.at_ms
        if self.phase in {Phase.ABORTED, Phase.COMPLETED}:
            return
        if stepped.step is Step.ACCEPTED and stepped.wave == self.accepted:
            self.accepted += 1
        if stepped.step is Step.DRIVEN:
            self.driver = stepped.driver
        self.phase = PHASES.get(stepped.step, self.phase)
        self.why = stepped.why if stepped.step in PHASES else self.why
        if stepped.max_failures is not None:
            self.plan = replace(self.plan, max_failures=stepped.max_failures)
        if stepped.max_vetoes is not None:
            self.plan = replace(self.plan, max_vetoes=stepped.max_vetoes)

    def leave(self, sequence: int) -> None:
        """Take note that the channel was given another order by somebody else."""
        self.left_by = sequence if self.left_by is None else self.left_by
        if self.phase in {Phase.RUNNING, Phase.PAUSED}:
            self.phase = Phase.SUPERSEDED


class RolloutBook:
    """The rollouts of a register, by channel."""

    def __init__(self) -> None:
        self._last: dict[str, Rollout] = {}

    def add(self, fields: Mapping[str, Any]) -> bool:
        """Take in a record; returns whether it is one of a rollout. Raises ValueError, KeyError when it is damaged."""
        kind = fields.get("record")
        if kind == "rollout":
            begun = Begun.parse(fields)
            self._last[begun.channel] = Rollout(begun, begun.plan, changed_ms=begun.at_ms)
        elif kind == "rollout-step":
            stepped = Stepped.parse(fields)
            rollout = self._last.get(stepped.channel)
            if rollout is not None and rollout.begun.sequence == stepped.sequence:
                rollout.add(stepped)
        return kind in {"rollout", "rollout-step"}

    def ordered(self, channel: str, sent: Sent, rollout: int | None, wave: int | None, *, is_known: bool) -> None:
        """Take note of an order, and of the wave of a rollout that it is, if it is one.

        Args:
            channel: Its channel.
            sent: The order.
            rollout: The rollout that it belongs to, or None.
            wave: Which wave of it, or None.
            is_known: Whether it is known to be sent; one that only may have been has the same effect, but a wave is ordered again.
        """
        last = self._last.get(channel)
        if last is None or sent.sequence < last.begun.sequence:
            return
        if rollout != last.begun.sequence or wave is None:
            last.leave(sent.sequence)
            return
        last.may_be_out, last.changed_ms = True, max(last.changed_ms, sent.issued_ms)
        if is_known:
            last.sent[wave] = sent

    def last(self, channel: str) -> Rollout | None:
        """Return the last rollout of a channel, or None."""
        return self._last.get(channel)
