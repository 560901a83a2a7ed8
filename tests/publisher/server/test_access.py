"""Who may come in, and how often."""

import pytest
from tests.fakes.publisher_sim import Release
from tests.fakes.site import Client, Site

from modelcast.publisher.server.access import Pace
from modelcast.publisher.server.settings import ServerLimits
from modelcast.publisher.server.tokens import TokenBook


def test_without_a_token_nobody_comes_in_and_nothing_is_told(site: Site, release: Release, model: str) -> None:
    with Client(site.url, None) as stranger:
        answer = stranger.get(f"/models/{model}/releases")
        missing = stranger.get("/models/no-such-model/releases")
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert answer.json() == missing.json()   # what is there looks like what is not
    assert model not in answer.text


@pytest.mark.parametrize("header", ["Basic dTpw", "Bearer", "Bearer x", "Bearer mct_000000000000_" + "0" * 64, "mct_x", "Bearer \u00e9"])
def test_what_is_no_token_is_401(site: Site, header: str) -> None:
    with Client(site.url, None) as stranger:
        assert stranger.get("/models", headers={"Authorization": header.encode("latin-1")}).status_code == 401


def test_an_expired_token_is_401_like_one_that_never_was(site: Site) -> None:
    with Client(site.url, site.token("fetch", expires_ms=1)) as late, Client(site.url, "mct_000000000000_" + "0" * 64) as stranger:
        answer, other = late.get("/models"), stranger.get("/models")
    assert (answer.status_code, answer.json()) == (401, other.json())


def test_a_token_works_as_soon_as_it_is_made_and_not_long_after_it_is_revoked(site: Site) -> None:
    import threading

    text = site.token("fetch")
    with Client(site.url, text) as client:
        assert client.get("/models").status_code == 200
        TokenBook(site.root / "tokens").remove(text.split("_")[1])
        pause = threading.Event()
        assert any(client.get("/models").status_code == 401 or pause.wait(0.05) for _ in range(100))


@pytest.mark.parametrize(
    ("scope", "method", "path"),
    [
        ("report", "GET", "/models/{model}/releases"), ("fetch:other", "GET", "/models/{model}/releases"),
        ("fetch", "POST", "/models/{model}/publishing"), ("publish:other", "POST", "/models/{model}/publishing"),
        ("promote:{model}/staging", "POST", "/models/{model}/publishing"),
        ("publish", "POST", "/models/{model}/channels/production/orders"), ("promote:{model}", "POST", "/models/{model}/chunks:mark"),
        ("promote:{model}/staging", "POST", "/models/{model}/channels/production/orders"),
        ("fetch", "POST", "/models/{model}/channels/production/instances/a/orders/1/settlement?joined=x"),
        ("fetch", "POST", "/reports?model={model}&channel=production&instance=a"), ("publish", "DELETE", "/models/{model}"),
        ("report:{model}/staging", "POST", "/reports?model={model}&channel=production&instance=a"), ("report", "GET", "/reports"),
        ("fetch:{model}/staging", "GET", "/models/{model}/channels/production/instances/a/orders?joined=x"), ("fetch", "GET", "/dead-letters"),
    ],
)
def test_a_scope_that_does_not_reach_is_403_and_says_which_one_would(
    site: Site, release: Release, model: str, scope: str, method: str, path: str
) -> None:
    with site.client(scope.format(model=model)) as client:
        answer = client.ask(method, path.format(model=model), json={"channel": "production"} if method == "POST" else None)
    assert answer.status_code == 403
    assert "modelcast tokens create --scope" in answer.json()["hint"]


def test_where_several_scopes_would_do_the_hint_names_the_least(site: Site, release: Release, model: str) -> None:
    with site.client("operate") as client:
        hint = client.get(f"/models/{model}/register").json()["hint"]
    assert hint.endswith(f"--scope fetch:{model}")   # not publish, to who wants to look


def test_a_token_that_asks_too_often_waits_and_others_do_not(tmp_path) -> None:
    with Site(tmp_path / "depot", ServerLimits(requests_per_second=0.5, burst=3)) as site, site.client() as eager, site.client() as other:
        answers = [eager.get("/models") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert answers[-1].headers["Retry-After"] == "2"
        assert other.get("/models").status_code == 200


def test_a_bucket_fills_steadily_and_not_beyond_its_rim() -> None:
    now = 0.0
    pace = Pace(ServerLimits(requests_per_second=2, burst=2), lambda: now)
    assert [pace.take("a") for _ in range(3)] == [0, 0, 0.5]
    now = 0.5
    assert [pace.take("a") for _ in range(2)] == [0, 0.5]
    now = 100
    assert [pace.take("a") for _ in range(3)] == [0, 0, 0.5]
    assert pace.take("b") == 0
