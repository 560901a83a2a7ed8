"""Publishers' sessions that end without a word."""

import time

import pytest
from tests.fakes.site import Site

from modelcast.publisher.server.settings import ServerLimits
from modelcast.shared.roads import open_road

from .test_joining import eventually


@pytest.fixture
def depot(tmp_path):
    return tmp_path / "depot"


def test_a_silent_session_is_taken_over_and_the_old_one_is_told(depot) -> None:
    with Site(depot, ServerLimits(lease_seconds=0.05), needs_tokens=False) as site, site.client() as first, site.client() as second:
        first.begin("fraud")
        eventually(lambda: second.begin("fraud").status_code == 201)
        answer = first.post("/models/fraud/chunks:mark")
        assert (answer.status_code, answer.json()["hint"]) == (409, "Publish again: only what is missing is sent.")
        assert second.post("/models/fraud/chunks:mark").status_code == 200


def test_a_silent_session_that_nobody_wants_stays_good(depot) -> None:
    with Site(depot, ServerLimits(lease_seconds=0.0), needs_tokens=False) as site, site.client() as client:
        client.begin("fraud")
        assert [client.post("/models/fraud/chunks:mark").status_code for _ in range(2)] == [200, 200]


def test_a_session_sends_and_orders_only_while_it_may(depot) -> None:
    with Site(depot, needs_tokens=False) as site, site.client() as sender, site.client() as orderer:
        assert sender.begin("fraud").json()["lets_order"] is True
        assert orderer.begin("fraud", sends=False).status_code == 409
        assert sender.post("/models/fraud/publishing:apart").status_code == 204
        assert orderer.begin("fraud").status_code == 409
        assert orderer.begin("fraud", sends=False).status_code == 201
        for path in ("register", "channels/production/orders", "channels/production/announcements"):
            answer = sender.post(f"/models/fraud/{path}", data=b"now?")
            assert (answer.status_code, answer.json()["hint"]) == (409, "Rejoin first: POST …/publishing:rejoin.")
            assert orderer.post(f"/models/fraud/{path}", data=b"now").status_code == 204
        for path in ("chunks:mark", "publishing:apart", "publishing:rejoin"):
            answer = orderer.post(f"/models/fraud/{path}")
            assert (answer.status_code, answer.json()["hint"]) == (409, 'Open one with "sends": true.')
        assert orderer.put("fraud", b"chunk").status_code == 409
        assert sender.put("fraud", b"chunk").status_code == 201
        assert sender.post("/models/fraud/publishing:rejoin").json() == {"rejoined": False}
        orderer.end("fraud")
        assert [sender.post("/models/fraud/publishing:rejoin").json() for _ in range(2)] == [{"rejoined": True}] * 2
        assert sender.post("/models/fraud/register", data=b"now").status_code == 204


def test_a_silent_session_that_orders_holds_up_nobody_who_comes_back(depot) -> None:
    with Site(depot, ServerLimits(lease_seconds=0.05), needs_tokens=False) as site, site.client() as sender, site.client() as orderer:
        sender.begin("fraud")
        sender.post("/models/fraud/publishing:apart")
        orderer.begin("fraud", sends=False)
        eventually(lambda: sender.post("/models/fraud/publishing:rejoin").json() == {"rejoined": True})
        answer = orderer.post("/models/fraud/register", data=b"late")
        assert (answer.status_code, answer.json()["hint"]) == (409, "Publish again: only what is missing is sent.")


def test_who_waits_to_come_back_is_not_silent(depot) -> None:
    with (
        Site(depot, ServerLimits(lease_seconds=1.5), needs_tokens=False) as site, site.client() as sender, site.client() as orderer,
        site.client() as another,
    ):
        sender.begin("fraud")
        sender.post("/models/fraud/publishing:apart")
        orderer.begin("fraud", sends=False)
        deadline = time.monotonic() + 1.6
        while time.monotonic() < deadline:   # longer than a lease
            assert orderer.get("/models/fraud/register").status_code == 200
            assert sender.post("/models/fraud/publishing:rejoin").json() == {"rejoined": False}
        orderer.end("fraud")
        assert another.begin("fraud").status_code == 409
        assert sender.post("/models/fraud/publishing:rejoin").json() == {"rejoined": True}


def test_who_orders_on_the_directory_holds_up_who_comes_back_by_http(depot) -> None:
    with Site(depot, needs_tokens=False) as site, site.client() as sender:
        sender.begin("fraud")
        sender.post("/models/fraud/publishing:apart")
        theirs = open_road(f"file://{depot}").publish("fraud", "production", sends=False)
        assert sender.post("/models/fraud/publishing:rejoin").json() == {"rejoined": False}
        theirs.close()
        assert sender.post("/models/fraud/publishing:rejoin").json() == {"rejoined": True}


def test_an_abandoned_session_lets_publishers_on_the_directory_in(depot, monkeypatch: pytest.MonkeyPatch) -> None:
    from modelcast.publisher.server import service
    from modelcast.shared.errors import PublisherBusy

    monkeypatch.setattr(service, "SWEEP_SECONDS", 0.05)

    def is_free() -> bool:
        try:
            open_road(f"file://{depot}").publish("fraud", "production").close()
        except PublisherBusy:
            return False
        return True

    with Site(depot, ServerLimits(abandoned_seconds=0.1), needs_tokens=False) as site, site.client() as client:
        client.begin("fraud")
        eventually(is_free)


def test_a_server_that_stops_lets_go_of_every_lock(depot) -> None:
    with Site(depot, needs_tokens=False) as site, site.client() as client:
        client.begin("fraud")
    open_road(f"file://{depot}").publish("fraud", "production").close()
