"""Signatures and the key ring."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from modelcast.shared.errors import SenderFault
from modelcast.shared.packing import pack, unpack
from modelcast.shared.reasons import Reason
from modelcast.shared.signing import MAX_SIGNATURES, Envelope, KeyRing, SigningKey, TrustedKey, pre_authentication_encoding

TYPE = "application/vnd.modelcast.test+msgpack"
PAYLOAD = b"what is signed"


def open_or_fault(ring: KeyRing, body: bytes, payload_type: str = TYPE) -> bytes | SenderFault:
    try:
        return ring.open(body, payload_type, what="test")[0]
    except SenderFault as error:
        return error


def refusal(ring: KeyRing, body: bytes, payload_type: str = TYPE) -> Reason:
    fault = open_or_fault(ring, body, payload_type)
    assert isinstance(fault, SenderFault)
    return fault.reason


def envelope(*signatures: object, payload_type: object = TYPE, payload: object = PAYLOAD) -> bytes:
    return pack({"payload_type": payload_type, "payload": payload, "signatures": list(signatures)})


def test_the_encoding_is_that_of_the_specification() -> None:
    # The example of https://github.com/secure-systems-lab/dsse/blob/master/protocol.md
    expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert pre_authentication_encoding("http://example.com/HelloWorld", b"hello world") == expected


def test_the_signature_is_that_of_rfc_8032() -> None:
    # RFC 8032, 7.1, test 1: this public key and this signature of nothing.
    public = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    signature = bytes.fromhex(
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
    )
    key = TrustedKey(Ed25519PublicKey.from_public_bytes(public))
    assert key.signed(signature, b"")
    assert not key.signed(signature, b"x")
    assert not key.signed(signature[:-1], b"")


@given(st.binary(max_size=200), st.text(max_size=30))
def test_what_a_trusted_key_signed_is_opened(signing_key: SigningKey, key_ring: KeyRing, payload: bytes, kind: str) -> None:
    opened, key = key_ring.open(signing_key.sign(kind, payload), kind, what="test")
    assert (opened, key.key_id) == (payload, signing_key.key_id)


def test_every_flipped_bit_is_refused_or_changes_nothing(signing_key: SigningKey, key_ring: KeyRing) -> None:
    body = signing_key.sign(TYPE, PAYLOAD)
    for at in range(len(body)):
        for bit in range(8):
            flipped = body[:at] + bytes([body[at] ^ (1 << bit)]) + body[at + 1 :]
            opened = open_or_fault(key_ring, flipped)
            assert isinstance(opened, SenderFault) or opened == PAYLOAD   # a flip in the key id is a wrong hint and no more


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_the_senders_fault(key_ring: KeyRing, body: bytes) -> None:
    assert isinstance(open_or_fault(key_ring, body), SenderFault)


@given(st.dictionaries(st.sampled_from(["payload_type", "payload", "signatures"]), st.one_of(
    st.none(), st.integers(0, 9), st.binary(max_size=9), st.text(max_size=9),
    st.lists(st.one_of(st.none(), st.dictionaries(st.sampled_from(["key_id", "signature"]), st.text() | st.binary()))),
)))
def test_an_arbitrary_envelope_is_the_senders_fault(key_ring: KeyRing, message: dict[str, object]) -> None:
    assert isinstance(open_or_fault(key_ring, pack(message), ""), SenderFault)


def test_a_payload_of_another_type_is_refused_though_it_is_signed(signing_key: SigningKey, key_ring: KeyRing) -> None:
    assert refusal(key_ring, signing_key.sign("another", PAYLOAD)) is Reason.UNKNOWN_FORMAT


def test_a_type_that_is_only_written_over_is_refused(signing_key: SigningKey, key_ring: KeyRing) -> None:
    message = unpack(signing_key.sign("another", PAYLOAD), what="test") | {"payload_type": TYPE}
    assert refusal(key_ring, pack(message)) is Reason.SIGNATURE_INVALID


def test_an_unknown_key_is_named_and_the_trusted_ones_too(key_ring: KeyRing, signing_key: SigningKey, other_key: SigningKey) -> None:
    fault = open_or_fault(key_ring, other_key.sign(TYPE, PAYLOAD))
    assert isinstance(fault, SenderFault)
    assert fault.reason is Reason.UNKNOWN_KEY
    assert fault.facts == {"signed_by": [other_key.key_id], "trusted": [signing_key.key_id]}


def test_a_hint_that_lies_costs_a_good_signature_nothing(signing_key: SigningKey, other_key: SigningKey) -> None:
    ring = KeyRing([other_key.trusted(), signing_key.trusted()])
    (signed,) = unpack(signing_key.sign(TYPE, PAYLOAD), what="test")["signatures"]
    for hint in (other_key.key_id, "", "x" * 1000):
        _, key = ring.open(envelope(signed | {"key_id": hint}), TYPE, what="test")
        assert key.key_id == signing_key.key_id


def test_a_hint_that_names_a_trusted_key_gives_no_trust(key_ring: KeyRing, signing_key: SigningKey, other_key: SigningKey) -> None:
    (signed,) = unpack(other_key.sign(TYPE, PAYLOAD), what="test")["signatures"]
    assert refusal(key_ring, envelope(signed | {"key_id": signing_key.key_id})) is Reason.SIGNATURE_INVALID


def test_one_good_signature_among_bad_ones_is_enough(key_ring: KeyRing, signing_key: SigningKey, other_key: SigningKey) -> None:
    good, bad = (unpack(key.sign(TYPE, PAYLOAD), what="test")["signatures"][0] for key in (signing_key, other_key))
    assert open_or_fault(key_ring, envelope(bad, "nonsense", good)) == PAYLOAD


def test_a_flood_of_signatures_is_cut(key_ring: KeyRing, signing_key: SigningKey, other_key: SigningKey) -> None:
    good, bad = (unpack(key.sign(TYPE, PAYLOAD), what="test")["signatures"][0] for key in (signing_key, other_key))
    body = envelope(*[bad] * MAX_SIGNATURES, good)
    assert len(Envelope.from_bytes(body, what="test").signatures) == MAX_SIGNATURES
    assert refusal(key_ring, body) is Reason.UNKNOWN_KEY


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (envelope(), Reason.SIGNATURE_MISSING),
        (envelope({"key_id": "x"}), Reason.SIGNATURE_MISSING),
        (envelope({"key_id": "x", "signature": "text"}), Reason.SIGNATURE_MISSING),
        (envelope({"key_id": "x", "signature": b""}), Reason.UNKNOWN_KEY),
        (envelope(payload="text"), Reason.MALFORMED),
        (envelope(payload_type=b"bytes"), Reason.MALFORMED),
        (pack({"payload_type": TYPE, "payload": PAYLOAD}), Reason.MALFORMED),
        (pack({}), Reason.MALFORMED),
    ],
    ids=["unsigned", "no-signature", "text-signature", "empty-signature", "text-payload", "bytes-type", "no-list", "empty"],
)
def test_what_is_not_properly_signed_is_refused(key_ring: KeyRing, body: bytes, reason: Reason) -> None:
    assert refusal(key_ring, body) is reason


def test_an_empty_ring_trusts_nobody(signing_key: SigningKey) -> None:
    assert refusal(KeyRing([]), signing_key.sign(TYPE, PAYLOAD)) is Reason.UNKNOWN_KEY


def test_a_key_may_sign_what_the_ring_says(signing_key: SigningKey) -> None:
    public = signing_key.private.public_key()
    everything, narrow = TrustedKey(public), TrustedKey(public, models=("fraud",), channels=())
    assert everything.may_sign_manifests_of("anything")
    assert everything.may_sign_orders_for("anywhere")
    assert narrow.may_sign_manifests_of("fraud")
    assert not narrow.may_sign_manifests_of("churn")
    assert not narrow.may_sign_orders_for("production")


def test_a_private_key_is_never_shown(signing_key: SigningKey) -> None:
    assert repr(signing_key) == str(signing_key) == f"SigningKey(key_id='{signing_key.key_id}')"
    assert len(signing_key.key_id) == 32
