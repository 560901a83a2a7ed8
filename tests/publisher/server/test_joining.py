"""An instance by HTTP: it joins, hears of orders at once, settles them, leaves."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.fakes.publisher_sim import PublisherSimulator, Release
from tests.fakes.site import Client, Site

from modelcast.shared.road import Target
from modelcast.shared.roads import open_road

HEARS_WITHIN_SECONDS = 1.0
"""The bar is 0.1 s; a machine that is busy with other tests may take longer, but not as long as a poll."""


@pytest.fixture
def at(model: str) -> Callable[[str], str]:
    """Where an instance asks."""
    return lambda instance: f"/models/{model}/channels/production/instances/{instance}"


def order(client: Client, model: str, body: bytes) -> None:
    assert client.post(f"/models/{model}/channels/production/orders", data=body).status_code == 204


def test_who_joins_late_gets_the_history_and_what_comes_after_it_to_settle(client: Client, model: str, at) -> None:
    client.begin(model)
    order(client, model, b"one")
    orders = client.wire(f"{at('a')}/orders?joined=1")["orders"]
    assert [(o["number"], o["body"], o["is_history"]) for o in orders] == [(None, b"one", True)]
    order(client, model, b"two")
    orders = client.wire(f"{at('a')}/orders?joined=1&wait=10")["orders"]
    assert [(o["number"], o["body"], o["is_history"], o["is_announcement"]) for o in orders] == [(2, b"two", False, False)]


def test_an_order_through_this_server_ends_the_wait_at_once(site: Site, client: Client, model: str, at) -> None:
    client.begin(model)
    client.wire(f"{at('a')}/orders?joined=1")
    with site.client() as instance, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lambda: (instance.wire(f"{at('a')}/orders?joined=1&wait=20")["orders"], time.monotonic()))
        eventually(lambda: somebody_waits(site, model))
        began = time.monotonic()
        order(client, model, b"one")
        orders, heard = waiting.result(30)
    assert [o["body"] for o in orders] == [b"one"]
    assert heard - began < HEARS_WITHIN_SECONDS


def test_an_order_that_somebody_wrote_into_the_directory_ends_the_wait_too(site: Site, client: Client, model: str, at) -> None:
    road = open_road(f"file://{site.root}").publish(model, "production")
    client.wire(f"{at('a')}/orders?joined=1")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lambda: (client.wire(f"{at('a')}/orders?joined=1&wait=20")["orders"], time.monotonic()))
        eventually(lambda: somebody_waits(site, model))
        began = time.monotonic()
        road.order("production", b"one")
        orders, heard = waiting.result(30)
    road.close()
    assert [o["body"] for o in orders] == [b"one"]
    assert heard - began < HEARS_WITHIN_SECONDS


def test_an_announcement_comes_without_a_number(client: Client, model: str, at) -> None:
    client.begin(model)
    client.wire(f"{at('a')}/orders?joined=1")
    assert client.post(f"/models/{model}/channels/production/announcements", data=b"soon").status_code == 204
    (news,) = client.wire(f"{at('a')}/orders?joined=1&wait=10")["orders"]
    assert (news["number"], news["body"], news["is_history"], news["is_announcement"]) == (None, b"soon", False, True)


def test_a_poll_that_nothing_ends_answers_with_nothing_when_its_time_is_over(client: Client, model: str, at) -> None:
    assert client.wire(f"{at('a')}/orders?joined=1&wait=0.05") == {"orders": []}


# --------------------------------------------------------------------------- settle


def test_a_refused_order_is_a_dead_letter_that_names_the_instance(client: Client, sim: PublisherSimulator, release: Release, model: str, at) -> None:
    client.begin(model)
    client.wire(f"{at('a')}/orders?joined=1")
    body = sim.order(release)
    order(client, model, body)
    client.wire(f"{at('a')}/orders?joined=1&wait=10")
    assert client.post(f"{at('a')}/orders/1/settlement?joined=1", json={"accept": False}).status_code == 204
    letters = client.wire("/dead-letters?limit=1000", headers={"Accept": "application/vnd.modelcast"})["letters"]
    assert [(found["instance"], found["body"], found["cause"]) for found in letters if found["model"] == model] == [("a", body, "rejected")]


def test_what_is_settled_does_not_come_again_and_what_is_not_does(client: Client, model: str, at) -> None:
    client.begin(model)
    client.wire(f"{at('a')}/orders?joined=1")
    for body in (b"one", b"two"):
        order(client, model, body)
    client.wire(f"{at('a')}/orders?joined=1")
    assert client.post(f"{at('a')}/orders/1/settlement?joined=1", json={"accept": True}).status_code == 204
    assert client.post(f"{at('a')}/orders/1/settlement?joined=1", json={"accept": True}).status_code == 404
    assert client.ask("DELETE", f"{at('a')}?joined=1").status_code == 204
    again = client.wire(f"{at('a')}/orders?joined=2")["orders"]
    assert [o["body"] for o in again if not o["is_history"]] == [b"two"]


@pytest.mark.parametrize(("path", "fields", "status"), [
    ("orders/1/settlement?joined=1", {"accept": 1}, 400), ("orders/1/settlement?joined=1", {}, 400), ("orders/x/settlement?joined=1", {}, 404),
    ("orders/7/settlement?joined=1", {"accept": True}, 404), ("orders/1/settlement?joined=2", {"accept": True}, 409),
    ("orders/1/settlement", {"accept": True}, 400),
])
def test_a_settlement_of_nothing_settles_nothing(client: Client, at, path: str, fields: dict[str, object], status: int) -> None:
    client.wire(f"{at('a')}/orders?joined=1")
    assert client.post(f"{at('a')}/{path}", json=fields).status_code == status


# --------------------------------------------------------------------------- one at a time


def test_a_name_is_used_once_at_a_time(site: Site, client: Client, at) -> None:
    client.wire(f"{at('a')}/orders?joined=1")
    with site.client() as other:
        assert other.get(f"{at('a')}/orders?joined=2").status_code == 409
        assert other.get(f"{at('b')}/orders?joined=2").status_code == 200
        client.ask("DELETE", f"{at('a')}?joined=1")
        assert other.get(f"{at('a')}/orders?joined=2").status_code == 200


def test_a_name_that_an_instance_of_the_directory_has_is_taken_too(site: Site, client: Client, model: str, at) -> None:
    client.wire(f"{at('b')}/orders?joined=1")
    road = open_road(f"file://{site.root}").join(Target(model, "production", "a"))
    assert client.get(f"{at('a')}/orders?joined=1").status_code == 409
    road.close()
    assert client.get(f"{at('a')}/orders?joined=1").status_code == 200


def test_the_place_of_an_instance_whose_connection_ended_is_free(site: Site, client: Client, at) -> None:
    with site.client() as killed:
        killed.wire(f"{at('a')}/orders?joined=1")
    eventually(lambda: client.get(f"{at('a')}/orders?joined=2").status_code == 200)


def test_the_place_of_an_instance_that_is_killed_while_it_waits_is_free(site: Site, client: Client, model: str, at) -> None:
    token = site.token()
    with site.raw() as killed:
        for wait in (0, 50):
            ask = f"GET /v1{at('a')}/orders?joined=1&wait={wait} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
            killed.sendall(ask.encode())
            if not wait:
                assert killed.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert client.get(f"{at('a')}/orders?joined=2").status_code == 409
    eventually(lambda: client.get(f"{at('a')}/orders?joined=2").status_code == 200)


@pytest.mark.parametrize("joined", ["", "?joined=", "?joined=a-b", "?joined=" + "a" * 65])
def test_who_does_not_say_which_connection_it_is_is_400(client: Client, at, joined: str) -> None:
    assert client.get(f"{at('a')}/orders{joined}").status_code == 400


def somebody_waits(site: Site, model: str) -> bool:
    topic = site.server._service.notices._topics.get(site.root / f"models/{model}/channels/production/orders")
    return topic is not None and topic.users > 0


def eventually(holds: Callable[[], object]) -> None:
    pause = threading.Event()
    for _ in range(600):
        if holds():
            return
        pause.wait(0.02)
    pytest.fail("It never was so.")
