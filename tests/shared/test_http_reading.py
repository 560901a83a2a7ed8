"""Chunks and reports from a server that is slow, breaks, or lies. What the real one does is in the contract suites."""

import time
from collections.abc import Callable, Iterator
from urllib.parse import unquote

import pytest
from tests.fakes.http_peer import Answering, Cut, HttpPeer, Request, problem, reply, told

from modelcast.shared import http_batches, http_reading
from modelcast.shared.digest import digest
from modelcast.shared.errors import DepotUnusable, HostFault, ProtocolViolation
from modelcast.shared.http_reading import HttpChunkSource, HttpReportSource

SOON = 20.0
BRIEF = 0.2
BODIES = [bytes([number]) * 300_000 for number in range(6)]
NAMES = {digest(body).hex(): body for body in BODIES}


def entry(offset: int, body: bytes) -> dict[str, object]:
    return {"offset": offset, "kind": "chunk", "digest": digest(body).hex(), "size": len(body), "codec": "none", "version": "1.0.0", "index": offset}


def listed(peer: HttpPeer, request: Request) -> bytes | None:
    """Six chunks at once, then nothing for as long as anybody asks."""
    if "from=" in request.target and "from=0" not in request.target:
        return peer.hold()
    return told(next=6, entries=[entry(offset, body) for offset, body in enumerate(BODIES)])


def is_of_chunks(request: Request) -> bool:
    return "/chunks/" in request.target or "/chunks:batch" in request.target


def batch_of(request: Request) -> list[bytes]:
    """The chunks that one request asks for together."""
    return [NAMES[name] for name in unquote(request.target.partition("?chunks=")[2]).split(",")]


