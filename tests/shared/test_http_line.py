"""A kept connection: when it is opened anew, how long is waited, and that no secret leaves it but where it belongs."""

import threading
import time

import pytest
from tests.fakes.http_peer import Cut, HttpPeer, Request, problem, reply

from modelcast.shared import http_line
from modelcast.shared.errors import AuthenticationRefused, BrokerUnreachable, ModelcastError, ProtocolViolation
from modelcast.shared.http_answers import ServerBusy
from modelcast.shared.http_line import Ask, rested

SOON = 20.0


@pytest.fixture
def peer():
    """Makes peers that are closed after the test."""
    made: list[HttpPeer] = []
    yield lambda answering: made.append(HttpPeer(answering)) or made[-1]
    for each in made:
        each.close()


def hello(_request: Request) -> bytes:
    return reply(200, b"hello")


def test_requests_go_over_one_connection_with_token_and_options(peer) -> None:
    there = peer(hello)
    line = there.line("mct_a_geheim")
    for _ in range(3):
        assert line.call(Ask("GET", "/models/m/chunks", {"from": 7, "wait": None}), "x").body == b"hello"
    line.call(Ask("POST", "/reports", body=memoryview(b"bytes"), headers={"X": "y"}), "x")
    assert there.connections == 1
    assert {request.headers["authorization"] for request in there.requests} == {"Bearer mct_a_geheim"}
    assert there.requests[0].target == "/v1/models/m/chunks?from=7"
    assert (there.requests[-1].body, there.requests[-1].headers["x"]) == (b"bytes", "y")
    line.close()


def test_what_stands_before_the_api_goes_with_every_request(peer) -> None:
    there = peer(hello)
    line = there.server(options="/behind/").line()
    line.call(Ask("GET", "/x"), "x")
    assert there.requests[0].target == "/behind/v1/x"
    line.close()


def test_a_connection_that_the_server_closed_while_nobody_asked_is_opened_anew(peer) -> None:
    there = peer(lambda _request: Cut(reply(200, b"hello")))
    line = there.line()
    for _ in range(3):
        assert line.call(Ask("POST", "/x", body=b""), "x").body == b"hello"
        assert line.wire is None or line.wire.has_bytes(SOON)   # the end of it is here
    assert (len(there.requests), there.connections) == (3, 3)
    line.close()


def test_a_question_is_asked_again_when_the_kept_connection_breaks_under_it_and_an_order_is_not(peer) -> None:
    there = peer(lambda request: None if request.connection == 1 and len(there.requests) > 1 else reply(200, b"hello"))
    line = there.line()
    line.call(Ask("GET", "/x"), "x")
    assert line.call(Ask("GET", "/x"), "x").body == b"hello"   # on a second connection
    line.close()
    there = peer(lambda _request: None if len(there.requests) > 1 else reply(200, b"hello"))
    line = there.line()
    line.call(Ask("POST", "/x", body=b""), "x")
    with pytest.raises(BrokerUnreachable, match="broke"):
        line.call(Ask("POST", "/x", body=b""), "x")
    assert len(there.requests) == 2
    line.close()


def test_a_server_that_hangs_up_on_a_new_connection_is_not_asked_again(peer) -> None:
    there = peer(lambda _request: None)
    line = there.line()
    with pytest.raises(BrokerUnreachable):
        line.call(Ask("GET", "/x"), "x")
    assert len(there.requests) == 1
    line.close()


