"""The report: what an instance says of itself, a verdict on an order or its state.

Decides the fields. Reports are read by people and by ``publish --wait``; no instance decides anything by them.
"""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from modelcast.shared.limits import DEFAULT_LIMITS
from modelcast.shared.values import WireValue

REPORT_FORMATS = frozenset({1})


class Verdict(StrEnum):
    """What an instance decided on an order."""

    PROMOTED = "promoted"
    REJECTED = "rejected"
    SUPERSEDED = "superseded"
    DEFERRED = "deferred"
    """Not yet: its turn in a gradual rollout has not come, and another order will say so."""


class ReportKind(StrEnum):
    """Whether a report carries a verdict, a state, the last word of an instance that stops in order, or the answer to a question."""

    VERDICT = "verdict"
    STATE = "state"
    STOPPED = "stopped"
    ANSWER = "answer"


class Report(WireValue):
    """One report of one instance.

    Attributes:
        format: Number of this format.
        kind: Verdict, state or stopped.
        instance: Who reports.
        boot: Random id of this start of the instance; tells a restart from a silence.
        model: Model of the channel.
        channel: Channel.
        time_ms: The instance's clock, milliseconds since 1970 UTC; for people.
        order: Identity of the order that was decided on, 64 hexadecimal digits.
        release: Id of the release, 64 hexadecimal digits.
        version: Version of the release.
        sequence: Sequence of the order; in a report of the state, of the one that put what is served into service.
        verdict: The verdict; in an answer, what it would be.
        reason: Code of the reason of a rejection (``reasons.Reason``); text, so that newer codes can be read.
        message: The reason in a sentence.
        facts: Both sides of what did not match, and other data behind the message.
        active_version: What the instance serves now, or None.
        active_release: Its release id.
        stages_ms: Duration of each stage in milliseconds.
        transfer: Bytes and chunks fetched and reused, and the ``source`` of the fetched ones: ``stream``, ``amqp`` or both.
        host: Facts about the instance: Python, platform, process id, modelcast version, libraries, memory, longest stall.
    """

    format: int = 1
    kind: Annotated[ReportKind, Field(strict=False)]
    instance: str
    boot: str
    model: str
    channel: str
    time_ms: int
    order: str | None = None
    release: str | None = None
    version: str | None = None
    sequence: int | None = None
    verdict: Annotated[Verdict, Field(strict=False)] | None = None
    reason: str | None = None
    message: str | None = None
    facts: dict[str, Any] = Field(default_factory=dict)
    active_version: str | None = None
    active_release: str | None = None
    stages_ms: dict[str, float] = Field(default_factory=dict)
    transfer: dict[str, int | str] = Field(default_factory=dict)
    host: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def parse(cls, body: bytes) -> "Report":
        """Parse a report's bytes.

        Raises:
            SenderFault: They are no report.
        """
        return cls.from_bytes(body, what="report", formats=REPORT_FORMATS, max_bytes=DEFAULT_LIMITS.report_bytes)
