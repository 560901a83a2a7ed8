"""One thing after the other: answered before the next goes, sent again when the server was too busy, refused aloud."""

import time

import pytest
from tests.fakes.http_peer import HttpPeer, Request, problem, reply

from modelcast.shared.errors import BrokerUnreachable, HostFault, SenderFault
from modelcast.shared.http_line import Ask
from modelcast.shared.http_sending import Sending

SOON = 20.0


def report(number: int) -> Ask:
    return Ask("POST", f"/reports/{number}", body=b"%d" % number)


@pytest.fixture
def sending():
    """Makes a peer and what sends to it, closed after the test."""
    made: list[HttpPeer | Sending] = []

    def make(answering) -> tuple[HttpPeer, Sending]:
        peer = HttpPeer(answering)
        sending = Sending(peer.line())
        made.extend((peer, sending))
        return peer, sending

    yield make
    for each in reversed(made):
        each.close()


def kept(sent) -> bool:
    deadline = time.monotonic() + SOON
    while not sent():
        sent._sending.hear(0.05)
        assert time.monotonic() < deadline
    return True


def test_what_is_sent_is_confirmed_when_the_server_has_it_and_not_before(sending) -> None:
    peer, ours = sending(lambda _request: reply(204) if peer_may.wait(SOON) else None)
    peer_may = peer.closed
    sent = ours.send(report(1), "report")
    assert not sent()
    assert ours.is_busy
    peer.closed.set()
    assert kept(sent)
    assert sent()
    assert not ours.is_busy


def test_each_waits_for_the_one_before_and_all_come_in_their_order(sending) -> None:
    peer, ours = sending(lambda _request: reply(204))
    sent = [ours.send(report(number), "report") for number in range(20)]
    ours.flush()
    assert all(each() for each in sent)
    assert [request.body for request in peer.requests] == [b"%d" % number for number in range(20)]
    assert peer.connections == 1


def test_one_that_the_server_was_too_busy_for_goes_again_when_it_says(sending) -> None:
    peer, ours = sending(lambda _request: problem(429, {"Retry-After": "1"}) if len(peer.requests) == 1 else reply(204))
    began = time.monotonic()
    sent = ours.send(report(1), "report")
    assert kept(sent)
    assert time.monotonic() - began >= 1.0
    assert [request.body for request in peer.requests] == [b"1", b"1"]


def test_a_server_that_stays_busy_is_given_up_in_the_end(sending) -> None:
    peer, _ = sending(lambda _request: problem(503, {"Retry-After": "60"}))
    ours = Sending(peer.line(), 0.3)
    ours.send(report(1), "report")
    with pytest.raises(HostFault, match="did not answer"):
        ours.flush()
    ours.close()


def test_what_is_refused_is_told_to_who_asks_and_to_who_sends_next(sending) -> None:
    def refuse(request: Request) -> bytes:
        return problem(409, detail="another one has the place") if request.body == b"1" else reply(204)

    _, ours = sending(refuse)
    sent = ours.send(report(1), "report")
    with pytest.raises(HostFault, match="another one"):
        ours.send(report(2), "report")
    with pytest.raises(HostFault, match="another one"):
        sent()
    assert kept(ours.send(report(3), "report"))


def test_bytes_that_the_server_found_damaged_are_the_senders_fault(sending) -> None:
    _, ours = sending(lambda _request: problem(422, reason="chunk-damaged"))
    ours.send(report(1), "chunk")
    with pytest.raises(SenderFault):
        ours.flush()
    assert not ours.is_busy


def test_what_was_dealt_with_before_is_no_fault_where_that_is_said(sending) -> None:
    _, ours = sending(lambda _request: problem(404))
    assert kept(ours.send(report(1), "settlement", allowed=frozenset({404})))


def test_a_connection_that_broke_is_told(sending) -> None:
    _, ours = sending(lambda _request: None)
    sent = ours.send(report(1), "report")
    with pytest.raises(BrokerUnreachable):
        ours.flush()
    with pytest.raises(BrokerUnreachable):
        sent()
