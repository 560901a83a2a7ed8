"""What an instance says of itself: builds reports. Pure but for the clock and the host's facts, which come in. Imports the report."""

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from modelcast.consumer.active import ActiveModel
from modelcast.consumer.host_facts import HostFacts
from modelcast.consumer.trust import TrustedOrder
from modelcast.shared.errors import SenderFault
from modelcast.shared.limits import DEFAULT_LIMITS, shortened
from modelcast.shared.packing import plain
from modelcast.shared.report import Report, ReportKind, Verdict
from modelcast.shared.road import Target


def now_ms() -> int:
    """Return the wall-clock time in milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Reporter:
    """Builds the reports of one instance.

    Attributes:
        target: Who reports.
        boot: Random id of this start.
        clock_ms: The wall clock.
        host: What is said of the host.
    """

    target: Target
    boot: str = field(default_factory=lambda: secrets.token_hex(8))
    clock_ms: Callable[[], int] = now_ms
    host: HostFacts = field(default_factory=HostFacts)

    def state(self, active: ActiveModel | None, kind: ReportKind = ReportKind.STATE) -> bytes:
        """Return a report of what is served now."""
        body = self._report(kind, active, {"sequence": active.sequence if active else None}).to_bytes()
        self.host.begin_again()
        return body

    def verdict(
        self, order: str, verdict: Verdict, active: ActiveModel | None, *, trusted: TrustedOrder | ActiveModel | None = None,
        fault: SenderFault | None = None, stages_ms: Mapping[str, float] | None = None,
        transfer: Mapping[str, int | str] | None = None,
    ) -> bytes:
        """Return a report of a verdict on an order."""
        fields: dict[str, Any] = {
            "order": order, "verdict": verdict, "stages_ms": dict(stages_ms or {}), "transfer": dict(transfer or {}),
        }
        if trusted is not None:
            sequence = trusted.sequence if isinstance(trusted, ActiveModel) else trusted.order.sequence
            fields |= {"release": trusted.release, "version": trusted.manifest.version, "sequence": sequence}
        if fault is not None:
            fields |= {"reason": fault.reason.value, "message": shortened(fault), "facts": plain(fault.facts)}
        body = self._report(ReportKind.VERDICT, active, fields).to_bytes()
        if len(body) > DEFAULT_LIMITS.report_bytes:
            fields["facts"] = {"shortened": True}
            body = self._report(ReportKind.VERDICT, active, fields).to_bytes()
        return body

    def answer(
        self, question: str, active: ActiveModel | None, *, asked: TrustedOrder | None, reason: str | None, message: str | None,
        facts: Mapping[str, Any],
    ) -> bytes:
        """Return a report that answers a question: what the verdict would be."""
        fields: dict[str, Any] = {
            "order": question, "verdict": Verdict.PROMOTED if reason is None else Verdict.REJECTED, "reason": reason,
            "message": message, "facts": plain(facts),
        }
        if asked is not None:
            fields |= {"release": asked.release, "version": asked.manifest.version, "sequence": asked.order.sequence}
        body = self._report(ReportKind.ANSWER, active, fields).to_bytes()
        if len(body) > DEFAULT_LIMITS.report_bytes:
            body = self._report(ReportKind.ANSWER, active, fields | {"facts": {"shortened": True}}).to_bytes()
        return body

    def _report(self, kind: ReportKind, active: ActiveModel | None, fields: Mapping[str, Any]) -> Report:
        return Report(
            kind=kind, instance=self.target.instance, boot=self.boot, model=self.target.model, channel=self.target.channel,
            time_ms=self.clock_ms(), active_version=active.version if active else None,
            active_release=active.release if active else None, host=self.host.now(active), **fields,
        )
