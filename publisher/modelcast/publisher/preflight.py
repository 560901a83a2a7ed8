"""Asking the instances whether they would take a release, before a byte of it is sent.

Decides how long is waited and who counts as silent. The question travels as announcements do, signed as an order would be, and decides
nothing. Imports the register, the road's protocols and the wire values.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from modelcast.publisher.catalog import Catalog
from modelcast.publisher.chronicle import HEARD_MINUTES
from modelcast.shared.digest import digest
from modelcast.shared.errors import SenderFault
from modelcast.shared.order import QUESTION_TYPE, Kind, Order, QuestionMessage, order_id
from modelcast.shared.publishing_road import PublisherRoad
from modelcast.shared.report import Report, ReportKind, Verdict
from modelcast.shared.road import Road
from modelcast.shared.signing import Envelope, SigningKey

POLL_SECONDS = 0.2
LASTS_MS = 60_000
"""An instance that sees the question later does not answer."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What the instances of a channel say of a release that was not ordered yet.

    Attributes:
        accepting: Answers of those that would take it, by instance.
        refusing: Answers of those that would not, by instance, each with its reason, message and facts.
        silent: Instances that reported lately and have not answered.
    """

    accepting: dict[str, Report] = field(default_factory=dict)
    refusing: dict[str, Report] = field(default_factory=dict)
    silent: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether somebody answered, and all of them would take it."""
        return bool(self.accepting) and not self.refusing and not self.silent


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked.

    Attributes:
        model: Name of the model.
        channel: Name of the channel.
        manifest: Envelope of the manifest, or of a draft.
    """

    model: str
    channel: str
    manifest: bytes

    def message(self, catalog: Catalog, key: SigningKey, now_ms: int) -> bytes:
        """Return the message that asks it."""
        payload = Envelope.from_bytes(self.manifest, what="manifest").payload
        order = Order(
            model=self.model, channel=self.channel, kind=Kind.PROMOTION, release=digest(payload),
            sequence=catalog.next_sequence(self.channel, now_ms), issued_ms=now_ms, expires_ms=now_ms + LASTS_MS,
        )
        return QuestionMessage(key.sign(QUESTION_TYPE, order.to_bytes()), self.manifest).to_bytes()


def ask(
    road: Road, open_session: Callable[[], PublisherRoad], question_of: Callable[[Catalog], Question], key: SigningKey, *,
    timeout_seconds: float,
) -> Forecast:
    """Ask, and wait until all that reported lately have answered, or the time is over.

    Args:
        road: Where the answers come.
        open_session: Opens a publisher's session.
        question_of: Returns what is asked, from what the register says.
        key: Signs it as an order would be signed.
        timeout_seconds: Longest wait.

    Raises:
        HostFault: The road broke.
    """
    source, known = road.reports(since_minutes=HEARD_MINUTES), set[str]()
    forecast, deadline = Forecast(), time.monotonic() + timeout_seconds
    try:
        session = open_session()
        try:
            catalog = Catalog(session.register.read())
            question = question_of(catalog)
            body = question.message(catalog, key, time.time_ns() // 1_000_000)
            session.announce(question.channel, body)
            session.register.read()   # by then the road has the question, too
        finally:
            session.close()
        answered: set[str] = set()
        while time.monotonic() < deadline and not (source.is_caught_up and known and known <= answered):
            report = _parsed(source.receive(POLL_SECONDS))
            if report is None or (report.model, report.channel) != (question.model, question.channel):
                continue
            (known.discard if report.kind is ReportKind.STOPPED else known.add)(report.instance)
            if report.kind is ReportKind.ANSWER and report.order == order_id(body):
                answered.add(report.instance)
                (forecast.accepting if report.verdict is Verdict.PROMOTED else forecast.refusing)[report.instance] = report
        return replace(forecast, silent=tuple(sorted(known - answered)))
    finally:
        source.close()


def _parsed(body: bytes | None) -> Report | None:
    try:
        return None if body is None else Report.parse(body)
    except SenderFault:
        return None
