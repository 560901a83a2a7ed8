"""Reports, dead letters, and the end of a model."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.fakes.publisher_sim import PublisherSimulator, Release
from tests.fakes.site import Client, Site

from modelcast.shared.limits import DEFAULT_LIMITS
from modelcast.shared.report import Report, ReportKind
from modelcast.shared.road import Target
from modelcast.shared.roads import open_road


def said(model: str, time_ms: int = 0, channel: str = "production", instance: str = "a") -> bytes:
    return Report(kind=ReportKind.STATE, instance=instance, boot="b", model=model, channel=channel, time_ms=time_ms).to_bytes()


def send(client: Client, model: str, body: bytes, channel: str = "production") -> None:
    answer = client.post(f"/reports?model={model}&channel={channel}&instance=a", data=body)
    assert answer.status_code == 204, answer.text


def test_reports_come_in_their_order_and_then_as_they_are_sent(site: Site, model: str) -> None:
    with site.client(f"report:{model}", f"operate:{model}") as client:
        bodies = [said(model, number) for number in range(3)]
        for body in bodies:
            send(client, model, body)
        first = client.wire("/reports")
        assert (first["reports"], first["caught_up"]) == (bodies, True)
        with ThreadPoolExecutor(1) as pool, site.client(f"operate:{model}") as other:
            begun = other.wire("/reports?since_minutes=0")
            waiting = pool.submit(other.wire, f"/reports?from={begun['next']}&wait=20")
            send(client, model, said(model, 7))
            assert waiting.result(30)["reports"] == [said(model, 7)]
        assert client.wire(f"/reports?from={first['next']}&wait=10")["reports"] == [said(model, 7)]


def test_an_answer_that_got_lost_is_given_again_and_an_older_one_is_not(site: Site, model: str) -> None:
    with site.client(f"report:{model}", f"operate:{model}") as client:
        send(client, model, said(model, 1))
        first = client.wire("/reports")["next"]
        assert client.wire(f"/reports?from={first}")["reports"] == []
        send(client, model, said(model, 2))
        twice = [client.wire(f"/reports?from={first}") for _ in range(2)]
        assert twice[0] == twice[1]
        assert twice[0]["reports"] == [said(model, 2)]
        send(client, model, said(model, 3))
        assert client.wire(f"/reports?from={twice[0]['next']}")["reports"] == [said(model, 3)]
        assert client.get(f"/reports?from={first}").status_code == 410


def test_a_reading_that_is_nobodys_or_somebody_elses_is_410(site: Site, client: Client, model: str) -> None:
    cursor = client.wire("/reports")["next"]
    assert client.get("/reports?from=none.1").status_code == 410
    assert client.get(f"/reports?from={cursor}x").status_code == 410
    with site.client() as other:
        assert other.get(f"/reports?from={cursor}").status_code == 410


def test_a_token_sees_reports_and_letters_of_what_it_reaches_only(site: Site, client: Client, model: str) -> None:
    send(client, f"{model}-other", said(f"{model}-other"))
    with site.client(f"report:{model}") as forger:   # says one thing and means another
        assert forger.post(f"/reports?model={model}&channel=production&instance=a", data=said(f"{model}-other")).status_code == 403
    send(client, model, said(model, 1, "staging"), "staging")
    send(client, model, said(model, 2))
    with site.client(f"operate:{model}/production") as operator:
        assert operator.wire("/reports")["reports"] == [said(model, 2)]


def test_a_report_says_itself_whose_it_is_when_the_query_does_not(site: Site, model: str) -> None:
    with site.client(f"report:{model}", f"operate:{model}") as client:
        assert client.post("/reports", data=said(model)).status_code == 204
        assert client.wire("/reports")["reports"] == [said(model)]
        assert client.post("/reports", data=said(f"{model}-other")).status_code == 403
        assert client.post("/reports", data=b"no report").status_code == 422


def test_a_report_over_the_limit_is_413(client: Client, model: str) -> None:
    answer = client.post(f"/reports?model={model}&channel=production&instance=a", data=bytes(DEFAULT_LIMITS.report_bytes + 1))
    assert answer.status_code == 413


def test_both_roads_of_a_directory_see_each_others_reports(site: Site, model: str) -> None:
    with site.client(f"report:{model}", f"operate:{model}") as client:
        instance = open_road(f"file://{site.root}").join(Target(model, "production", "b"))
        instance.report(said(model, 1, instance="b"))
        instance.close()
        assert client.wire("/reports")["reports"] == [said(model, 1, instance="b")]
        send(client, model, said(model, 2))
        source = open_road(f"file://{site.root}").reports(since_minutes=None)
        found = []
        while (body := source.receive(0)) is not None:
            found.append(body)
        source.close()
        assert said(model, 2) in found


# --------------------------------------------------------------------------- dead letters


def refuse(client: Client, model: str, bodies: list[bytes]) -> None:
    at = f"/models/{model}/channels/production/instances/a"
    client.begin(model)
    client.wire(f"{at}/orders?joined=1")
    for number, body in enumerate(bodies, 1):
        assert client.post(f"/models/{model}/channels/production/orders", data=body).status_code == 204
        client.wire(f"{at}/orders?joined=1&wait=10")
        assert client.post(f"{at}/orders/{number}/settlement?joined=1", json={"accept": False}).status_code == 204


def test_dead_letters_are_for_people_unless_a_program_asks(site: Site, client: Client, sim: PublisherSimulator, release: Release, model: str) -> None:
    refuse(client, model, [sim.order(release, sequence=5)])
    with site.client(f"operate:{model}") as operator:
        (letter,) = operator.get("/dead-letters").json()["letters"]
    assert (letter["model"], letter["instance"], letter["release"], letter["sequence"], letter["cause"]) == (model, "a", release.id, 5, "rejected")
    assert "body" not in letter


def test_dead_letters_come_in_pages_oldest_first(site: Site, client: Client, model: str) -> None:
    refuse(client, model, [b"one", b"two", b"three"])
    with site.client(f"operate:{model}") as operator:
        operator.http.headers["Accept"] = "application/vnd.modelcast"
        first = operator.wire("/dead-letters?limit=2")
        assert [letter["body"] for letter in first["letters"]] == [b"one", b"two"]
        second = operator.wire(f"/dead-letters?limit=2&from={first['next']}")
        assert ([letter["body"] for letter in second["letters"]], second["next"]) == ([b"three"], None)


def test_a_page_goes_on_where_the_one_before_ended_though_letters_were_removed_meanwhile(site: Site, client: Client, model: str) -> None:
    refuse(client, model, [b"one", b"two", b"three"])
    with site.client(f"operate:{model}") as operator:
        operator.http.headers["Accept"] = "application/vnd.modelcast"
        first = operator.wire("/dead-letters?limit=2")
        for letter in first["letters"]:
            assert operator.ask("DELETE", f"/dead-letters/{letter['id']}").status_code == 204
        second = operator.wire(f"/dead-letters?limit=2&from={first['next']}")
        assert [letter["body"] for letter in second["letters"]] == [b"three"]   # by number it would be passed over


def test_a_letter_is_sent_back_and_removed_by_its_name_and_waiting_ends_at_once(site: Site, client: Client, model: str) -> None:
    refuse(client, model, [b"one"])
    at = f"/models/{model}/channels/production/instances/a"
    with site.client(f"operate:{model}") as operator:
        (letter,) = operator.get("/dead-letters").json()["letters"]
        assert operator.ask("POST", f"/dead-letters/{letter['id']}/replay").status_code == 204
        (order,) = client.wire(f"{at}/orders?joined=1&wait=10")["orders"]
        assert (order["body"], order["replay"], order["is_history"]) == (b"one", letter["id"], False)
        assert client.post(f"{at}/orders/{order['number']}/settlement?joined=1", json={"accept": True}).status_code == 204
        for _ in range(2):
            assert operator.ask("DELETE", f"/dead-letters/{letter['id']}").status_code == 204   # gone is gone
        assert operator.ask("POST", f"/dead-letters/{letter['id']}/replay").status_code == 404
        assert operator.get("/dead-letters").json()["letters"] == []


@pytest.mark.parametrize("scope", ["operate:other", "fetch:{model}", "operate:{model}/staging"])
def test_a_letter_that_a_token_does_not_reach_is_neither_sent_back_nor_removed(site: Site, client: Client, model: str, scope: str) -> None:
    refuse(client, model, [b"one"])
    with site.client(f"operate:{model}") as operator:
        (letter,) = operator.get("/dead-letters").json()["letters"]
        with site.client(scope.format(model=model)) as other:
            assert other.ask("POST", f"/dead-letters/{letter['id']}/replay").status_code in {403, 404}
            assert other.ask("DELETE", f"/dead-letters/{letter['id']}").status_code in {204, 403}
        assert operator.get("/dead-letters").json()["letters"] == [letter]


@pytest.mark.parametrize("name", ["x", "..", "%2e%2e%2ftokens", "0000000000001-" + "0" * 24, "a" * 300])
def test_a_name_that_is_no_letter_is_not_there(site: Site, client: Client, model: str, name: str) -> None:
    with site.client("operate") as operator:
        assert operator.ask("POST", f"/dead-letters/{name}/replay").status_code in {404, 405}


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=-1", "from=x", "limit=\u0661"])
def test_a_number_that_is_none_is_400(client: Client, query: str) -> None:
    assert client.get(f"/dead-letters?{query}").status_code == 400


# --------------------------------------------------------------------------- the end


def test_a_model_that_is_retired_is_gone_with_its_letters(site: Site, client: Client, model: str) -> None:
    refuse(client, model, [b"one"])
    assert client.ask("DELETE", f"/models/{model}").status_code == 409   # it is being published
    client.end(model)
    assert client.ask("DELETE", f"/models/{model}").status_code == 204
    assert client.ask("DELETE", f"/models/{model}").status_code == 204
    assert not (site.root / "models" / model).exists()
    with site.client(f"operate:{model}") as operator:
        assert operator.get("/dead-letters").json()["letters"] == []
    assert client.get(f"/models/{model}/releases").status_code == 404
