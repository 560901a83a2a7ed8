"""``modelcast promote --waves`` and ``modelcast rollout`` as a user runs them, over a shared directory."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.life import Life

from modelcast.consumer import ModelConsumer
from modelcast.publisher.catalog import Catalog, Ordered
from modelcast.publisher.rollout import driver
from modelcast.publisher.rollout.records import Step, Stepped
from modelcast.shared.cli.main import run
from modelcast.shared.roads import open_road
from modelcast.shared.signing import SigningKey


@pytest.fixture
def life(tmp_path: Path, signing_key: SigningKey) -> Iterator[Life]:
    folder = tmp_path / "depot"
    folder.mkdir(mode=0o700)
    life = Life(open_road(f"file://{folder}"), tmp_path, signing_key)
    for version, channel in (("1.0.0", "production"), ("1.1.0", "staging")):
        life.publisher.publish({"version": version}, model="fraud", version=version, channel=channel)
    yield life
    life.stop()


@pytest.fixture
def url(tmp_path: Path, life: Life) -> list[str]:
    return ["--url", f"file://{tmp_path}/depot"]


@pytest.fixture
def signed(url: list[str], key_file: Path) -> list[str]:
    return [*url, "--key", str(key_file)]


@pytest.fixture
def fleet(life: Life) -> dict[str, ModelConsumer]:
    """Two instances, b before a; only b takes 1.1.0."""
    found = {"b": life.started(instance="b"), "a": life.started(instance="a", accept="<1.1")}
    for consumer in found.values():
        life.serves(consumer, "1.0.0")
    life.eventually(lambda: all(consumer.status().connected and not consumer.status().unsent_reports for consumer in found.values()))
    return found


def test_each_wave_is_told_as_it_comes_and_the_end_has_an_exit_code(
    fleet: dict[str, ModelConsumer], signed: list[str], url: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["promote", "fraud", "1.1.0", "--waves", "1,100%", "--dry-run", *url]) == 0   # without a key
    assert capsys.readouterr().out == "wave of 1      b\nwave of 100%   a\n"
    assert run(["promote", "fraud", "1.1.0", "--waves", "1,100%", *signed]) == 37
    told = capsys.readouterr()
    assert "wave 1: ordered for 1 instance (b)" in told.out
    assert "wave 1: accepted" in told.out
    assert "wave 2: halted. 1 of 2 failed, 0 may: a: version-out-of-range: " in told.out
    assert "fraud 1.1.0 in production: halted, 1 of 2 waves accepted, 1 serve it: 1 of 2 failed" in told.err
    assert run(["rollout", "status", "fraud", "--json", *url]) == 37
    document = json.loads(capsys.readouterr().out)
    assert (document["phase"], list(document["failed"]), document["promoted"]) == ("halted", ["a"], ["b"])
    assert run(["rollout", "status", "fraud", *url]) == 37
    table = capsys.readouterr().out
    assert [line.split()[0] for line in table.splitlines() if line.split()[1:2] in (["accepted"], ["ordered"])] == ["1", "100%"]
    assert run(["fleet", "fraud", *url]) == 32
    told = capsys.readouterr()
    assert "refused" in told.out
    assert "1.1.0 is rolled out: halted, 1 of 2 waves accepted, driven by " in told.err
    assert run(["history", "fraud", "--json", *url]) == 0
    orders = json.loads(capsys.readouterr().out)["orders"]
    assert [(order["wave"], order["outcome"]) for order in orders] == [
        (None, {"promoted": 2}), (0, {"promoted": 1, "deferred": 1}), (1, {"promoted": 1, "rejected": 1}),
    ]
    assert run(["rollout", "resume", "fraud", "--max-failures", "50%", *signed]) == 0
    assert "All waves are through." in capsys.readouterr().out
    run(["fleet", "fraud", "--json", *url])
    assert json.loads(capsys.readouterr().out)["rollout"] is None


def test_paused_and_aborted_with_json(
    life: Life, fleet: dict[str, ModelConsumer], signed: list[str], url: list[str], capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def leave(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as interrupted:
        interrupted.setattr(driver.Driver, "_see_through", leave)
        assert run(["promote", "fraud", "1.1.0", "--waves", "1,100%", *signed]) == 130
    assert "modelcast rollout resume fraud --channel production" in capsys.readouterr().err
    assert run(["rollout", "status", "fraud", *url]) == 0
    assert "Driven by" in capsys.readouterr().err
    session = life.road.publish("fraud", "production")
    last = Catalog(session.register.read()).rollouts.last("production")
    assert last is not None
    session.register.append(Stepped("production", last.begun.sequence, Step.DRIVEN, 2**62, "\x1b[2Jthey").to_bytes())
    session.register.append(Ordered("production", last.begun.sequence, last.begun.release, 2**62, "00" * 32, rollout=last.begun.sequence, wave=0).to_bytes())
    session.close()
    assert run(["rollout", "status", "fraud", *url]) == 0   # a register is not signed
    told = capsys.readouterr()
    assert "\x1b" not in told.out + told.err
    assert "Driven by \\x1b[2Jthey." in told.err
    run(["fleet", "fraud", *url])
    assert "driven by \\x1b[2Jthey, last change " in capsys.readouterr().err
    run(["fleet", "fraud", "--json", *url])
    assert json.loads(capsys.readouterr().out)["rollout"] == {
        "version": "1.1.0", "phase": "running", "accepted": 0, "waves": 2, "driver": "\x1b[2Jthey", "changed_ms": 2**62,
    }
    assert run(["rollout", "pause", "fraud", "--why", "looking", "--json", *url]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["phase"], told["why"], [wave["state"] for wave in told["waves"]]) == ("paused", "looking", ["ordered", "waits"])
    assert run(["rollout", "abort", "fraud", "--why", "enough", "--json", *signed]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["phase"], told["went_back_to"]) == ("aborted", "1.0.0")
    assert run(["rollout", "resume", "fraud", *signed]) == 2
    assert "is aborted" in capsys.readouterr().err


def test_a_command_that_does_not_see_it_through_does_not_end_with_0(
    fleet: dict[str, ModelConsumer], url: list[str], signed: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def pause(*_: object) -> None:
        assert run(["rollout", "pause", "fraud", *url]) == 0

    with monkeypatch.context() as paused:
        paused.setattr(driver.Driver, "_see_through", pause)
        assert run(["promote", "fraud", "1.1.0", "--waves", "1,100%", *signed]) == 38
    assert "Not carried on here: it is paused." in capsys.readouterr().out


def test_a_rollout_from_its_preview_to_its_end_with_json(
    fleet: dict[str, ModelConsumer], signed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    def told(code: int, *words: str) -> dict[str, Any]:
        assert run([*words, "--json", *signed]) == code
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        return document

    preview = told(0, "promote", "fraud", "1.1.0", "--waves", "1,100%", "--dry-run")
    assert preview["waves"] == [{"wave": "1", "instances": ["b"]}, {"wave": "100%", "instances": ["a"]}]
    assert told(37, "promote", "fraud", "1.1.0", "--waves", "1,100%")["phase"] == "halted"
    ended = told(0, "rollout", "resume", "fraud", "--max-failures", "50%")
    assert (ended["phase"], ended["plan"]["max_failures"], [wave["state"] for wave in ended["waves"]]) == ("completed", "50%", ["accepted"] * 2)


def test_those_whose_turn_has_not_come_are_waiting_and_in_order(
    fleet: dict[str, ModelConsumer], life: Life, signed: list[str], url: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["promote", "fraud", "1.1.0", "--waves", "1,100%", *signed]) == 37
    capsys.readouterr()
    assert run(["why", "fraud", "1.1.0", "--at", "b", *url]) == 0
    assert "b (production) promoted 1.1.0" in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "says"), [
    (["--waves", "1,10%"], "does not reach all"), (["--waves", "some"], "no amount"), (["--soak", "5"], "--soak is about waves"),
    (["--roll-back"], "--roll-back is about waves"), (["--dry-run"], "--dry-run is about waves"),
    (["--waves", "100%", "--wait", "1"], "waits for its own verdicts"), (["--waves", "100%", "--expires", "5"], "do not expire"),
    (["--waves", "100%", "--max-failures", "x"], "no amount"), (["--waves", "100%", "--soak", "-1"], "cannot soak"),
])
def test_options_that_do_not_go_together_are_refused(
    arguments: list[str], says: str, signed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["promote", "fraud", "1.1.0", *arguments, *signed]) == 2
    assert says in capsys.readouterr().err


def test_only_what_orders_nothing_takes_no_key(url: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODELCAST_ORDER_KEY", raising=False)
    for arguments in (["--waves", "1,100%"], []):
        assert run(["promote", "fraud", "1.1.0", *arguments, *url]) == 2
        assert "Missing option '--key'" in capsys.readouterr().err
    assert run(["rollback", "fraud", *url]) == 2


def test_where_nothing_is_rolled_out_it_says_so(url: list[str], signed: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rollout", "status", "fraud", *url]) == 27
    assert run(["promote", "fraud", "1.1.0", "--waves", "1,100%", *signed]) == 27
    assert "there is nobody to begin with" in capsys.readouterr().err
