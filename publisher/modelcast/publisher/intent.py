"""What is to be published: the draft, where to, and who signs. Decides nothing. Imports the draft and the keys."""

import time
from dataclasses import dataclass, field

from modelcast.publisher.build import Draft
from modelcast.shared.signing import SigningKey


@dataclass(frozen=True, slots=True)
class Keys:
    """Who signs what: ``manifests`` are signed by training, ``orders`` by operations; often the same key."""

    manifests: SigningKey
    orders: SigningKey


@dataclass(frozen=True, slots=True)
class Intent:
    """What is to be published where.

    Attributes:
        draft: The manifest but for its digests, and its files.
        channel: The channel to order it for.
        keys: Who signs.
        now_ms: The time of the order, milliseconds since 1970 UTC.
        expires_ms: When the order expires, or None.
        resend: Send chunks and order even if the register has them.
        began: When it was asked for, on the monotonic clock.
    """

    draft: Draft
    channel: str
    keys: Keys
    now_ms: int
    expires_ms: int | None = None
    resend: bool = False
    began: float = field(default_factory=time.monotonic)
