"""The fleet as its reports tell it: who serves what, by which order, since when, and what each said last. Pure.

Decides who counts as silent, behind or in step. No clock of an instance is compared with another one: silence is what was not reported
lately by the road's own time, and who is behind is told by the numbers of orders. Imports the report and what a
retirement is.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from modelcast.publisher.retirement import Retired
from modelcast.shared.errors import SenderFault
from modelcast.shared.report import Report, ReportKind, Verdict
from modelcast.shared.turns import turn_of


class Step(StrEnum):
    """How an instance stands to the last order of its channel."""

    CURRENT = "current"
    """It serves what was ordered last."""
    WAITING = "waiting"
    """It serves what was ordered for it; its turn in the rollout of what was ordered last has not come."""
    BEHIND = "behind"
    """It serves something else, and has not refused."""
    REFUSED = "refused"
    """It refused what was ordered last."""
    SILENT = "silent"
    """It has not reported lately."""


@dataclass(slots=True)
class Member:
    """One instance of a channel.

    Attributes:
        instance: Its id.
        version: What it serves, or None.
        release: Release id of that, or None.
        sequence: The order that put it into service, or None where it did not say.
        reported_ms: When it reported last, by its own clock.
        since_ms: Since when it serves that, as far as is known, by its own clock.
        is_heard: Whether it reported lately.
        verdict: Its latest verdict, or None.
        host: What it said of its host.
        boots: The starts of it that were seen.
        boot: The one of them that was seen last.
    """

    instance: str
    version: str | None = None
    release: str | None = None
    sequence: int | None = None
    reported_ms: int = 0
    since_ms: int | None = None
    is_heard: bool = False
    verdict: Report | None = None
    host: dict[str, Any] = field(default_factory=dict)
    boots: set[str] = field(default_factory=set)
    boot: str = ""

    def step(self, last_sequence: int | None, last_release: str | None, own_release: str | None) -> Step:
        """Return how it stands to the last order, and to the last one that is for it."""
        if not self.is_heard:
            return Step.SILENT
        if self.release is not None and self.release == last_release:
            return Step.CURRENT
        if own_release not in {None, last_release} and self.release == own_release:
            return Step.WAITING
        refused = self.verdict is not None and self.verdict.verdict is Verdict.REJECTED and self.verdict.sequence == last_sequence
        return Step.REFUSED if refused else Step.BEHIND


@dataclass(slots=True)
class Fleet:
    """The instances of one channel.

    Args:
        model: Name of the model.
        channel: Name of the channel.
        last_sequence: Sequence of the channel's last order, or None.
        last_release: Release id of it, or None.
        last_version: Version of it, or None.
        issued_ms: When it was issued, or None.
        rollout: The channel's last rollout as long as it is not over: ``version``, ``phase``, ``accepted`` of ``waves``, ``driver``
            who carried it on last, and ``changed_ms``; or None.
        orders: Up to which turn each order of the channel is for (None is all), and its release, the latest first; as far as the
            last one that is for all.
    """

    model: str
    channel: str
    last_sequence: int | None = None
    last_release: str | None = None
    last_version: str | None = None
    issued_ms: int | None = None
    orders: tuple[tuple[int | None, str], ...] = ()
    rollout: dict[str, str | int] | None = None
    members: dict[str, Member] = field(default_factory=dict)

    def add(self, body: bytes, *, is_recent: bool) -> None:
        """Take in a report; ``is_recent`` says that it came lately by the road's time. The same one may come twice."""
        try:
            report = Report.parse(body)
        except SenderFault:
            return
        if (report.model, report.channel) != (self.model, self.channel):
            return
        if report.kind is ReportKind.STOPPED:
            self.members.pop(report.instance, None)
            return
        member = self.members.setdefault(report.instance, Member(report.instance))
        if report.active_release != member.release or report.boot not in member.boots:
            member.since_ms = report.time_ms
        member.version, member.release = report.active_version, report.active_release
        if report.kind is ReportKind.STATE:
            member.sequence = report.sequence
        elif report.kind is ReportKind.VERDICT:
            member.verdict = report
        member.reported_ms, member.host = report.time_ms, report.host
        member.is_heard |= is_recent
        member.boot = report.boot
        member.boots.add(report.boot)

    def retire(self, retired: Retired) -> None:
        """Leave out an instance that does not come back, unless it did."""
        member = self.members.get(retired.instance)
        if member is not None and not member.is_heard and retired.is_still_away(member.boot, member.reported_ms):
            del self.members[retired.instance]

    @property
    def steps(self) -> dict[str, Step]:
        """How each instance stands to the last order, by name."""
        return {
            name: member.step(self.last_sequence, self.last_release, self._release_for(name))
            for name, member in sorted(self.members.items())
        }

    def _release_for(self, instance: str) -> str | None:
        """Return what was ordered last for an instance."""
        return next((release for up_to, release in self.orders if up_to is None or turn_of(instance) <= up_to), None)

    @property
    def versions(self) -> Counter[str]:
        """How many of those that are heard serve which version."""
        return Counter(member.version or "nothing" for member in self.members.values() if member.is_heard)

    @property
    def is_in_step(self) -> bool:
        """Whether every instance serves what was ordered last for it, and there is one."""
        return bool(self.members) and set(self.steps.values()) <= {Step.CURRENT, Step.WAITING}

    def to_dict(self) -> dict[str, object]:
        """Return everything as plain values, for JSON."""
        steps = self.steps
        return {
            "model": self.model, "channel": self.channel, "ordered": {
                "version": self.last_version, "release": self.last_release, "sequence": self.last_sequence,
                "issued_ms": self.issued_ms,
            },
            "rollout": self.rollout,
            "current": sum(step is Step.CURRENT for step in steps.values()), "instances": len(steps), "versions": dict(self.versions),
            "members": [_member(self.members[name], step) for name, step in steps.items()],
        }


def _member(member: Member, step: Step) -> dict[str, object]:
    verdict = member.verdict
    return {
        "instance": member.instance, "step": step.value, "version": member.version, "release": member.release,
        "sequence": member.sequence, "since_ms": member.since_ms, "reported_ms": member.reported_ms, "starts": len(member.boots),
        "verdict": None if verdict is None else {
            "verdict": str(verdict.verdict), "version": verdict.version, "sequence": verdict.sequence, "reason": verdict.reason,
            "message": verdict.message, "at_ms": verdict.time_ms, "stages_ms": verdict.stages_ms,
        },
        "host": member.host,
    }


def slowest_stage(reports: Iterable[Report]) -> tuple[str, str, float] | None:
    """Return instance, stage and milliseconds of what took longest in all of them, or None.

    Durations of one host's own clock; no two clocks are compared.
    """
    stages = [(report.instance, stage, took) for report in reports for stage, took in report.stages_ms.items()]
    return max(stages, key=lambda stage: stage[2], default=None)
