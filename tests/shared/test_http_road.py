"""An instance and an operator on a server that refuses, restarts or lies. What goes well is in the contract suites."""

import threading
import time

import pytest
from tests.fakes.authority import Authority
from tests.fakes.http_host import HttpHost
from tests.fakes.http_peer import HttpPeer, problem, reply, told
from tests.fakes.site import Site

from modelcast.shared.errors import AuthenticationRefused, BrokerUnreachable, HostFault, PermissionRefused, ProtocolViolation
from modelcast.shared.http_road import HttpRoad
from modelcast.shared.road import Target
from modelcast.shared.roads import open_road

SOON = 20.0
HERE = Target("fraud", "production", "a")
NOTHING = told(orders=[])


@pytest.fixture
def peer():
    """Makes peers that are closed after the test."""
    made: list[HttpPeer] = []
    yield lambda answering: made.append(HttpPeer(answering)) or made[-1]
    for each in made:
        each.close()


def order(number: int | None, body: object = b"order", **more: object) -> dict[str, object]:
    return {"number": number, "body": body, "is_history": number is None, "is_announcement": False, **more}


def test_who_joins_says_so_with_a_name_of_its_own_and_says_goodbye(peer) -> None:
    there = peer(lambda request: told(orders=[order(None), order(3)]) if request.method == "GET" else reply(204))
    first, second = HttpRoad(there.server()).join(HERE), HttpRoad(there.server()).join(HERE)
    history, waiting = first.next_order(SOON), first.next_order(SOON)
    assert (history.receipt, waiting.receipt[1]) == (None, 3)
    first.settle(waiting, accept=True)
    second.settle(waiting, accept=True)   # another connection's receipt settles nothing
    first.close()
    second.close()
    names = [request.target.rpartition("joined=")[2] for request in there.requests]
    assert len(set(names)) == 2
    settled = [request for request in there.requests if "settlement" in request.target]
    assert [request.body for request in settled] == [b'{"accept": true}']
    assert [request.method for request in there.requests][-2:] == ["DELETE", "DELETE"]


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (problem(409, detail="a is connected"), HostFault), (problem(401), AuthenticationRefused), (problem(403), PermissionRefused),
        (problem(503), HostFault), (told(), ProtocolViolation), (told(orders=[3]), ProtocolViolation), (told(orders=[{}]), ProtocolViolation),
        (told(orders=[order(1, "text")]), ProtocolViolation), (None, BrokerUnreachable),
    ],
)
def test_a_join_that_does_not_come_about_is_a_fault_of_the_host(peer, said: bytes | None, kind: type[HostFault]) -> None:
    with pytest.raises(kind):
        HttpRoad(peer(lambda _request: said).server()).join(HERE)


def test_a_busy_server_is_left_alone_for_as_long_as_it_says_and_waking_works_meanwhile(peer) -> None:
    said = [NOTHING, problem(429, {"Retry-After": "1"}), told(orders=[order(1)])]
    there = peer(lambda request: said.pop(0) if said and request.method == "GET" else reply(204))
    joined = HttpRoad(there.server()).join(HERE)
    assert joined.next_order(SOON) is None
    waker, began = threading.Timer(0.05, joined.wake), time.monotonic()
    waker.start()
    assert joined.next_order(SOON) is None
    assert time.monotonic() - began < 0.9
    waker.join()
    arrived = None
    while arrived is None:
        arrived = joined.next_order(SOON)
    assert time.monotonic() - began > 0.9
    joined.close()


def test_a_server_that_goes_is_noticed_at_once_and_leaving_it_takes_no_time(peer) -> None:
    there = peer(lambda request: NOTHING if "wait=0" in request.target else there.hold())
    joined = HttpRoad(there.server()).join(HERE)
    assert joined.next_order(0.05) is None
    there.close()
    began = time.monotonic()
    with pytest.raises(BrokerUnreachable):
        joined.next_order(SOON)
    joined.close()
    assert time.monotonic() - began < SOON / 4


