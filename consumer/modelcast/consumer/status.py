"""What a consumer says of itself: a frozen value that never says fine when the thread is dead. Imports nothing of a road."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class LastVerdict:
    """The latest decision.

    Attributes:
        verdict: ``promoted``, ``rejected`` or ``superseded``.
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
        connected: Whether the instance is connected now: by this process, or by the one that it follows.
        connected_since_ms: Since when, milliseconds since 1970 UTC, or None.
        last_contact_ms: When it last knew that nothing newer was waiting, or None.
        last_verdict: The latest decision, or None.
        fault: The host's latest fault that was not overcome, in a sentence, or None.
        promoted: Promotions since the start.
        rejected: Rejections since the start.
        superseded: Orders passed over since the start.
        foreign: Messages since the start that were no modelcast messages.
        reconnects: Connections that were lost or failed since the start.
        unsent_reports: Reports that wait for a connection.
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
    connected: bool = False
    connected_since_ms: int | None = None
    last_contact_ms: int | None = None
    last_verdict: LastVerdict | None = None
    fault: str | None = None
    promoted: int = 0
    rejected: int = 0
    superseded: int = 0
    foreign: int = 0
    reconnects: int = 0
    unsent_reports: int = 0

    def to_dict(self) -> dict[str, object]:
        """Return the status as plain values, for JSON."""
        return asdict(self)
