"""The order and the message that carries it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.specimens import order, order_message

from modelcast.shared.digest import digest
from modelcast.shared.errors import SenderFault, UnknownFormat
from modelcast.shared.limits import DEFAULT_LIMITS
from modelcast.shared.order import ORDER_FORMATS, WAVE_FORMAT, AnnouncementMessage, Kind, Order, OrderMessage, order_id
from modelcast.shared.packing import pack, unpack
from modelcast.shared.reasons import Reason
from modelcast.shared.signing import SigningKey
from modelcast.shared.turns import TURNS, turn_of


def attempt(body: bytes) -> Order | SenderFault:
    try:
        return Order.from_bytes(body, what="order", formats=ORDER_FORMATS, max_bytes=DEFAULT_LIMITS.order_bytes)
    except SenderFault as error:
        return error


def attempt_message(body: bytes) -> OrderMessage | SenderFault:
    try:
        return OrderMessage.from_bytes(body)
    except SenderFault as error:
        return error


def changed(**changes: object) -> Order | SenderFault:
    return attempt(pack(unpack(order().to_bytes(), what="order") | changes))


@given(
    st.sampled_from(Kind), st.integers(1, 2**63 - 1), st.none() | st.integers(0, 2**63 - 1), st.none() | st.integers(0, 2**63 - 1)
)
def test_an_order_survives_its_bytes(kind: Kind, sequence: int, expires_ms: int | None, offset: int | None) -> None:
    given_order = order(kind=kind, sequence=sequence, expires_ms=expires_ms, chunks_offset=offset, oldest_offset=offset)
    assert attempt(given_order.to_bytes()) == given_order


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_the_senders_fault(body: bytes) -> None:
    assert isinstance(attempt(body), SenderFault)
    assert isinstance(attempt_message(body), SenderFault)


@given(st.data())
def test_a_flipped_byte_gives_an_order_or_the_senders_fault(data: st.DataObject) -> None:
    body = bytearray(order().to_bytes())
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    assert isinstance(attempt(bytes(body)), Order | SenderFault)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sequence", 0), ("sequence", -1), ("sequence", 2**63), ("sequence", 1.0), ("sequence", True), ("sequence", "1"),
        ("issued_ms", -1), ("issued_ms", 2**63), ("expires_ms", -1), ("chunks_offset", -1), ("oldest_offset", 2**63),
        ("kind", "demotion"), ("kind", 1), ("release", bytes(31)), ("release", "0" * 32), ("model", 1), ("channel", None), ("trace", "0" * 65), ("trace", 1),
    ],
)
def test_a_field_out_of_its_bounds_is_named(field: str, value: object) -> None:
    fault = changed(**{field: value})
    assert isinstance(fault, SenderFault)
    assert (fault.reason, fault.facts) == (Reason.MALFORMED, {"field": field})


def test_an_order_of_a_time_without_traces_has_none() -> None:
    fields = dict(unpack(order().to_bytes(), what="order"))
    del fields["trace"]
    assert attempt(pack(fields)) == order()


@pytest.mark.parametrize("number", [2**31 - 1, 2**31, 2**31 + 1, 2**32 - 1, 2**32, 2**32 + 1, 2**63 - 1])
def test_numbers_around_the_borders_of_integers_are_exact(number: int) -> None:
    seen = changed(sequence=number, chunks_offset=number)
    assert isinstance(seen, Order)
    assert (seen.sequence, seen.chunks_offset) == (number, number)


def test_a_message_holds_both_envelopes_as_they_were_signed(signing_key: SigningKey) -> None:
    message = order_message(signing_key)
    assert OrderMessage.from_bytes(message.to_bytes()) == message


@pytest.mark.parametrize(
    "message", [{}, {"modelcast": 1}, {"modelcast": 1, "order": b""}, {"modelcast": 1, "order": b"", "manifest": "text"},
                {"modelcast": None, "order": b"", "manifest": b""}, {"modelcast": "1", "order": b"", "manifest": b""}],
)
def test_a_map_that_is_no_order_message_is_malformed(message: dict[str, object]) -> None:
    fault = attempt_message(pack(message))
    assert isinstance(fault, SenderFault)
    assert fault.reason is Reason.MALFORMED


def test_a_message_of_a_later_format_is_refused_before_its_fields_are_looked_for() -> None:
    fault = attempt_message(pack({"modelcast": 2, "anything": 1}))
    assert isinstance(fault, UnknownFormat)
    assert fault.facts == {"format": 2}


@pytest.mark.parametrize("number", [True, 1.0])
def test_what_only_equals_the_format_number_is_malformed(number: object) -> None:
    fault = attempt_message(pack({"modelcast": number, "order": b"", "manifest": b""}))
    assert isinstance(fault, SenderFault)
    assert fault.reason is Reason.MALFORMED


def test_a_message_over_the_limit_is_refused() -> None:
    body = OrderMessage(b"x" * 100, b"y").to_bytes()
    with pytest.raises(SenderFault) as caught:
        OrderMessage.from_bytes(body, max_bytes=len(body) - 1)
    assert caught.value.reason is Reason.TOO_LARGE


def test_the_id_of_an_order_is_the_digest_of_its_message(signing_key: SigningKey) -> None:
    body = order_message(signing_key).to_bytes()
    assert order_id(body) == digest(body).hex()


def test_an_announcement_message_is_no_order_message_and_the_other_way_round() -> None:
    announcement, order = AnnouncementMessage(b"one", b"two"), OrderMessage(b"one", b"two")
    assert AnnouncementMessage.from_bytes(announcement.to_bytes()) == announcement
    for read, body in ((OrderMessage.from_bytes, announcement.to_bytes()), (AnnouncementMessage.from_bytes, order.to_bytes())):
        with pytest.raises(SenderFault) as caught:
            read(body)
        assert caught.value.reason is Reason.MALFORMED


# --------------------------------------------------------------------------- waves


def test_an_order_is_for_those_whose_turn_is_not_above_its_own() -> None:
    turn = turn_of("a")
    assert order().is_for("a")
    assert order(up_to=turn).is_for("a")
    assert order(up_to=TURNS - 1).is_for("a")
    assert not order(up_to=turn - 1).is_for("a")


@pytest.mark.parametrize("changes", [{"up_to": -1}, {"up_to": TURNS}, {"up_to": "1"}, {"rollout": 0}, {"rollout": 2**63}])
def test_turns_that_cannot_be_are_malformed(changes: dict[str, object]) -> None:
    fields = order().model_dump(mode="python") | changes
    with pytest.raises(SenderFault) as refused:
        Order.from_bytes(pack(fields), what="order", formats=ORDER_FORMATS, max_bytes=DEFAULT_LIMITS.order_bytes)
    assert refused.value.facts == {"field": next(iter(changes))}


def test_who_knows_no_waves_refuses_an_order_for_some() -> None:
    body = order(format=WAVE_FORMAT, up_to=5).to_bytes()
    with pytest.raises(UnknownFormat):
        Order.from_bytes(body, what="order", formats=frozenset({1}), max_bytes=DEFAULT_LIMITS.order_bytes)
