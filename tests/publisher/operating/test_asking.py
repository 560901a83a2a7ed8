"""``modelcast preflight`` as a user runs it, over a shared directory."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.life import Life

from modelcast.shared.cli.main import run
from modelcast.shared.depot.depot import Depot
from modelcast.shared.roads import open_road
from modelcast.shared.signing import SigningKey


@pytest.fixture
def life(tmp_path: Path, signing_key: SigningKey) -> Iterator[Life]:
    folder = tmp_path / "depot"
    folder.mkdir(mode=0o700)
    Depot(folder).enter()
    life = Life(open_road(f"file://{folder}"), tmp_path, signing_key)
    life.joined(instance="web-1", accept="<2")
    (tmp_path / "model.bin").write_bytes(b"weights")
    yield life
    life.stop()


@pytest.fixture
def arguments(tmp_path: Path, key_file: Path) -> list[str]:
    return ["--url", f"file://{tmp_path}/depot", "--key", str(key_file), "--timeout", "10"]


def test_a_path_is_asked_about_and_the_exit_code_says_what_they_think(
    life: Life, arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = ["--path", str(tmp_path / "model.bin"), "--format", "files"]
    assert run(["preflight", "fraud", "1.0.0", *path, *arguments]) == 0
    printed = capsys.readouterr()
    assert "would take it" in printed.out
    assert "1 of 1 would take it." in printed.err
    assert run(["preflight", "fraud", "2.0.0", *path, *arguments]) == 34
    assert "would refuse it  version-out-of-range" in capsys.readouterr().out
    assert run(["preflight", "fraud", "2.0.0", "--json", *path, *arguments]) == 34
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["refusing"][0]["facts"]["accept"]) == (False, "<2")
    assert life.road.records("fraud") == []


def test_a_release_that_is_there_is_asked_about(life: Life, arguments: list[str]) -> None:
    life.publisher.publish({"weights": 1}, model="fraud", version="1.0.0", channel="staging")
    assert run(["preflight", "fraud", "1.0.0", *arguments]) == 0
    assert run(["preflight", "fraud", "7.0.0", *arguments]) == 27


def test_options_of_a_path_without_one_are_refused(life: Life, arguments: list[str]) -> None:
    del life
    assert run(["preflight", "fraud", "1.0.0", "--format", "files", *arguments]) == 2


def test_where_nobody_reports_it_says_so(life: Life, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    life.publisher.publish({"weights": 1}, model="fraud", version="1.0.0", channel="staging")
    words = ["preflight", "fraud", "1.0.0", "--channel", "nowhere", *arguments[:-1], "0.2"]
    assert run(words) == 34
    assert "No instance has reported lately." in capsys.readouterr().err
