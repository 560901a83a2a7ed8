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
from modelcast.shared.order import ORDER_FORMATS, ORDER_TYPE, Kind, Order, OrderMessage, order_id
from modelcast.shared.packing import pack
from modelcast.shared.reasons import Reason
from modelcast.shared.signing import KeyRing


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
    payload, key = ring.open(envelope, MANIFEST_TYPE, what="manifest")
    manifest = Manifest.from_bytes(payload, what="manifest", formats=MANIFEST_FORMATS, max_bytes=DEFAULT_LIMITS.order_bytes)
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
    payload, key = ring.open(message.order, ORDER_TYPE, what="order")           # 2 signature of the order
    order = Order.from_bytes(payload, what="order", formats=ORDER_FORMATS, max_bytes=DEFAULT_LIMITS.order_bytes)
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
    manifest, release = open_manifest(message.manifest, ring)                   # 5 signature and purpose of the manifest's key
    if release != order.release.hex() or manifest.model != order.model:         # 6 both halves belong together
        raise SenderFault(
            Reason.MANIFEST_MISMATCH, "The order names another release than the manifest that came with it.",
            facts={"order": order.release.hex(), "manifest": release},
        )
    return TrustedOrder(order_id(body), order, manifest, release, message.manifest)
