"""Waiting for verdicts: a tally that only counts, and the loop that feeds it.

Decides when enough instances have decided. Imports the report and the road's protocols.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from modelcast.publisher.publication import Publication
from modelcast.publisher.retirement import Retired
from modelcast.shared.digest import digest
from modelcast.shared.errors import MisuseError, SenderFault
from modelcast.shared.report import Report, ReportKind, Verdict
from modelcast.shared.road import ReportSource

POLL_SECONDS = 0.5
"""Between two looks at the clock and at the source; only where no report comes does anything wait so long."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the instances decided.

    Attributes:
        promoted: Reports of instances that promoted the release, or that say that they serve it, by instance.
        rejected: Reports of instances that rejected it, by instance.
        superseded: Reports of instances that went on to a newer order, by instance.
        silent: Known instances that have not decided.
        needed: How many promotions were waited for.
        timed_out: Whether the time ran out first.
        fault: Why the road was away when the waiting ended, so that verdicts may be missing; None when it was there.
    """

    promoted: dict[str, Report]
    rejected: dict[str, Report]
    superseded: dict[str, Report]
    silent: tuple[str, ...]
    needed: int
    timed_out: bool
    fault: str | None = None

    @property
    def ok(self) -> bool:
        """Whether as many instances promoted the release as were waited for."""
        return len(self.promoted) >= self.needed and not self.timed_out

    @property
    def exit_code(self) -> int:
        """0 enough promoted, 3 some rejected, 10 the time ran out."""
        if self.ok:
            return 0
        return 3 if self.rejected or not self.timed_out else 10


@dataclass(slots=True)
class Tally:
    """Counts reports for one order.

    Args:
        publication: The order's publication.
        instances: Wait for so many instances, or
        share: for this share of the known ones.
        known: Instances that reported and did not stop.
        decided: Their verdicts on this order.
        serving: States of those that serve the release now and gave no verdict.
        is_past_read: Whether all that was reported before the waiting began, or while the road was away, is counted.
        latest: The start under which each instance reported last, and when by its own clock.
        counted: Digests of the verdicts that were counted: a road that was away is read again, and an instance may send one twice.
    """

    publication: Publication
    instances: int | None
    share: float | None
    known: set[str] = field(default_factory=set)
    decided: dict[str, Report] = field(default_factory=dict)
    serving: dict[str, Report] = field(default_factory=dict)
    is_past_read: bool = False
    counted: set[bytes] = field(default_factory=set)
    latest: dict[str, tuple[str, int]] = field(default_factory=dict)

    def add(self, body: bytes) -> Report | None:
        """Count one report; returns it if it is a new verdict on this order."""
        try:
            report = Report.parse(body)
        except SenderFault:
            return None
        if (report.model, report.channel) != (self.publication.model, self.publication.channel):
            return None
        if report.kind == ReportKind.STOPPED:
            self.known.discard(report.instance)
            self.serving.pop(report.instance, None)
            return None
        self.known.add(report.instance)
        self.latest[report.instance] = (report.boot, report.time_ms)
        if report.kind == ReportKind.STATE:
            self._note_service(report)
        if report.kind != ReportKind.VERDICT or report.order != self.publication.order:
            return None
        identity, before = digest(body), self.decided.get(report.instance)
        if identity in self.counted:
            return None
        self.counted.add(identity)
        if before is not None and before.verdict == report.verdict:
            return None
        self.decided[report.instance] = report
        self.serving.pop(report.instance, None)   # the verdict counts
        return report

    def forget(self, retired: Retired) -> None:
        """Leave out an instance that does not come back, whatever it said, unless it did come back."""
        latest = self.latest.get(retired.instance)
        if latest is not None and retired.is_still_away(*latest):
            self.known.discard(retired.instance)
            for said in (self.decided, self.serving):
                said.pop(retired.instance, None)

    def _note_service(self, report: Report) -> None:
        serves = report.active_release == self.publication.release and (report.sequence or 0) >= self.publication.sequence
        if serves and report.instance not in self.decided:   # by this order: it may have served the release before, too
            self.serving[report.instance] = report
        else:
            self.serving.pop(report.instance, None)   # it went on to something else since

    def with_verdict(self, verdict: Verdict) -> dict[str, Report]:
        """Return the reports with ``verdict``, by instance."""
        return {name: report for name, report in sorted(self.decided.items()) if report.verdict == verdict}

    @property
    def promoted(self) -> dict[str, Report]:
        """Reports of the instances that promoted the release, or that serve it and gave no verdict that is still kept.

        What an instance serves counts when the past is read: what it served minutes ago may be gone.
        """
        serving = self.serving if self.is_past_read else {}
        return dict(sorted((serving | self.with_verdict(Verdict.PROMOTED)).items()))

    @property
    def needed(self) -> int:
        """How many promotions are waited for, as far as is known now."""
        if self.instances is not None:
            return self.instances
        return max(1, math.ceil(round((self.share or 0.0) * len(self.known), 6)))   # 0.55 * 100 is a little over 55

    @property
    def is_settled(self) -> bool:
        """Whether waiting longer can change nothing that was asked for."""
        if self.instances is None and not self.is_past_read:
            return False   # a share is of those that are known, all of them
        if len(self.decided) + (len(self.serving) if self.is_past_read else 0) < self.needed:
            return False   # asked for each report: what follows looks at all instances, 10,000 times 10,000 in a large fleet
        expected = max(self.needed, len(self.known)) if self.instances is None else self.needed
        return len(self.promoted) >= self.needed or len({*self.decided, *self.promoted}) >= expected

    def outcome(self, *, timed_out: bool) -> Outcome:
        """Return the count as it stands."""
        return Outcome(
            self.promoted, self.with_verdict(Verdict.REJECTED), self.with_verdict(Verdict.SUPERSEDED),
            tuple(sorted(self.known - {*self.decided, *self.promoted})), self.needed, timed_out,
        )


def await_verdicts(
    source: ReportSource, tally: Tally, *, timeout_seconds: float, clock: Callable[[], float], on_verdict: Callable[[Report], None]
) -> Outcome:
    """Read reports until the tally is settled or the time is over.

    Args:
        source: Reports, beginning before the order.
        tally: Where they are counted.
        timeout_seconds: Longest wait.
        clock: A monotonic clock in seconds.
        on_verdict: Is called with each verdict as it comes.
    """
    deadline = clock() + timeout_seconds
    while True:
        tally.is_past_read = source.is_caught_up
        if tally.is_settled:
            return tally.outcome(timed_out=False)
        remaining = deadline - clock()
        if remaining <= 0:
            return tally.outcome(timed_out=True)
        body = source.receive(min(POLL_SECONDS, remaining))
        verdict = None if body is None else tally.add(body)
        if verdict is not None:
            on_verdict(verdict)


def check_wish(instances: int | None, share: float | None, timeout_seconds: float = 0.0) -> None:
    """Refuse a wish that cannot be fulfilled.

    Raises:
        MisuseError: Not exactly one of the first two is given, or one of them is out of range.
    """
    if not timeout_seconds >= 0:   # NaN neither: it never passes
        raise MisuseError(f"{timeout_seconds} seconds cannot be waited.", hint="Give 0 or more.")
    if (instances is None) == (share is None):
        raise MisuseError("Say how many instances to wait for, or which share of the known ones.", hint="wait(..., instances=3)")
    if instances is not None and instances < 1:
        raise MisuseError(f"{instances} instances cannot be waited for.", hint="Give 1 or more.")
    if share is not None and not 0 < share <= 1:
        raise MisuseError(f"{share} is no share.", hint="Give a share above 0 and up to 1, such as 0.95.")
