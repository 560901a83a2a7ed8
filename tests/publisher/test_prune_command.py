"""``modelcast prune``: a table for people, JSON for programs, and clear words for what cannot be pruned."""

import json
import random
from pathlib import Path

import pytest

from modelcast.publisher import Publisher
from modelcast.shared.cli.main import run


@pytest.fixture
def url(tmp_path: Path, signing_key) -> str:
    (tmp_path / "depot").mkdir(mode=0o700)
    url = f"file://{tmp_path / 'depot'}"
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        weights = random.Random(version).randbytes(100_000)
        Publisher(url, signing_key=signing_key).publish({"weights": weights}, model="fraud", version=version)
    return url


def test_a_dry_run_says_what_would_be_done_and_does_nothing(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert run(["prune", url, "--keep", "1", "--dry-run"]) == 0
        told = capsys.readouterr().out
        assert "Would free" in told
        assert [line.split()[3:] for line in told.splitlines() if "1.0.0" in line] == [["kB", "goes"]]


def test_pruning_frees_room_and_says_why_the_others_stay(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["prune", url, "--model", "fraud", "--keep", "1", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (model,) = document["models"]
    assert (document["dry_run"], model["model"]) == (False, "fraud")
    assert model["freed_bytes"] > 100_000
    assert {release["version"]: release["kept_because"] for release in model["releases"]} == {
        "1.0.0": [], "1.1.0": ["previous in production"], "1.2.0": ["one of the newest 1", "current in production"],
    }


def test_a_broker_is_not_pruned_and_a_model_that_is_not_there_is_told(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["prune", "amqp://u:p@127.0.0.1:1/", "--keep", "1"]) == 2
    assert "Only a shared directory" in capsys.readouterr().err
    assert run(["prune", url, "--model", "churn", "--keep", "1"]) == 27
    assert run(["prune", url, "--keep", "0"]) == 2
