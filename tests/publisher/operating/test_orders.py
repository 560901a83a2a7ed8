"""``modelcast promote`` and ``modelcast rollback`` as a user runs them, over a shared directory."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.fakes.absent import report_as, unheard
from tests.fakes.life import Life

from modelcast.publisher import sessions
from modelcast.publisher.rollout.driver import Driver
from modelcast.shared.cli.main import run
from modelcast.shared.roads import open_road
from modelcast.shared.signing import SigningKey


@pytest.fixture
def life(tmp_path: Path, signing_key: SigningKey) -> Iterator[Life]:
    folder = tmp_path / "depot"
    folder.mkdir(mode=0o700)
    life = Life(open_road(f"file://{folder}"), tmp_path, signing_key)
    life.url = f"file://{folder}"   # type: ignore[attr-defined]
    for version, channel in (("1.0.0", "production"), ("1.1.0", "staging")):
        life.publisher.publish({"version": version}, model="fraud", version=version, channel=channel)
    yield life
    life.stop()


@pytest.fixture
def arguments(life: Life, key_file: Path) -> list[str]:
    return ["--url", life.url, "--key", str(key_file)]   # type: ignore[attr-defined]


def test_a_promotion_says_what_it_did_and_a_second_one_that_there_is_nothing_to_do(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["promote", "fraud", "1.1.0", "--from", "staging", *arguments]) == 0
    assert "fraud 1.1.0 ordered for production: order" in capsys.readouterr().out
    assert run(["promote", "fraud", "1.1.0", *arguments]) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert run(["promote", "fraud", "1.1.0", "--json", *arguments]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (list(told), told["publication"]["was_current"]) == (["publication"], True)


def test_what_nobody_accepted_is_not_promoted_and_has_an_exit_code_of_its_own(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["promote", "fraud", "1.1.0", "--from", "staging", "--require-verdicts", "0.9", *arguments]) == 31
    assert "0 of 0 instances of staging promoted 1.1.0" in capsys.readouterr().err


def test_a_rollback_waits_for_verdicts_and_tells_them_as_json(
    life: Life, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    consumer = life.joined(instance="a")
    life.serves(consumer, "1.0.0")
    assert run(["promote", "fraud", "1.1.0", "--wait", "1", "--timeout", "30", *arguments]) == 0
    capsys.readouterr()
    assert run(["rollback", "fraud", "--reason", "slow", "--wait", "1", "--timeout", "30", "--json", *arguments]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["publication"]["version"], told["outcome"]["promoted"]) == ("1.0.0", ["a"])
    assert consumer.active.version == "1.0.0"
    assert run(["promote", "fraud", "1.1.0", *arguments]) == 30
    assert "--again" in capsys.readouterr().err


def test_a_wish_to_wait_that_cannot_be_meant_orders_nothing(life: Life, arguments: list[str]) -> None:
    before = life.road.records("fraud")
    assert run(["promote", "fraud", "1.1.0", "--wait", "0", *arguments]) == 2
    assert run(["rollback", "fraud", "--wait-share", "7", *arguments]) == 2
    assert life.road.records("fraud") == before


def test_where_the_chunks_are_gone_a_promotion_is_refused_and_a_rollback_says_so(
    life: Life, tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["promote", "fraud", "1.1.0", *arguments]) == 0
    for chunk in [path for path in (tmp_path / "depot").rglob("*") if path.is_file() and path.parent.parent.name == "chunks"]:
        chunk.unlink()
    assert run(["promote", "fraud", "1.0.0", "--to", "canary", *arguments]) == 27
    assert "publish the same bytes again" in capsys.readouterr().err.lower()
    assert run(["promote", "fraud", "1.0.0", "--to", "canary", "--again", *arguments]) == 0
    assert "only instances that hold it" in capsys.readouterr().err
    assert run(["rollback", "fraud", *arguments]) == 0
    assert "only instances that hold it" in capsys.readouterr().err


@pytest.mark.parametrize("command", [
    ["rollback", "fraud", "--to", "1.0.0"], ["promote", "fraud", "1.1.0"], ["promote", "fraud", "1.1.0", "--waves", "100%"],
    ["preflight", "fraud", "1.1.0", "--timeout", "0.1"], ["rollout", "pause", "fraud"], ["retire", "fraud", "web-1"],
])
def test_whoever_waits_for_another_publisher_is_told(
    life: Life, key_file: Path, command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    report_as(life.road, "web-1", "00" * 8)
    if command[0] == "retire":
        unheard(monkeypatch)
    theirs, rests = life.road.publish("fraud", "staging"), list[float]()

    def rest(seconds: float) -> None:
        rests.append(seconds)
        if len(rests) == sessions.TOLD_AT:
            theirs.close()

    monkeypatch.setattr(sessions, "time", SimpleNamespace(monotonic=time.monotonic, sleep=rest))
    if command[:1] + command[3:4] == ["promote", "--waves"]:
        monkeypatch.setattr(Driver, "run", lambda self: self.desk.look())
    monkeypatch.setenv("MODELCAST_ORDER_KEY", str(key_file))
    run([*command, "--url", life.url])   # type: ignore[attr-defined]
    assert capsys.readouterr().err.count("Somebody is publishing or ordering fraud right now: waiting up to 60 s") == 1
