"""What the instances of a rollout say, counted. Pure: reports in, numbers out.

Decides who failed: who rejected the release, left it again, or has not decided when the time was over; and who vetoed it. Imports the
report.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from modelcast.shared.errors import SenderFault
from modelcast.shared.limits import shortened
from modelcast.shared.reasons import Reason
from modelcast.shared.report import Report, ReportKind, Verdict

WHY_CHARACTERS = 500
"""So much of each instance is kept; modelcast why tells all."""


class Said(StrEnum):
    """What an instance said last of the release."""

    PROMOTED = "promoted"
    REJECTED = "rejected"
    VETOED = "vetoed"
    """Its application reported it as bad."""
    LEFT = "left"
    """It promoted it, and serves something else now."""
    EMPTY = "empty"
    """It promoted it, has begun anew without its store, and serves nothing yet."""


@dataclass(slots=True)
class Tally:
    """Counts what is said of one release in one channel, since its rollout began.

    Args:
        model: Name of the model.
        channel: Name of the channel.
        release: Id of the release.
        since: Number of the rollout, not above the sequence of its first order.
        order: Identity of the order of the last wave, or None: who cannot read it names only that when it refuses it.
        known: Instances that were heard and did not stop.
        said: What each said last, if anything.
        why: In their words, of those that do not serve it.
    """

    model: str
    channel: str
    release: str
    since: int
    order: str | None = None
    known: set[str] = field(default_factory=set)
    said: dict[str, Said] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)
    _unread: set[str] = field(default_factory=set)

    def expect(self, order: str | None) -> None:
        """Take note of the order of a wave: who could not read the one before may read this one."""
        if order != self.order:
            self.order = order
            for name in self._unread:
                self.said.pop(name, None)
                self.why.pop(name, None)
            self._unread.clear()

    def add(self, body: bytes) -> Report | None:
        """Count one report; returns it if it says something new of the release."""
        try:
            report = Report.parse(body)
        except SenderFault:
            return None
        if (report.model, report.channel) != (self.model, self.channel) or report.kind is ReportKind.ANSWER:
            return None
        if report.kind is ReportKind.STOPPED:
            self.known.discard(report.instance)
            return None
        self.known.add(report.instance)
        said = self._state(report) if report.kind is ReportKind.STATE else self._verdict(report)
        if said is None or said is self.said.get(report.instance):
            return None
        self.said[report.instance] = said
        self.why.pop(report.instance, None)
        if said is Said.LEFT:
            self.why[report.instance] = f"serves {report.active_version} again"
        elif said is Said.EMPTY:
            self.why[report.instance] = "has begun anew and serves nothing"
        elif said is not Said.PROMOTED:
            self.why[report.instance] = shortened(f"{report.reason}: {report.message}", WHY_CHARACTERS)
        return report

    def _state(self, report: Report) -> Said | None:
        """Return what the state of an instance says; one that never had the release says nothing by not having it."""
        before = self.said.get(report.instance)
        if report.active_release == self.release:
            is_ours = (report.sequence or 0) >= self.since   # it may have run it before, and be told to leave it and come back
            return Said.PROMOTED if is_ours and before is not Said.VETOED else None
        if before not in {Said.PROMOTED, Said.EMPTY}:
            return None
        return Said.EMPTY if report.active_release is None else Said.LEFT

    def _verdict(self, report: Report) -> Said | None:
        if report.release is None and report.order is not None and report.order == self.order:
            if report.verdict is not Verdict.REJECTED or report.instance in self.said:
                return None
            self._unread.add(report.instance)   # an earlier modelcast, say
            return Said.REJECTED
        if report.release != self.release:
            has_left = report.verdict is Verdict.PROMOTED and report.active_release not in {None, self.release}
            return Said.LEFT if has_left and self.said.get(report.instance) in {Said.PROMOTED, Said.EMPTY} else None
        if (report.sequence or 0) < self.since:
            return None
        self._unread.discard(report.instance)
        if report.verdict is Verdict.REJECTED:
            is_veto = report.reason == Reason.REPORTED_BAD or self.said.get(report.instance) is Said.VETOED
            return Said.VETOED if is_veto else Said.REJECTED
        if report.verdict is Verdict.PROMOTED and self.said.get(report.instance) is not Said.VETOED:
            return Said.PROMOTED
        return None

    def with_said(self, *what: Said) -> list[str]:
        """Return the instances that said one of these, by name."""
        return sorted(name for name, said in self.said.items() if said in what)

    @property
    def failed(self) -> list[str]:
        """The instances that refused it, or left it again."""
        return self.with_said(Said.REJECTED, Said.LEFT)

    @property
    def vetoed(self) -> list[str]:
        """The instances whose application reported it as bad."""
        return self.with_said(Said.VETOED)

    def undecided(self, instances: Iterable[str]) -> list[str]:
        """Return those of these instances that are there and have not decided, or have lost what they promoted."""
        return [name for name in instances if name in self.known and self.said.get(name, Said.EMPTY) is Said.EMPTY]
