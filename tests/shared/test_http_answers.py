"""Each status belongs to one family of errors, and a person is told what the server said."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelcast.shared.errors import (
    AuthenticationRefused,
    BrokerUnreachable,
    HostFault,
    ModelcastError,
    NotFound,
    PermissionRefused,
    ProtocolViolation,
    PublisherBusy,
    SenderFault,
)
from modelcast.shared.http_answers import Answer, ServerBusy, fault_of
from modelcast.shared.packing import pack
from modelcast.shared.reasons import Reason

PROBLEM = "application/problem+json"


def answer(status: int, headers: dict[str, str] | None = None, **texts: object) -> Answer:
    return Answer(status, {"content-type": PROBLEM, **(headers or {})}, json.dumps(texts).encode())


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ProtocolViolation), (401, AuthenticationRefused), (403, PermissionRefused), (404, NotFound), (409, PublisherBusy),
        (413, ProtocolViolation), (422, ProtocolViolation), (429, ServerBusy), (500, BrokerUnreachable), (502, BrokerUnreachable),
        (503, ServerBusy), (302, ProtocolViolation),
    ],
)
def test_a_status_is_an_error_of_its_kind_with_what_the_server_said(status: int, kind: type[ModelcastError]) -> None:
    error = fault_of(answer(status, detail="it is so", hint="do that"), "an order")
    assert type(error) is kind
    assert str(error) == "an order: it is so"
    assert error.hint


def test_what_the_server_advises_is_passed_on() -> None:
    assert fault_of(answer(403, detail="no", hint="Ask for the scope publish."), "x").hint == "Ask for the scope publish."


def test_a_reason_that_is_known_is_the_senders_fault() -> None:
    error = fault_of(answer(422, detail="other bytes", reason="chunk-damaged"), "chunk")
    assert isinstance(error, SenderFault)
    assert error.reason is Reason.CHUNK_DAMAGED
    assert not isinstance(fault_of(answer(422, reason="never-heard-of"), "chunk"), SenderFault)


@pytest.mark.parametrize(("said", "seconds"), [("7", 7.0), (" 7 ", 7.0), ("999999", 120.0), ("Wed, 21 Oct 2026", 1.0), ("-1", 1.0), (None, 1.0)])
def test_a_busy_server_says_how_long_to_rest(said: str | None, seconds: float) -> None:
    error = fault_of(answer(429, {} if said is None else {"retry-after": said}), "x")
    assert isinstance(error, ServerBusy)
    assert error.rest_seconds == seconds


@given(st.integers(300, 599), st.binary(max_size=200), st.sampled_from([PROBLEM, "text/html", ""]))
def test_any_body_makes_an_error_and_never_another_one(status: int, body: bytes, kind: str) -> None:
    assert isinstance(fault_of(Answer(status, {"content-type": kind}, body), "x"), ModelcastError)


def test_a_message_is_a_map_in_either_form_and_anything_else_is_against_the_protocol() -> None:
    assert Answer(200, {"content-type": "application/json"}, b'{"a": 1}').message("x") == {"a": 1}
    assert Answer(200, {}, pack({"a": b"1"})).message("x") == {"a": b"1"}
    for headers, body in (({"content-type": "application/json"}, b"[1]"), ({"content-type": "application/json"}, b"{"), ({}, b"\xff")):
        with pytest.raises(HostFault, match="list of orders"):
            Answer(200, headers, body).message("list of orders")