def chunk_of(request: Request) -> bytes:
    if "/chunks:batch" in request.target:
        return reply(200, b"".join(batch_of(request)))
    body = NAMES[request.target.partition("/chunks/")[2].partition("?")[0]]
    start = int(request.headers.get("range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
    headers = {"ETag": '"x"', "Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}
    return reply(206 if start else 200, body[start:], headers)


@pytest.fixture
def peer() -> Iterator[Callable[[Answering], HttpPeer]]:
    """Makes peers; for a path of a chunk they say what they are told to say."""
    made: list[HttpPeer] = []

    def make(chunks: Answering) -> HttpPeer:
        made.append(HttpPeer(lambda request: chunks(request) if is_of_chunks(request) else listed(made[-1], request)))
        return made[-1]

    yield make
    for each in made:
        each.close()


def read(source: HttpChunkSource, count: int) -> list[bytes]:
    found = []
    while len(found) < count:
        arrived = source.receive(SOON)
        assert arrived is not None
        found.append(bytes(arrived.body))
    source.close()
    return found


def test_as_many_batches_as_there_are_connections_are_on_their_way_at_once(peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_reading, "BATCH_CHUNKS", 2)
    there = peer(lambda request: chunk_of(request) if asked(3) else None)

    def asked(count: int) -> bool:
        """Wait until so many were asked for: nobody is answered before."""
        deadline = time.monotonic() + SOON
        while sum(map(is_of_chunks, there.requests)) < count:
            if time.monotonic() > deadline or there.closed.wait(0.005):
                return False
        return True

    source = HttpChunkSource(there.server(options="?connections=3"), "fraud", 0)
    assert read(source, 6) == BODIES
    assert there.connections == 4   # and one for the list
    assert sum(map(is_of_chunks, there.requests)) == 3


def test_chunks_go_together_up_to_so_many_bytes(peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_reading, "FIRST_BATCH_BYTES", 700_000)
    monkeypatch.setattr(http_batches, "MOST_BATCH_BYTES", 700_000)
    there = peer(chunk_of)
    assert read(HttpChunkSource(there.server(), "fraud", 0), 6) == BODIES
    assert [len(batch_of(request)) for request in there.requests if is_of_chunks(request)] == [2, 2, 2]


def test_on_a_slow_line_less_is_asked_for_together(peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_reading, "FIRST_BATCH_BYTES", 700_000)
    monkeypatch.setattr(http_batches, "LEAST_BATCH_BYTES", 300_000)
    monkeypatch.setattr(http_batches, "SLOW_SECONDS", -1.0)
    monkeypatch.setattr(http_batches, "BRISK_SECONDS", -1.0)
    there = peer(chunk_of)
    assert read(HttpChunkSource(there.server(options="?connections=1"), "fraud", 0), 6) == BODIES
    assert [len(batch_of(request)) for request in there.requests if "/chunks:batch" in request.target] == [2]
    assert len(one_by_one(there)) == 4


def one_by_one(there: HttpPeer) -> list[str]:
    return [request.target for request in there.requests if "/chunks/" in request.target]


def test_a_chunk_that_was_removed_since_is_passed_over(peer) -> None:
    there = peer(lambda request: problem(404) if BODIES[2] in chunk_of(request) else chunk_of(request))
    assert read(HttpChunkSource(there.server(), "fraud", 0), 5) == [*BODIES[:2], *BODIES[3:]]
    assert len(one_by_one(there)) == 6


@pytest.mark.parametrize("strange", [reply(200, b"".join(BODIES) + b"more"), reply(206, b"".join(BODIES)), problem(501), problem(400)])
def test_a_batch_that_does_not_fit_its_list_is_asked_for_one_by_one(peer, strange: bytes) -> None:
    there = peer(lambda request: strange if "/chunks:batch" in request.target else chunk_of(request))
    assert read(HttpChunkSource(there.server(), "fraud", 0), 6) == BODIES
    assert len(one_by_one(there)) == 6


@pytest.mark.parametrize("cut", [1, 299_999, 300_000, 1_000_000])
def test_a_batch_that_breaks_off_loses_nothing_and_repeats_no_chunk_that_came(peer, cut: int) -> None:
    there = peer(lambda request: Cut(chunk_of(request)[: -6 * 300_000 + cut]) if "/chunks:batch" in request.target else chunk_of(request))
    assert read(HttpChunkSource(there.server(), "fraud", 0), 6) == BODIES
    assert len(one_by_one(there)) == 6 - cut // 300_000


@pytest.mark.parametrize("name", ["", "x", "A" * 64, "../" * 22])
def test_a_chunk_without_a_digest_is_against_the_protocol(name: str) -> None:
    there = HttpPeer(lambda _request: told(next=1, entries=[{**entry(0, BODIES[0]), "digest": name}]))
    with pytest.raises(ProtocolViolation, match="digest"):
        HttpChunkSource(there.server(), "fraud", 0)
    there.close()


def test_chunks_that_are_not_wanted_are_not_asked_for(peer) -> None:
    there, left = peer(chunk_of), {digest(BODIES[1]), digest(BODIES[4])}
    source = HttpChunkSource(there.server(), "fraud", 0, left.__contains__)
    assert read(source, 6) == [b"", BODIES[1], b"", b"", BODIES[4], b""]
    assert [len(batch_of(request)) for request in there.requests if is_of_chunks(request)] == [2]


def test_a_chunk_of_an_impossible_size_is_against_the_protocol() -> None:
    large = {**entry(0, BODIES[0]), "size": 2**40}
    there = HttpPeer(lambda _request: told(next=1, entries=[large]))
    with pytest.raises(ProtocolViolation, match="bytes"):
        HttpChunkSource(there.server(), "fraud", 0)
    there.close()


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (problem(404, detail="no model fraud"), DepotUnusable), (told(entries=3, next=1), ProtocolViolation), (told(), ProtocolViolation),
        (told(next=1, entries=[{}]), ProtocolViolation), (told(next=1, entries=[3]), ProtocolViolation), (reply(200, b"x"), ProtocolViolation),
        (None, HostFault),
    ],
)
def test_a_list_of_chunks_that_is_none_is_a_fault_of_the_host(said: bytes | None, kind: type[HostFault]) -> None:
    there = HttpPeer(lambda _request: said)
    with pytest.raises(kind):
        HttpChunkSource(there.server(), "fraud", 0)
    there.close()


def test_a_source_waits_no_longer_than_it_is_told_and_goes_on(peer) -> None:
    there = peer(lambda request: None if there.closed.wait(0.5) else chunk_of(request))
    source = HttpChunkSource(there.server(options="?connections=1"), "fraud", 0)
    began = time.monotonic()
    assert source.receive(BRIEF) is None
    assert time.monotonic() - began < 0.45
    assert read(source, 6) == BODIES


# --------------------------------------------------------------------------- reports


def test_reports_come_page_by_page_until_all_that_were_there_are_read() -> None:
    pages = [told(next="a", caught_up=False, reports=[b"1", b"2"]), told(next="b", caught_up=True, reports=[b"3"])]
    there = HttpPeer(lambda _request: pages.pop(0) if pages else there.hold())
    source = HttpReportSource(there.server(), 5)
    assert not source.is_caught_up
    assert [source.receive(SOON) for _ in range(3)] == [b"1", b"2", b"3"]
    assert source.is_caught_up
    assert source.receive(BRIEF) is None
    assert [request.target.partition("?")[2] for request in there.requests[:2]] == ["since_minutes=5", "from=a"]
    assert "from=b&wait=" in there.requests[2].target
    source.close()
    there.close()


@pytest.mark.parametrize("said", [told(next=1, reports=[], caught_up=True), told(next="a", reports=[1]), told(next="a", reports=None), reply(200)])
def test_a_list_of_reports_that_is_none_is_against_the_protocol(said: bytes) -> None:
    there = HttpPeer(lambda _request: said)
    source = HttpReportSource(there.server(), None)
    with pytest.raises(ProtocolViolation):
        source.receive(SOON)
    source.close()
    there.close()
