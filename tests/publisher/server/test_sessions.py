"""Publishers' sessions that end without a word."""

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
