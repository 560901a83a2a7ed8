"""What a consumer says of itself: a frozen value that never says fine when the thread is dead. Imports nothing of a road."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from modelcast.consumer.active import ActiveModel


@dataclass(frozen=True, slots=True)
class LastVerdict:
    """The latest decision.

    Attributes:
        verdict: ``promoted``, ``rejected``, ``superseded`` or ``deferred``.
        version: Version of the release, or None when the order could not be read.
        reason: Code of the reason of a rejection.
        message: The reason in a sentence.
        at_ms: When, milliseconds since 1970 UTC.
    """

    verdict: str
    version: str | None
    reason: str | None
    message: str | None
    at_ms: int


@dataclass(frozen=True, slots=True)
class Status:
    """The state of a consumer at one moment.

    Attributes:
        live: Whether its threads run here and turned within the last seconds; False in a forked child.
        ready: Whether a model is in service.
        fresh: Whether it is connected, or was within the last minutes; False means that newer orders may exist.
        state: What the release in hand is going through (``lifecycle.State``).
        detail: One sentence for people: what it does, or what is wrong.
        instance: Id of the instance.
        model: Name of the model.
        channel: Name of the channel.
        role: ``receiver``, or ``follower`` of another process of this host that receives; None when it is not started.
        version: Version in service, or None.
        release: Its release id, or None.
        created: When that release was made, as its manifest says (ISO 8601), or None.
        active_since_ms: Since when this process serves it, milliseconds since 1970 UTC, or None.
        in_hand_seconds: How long the order in hand has been in hand; 0 without one.
        connected: Whether the instance is connected now: by this process, or by the one that it follows.
        connected_since_ms: Since when, milliseconds since 1970 UTC, or None.
        last_contact_ms: When it last knew that nothing newer was waiting, or None.
        last_verdict: The latest decision, or None.
        fault: The host's latest fault that was not overcome, in a sentence, or None.
        promoted: Promotions since the start.
        rejected: Rejections since the start.
        superseded: Orders passed over since the start.
        deferred: Orders of gradual rollouts that were not for this instance (yet).
        foreign: Messages since the start that were no modelcast messages.
        reconnects: Connections that were lost or failed since the start.
        unsent_reports: Reports that wait for a connection.
        connection_failures: Connections in a row that were lost or failed; 0 while connected.
        update_failures: Rejections, and faults of this host that put an order off, in a row; 0 after a promotion.
    """

    live: bool
    ready: bool
    fresh: bool
    state: str
    detail: str
    instance: str
    model: str
    channel: str
    role: str | None = None
    version: str | None = None
    release: str | None = None
    created: str | None = None
    active_since_ms: int | None = None
    in_hand_seconds: float = 0.0
    connected: bool = False
    connected_since_ms: int | None = None
    last_contact_ms: int | None = None
    last_verdict: LastVerdict | None = None
    fault: str | None = None
    promoted: int = 0
    rejected: int = 0
    superseded: int = 0
    deferred: int = 0
    foreign: int = 0
    reconnects: int = 0
    unsent_reports: int = 0
    connection_failures: int = 0
    update_failures: int = 0

    def to_dict(self) -> dict[str, object]:
        """Return the status as plain values, for JSON."""
        return asdict(self)


class Served(TypedDict):
    """The fields of a status that tell of the model in service."""

    version: str | None
    release: str | None
    created: str | None
    active_since_ms: int | None


def served(active: ActiveModel | None) -> Served:
    """Return what a status tells of the model in service."""
    if active is None:
        return {"version": None, "release": None, "created": None, "active_since_ms": None}
    return {
        "version": active.version, "release": active.release, "created": active.manifest.created, "active_since_ms": active.since_ms,
    }
