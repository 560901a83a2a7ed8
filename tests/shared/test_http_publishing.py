"""A publisher's session that the server refuses, loses or misunderstands. What goes well is in the contract suites."""

from threading import Event, Thread

import pytest
from tests.fakes.http_peer import HttpPeer, Request, problem, reply, told
from tests.fakes.stage import LONG

from modelcast.shared import http_publishing
from modelcast.shared.errors import AuthenticationRefused, HostFault, PermissionRefused, ProtocolViolation, PublisherBusy
from modelcast.shared.http_publishing import HttpPublisherRoad


@pytest.fixture
def peer():
    """Makes peers that open a session and then say what they are told to say."""
    made: list[HttpPeer] = []

    def make(answering, session: bytes | None = None) -> HttpPeer:
        def answer(request: Request) -> bytes | None:
            return (session or told(session="s1", lease_seconds=30, retention_bytes=None)) if request.target.endswith("/publishing") else answering(request)

        made.append(HttpPeer(answer))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_a_session_goes_with_every_request_and_is_given_back(peer) -> None:
    there = peer(lambda request: told(offset=7) if "mark" in request.target else reply(204))
    road = HttpPublisherRoad(there.server(), "fraud", "production")
    assert (road.chunks.mark(), road.retention_bytes) == (7, None)
    road.chunks.send(b"bytes", version="1.0.0", index=0, count=1, digest="00", codec="zstd")
    road.chunks.finish("r")
    road.announce("production", b"announced")
    road.order("production", b"ordered")
    road.close()
    assert {request.headers.get("modelcast-session") for request in there.requests[1:]} == {"s1"}
    put = next(request for request in there.requests if request.target.endswith("/chunks:batch"))
    assert [put.headers[f"modelcast-{name}"] for name in ("version", "chunks")] == ["1.0.0", "00-zstd:5:0"]
    assert [request.method + request.target for request in there.requests[-3:]] == [
        "POST/v1/models/fraud/channels/production/announcements", "POST/v1/models/fraud/channels/production/orders",
        "DELETE/v1/models/fraud/publishing/s1",
    ]


def test_the_time_apart_is_asked_for_where_the_server_knows_it(peer) -> None:
    answers = [told(rejoined=False), told(rejoined=True)]
    there = peer(
        lambda request: answers.pop(0) if request.target.endswith(":rejoin") else reply(204),
        session=told(session="s1", lease_seconds=30, retention_bytes=None, lets_order=True),
    )
    road = HttpPublisherRoad(there.server(), "fraud", "production")
    road.apart()
    with pytest.raises(PublisherBusy, match="ordering"):
        road.rejoin()
    road.rejoin()
    road.close()
    asked = [request.target.rpartition("/")[2] for request in there.requests]
    assert asked == ["publishing", "publishing:apart", "publishing:rejoin", "publishing:rejoin", "s1"]


def test_a_server_that_does_not_know_a_time_apart_keeps_others_out_all_the_time(peer) -> None:
    there = peer(lambda _request: reply(204))
    road = HttpPublisherRoad(there.server(), "fraud", "production")
    road.apart()
    road.rejoin()
    road.close()
    assert [request.target.rpartition("/")[2] for request in there.requests] == ["publishing", "s1"]


def test_chunks_go_together_until_they_are_many_or_large_or_of_another_release(peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_publishing, "BATCH_BYTES", 10)
    monkeypatch.setattr(http_publishing, "BATCH_CHUNKS", 3)
    there = peer(lambda _request: reply(204))
    road = HttpPublisherRoad(there.server(), "fraud", "production")
    sizes = [4, 6, 1, 12, 1, 1, 1, 1]
    for index, size in enumerate(sizes):
        road.chunks.send(memoryview(bytes([index]) * size), version="1.0.0", index=index, count=9, digest=f"{index:02}")
    road.chunks.send(b"8", version="1.0.1", index=8, count=9, digest="08")
    road.chunks.finish("r")
    batches = [request for request in there.requests if request.target.endswith("/chunks:batch")]
    batches.sort(key=lambda request: request.headers["modelcast-chunks"])
    assert [request.headers["modelcast-chunks"] for request in batches] == [
        "00:4:0,01:6:1", "02:1:2", "03:12:3", "04:1:4,05:1:5,06:1:6", "07:1:7", "08:1:8",
    ]
    assert [request.body for request in batches][:3] == [b"\0" * 4 + b"\1" * 6, b"\2", b"\3" * 12]
    road.close()