@pytest.mark.parametrize("said", [b"220 smtp ready\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 70_000])
def test_what_is_no_http_is_against_the_protocol(peer, said: bytes) -> None:
    line = peer(lambda _request: Cut(said)).line()
    with pytest.raises(ProtocolViolation, match="no HTTP"):
        line.call(Ask("GET", "/x"), "x")
    line.close()


def test_an_answer_that_is_cut_off_is_a_broken_connection(peer) -> None:
    line = peer(lambda _request: Cut(reply(200, b"half", length=8))).line()
    with pytest.raises(BrokerUnreachable):
        line.call(Ask("GET", "/x"), "x")
    line.close()


def test_an_answer_larger_than_any_is_not_held_in_memory(peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_line, "MAX_ANSWER_BYTES", 100)
    line = peer(lambda _request: reply(200, bytes(101))).line()
    with pytest.raises(ProtocolViolation, match="100 bytes"):
        line.call(Ask("GET", "/x"), "x")
    line.close()


def test_an_answer_that_does_not_come_is_overdue(peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_line, "ANSWER_SECONDS", 0.2)
    there = peer(lambda _request: there.hold())
    line, began = there.line(), time.monotonic()
    with pytest.raises(BrokerUnreachable, match="in time"):
        line.call(Ask("GET", "/x", wait_seconds=0.1), "x")
    assert 0.25 < time.monotonic() - began < SOON / 2
    line.close()


def test_a_busy_server_is_asked_again_no_sooner_than_it_says(peer) -> None:
    there = peer(lambda _request: problem(429, {"Retry-After": "1"}) if len(there.requests) == 1 else reply(200, b"hello"))
    line, began = there.line(), time.monotonic()
    assert line.call(Ask("GET", "/x"), "x").body == b"hello"
    assert time.monotonic() - began >= 1.0
    line.close()


def test_a_server_that_stays_busy_is_left_alone(peer) -> None:
    line = peer(lambda _request: problem(503, {"Retry-After": "90"})).line()
    with pytest.raises(ServerBusy):
        line.call(Ask("GET", "/x"), "x")
    line.close()


def test_no_two_of_a_fleet_come_back_at_one_moment() -> None:
    rests = [rested(ServerBusy("x", 10.0)) for _ in range(200)]
    assert min(rests) >= 10.0
    assert max(rests) <= 15.5
    assert len(set(rests)) > 190


def test_a_redirect_is_not_followed_so_that_the_token_goes_nowhere_else(peer) -> None:
    elsewhere = peer(hello)
    line = peer(lambda _request: reply(302, headers={"Location": elsewhere.url})).line("mct_a_geheim")
    with pytest.raises(ProtocolViolation) as caught:
        line.call(Ask("GET", "/x"), "x")
    assert elsewhere.requests == []
    assert "geheim" not in f"{caught.value} {caught.value.hint} {caught.value.facts}"
    line.close()


def test_no_error_shows_the_token(peer) -> None:
    for said in (problem(401, detail="no"), problem(500), Cut(b"x"), None):
        line = peer(lambda _request, said=said: said).line("mct_a_geheim")
        with pytest.raises(ModelcastError) as caught:
            line.call(Ask("GET", "/x"), "x")
        shown = f"{caught.value!r} {caught.value.hint} {caught.value.facts} {caught.value.__cause__!r}"
        assert "geheim" not in shown
        line.close()
    line = peer(lambda _request: problem(401, detail="no")).line("mct_a_geheim")
    with pytest.raises(AuthenticationRefused) as refused:
        line.call(Ask("GET", "/x"), "x")
    assert "MODELCAST_TOKEN" in (refused.value.hint or "")
    line.close()


def test_the_answer_beside_ends_a_wait_too(peer) -> None:
    there = peer(lambda request: reply(200) if request.target == "/v1/told" or there.closed.wait(SOON) else None)
    asking, telling, began = there.line(), there.line(), time.monotonic()
    asking.send(Ask("GET", "/orders"))
    later = threading.Timer(0.05, lambda: telling.send(Ask("POST", "/told", body=b"")))
    telling.call(Ask("POST", "/told", body=b""), "x")
    later.start()
    later.join()
    assert not asking.has_answer(SOON, None, telling)
    assert time.monotonic() - began < SOON / 2
    assert telling.answer("x").status == 200
    asking.close()
    telling.close()
