"""``fleet``, ``history``, ``releases`` and ``why`` as a user runs them, over a shared directory."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.life import Life
from tests.fakes.stage import LONG

from modelcast.publisher import Operator
from modelcast.publisher.operating import views
from modelcast.shared.cli.main import run
from modelcast.shared.depot.depot import Depot
from modelcast.shared.roads import open_road
from modelcast.shared.signing import SigningKey

Run = Callable[..., Any]


@pytest.fixture
def url(tmp_path: Path) -> str:
    folder = tmp_path / "depot"
    folder.mkdir(mode=0o700)
    return f"file://{folder}"


@pytest.fixture
def life(url: str, tmp_path: Path, signing_key: SigningKey) -> Iterator[Life]:
    Depot(tmp_path / "depot").enter()
    life = Life(open_road(url), tmp_path, signing_key)
    life.joined(instance="a")
    life.joined(instance="b", accept="<2")
    for version in ("1.0.0", "2.0.0"):
        publication = life.publisher.publish({"version": version}, model="fraud", version=version)
        life.publisher.wait(publication, instances=2, timeout_seconds=LONG)
        life.eventually(lambda: life.has_said(version, "a", "b"))   # noqa: B023 - it is asked for here and now
    yield life
    life.stop()


@pytest.fixture
def told(url: str, life: Life, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command; returns its exit code with what it printed, as a value with ``--json`` and as text without."""
    del life

    def told(*words: str) -> tuple[int, Any]:
        code, printed = run([*words, "--url", url]), capsys.readouterr()
        return code, json.loads(printed.out) if "--json" in words else printed.out + printed.err

    return told


def test_the_fleet_says_who_is_behind_and_why_and_a_monitor_hears_of_it(told: Run) -> None:
    code, text = told("fleet", "fraud")
    assert code == 32
    assert "1 of 2 serve what was ordered last (2.0.0 was ordered" in text
    assert "rejected 2.0.0: version-out-of-range" in text
    code, document = told("fleet", "fraud", "--json")
    assert (code, [member["step"] for member in document["members"]]) == (32, ["current", "refused"])
    assert document["members"][1]["verdict"]["reason"] == "version-out-of-range"
    for member in document["members"]:
        assert (set(member["host"]["libraries"]), member["host"]["longest_stall_ms"] >= 0) == ({"cloudpickle"}, True)
        assert member["host"]["memory"]["resident_bytes"] > 0
    assert len(re.findall(r"B, [0-9.]+ [MG]B left", text)) == 2


@pytest.mark.parametrize(("memory", "shown"), [
    ({"resident_bytes": 10**6, "available_bytes": 10**9}, "1.0 MB, 1.0 GB left"), ({"resident_bytes": 10**6}, "1.0 MB"),
    ({"available_bytes": 10**9}, ""), (None, ""), ("much", ""),
])
def test_the_table_shows_the_memory_that_was_told(memory: object, shown: str) -> None:
    assert views._memory(memory) == shown


def test_a_fleet_in_step_ends_with_0(told: Run, life: Life, signing_key: SigningKey) -> None:
    operator = Operator(life.road, order_key=signing_key)
    assert operator.wait(operator.rollback("fraud"), instances=2, timeout_seconds=LONG).ok
    assert told("fleet", "fraud")[0] == 0


def test_a_fleet_without_instances_says_so(told: Run) -> None:
    code, text = told("fleet", "fraud", "--channel", "nowhere")
    assert (code, text) == (32, "No instance of fraud is known in nowhere: none has reported, or those that did have stopped.\n")


def test_the_history_tells_what_was_ordered_by_which_key_and_what_came_of_it(told: Run, signing_key: SigningKey) -> None:
    _, document = told("history", "fraud", "--json")
    assert [(order["version"], order["outcome"]) for order in document["orders"]] == [
        ("1.0.0", {"promoted": 2}), ("2.0.0", {"promoted": 1, "rejected": 1}),
    ]
    _, text = told("history", "fraud", "--limit", "1")
    assert "1 promoted, 1 rejected" in text
    assert signing_key.key_id[:8] in text
    assert "1.0.0" not in text


def test_releases_are_listed_with_the_channels_that_run_them(told: Run, life: Life, signing_key: SigningKey) -> None:
    Operator(life.road, order_key=signing_key).rollback("fraud")
    _, document = told("releases", "fraud", "--json")
    assert [(found["version"], found["runs_in"], found["withdrawn_in"]) for found in document["releases"]] == [
        ("1.0.0", ["production"], []), ("2.0.0", [], ["production"]),
    ]
    assert "withdrawn in production" in told("releases", "fraud")[1]


def test_why_prints_the_rule_that_decided_with_both_sides(told: Run) -> None:
    _, text = told("why", "fraud", "2.0.0", "--at", "b")
    assert "b (production) rejected 2.0.0 by order" in text
    assert "version-out-of-range: Version 2.0.0 is not in the accepted range <2." in text
    assert "What to do" in text
    assert "accept          <2" in text
    _, text = told("why", "fraud", "1.0.0", "--at", "a")
    assert "received" in text
    assert re.search(r"Its sender: published \d+ ms, confirmed \d+ ms after the call\.", text)
    _, document = told("why", "fraud", "2.0.0", "--json")
    assert all(set(decision["took_ms"]) == {"published", "confirmed"} for decision in document["decisions"])
    assert [decision["verdict"] for decision in document["decisions"]] == ["promoted", "rejected"]


@pytest.mark.parametrize("words", [("why", "fraud", "9.0.0"), ("history", "nobody"), ("releases", "nobody")])
def test_what_is_not_there_ends_with_27(told: Run, words: tuple[str, ...]) -> None:
    code, text = told(*words)
    assert code == 27
    assert "Hint:" in text
