"""The order: "channel C of model M now runs release R", with a number that only rises; and the messages that carry it.

Decides the fields of an order, how order and manifest travel together, and how they are announced while the bytes are still being
sent. Imports values, packing and the turns.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field

from modelcast.shared.digest import digest
from modelcast.shared.errors import SenderFault, UnknownFormat
from modelcast.shared.limits import DEFAULT_LIMITS
from modelcast.shared.manifest import Bytes32
from modelcast.shared.packing import pack, unpack
from modelcast.shared.reasons import Reason
from modelcast.shared.turns import TURNS, turn_of
from modelcast.shared.values import WireValue

ORDER_TYPE = "application/vnd.modelcast.order.v1+msgpack"
ANNOUNCEMENT_TYPE = "application/vnd.modelcast.announcement.v1+msgpack"
"""Signs the fields of an order as an announcement: nobody can make an order of it."""
DRAFT_TYPE = "application/vnd.modelcast.draft.v1+msgpack"
"""Signs a manifest whose digests are not known yet and stand there as zeros: nobody can make a manifest of it."""
QUESTION_TYPE = "application/vnd.modelcast.question.v1+msgpack"
"""Signs the fields of an order as a question: nobody can make an order, or an announcement, of it."""
ORDER_FORMATS = frozenset({1, 2})
WAVE_FORMAT = 2
"""Of an order that is not for all: who does not know the field would carry it out everywhere."""
MESSAGE_FORMAT = 1


class Kind(StrEnum):
    """What an order asks for: to go on to a higher version, or back to an earlier one."""

    PROMOTION = "promotion"
    ROLLBACK = "rollback"


class Order(WireValue):
    """A signed instruction to every instance of a channel.

    Attributes:
        format: Number of this format, 2 of one that is not for all; an unknown one is refused.
        model: Name of the model.
        channel: Name of the channel.
        kind: Promotion or rollback.
        release: Id of the release, 32 bytes.
        sequence: Position in the channel; the highest one wins, a lower one does nothing.
        issued_ms: When it was issued, milliseconds since 1970 UTC.
        expires_ms: After this it is refused; None never.
        chunks_offset: Where in the chunk stream the release's own chunks begin; a hint.
        oldest_offset: Where the oldest chunk it needs lies, for an instance that holds nothing; a hint.
        trace: The trace that it belongs to, as a ``traceparent`` of W3C Trace Context, or None; says nothing about what to do.
        up_to: It is for the instances whose turn (``turns.turn_of``) is not above this; None is for all.
        rollout: Number of the gradual rollout that it belongs to, not above the sequence of its first order; or None.
    """

    format: int = 1
    model: str
    channel: str
    kind: Annotated[Kind, Field(strict=False)]
    release: Bytes32
    sequence: Annotated[int, Field(ge=1, lt=2**63)]
    issued_ms: Annotated[int, Field(ge=0, lt=2**63)]
    expires_ms: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    chunks_offset: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    oldest_offset: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    trace: Annotated[str, Field(max_length=64)] | None = None
    up_to: Annotated[int, Field(ge=0, lt=TURNS)] | None = None
    rollout: Annotated[int, Field(ge=1, lt=2**63)] | None = None

    def is_for(self, instance: str) -> bool:
        """Whether the turn of an instance has come."""
        return self.up_to is None or turn_of(instance) <= self.up_to


@dataclass(frozen=True, slots=True)
class OrderMessage:
    """The body of a message in an order exchange: two signed envelopes, so that one message says everything.

    Attributes:
        order: Envelope of the order, as it was signed.
        manifest: Envelope of the release's manifest, as it was signed.
    """

    order: bytes
    manifest: bytes

    def to_bytes(self) -> bytes:
        """Return the body of the message."""
        return pack({"modelcast": MESSAGE_FORMAT, "order": self.order, "manifest": self.manifest})

    @classmethod
    def from_bytes(cls, body: bytes, *, max_bytes: int = DEFAULT_LIMITS.order_bytes) -> Self:
        """Take a message apart without believing any of it.

        Raises:
            UnknownFormat: It is an order message of an unknown format.
            SenderFault: It is no order message.
        """
        return cls(*_halves(body, "order", "manifest", max_bytes))


@dataclass(frozen=True, slots=True)
class AnnouncementMessage:
    """The body of a message in an announcement exchange: what will be ordered, as far as it is known before the bytes are read.

    Attributes:
        announcement: Envelope of the order's fields; its ``release`` is the digest of the draft.
        draft: Envelope of the manifest without its digests.
    """

    announcement: bytes
    draft: bytes

    def to_bytes(self) -> bytes:
        """Return the body of the message."""
        return pack({"modelcast": MESSAGE_FORMAT, "announcement": self.announcement, "draft": self.draft})

    @classmethod
    def from_bytes(cls, body: bytes, *, max_bytes: int = DEFAULT_LIMITS.order_bytes) -> Self:
        """Take a message apart without believing any of it.

        Raises:
            UnknownFormat: It is an announcement message of an unknown format.
            SenderFault: It is no announcement message.
        """
        return cls(*_halves(body, "announcement", "draft", max_bytes))


@dataclass(frozen=True, slots=True)
class QuestionMessage:
    """The body of a message that asks whether a release would be taken; it travels as announcements do.

    Attributes:
        question: Envelope of the fields of the order that might come.
        manifest: Envelope of the release's manifest, or of a draft where nothing was read yet.
    """

    question: bytes
    manifest: bytes

    def to_bytes(self) -> bytes:
        """Return the body of the message."""
        return pack({"modelcast": MESSAGE_FORMAT, "question": self.question, "manifest": self.manifest})

    @classmethod
    def from_bytes(cls, body: bytes, *, max_bytes: int = DEFAULT_LIMITS.order_bytes) -> Self:
        """Take a message apart without believing any of it.

        Raises:
            UnknownFormat: It is a question of an unknown format.
            SenderFault: It is no question.
        """
        return cls(*_halves(body, "question", "manifest", max_bytes))


def is_question(body: bytes) -> bool:
    """Whether a message is a question, whatever it asks."""
    try:
        QuestionMessage.from_bytes(body)
    except SenderFault:
        return False
    return True


def _halves(body: bytes, first: str, second: str, max_bytes: int) -> tuple[bytes, bytes]:
    """Return the two envelopes of a message."""
    message = unpack(body, what=f"{first} message", max_bytes=max_bytes)
    number = message.get("modelcast")
    if type(number) is int and number != MESSAGE_FORMAT:
        raise UnknownFormat(f"This {first} message has format {number}; known here: {MESSAGE_FORMAT}.", facts={"format": number})
    one, other = message.get(first), message.get(second)
    if type(number) is not int or not isinstance(one, bytes) or not isinstance(other, bytes):
        raise SenderFault(Reason.MALFORMED, f"This message holds no {first} and {second}.")
    return one, other


def order_id(body: bytes) -> str:
    """Return the identity of an order message: the BLAKE3 digest of its body, 64 hexadecimal digits."""
    return digest(body).hex()
