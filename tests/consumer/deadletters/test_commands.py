"""The commands, on a real broker, as an operator types them."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.consumer.deadletters.test_browse import refuse
from tests.fakes import specimens

from modelcast.consumer.deadletters.commands import dead_letters
from modelcast.shared.errors import MisuseError, NotFound
from modelcast.shared.roads import open_road
from modelcast.shared.signing import SigningKey

Run = Callable[..., Result]


@pytest.fixture
def run(broker_url: str) -> Run:
    def run(*arguments: str, expects: type[Exception] | None = None) -> Result:
        result = CliRunner().invoke(dead_letters, [*arguments, "--url", broker_url], catch_exceptions=expects is not None)
        assert expects is None or isinstance(result.exception, expects)
        return result

    return run


def test_with_nothing_there_it_says_so(run: Run) -> None:
    assert run("list").stdout == "No dead letters.\n"
    assert run("explain").stdout == "No dead letters.\n"
    assert json.loads(run("list", "--json").stdout) == {"dead_letters": [], "next": None}


def test_list_show_and_explain_agree(run: Run, broker_url: str, signing_key: SigningKey) -> None:
    refuse(open_road(broker_url), specimens.order_message(signing_key).to_bytes(), "web-1", "version-downgrade")
    (listed,) = json.loads(run("list", "--json").stdout)["dead_letters"]
    assert (listed["model"], listed["instance"], listed["reason"]) == ("fraud", "web-1", "version-downgrade")
    assert listed["cause"] == "rejected"
    identity: str = listed["id"]
    assert identity in run("list").stdout
    shown: dict[str, Any] = json.loads(run("show", identity[:6], "--json").stdout)
    assert shown["manifest"]["version"] == "2.1.0"
    assert shown["order"]["channel"] == "production"
    assert "rollback order" in run("explain", identity).stdout
    assert "Manifest:" in run("show", identity).stdout
    assert json.loads(run("explain", identity, "--json").stdout)["dead_letters"] == [listed]


def reasons(run: Run, *filters: str) -> list[str | None]:
    return [letter["reason"] for letter in json.loads(run("list", "--json", *filters).stdout)["dead_letters"]]


def test_each_filter_keeps_what_fits_and_nothing_else(run: Run, broker_url: str, signing_key: SigningKey) -> None:
    road = open_road(broker_url)
    refuse(road, specimens.order_message(signing_key).to_bytes(), "web-1", "load-failed")
    refuse(road, b"random bytes", "web-2", "malformed")
    refuse(road, b"other bytes", "web-2", None)
    assert reasons(run) == ["load-failed", "malformed", None]
    for filters, kept in (
        (("--model", "fraud"), 3), (("--model", "churn"), 0), (("--version", "2.1.0"), 1), (("--version", "2.1"), 0),
        (("--channel", "production"), 3), (("--channel", "staging"), 0), (("--instance", "web-2"), 2), (("--instance", "web"), 0),
        (("--reason", "malformed"), 1), (("--reason", "unreported"), 1), (("--since", "1h"), 3), (("--since", "2999-01-01"), 0),
        (("--instance", "web-2", "--reason", "load-failed"), 0),
    ):
        assert len(reasons(run, *filters)) == kept, filters
    assert "no reason that this version" in run("list", "--reason", "load-faild").stderr
    wrong = run("list", "--since", "yesterday", expects=MisuseError)
    assert "is no time" in str(wrong.exception)


def test_letters_are_counted_by_reason_and_the_largest_group_stands_first(run: Run, broker_url: str) -> None:
    road = open_road(broker_url)
    for number in range(3):
        refuse(road, b"bytes %d" % number, f"web-{number}", "malformed")
    refuse(road, b"other bytes", "web-7", None)
    told = json.loads(run("list", "--by", "reason", "--json").stdout)
    assert [(group["name"], group["letters"], group["instances"]) for group in told["groups"]] == [
        ("malformed", 3, ["web-0", "web-1", "web-2"]), ("unreported", 1, ["web-7"]),
    ]
    assert "malformed" in run("list", "--by", "reason").stdout
    assert run("list", "--by", "reason", "--model", "churn").stdout == "No dead letters.\n"


def test_pages_follow_each_other_until_the_last_one(run: Run, broker_url: str) -> None:
    for number in range(5):
        refuse(open_road(broker_url), b"bytes %d" % number, "web-1", "malformed")
    every = [letter["id"] for letter in json.loads(run("list", "--json").stdout)["dead_letters"]]
    paged, after = list[str](), list[str]()
    while True:
        page = json.loads(run("list", "--json", "--limit", "2", *after).stdout)
        paged += [letter["id"] for letter in page["dead_letters"]]
        if page["next"] is None:
            break
        after = ["--after", page["next"]]
    assert (paged, len(after)) == (every, 2)
    assert "--after" in run("list", "--limit", "2").stderr
    assert "not there" in str(run("list", "--after", "zzz", expects=NotFound).exception)
