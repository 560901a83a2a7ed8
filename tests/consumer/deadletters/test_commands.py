"""The commands, on a real broker, as an operator types them."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.consumer.deadletters.test_browse import refuse
from tests.fakes import specimens

from modelcast.consumer.deadletters.commands import dead_letters
from modelcast.shared.roads import open_road
from modelcast.shared.signing import SigningKey

Run = Callable[..., Result]


@pytest.fixture
def run(broker_url: str) -> Run:
    def run(*arguments: str) -> Result:
        return CliRunner().invoke(dead_letters, [*arguments, "--url", broker_url], catch_exceptions=False)

    return run


def test_with_nothing_there_it_says_so(run: Run) -> None:
    assert run("list").stdout == "No dead letters.\n"
    assert run("explain").stdout == "No dead letters.\n"
    assert json.loads(run("list", "--json").stdout) == {"dead_letters": []}


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
