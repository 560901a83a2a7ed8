"""``modelcast bridge`` from RabbitMQ to a directory: a line for each order, JSON for programs, and it goes on until it is ended."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from modelcast.publisher import Publisher
from modelcast.shared.cli.main import run
from modelcast.shared.roads import open_road


@pytest.fixture
def address(tmp_path: Path, broker_url: str) -> str:
    """A broker's address in a file, with its password."""
    (tmp_path / "queue").write_text(f"{broker_url}\n")
    return f"@{tmp_path / 'queue'}"


@pytest.fixture
def depot(tmp_path: Path) -> str:
    (tmp_path / "depot").mkdir(mode=0o700)
    return f"file://{tmp_path / 'depot'}"


def publish(url: str, signing_key, version: str) -> str:
    return Publisher(url, signing_key=signing_key).publish({"version": version}, model="fraud", version=version).release


def test_what_is_there_is_carried_once_and_told_in_a_line(address, broker_url, depot, signing_key, capsys: pytest.CaptureFixture[str]) -> None:
    release = publish(broker_url, signing_key, "1.0.0")
    capsys.readouterr()
    for end in ("sent", "was there"):
        assert run(["bridge", address, depot, "--model", "fraud", "--once"]) == 0
        (line,) = capsys.readouterr().out.splitlines()
        assert line.startswith(f"1.0.0 {release[:12]} order ")
        assert line.endswith(end)


def test_in_json_each_order_is_a_document(address, broker_url, depot, signing_key, capsys: pytest.CaptureFixture[str]) -> None:
    release = publish(broker_url, signing_key, "1.0.0")
    capsys.readouterr()
    assert run(["bridge", address, depot, "--model", "fraud", "--once", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["version"], told["release"], told["was_there"], told["sent_bytes"] > 0) == ("1.0.0", release, False, True)


def test_it_goes_on_and_carries_what_comes(address, broker_url, depot, signing_key) -> None:
    command = [sys.executable, "-m", "modelcast.shared.cli", "bridge", address, depot, "--model", "fraud"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for version in ("1.0.0", "1.1.0"):
            publish(broker_url, signing_key, version)
            while not (line := process.stdout.readline()).endswith("sent\n"):   # the history tells the first one again
                assert line
            assert line.startswith(version)
        process.terminate()
    session = open_road(depot).publish("fraud", "production")
    assert len(session.register.read()) == 8   # begun, released, ordering and ordered, twice
    session.close()


def test_a_file_that_is_not_there_and_a_road_that_does_not_answer_are_told(tmp_path: Path, depot, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bridge", f"@{tmp_path}/missing", depot, "--model", "fraud", "--once"]) == 15
    assert run(["bridge", "http://127.0.0.1:9", depot, "--model", "fraud", "--once"]) == 4
    assert run(["bridge", depot, "ftp://x", "--model", "fraud", "--once"]) == 2
    assert "missing" in capsys.readouterr().err