def test_a_server_that_was_restarted_has_all_orders_and_who_comes_again_gets_them(tmp_path) -> None:
    host = HttpHost(tmp_path / "depot")
    road = open_road(host.url)
    joined, publisher = road.join(HERE), road.publish("fraud", "production")
    publisher.order("production", b"1")
    publisher.close()
    assert joined.next_order(SOON).body == b"1"
    host.stop()
    with pytest.raises(HostFault):
        all(joined.next_order(1.0) is None for _ in range(100))
    joined.close()
    again_host = HttpHost(tmp_path / "depot", port=host.port)
    again = road.join(HERE)
    orders = [again.next_order(SOON), again.next_order(SOON)]
    assert [(arrived.body, arrived.receipt is None) for arrived in orders] == [(b"1", True), (b"1", False)]
    again.close()
    again_host.stop()


@pytest.mark.parametrize("said", [told(), told(letters=[3]), told(letters=[{"body": "text"}])])
def test_a_list_of_dead_letters_that_is_none_is_against_the_protocol(peer, said: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        list(HttpRoad(peer(lambda _request: said).server()).dead_letters(10))


def test_dead_letters_are_asked_for_page_by_page_and_no_more_than_wanted(peer) -> None:
    letter = {"body": b"x", "model": None, "died_ms": None}
    there = peer(lambda _request: told(next="c", letters=[letter] * 100))
    letters = list(HttpRoad(there.server()).dead_letters(150))
    assert (len(letters), letters[0].target, letters[0].cause) == (150, None, "unknown")
    assert [request.target.partition("?")[2] for request in there.requests] == ["limit=100", "limit=50&from=c"]


# --------------------------------------------------------------------------- tokens and TLS, on the real server


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory):
    """A server with TLS that lets nobody in without a token, and its authority."""
    authority = Authority(tmp_path_factory.mktemp("authority"))
    certificate, key = authority.files("localhost")
    with Site(tmp_path_factory.mktemp("site") / "depot", tls_cert=certificate, tls_key=key) as site:
        yield site, f"https://localhost:{site.address[1]}?ca_file={authority.file}"


def test_each_does_what_its_token_reaches_and_nothing_else(site) -> None:
    server, url = site
    ours = open_road(url, token=server.token("publish:fraud", "promote:fraud/production"))
    publisher = ours.publish("fraud", "production")
    instance = open_road(url, token=server.token("fetch:fraud", "report:fraud"))
    joined = instance.join(HERE)
    publisher.order("production", b"order")
    arrived = joined.next_order(SOON)
    joined.settle(arrived, accept=False)
    assert joined.report(b"report") is not None
    joined.close()
    with pytest.raises(PermissionRefused):
        publisher.order("staging", b"order")
    for refused in (lambda: ours.publish("churn", "production"), lambda: instance.publish("fraud", "production"), lambda: ours.join(HERE)):
        with pytest.raises(PermissionRefused):
            refused()
    publisher.close()
    operator = open_road(url, token=server.token("operate"))
    assert [letter.body for letter in operator.dead_letters(10)] == [b"order"]
    reports = operator.reports(since_minutes=None)
    assert reports.receive(SOON) == b"report"
    reports.close()


def test_a_token_that_is_missing_wrong_or_expired_is_refused_and_not_shown(site) -> None:
    server, url = site
    for token in (None, "mct_0123456789ab_geheim", server.token("fetch", expires_ms=1)):
        with pytest.raises(AuthenticationRefused) as caught:
            open_road(url, token=token).join(HERE)
        assert "geheim" not in f"{caught.value} {caught.value.hint} {caught.value.facts}"


def test_a_token_that_does_not_reach_ends_a_transfer_with_that_reason(site) -> None:
    server, url = site
    road = open_road(url, token=server.token("fetch:churn"))
    with pytest.raises(PermissionRefused):
        road.chunks("fraud", None)
    finder = road.finder("fraud")
    with pytest.raises(PermissionRefused):
        next(finder.find(["00" * 32]))
    finder.close()
