"""One dead letter with all that is known of it. Pure: bytes in, a value out; nothing of it is believed, nothing unpickled.

Decides what is shown of a message that may come from anybody. Imports the wire values and reasons.
"""

from dataclasses import dataclass, replace
from typing import Any, Self

from modelcast.shared.digest import digest
from modelcast.shared.errors import SenderFault
from modelcast.shared.limits import DEFAULT_LIMITS
from modelcast.shared.manifest import MANIFEST_FORMATS, Manifest
from modelcast.shared.order import ORDER_FORMATS, Order, OrderMessage, order_id
from modelcast.shared.reasons import EXPLANATIONS, Explanation, Reason
from modelcast.shared.report import Report
from modelcast.shared.road import DeadLetter
from modelcast.shared.signing import Envelope

_UNREPORTED = Explanation(
    "The instance refused the order, but its report is not there (any more).",
    "Unknown without the report.",
    "Look at the log of the instance at that time; reports are kept for 7 days.",
)
_BY_THE_BROKER = {
    "delivery_limit": Explanation(
        "The broker gave it out as often as its delivery limit allows, and each time the connection was lost before a verdict.",
        "Nobody's as a rule: the instance goes on with the order all the same, and its verdict is in the reports.",
        "See what the instance serves (modelcast fleet). If it never decided, send the order back with replay. Find out why its "
        "connections are lost; without a policy for it RabbitMQ 3.10 has no delivery limit, and 4.0 one of 20.",
    ),
    "expired": Explanation(
        "It lay in the queue longer than a policy of the broker lets messages live; the instance never saw it.",
        "The operator of the broker: no part of modelcast sets such a time.",
        "Send it back with replay if it is still wanted, and take the policy (message-ttl) away from the instances' queues.",
    ),
    "maxlen": Explanation(
        "The queue had as many messages as a policy of the broker allows, so that the oldest left it; the instance never saw it.",
        "The operator of the broker: no part of modelcast sets such a limit for a queue of orders.",
        "Send it back with replay if it is still wanted, and take the policy (max-length) away from the instances' queues.",
    ),
}
"""Why a letter without a report is there, where the broker says that the instance did not refuse it."""
_NEWER = Explanation(
    "The instance gave a reason that this version of modelcast does not know.",
    "Unknown here.",
    "Upgrade modelcast where you run this command; the message and facts say what the instance saw.",
)


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter, joined with the instance's report.

    Attributes:
        id: Short name for the command line.
        order_id: Identity of the order message.
        model: Model of the queue it died in, or None.
        channel: Channel of that queue.
        instance: Instance of that queue.
        died_ms: When, milliseconds since 1970 UTC.
        cause: The broker's word for why it is here.
        order: The order's claims, or None when they cannot be read. Unverified.
        manifest: The manifest's claims, or None. Unverified.
        claimed_version: The version that the manifest claims, or None. Unverified.
        signed_by: Key ids that the message names. Unverified.
        report: The instance's report, or None.
        size_bytes: Size of the message.
    """

    id: str
    order_id: str
    model: str | None
    channel: str | None
    instance: str | None
    died_ms: int | None
    cause: str
    order: Order | None
    manifest: Manifest | None
    claimed_version: str | None
    signed_by: tuple[str, ...]
    size_bytes: int
    report: Report | None = None

    def in_brief(self) -> Self:
        """Return the letter without order and manifest, which can be large."""
        return replace(self, order=None, manifest=None)

    @property
    def version(self) -> str | None:
        """The version, from the report or as the message claims."""
        if self.report is not None and self.report.version is not None:
            return self.report.version
        return self.claimed_version

    @property
    def reason(self) -> str | None:
        """Code of the reason, from the report."""
        return self.report.reason if self.report else None

    @property
    def explanation(self) -> Explanation:
        """The reason in words: what happened, whose fault, what to do."""
        if self.reason is None:
            return _BY_THE_BROKER.get(self.cause, _UNREPORTED)
        try:
            return EXPLANATIONS[Reason(self.reason)]
        except ValueError:
            return _NEWER

    def to_dict(self) -> dict[str, Any]:
        """Return the letter as plain values, for JSON."""
        explanation = self.explanation
        return {
            "id": self.id, "order_id": self.order_id, "model": self.model, "version": self.version, "channel": self.channel,
            "instance": self.instance, "died_ms": self.died_ms, "cause": self.cause, "reason": self.reason,
            "message": self.report.message if self.report else None, "facts": self.report.facts if self.report else {},
            "happened": explanation.happened, "fault": explanation.fault, "remedy": explanation.remedy,
            "signed_by": list(self.signed_by), "size_bytes": self.size_bytes,
        }

    def in_full(self) -> dict[str, Any]:
        """Return the letter as plain values with order, manifest and report."""
        return self.to_dict() | {
            "order": self.order.model_dump(mode="python") if self.order else None,
            "manifest": self.manifest.model_dump(mode="python") if self.manifest else None,
            "report": self.report.model_dump(mode="python") if self.report else None,
        }


def letter_id(dead: DeadLetter) -> str:
    """Return the short name of a dead letter: the same order refused by two instances, or again later, makes two letters."""
    instance = dead.target.instance if dead.target else None
    return digest(f"{order_id(dead.body)} {instance} {dead.died_ms}".encode()).hex()[:12]


def open_letter(dead: DeadLetter) -> Letter:
    """Return what can be said of a dead letter without its report; the body is not kept, and not read when it is too long."""
    target = dead.target
    order, manifest, signed_by = _claims(dead.body)
    return Letter(
        id=letter_id(dead), order_id=order_id(dead.body), model=target.model if target else None,
        channel=target.channel if target else None, instance=target.instance if target else None, died_ms=dead.died_ms,
        cause=dead.cause, order=order, manifest=manifest, claimed_version=manifest.version if manifest else None, signed_by=signed_by,
        size_bytes=len(dead.body),
    )


def _claims(body: bytes) -> tuple[Order | None, Manifest | None, tuple[str, ...]]:
    """Read what a message says of itself, as far as it can be read; the signatures are not looked at."""
    order: Order | None = None
    manifest: Manifest | None = None
    signed_by: tuple[str, ...] = ()
    try:
        message = OrderMessage.from_bytes(body)
        envelope = Envelope.from_bytes(message.order, what="order")
        signed_by = tuple(hint for hint, _ in envelope.signatures)
        order = Order.from_bytes(envelope.payload, what="order", formats=ORDER_FORMATS, max_bytes=DEFAULT_LIMITS.order_bytes)
        payload = Envelope.from_bytes(message.manifest, what="manifest").payload
        manifest = Manifest.from_bytes(
            payload, what="manifest", formats=MANIFEST_FORMATS, max_bytes=DEFAULT_LIMITS.order_bytes
        )
    except SenderFault:
        pass   # that it cannot be read is what its report says
    return order, manifest, signed_by
