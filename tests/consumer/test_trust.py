"""Opening an order message: each check by its own reason, and nothing behind a check that failed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.publisher_sim import PublisherSimulator

from modelcast.consumer.trust import TrustedOrder, open_manifest, open_order, reader_of
from modelcast.shared.errors import SenderFault
from modelcast.shared.limits import DEFAULT_LIMITS
from modelcast.shared.manifest import MANIFEST_TYPE, release_id
from modelcast.shared.order import ORDER_TYPE, Kind, OrderMessage, order_id
from modelcast.shared.packing import pack, unpack
from modelcast.shared.reasons import Reason
from modelcast.shared.signing import KeyRing, SigningKey, TrustedKey


@pytest.fixture(scope="module")
def sim(signing_key: SigningKey) -> PublisherSimulator:
    return PublisherSimulator(None, signing_key)


def opened(body: bytes, ring: KeyRing, model: str = "fraud", channel: str = "production") -> TrustedOrder:
    return open_order(body, ring, model=model, channel=channel)


def refusal(body: bytes, ring: KeyRing, model: str = "fraud", channel: str = "production") -> SenderFault:
    with pytest.raises(SenderFault) as raised:
        opened(body, ring, model, channel)
    return raised.value


def restricted(key: SigningKey, *, models: tuple[str, ...] = ("*",), channels: tuple[str, ...] = ("*",)) -> TrustedKey:
    return TrustedKey(key.private.public_key(), models, channels)


def test_a_good_order_is_opened_with_all_that_it_says(sim: PublisherSimulator, key_ring: KeyRing) -> None:
    release = sim.release("2.1.0")
    body = sim.order(release, kind=Kind.ROLLBACK, sequence=7)
    trusted = opened(body, key_ring)
    assert (trusted.id, trusted.release, trusted.envelope) == (order_id(body), release.id, release.envelope)
    assert (trusted.order.sequence, trusted.is_rollback, trusted.version.text) == (7, True, "2.1.0")
    assert trusted.manifest == release.manifest


@pytest.mark.parametrize("body", [b"", b"not an order", b"\xc1", pack({}), pack({"modelcast": 1}), pack({"modelcast": "1", "order": b"", "manifest": b""})])
def test_what_is_no_order_message_is_malformed(body: bytes, key_ring: KeyRing) -> None:
    assert refusal(body, key_ring).reason is Reason.MALFORMED


def test_a_message_over_the_limit_is_refused_unread(key_ring: KeyRing) -> None:
    assert refusal(bytes(DEFAULT_LIMITS.order_bytes + 1), key_ring).reason is Reason.TOO_LARGE


def test_a_message_of_a_later_format_says_so(key_ring: KeyRing) -> None:
    fault = refusal(pack({"modelcast": 2, "order": b"", "manifest": b""}), key_ring)
    assert (fault.reason, fault.facts["format"]) == (Reason.UNKNOWN_FORMAT, 2)


def test_an_order_by_a_stranger_is_refused_before_it_is_parsed(sim: PublisherSimulator, key_ring: KeyRing, other_key: SigningKey) -> None:
    release = sim.release("1.0.0")
    forged = OrderMessage(other_key.sign(ORDER_TYPE, b"not even an order"), release.envelope).to_bytes()
    assert refusal(forged, key_ring).reason is Reason.UNKNOWN_KEY


def test_a_manifest_by_a_stranger_is_refused_before_it_is_parsed(sim: PublisherSimulator, key_ring: KeyRing, other_key: SigningKey) -> None:
    order = OrderMessage.from_bytes(sim.order(sim.release("1.0.0"))).order
    forged = OrderMessage(order, other_key.sign(MANIFEST_TYPE, b"not even a manifest")).to_bytes()
    assert refusal(forged, key_ring).reason is Reason.UNKNOWN_KEY


@pytest.mark.parametrize("half", ["order", "manifest"])
def test_a_half_without_a_signature_is_refused(sim: PublisherSimulator, key_ring: KeyRing, half: str) -> None:
    message = unpack(sim.order(sim.release("1.0.0")), what="test")
    envelope = unpack(message[half], what="test")
    message[half] = pack(envelope | {"signatures": []})
    assert refusal(pack(message), key_ring).reason is Reason.SIGNATURE_MISSING


@pytest.mark.parametrize("half", ["order", "manifest"])
def test_a_half_that_changed_after_signing_is_refused(sim: PublisherSimulator, key_ring: KeyRing, half: str) -> None:
    message = unpack(sim.order(sim.release("1.0.0")), what="test")
    envelope = unpack(message[half], what="test")
    message[half] = pack(envelope | {"payload": envelope["payload"].replace(b"fraud", b"FRAUD")})
    assert refusal(pack(message), key_ring).reason is Reason.SIGNATURE_INVALID


def test_the_two_halves_cannot_take_each_others_place(sim: PublisherSimulator, key_ring: KeyRing) -> None:
    good = OrderMessage.from_bytes(sim.order(sim.release("1.0.0")))
    assert refusal(OrderMessage(good.manifest, good.order).to_bytes(), key_ring).reason is Reason.UNKNOWN_FORMAT
    assert refusal(OrderMessage(good.manifest, good.manifest).to_bytes(), key_ring).reason is Reason.UNKNOWN_FORMAT
    assert refusal(OrderMessage(good.order, good.order).to_bytes(), key_ring).reason is Reason.UNKNOWN_FORMAT


@pytest.mark.parametrize(("model", "channel"), [("churn", "production"), ("fraud", "staging")])
def test_an_order_for_somebody_else_is_refused_with_both_names(sim: PublisherSimulator, key_ring: KeyRing, model: str, channel: str) -> None:
    fault = refusal(sim.order(sim.release("1.0.0")), key_ring, model, channel)
    assert fault.reason is Reason.WRONG_TARGET
    assert fault.facts == {"order": "fraud/production", "here": f"{model}/{channel}"}


def test_a_key_signs_orders_only_for_its_channels(sim: PublisherSimulator, signing_key: SigningKey) -> None:
    body = sim.order(sim.release("1.0.0"))
    fault = refusal(body, KeyRing([restricted(signing_key, channels=("staging",))]))
    assert fault.reason is Reason.KEY_NOT_ALLOWED
    assert (fault.facts["channel"], fault.facts["may_sign"]) == ("production", ["staging"])
    assert opened(body, KeyRing([restricted(signing_key, channels=("staging", "production"))]))


def test_a_key_signs_manifests_only_of_its_models(sim: PublisherSimulator, signing_key: SigningKey) -> None:
    body = sim.order(sim.release("1.0.0"))
    fault = refusal(body, KeyRing([restricted(signing_key, models=("churn",))]))
    assert fault.reason is Reason.KEY_NOT_ALLOWED
    assert (fault.facts["model"], fault.facts["may_sign"]) == ("fraud", ["churn"])


def test_training_signs_the_manifest_and_operations_the_order(
    sim: PublisherSimulator, signing_key: SigningKey, other_key: SigningKey
) -> None:
    training, operations = restricted(signing_key, channels=()), restricted(other_key, models=())
    ring = KeyRing([training, operations])
    release = sim.release("1.0.0")
    assert opened(sim.order(release, key=other_key), ring)
    assert refusal(sim.order(release, key=signing_key), ring).reason is Reason.KEY_NOT_ALLOWED
    by_operations = sim.release("1.0.0", key=other_key)
    assert refusal(sim.order(by_operations, key=other_key), ring).reason is Reason.KEY_NOT_ALLOWED


def test_an_order_with_the_manifest_of_another_release_is_refused(sim: PublisherSimulator, key_ring: KeyRing) -> None:
    one, two = sim.release("1.0.0"), sim.release("2.0.0")
    mixed = OrderMessage(OrderMessage.from_bytes(sim.order(one)).order, two.envelope).to_bytes()
    fault = refusal(mixed, key_ring)
    assert fault.reason is Reason.MANIFEST_MISMATCH
    assert fault.facts == {"order": one.id, "manifest": two.id}


def test_an_order_whose_manifest_is_of_another_model_is_refused(sim: PublisherSimulator, key_ring: KeyRing) -> None:
    foreign = sim.release("1.0.0", model="churn")
    assert refusal(sim.order(foreign), key_ring).reason is Reason.MANIFEST_MISMATCH


def test_a_trusted_key_may_sign_nonsense_and_it_stays_nonsense(sim: PublisherSimulator, key_ring: KeyRing, signing_key: SigningKey) -> None:
    envelope = sim.release("1.0.0").envelope
    for payload in [b"", b"nonsense", pack({}), pack({"format": 1}), pack({"format": 99})]:
        message = OrderMessage(signing_key.sign(ORDER_TYPE, payload), envelope)
        assert refusal(message.to_bytes(), key_ring).reason in {Reason.MALFORMED, Reason.UNKNOWN_FORMAT}


def test_the_release_is_known_by_the_bytes_that_were_signed(sim: PublisherSimulator, key_ring: KeyRing) -> None:
    release = sim.release("1.0.0")
    manifest, identity = open_manifest(release.envelope, key_ring)
    assert (manifest, identity) == (release.manifest, release_id(release.manifest.to_bytes()))


@given(data=st.data())
def test_a_changed_byte_never_gives_an_order_that_says_something_else(
    sim: PublisherSimulator, key_ring: KeyRing, data: st.DataObject
) -> None:
    """What lies outside the signatures (the hint of a key's id) may change; what is believed may not."""
    body = sim.order(sim.release("2.1.0"), sequence=3)
    good = opened(body, key_ring)
    at = data.draw(st.integers(0, len(body) - 1))
    changed = body[:at] + bytes([body[at] ^ data.draw(st.integers(1, 255))]) + body[at + 1 :]
    try:
        trusted = opened(changed, key_ring)
    except SenderFault:
        return
    assert (trusted.order, trusted.manifest, trusted.release) == (good.order, good.manifest, good.release)


@given(st.binary(max_size=400))
def test_any_bytes_are_an_order_or_the_senders_fault(key_ring: KeyRing, body: bytes) -> None:
    with pytest.raises(SenderFault):
        opened(body, key_ring)


def test_a_reader_is_known_by_its_keys_and_what_they_may_sign_in_whatever_order(signing_key: SigningKey, other_key: SigningKey) -> None:
    one, two = restricted(signing_key), restricted(other_key, models=("b", "a"))
    same = [reader_of(KeyRing([one, two])), reader_of(KeyRing([restricted(other_key, models=("a", "b")), one]))]
    others = [
        reader_of(KeyRing([one])), reader_of(KeyRing([one, restricted(other_key)])),
        reader_of(KeyRing([one, restricted(other_key, channels=("a", "b"))])),
    ]
    assert same[0] == same[1]
    assert len({same[0], *others}) == 4