def test_a_batch_is_sent_while_the_one_before_is_written_but_no_third_one(peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_publishing, "BATCH_CHUNKS", 1)
    written, came = Event(), [Event() for _ in range(4)]

    def answer(request: Request) -> bytes:
        if request.target.endswith("/chunks:batch"):
            came[int(request.headers["modelcast-chunks"].rpartition(":")[2])].set()
            written.wait(LONG)
        return reply(204)

    there = peer(answer)
    road = HttpPublisherRoad(there.server(), "fraud", "production")
    sending = Thread(target=lambda: [road.chunks.send(b"x", version="1.0.0", index=index, count=4, digest=f"0{index}") for index in range(4)])
    sending.start()
    assert all(each.wait(LONG) for each in came[:2])   # both before any of them was answered
    written.set()
    sending.join(LONG)
    road.chunks.finish("r")
    assert all(each.is_set() for each in came)
    assert there.connections == 1 + 2
    road.close()


@pytest.mark.parametrize("refused", [0, 1, 2])
def test_a_batch_that_is_refused_is_told_before_the_end_is(peer, monkeypatch: pytest.MonkeyPatch, refused: int) -> None:
    monkeypatch.setattr(http_publishing, "BATCH_CHUNKS", 1)
    there = peer(lambda request: problem(507) if request.headers.get("modelcast-chunks") == f"0{refused}:1:{refused}" else reply(204))
    road = HttpPublisherRoad(there.server(), "fraud", "production")

    def send() -> None:
        for index in range(3):
            road.chunks.send(b"x", version="1.0.0", index=index, count=3, digest=f"0{index}")
        road.chunks.finish("r")

    with pytest.raises(HostFault):
        send()
    assert not any(request.target.endswith("/chunks:finish") for request in there.requests)
    road.close()


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (problem(409), PublisherBusy), (problem(401), AuthenticationRefused), (problem(403), PermissionRefused), (told(), ProtocolViolation),
        (told(session=3), ProtocolViolation),
    ],
)
def test_a_session_that_does_not_come_about_is_told_by_its_kind(peer, said: bytes, kind: type[Exception]) -> None:
    there = peer(lambda _request: reply(204), said)
    with pytest.raises(kind):
        HttpPublisherRoad(there.server(), "fraud", "production")


@pytest.mark.parametrize("status", [404, 409])
def test_a_session_that_another_one_took_over_is_a_fault_that_a_second_attempt_mends(peer, status: int) -> None:
    road = HttpPublisherRoad(peer(lambda _request: problem(status, detail="not your session")).server(), "fraud", "production")
    with pytest.raises(HostFault, match="another one") as caught:
        road.register.append(b"record")
    assert "Publish again" in (caught.value.hint or "")
    road.chunks.send(b"x", version="1.0.0", index=0, count=1, digest="00")
    with pytest.raises(HostFault, match="not your session"):
        road.chunks.finish("r")
    road.close()


def test_lists_are_read_page_by_page_and_what_is_none_is_against_the_protocol(peer) -> None:
    pages = [told(next=2, records=[b"1", b"2"]), told(next=None, records=[b"3"]), told(next=None, records=[3]), told(next=None)]
    there = peer(lambda request: pages.pop(0) if "register" in request.target else reply(204))
    road = HttpPublisherRoad(there.server(), "fraud", "production")
    assert list(road.register.read()) == [b"1", b"2", b"3"]
    assert there.requests[2].target.endswith("/register?from=2")
    for _ in range(2):
        with pytest.raises(ProtocolViolation):
            road.register.read()
    road.close()


def test_what_was_gathered_is_sent_at_the_end_though_a_batch_before_it_failed(peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_publishing, "BATCH_CHUNKS", 1)
    there = peer(lambda request: None if request.headers.get("modelcast-chunks") == "00:1:0" else reply(204))
    road = HttpPublisherRoad(there.server(), "fraud", "production")
    for index in range(3):
        road.chunks.send(b"x", version="1.0.0", index=index, count=4, digest=f"0{index}")
    road.close()
    assert sorted({request.headers["modelcast-chunks"] for request in there.requests if "modelcast-chunks" in request.headers}) == [
        "00:1:0", "01:1:1", "02:1:2",
    ]


def test_leaving_a_server_that_is_gone_raises_nothing(peer) -> None:
    there = peer(lambda _request: None)
    road = HttpPublisherRoad(there.server(), "fraud", "production")
    there.close()
    road.close()
