"""Chunks by their digests, from a server that breaks, is busy, or gives something else."""

from itertools import pairwise

import pytest
from tests.fakes.http_peer import Cut, HttpPeer, Request, problem, reply

from modelcast.shared import http_getting
from modelcast.shared.digest import digest
from modelcast.shared.errors import BrokerUnreachable, PermissionRefused
from modelcast.shared.http_getting import HttpChunkFinder, spread

BODIES = [bytes([number]) * 300_000 for number in range(6)]
NAMES = {digest(body).hex(): body for body in BODIES}


def chunk_of(request: Request) -> bytes:
    body = NAMES[request.target.partition("/chunks/")[2].partition("?")[0]]
    start = int(request.headers.get("range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
    headers = {"ETag": '"x"', "Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}
    return reply(206 if start else 200, body[start:], headers)


@pytest.fixture
def peer():
    """Makes peers that are closed after the test."""
    made: list[HttpPeer] = []
    yield lambda answering: made.append(HttpPeer(answering)) or made[-1]
    for each in made:
        each.close()


def found(peer: HttpPeer, connections: int = 3) -> list[bytes]:
    """Return the six chunks as they are found."""
    finder = HttpChunkFinder(peer.server(options=f"?connections={connections}"), "fraud")
    try:
        return [bytes(arrived.body) for arrived in finder.find(NAMES)]
    finally:
        finder.close()


def test_chunks_come_in_the_order_in_which_they_were_asked_for_and_what_is_not_there_is_passed_over(peer) -> None:
    there = peer(lambda request: problem(404) if BODIES[2] in chunk_of(request) else chunk_of(request))
    assert found(there) == [*BODIES[:2], *BODIES[3:]]
    assert there.connections == 3


def test_a_download_that_broke_goes_on_where_it_stopped(peer) -> None:
    broken: list[Request] = []

    def break_once(request: Request) -> bytes:
        whole = chunk_of(request)
        if BODIES[1] in whole and not broken:
            broken.append(request)
            return Cut(whole[:-20_000])
        return whole

    there = peer(break_once)
    assert found(there) == BODIES
    (again,) = [request for request in there.requests if "range" in request.headers]
    assert (again.headers["range"], again.headers["if-range"]) == ("bytes=280000-", '"x"')


def test_a_download_whose_rest_is_another_chunk_begins_anew(peer) -> None:
    broken: list[Request] = []

    def change(request: Request) -> bytes:
        if not broken and BODIES[0] in chunk_of(request):
            broken.append(request)
            return Cut(reply(200, bytes(299_000), {"ETag": '"old"'}, length=300_000))
        return reply(200, NAMES[request.target.partition("/chunks/")[2].partition("?")[0]], {"ETag": '"new"'})

    assert found(peer(change)) == BODIES


def test_a_download_that_keeps_breaking_is_given_up(peer) -> None:
    there = peer(lambda request: Cut(chunk_of(request)[:200]))
    with pytest.raises(BrokerUnreachable):
        found(there, connections=1)
    assert sum("/chunks/" in request.target for request in there.requests) == 1 + http_getting.RESUMES


def test_a_chunk_that_is_larger_than_any_is_cut_and_the_next_one_is_whole(peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_getting, "CHUNK_ROOM", 300_001)
    there = peer(lambda request: reply(200, bytes(5_000_000)) if BODIES[0] in chunk_of(request) else chunk_of(request))
    assert found(there, connections=1) == [bytes(300_001), *BODIES[1:]]


def test_a_busy_server_is_asked_for_the_chunk_again(peer) -> None:
    there = peer(lambda request: problem(503, {"Retry-After": "0"}) if len(there.requests) == 1 else chunk_of(request))
    assert found(there, connections=1) == BODIES


def test_a_token_that_does_not_reach_is_told(peer) -> None:
    with pytest.raises(PermissionRefused):
        found(peer(lambda _request: problem(403)))


def test_a_fleet_that_waits_together_does_not_ask_together_again() -> None:
    waits = sorted(spread(20.0) for _ in range(200))
    assert 15.0 <= waits[0] < 16.0
    assert 24.0 < waits[-1] <= 25.0
    assert max(later - sooner for sooner, later in pairwise(waits)) < 1.0
