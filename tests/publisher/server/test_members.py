"""Instances that come, stay away and are too many."""

import pytest
from tests.fakes.site import Site

from modelcast.publisher.server.settings import ServerLimits

from .test_joining import eventually

AT = "/models/fraud/channels/production/instances"


@pytest.fixture
def depot(tmp_path):
    return tmp_path / "depot"


def test_who_does_not_ask_for_long_has_left(depot) -> None:
    with Site(depot, ServerLimits(absence_seconds=0.1), needs_tokens=False) as site, site.client() as first, site.client() as other:
        first.wire(f"{AT}/a/orders?joined=1")
        eventually(lambda: other.get(f"{AT}/a/orders?joined=2").status_code == 200)
        assert first.post(f"{AT}/a/orders/1/settlement?joined=1", json={"accept": True}).status_code == 409


def test_one_instance_too_many_is_503(depot) -> None:
    with Site(depot, ServerLimits(members=2), needs_tokens=False) as site, site.client() as client:
        answers = [client.get(f"{AT}/{name}/orders?joined=1") for name in ("a", "b", "c")]
        assert [answer.status_code for answer in answers] == [200, 200, 503]
        assert answers[-1].headers["Retry-After"] == "5"


def test_a_long_history_comes_in_pages(depot) -> None:
    with Site(depot, ServerLimits(answer_bytes=10), needs_tokens=False) as site, site.client() as client:
        client.begin("fraud")
        for number in range(3):
            client.post("/models/fraud/channels/production/orders", data=b"order %d " % number)
        pages = [client.wire(f"{AT}/a/orders?joined=1")["orders"] for _ in range(3)]
        assert [[order["body"] for order in page] for page in pages] == [[b"order 0 ", b"order 1 "], [b"order 2 "], []]


def test_after_the_server_was_started_again_the_same_connection_joins_again(depot) -> None:
    with Site(depot, needs_tokens=False) as site, site.client() as client:
        client.wire(f"{AT}/a/orders?joined=1")
        client.begin("fraud")
        client.post("/models/fraud/channels/production/orders", data=b"one")
    with Site(depot, needs_tokens=False) as site, site.client() as client:
        orders = client.wire(f"{AT}/a/orders?joined=1")["orders"]
        assert [(order["number"], order["is_history"]) for order in orders] == [(None, True), (1, False)]
