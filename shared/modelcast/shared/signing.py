"""Signatures: Ed25519 over the DSSE pre-authentication encoding, and the key ring that says which key may sign what.

Decides whether bytes are trusted, *before* anybody parses them. The payload type is part of what is signed, so that an
order can never pass for a manifest. Source: https://github.com/secure-systems-lab/dsse/blob/master/protocol.md.
Imports the ``cryptography`` library, packing and errors.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from modelcast.shared.errors import SenderFault
from modelcast.shared.limits import DEFAULT_LIMITS, shortened
from modelcast.shared.packing import pack, unpack
from modelcast.shared.reasons import Reason

MAX_SIGNATURES = 4
"""Signatures looked at in one envelope: a flood of them must not cost more than a few checks."""


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """Return DSSE's PAE of a payload: what the signature is made over."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def key_id(public_key: Ed25519PublicKey) -> str:
    """Return a key's id: the first 32 hexadecimal digits of the SHA-256 of its 32 raw bytes."""
    return sha256(public_key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:32]


@dataclass(frozen=True, slots=True, repr=False)
class SigningKey:
    """A private key that signs. Never printed: its representation shows the key id only."""

    private: Ed25519PrivateKey

    @property
    def key_id(self) -> str:
        """The id of its public half."""
        return key_id(self.private.public_key())

    def sign(self, payload_type: str, payload: bytes) -> bytes:
        """Return a signed envelope of ``payload``."""
        signature = self.private.sign(pre_authentication_encoding(payload_type, payload))
        return pack({
            "payload_type": payload_type,
            "payload": payload,
            "signatures": [{"key_id": self.key_id, "signature": signature}],
        })

    def trusted(self) -> "TrustedKey":
        """Return the public half as a key that may sign everything."""
        return TrustedKey(self.private.public_key())

    def __repr__(self) -> str:
        return f"SigningKey(key_id={self.key_id!r})"


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A public key and what it may sign.

    Attributes:
        public: The key.
        models: Models whose manifests it may sign; ``*`` is all.
        channels: Channels whose orders it may sign; ``*`` is all.
    """

    public: Ed25519PublicKey
    models: tuple[str, ...] = ("*",)
    channels: tuple[str, ...] = ("*",)

    @property
    def key_id(self) -> str:
        """The key's id."""
        return key_id(self.public)

    def signed(self, signature: bytes, message: bytes) -> bool:
        """Whether ``signature`` over ``message`` was made by this key."""
        try:
            self.public.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def may_sign_manifests_of(self, model: str) -> bool:
        """Whether manifests of ``model`` may be signed by this key."""
        return "*" in self.models or model in self.models

    def may_sign_orders_for(self, channel: str) -> bool:
        """Whether orders for ``channel`` may be signed by this key."""
        return "*" in self.channels or channel in self.channels


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload with its signatures, taken apart but not believed."""

    payload_type: str
    payload: bytes
    signatures: tuple[tuple[str, bytes], ...]

    @classmethod
    def from_bytes(cls, body: bytes, *, what: str) -> "Envelope":
        """Take an envelope apart.

        Raises:
            SenderFault: It is none.
        """
        message = unpack(body, what=f"signed {what}", max_bytes=DEFAULT_LIMITS.order_bytes)
        payload_type, payload, listed = message.get("payload_type"), message.get("payload"), message.get("signatures")
        if not isinstance(payload_type, str) or not isinstance(payload, bytes) or not isinstance(listed, list):
            raise SenderFault(Reason.MALFORMED, f"These bytes are no signed {what}.")
        signatures = tuple(
            (entry["key_id"], entry["signature"]) for entry in listed[:MAX_SIGNATURES]
            if isinstance(entry, dict) and isinstance(entry.get("key_id"), str) and isinstance(entry.get("signature"), bytes)
        )
        return cls(payload_type, payload, signatures)


class KeyRing:
    """The public keys that an instance trusts.

    Args:
        keys: The keys; at least one, or nothing is ever accepted.
    """

    def __init__(self, keys: Iterable[TrustedKey]) -> None:
        self.keys: Sequence[TrustedKey] = tuple(keys)

    def open(self, body: bytes, payload_type: str, *, what: str) -> tuple[bytes, TrustedKey]:
        """Return the payload of an envelope and the key that signed it, only if a trusted key did.

        The key id in the envelope is a hint: it decides which key is tried first, never whether one is trusted.

        Raises:
            SenderFault: With the reason ``malformed``, ``unknown-format``, ``signature-missing``, ``unknown-key`` or
                ``signature-invalid``.
        """
        envelope = Envelope.from_bytes(body, what=what)
        if envelope.payload_type != payload_type:
            raise SenderFault(
                Reason.UNKNOWN_FORMAT,
                f"The {what} says that it is {shortened(envelope.payload_type, 80)!r}, expected {payload_type!r}.",
            )
        if not envelope.signatures:
            raise SenderFault(Reason.SIGNATURE_MISSING, f"The {what} is not signed.")
        message = pre_authentication_encoding(payload_type, envelope.payload)
        for hint, signature in envelope.signatures:
            for key in sorted(self.keys, key=lambda key: key.key_id != hint):
                if key.signed(signature, message):
                    return envelope.payload, key
        self._refuse(envelope, what)
        raise AssertionError("unreachable")

    def _refuse(self, envelope: Envelope, what: str) -> None:
        known = {key.key_id for key in self.keys}
        hints = [shortened(hint, 64) for hint, _ in envelope.signatures]
        facts = {"signed_by": hints, "trusted": sorted(known)}
        if known.intersection(hints):
            raise SenderFault(
                Reason.SIGNATURE_INVALID, f"The signature of the {what} does not fit its bytes.", facts=facts
            )
        raise SenderFault(
            Reason.UNKNOWN_KEY,
            f"The {what} is signed by key {', '.join(hints)}, which is not trusted here.",
            hint="Add the public key to `trust` if it is yours.",
            facts=facts,
        )
