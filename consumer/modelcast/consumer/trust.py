"""Opening an order message: nothing is parsed before its signature holds, and both halves must belong together.

Decides which order messages are what they say. The checks are numbered as in ``docs/security.md``. Imports the wire values
and signing.
"""

from dataclasses import dataclass
from functools import cache
from importlib.metadata import version

from modelcast.shared.digest import digest
from modelcast.shared.errors import SenderFault
from modelcast.shared.limits import DEFAULT_LIMITS
from modelcast.shared.manifest import MANIFEST_FORMATS, MANIFEST_TYPE, Manifest, release_id
from modelcast.shared.names import Version
from modelcast.shared.order import (
    ANNOUNCEMENT_TYPE,
    DRAFT_TYPE,
    ORDER_FORMATS,
    ORDER_TYPE,
    QUESTION_TYPE,
    AnnouncementMessage,
    Kind,
    Order,
    OrderMessage,
    QuestionMessage,
    order_id,
)
from modelcast.shared.packing import pack
from modelcast.shared.reasons import Reason
from modelcast.shared.signing import Envelope, KeyRing


@dataclass(frozen=True, slots=True)
class TrustedOrder:
    """An order with its manifest, both signed by keys that may sign them.

    Attributes:
        id: Identity of the message, 64 hexadecimal digits.
        order: The order.
        manifest: The manifest of its release.
        release: Id of the release, 64 hexadecimal digits.
        envelope: The manifest's signed bytes, kept with the release in the store.
    """

    id: str
    order: Order
    manifest: Manifest
    release: str
    envelope: bytes

    @property
    def version(self) -> Version:
        """The release's version."""
        return Version(self.manifest.version)

    @property
    def is_rollback(self) -> bool:
        """Whether the order goes back on purpose."""
        return self.order.kind == Kind.ROLLBACK


def reader_of(ring: KeyRing) -> bytes:
    """Return a digest of what decides which orders are found in a history: trusted keys, what they may sign, this modelcast."""
    keys = sorted([key.key_id, *sorted(key.models), "", *sorted(key.channels)] for key in ring.keys)
    return digest(pack({"keys": keys, "modelcast": _version()}))


@cache
def _version() -> str:
    return version("modelcast")


def open_manifest(envelope: bytes, ring: KeyRing) -> tuple[Manifest, str]:
    """Return a manifest and its release id, only if a key signed it that may.

    Raises:
        SenderFault: It is not trusted, or no manifest.
    """
    return _open_manifest(envelope, ring, MANIFEST_TYPE, "manifest")


def claimed_release(envelope: bytes) -> str | None:
    """Return the id of the release that an envelope is about, whoever signed it, or None when it is none.

    Tells rot from a key that is trusted no more: what rotted has another id.
    """
    try:
        return release_id(Envelope.from_bytes(envelope, what="manifest").payload)
    except SenderFault:
        return None


def _open_manifest(envelope: bytes, ring: KeyRing, payload_type: str, what: str) -> tuple[Manifest, str]:
    payload, key = ring.open(envelope, payload_type, what=what)
    manifest = Manifest.from_bytes(payload, what=what, formats=MANIFEST_FORMATS, max_bytes=DEFAULT_LIMITS.order_bytes)
    if not key.may_sign_manifests_of(manifest.model):
        raise SenderFault(
            Reason.KEY_NOT_ALLOWED, f"Key {key.key_id} may not sign manifests of {manifest.model}.",
            facts={"key": key.key_id, "model": manifest.model, "may_sign": list(key.models)},
        )
    return manifest, release_id(payload)


def open_order(body: bytes, ring: KeyRing, *, model: str, channel: str) -> TrustedOrder:
    """Return the order that a message holds, only if it is trusted and for this channel.

    Raises:
        SenderFault: Its reason says which check failed; nothing behind that check was looked at.
    """
    message = OrderMessage.from_bytes(body)                                     # 1 size and shape of the message
    order = _open_fields(message.order, ring, (model, channel), ORDER_TYPE, "order")
    manifest, release = open_manifest(message.manifest, ring)                   # 5 signature and purpose of the manifest's key
    return _together(body, order, manifest, release, message.manifest)


def open_announcement(body: bytes, ring: KeyRing, *, model: str, channel: str) -> TrustedOrder:
    """Return what an announcement says will be ordered; the same checks, and the manifest is a draft without digests.

    Raises:
        SenderFault: Like ``open_order``. Nothing needs to be told to anybody: an order will say so again.
    """
    message = AnnouncementMessage.from_bytes(body)
    order = _open_fields(message.announcement, ring, (model, channel), ANNOUNCEMENT_TYPE, "announcement")
    draft, release = _open_manifest(message.draft, ring, DRAFT_TYPE, "draft")
    return _together(body, order, draft, release, message.draft)


def open_question(body: bytes, ring: KeyRing, *, model: str, channel: str) -> TrustedOrder:
    """Return what a question asks about; the same checks as for an order.

    Raises:
        SenderFault: Like ``open_order``.
    """
    message = QuestionMessage.from_bytes(body)
    order = _open_fields(message.question, ring, (model, channel), QUESTION_TYPE, "question")
    is_draft = Envelope.from_bytes(message.manifest, what="manifest").payload_type == DRAFT_TYPE
    manifest, release = _open_manifest(message.manifest, ring, *((DRAFT_TYPE, "draft") if is_draft else (MANIFEST_TYPE, "manifest")))
    return _together(body, order, manifest, release, message.manifest)


def _open_fields(envelope: bytes, ring: KeyRing, target: tuple[str, str], payload_type: str, what: str) -> Order:
    """Return the fields of an order; ``target`` is model and channel of this instance."""
    model, channel = target
    payload, key = ring.open(envelope, payload_type, what=what)                 # 2 signature of the order
    order = Order.from_bytes(payload, what=what, formats=ORDER_FORMATS, max_bytes=DEFAULT_LIMITS.order_bytes)
    if not key.may_sign_orders_for(channel):                                    # 3 purpose of the order's key
        raise SenderFault(
            Reason.KEY_NOT_ALLOWED, f"Key {key.key_id} may not sign orders for {channel}.",
            facts={"key": key.key_id, "channel": channel, "may_sign": list(key.channels)},
        )
    if (order.model, order.channel) != (model, channel):                        # 4 target
        raise SenderFault(
            Reason.WRONG_TARGET, f"The order is for {order.model}/{order.channel}, not for {model}/{channel}.",
            facts={"order": f"{order.model}/{order.channel}", "here": f"{model}/{channel}"},
        )
    return order


def _together(body: bytes, order: Order, manifest: Manifest, release: str, envelope: bytes) -> TrustedOrder:
    if release != order.release.hex() or manifest.model != order.model:         # 6 both halves belong together
        raise SenderFault(
            Reason.MANIFEST_MISMATCH, "The order names another release than the manifest that came with it.",
            facts={"order": order.release.hex(), "manifest": release},
        )
    return TrustedOrder(order_id(body), order, manifest, release, envelope)
