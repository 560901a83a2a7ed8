"""The command that has the fleet forget an instance, over a shared directory."""

import json
from pathlib import Path

import pytest
from tests.fakes.absent import report_as, unheard
from tests.fakes.life import Life

from modelcast.shared.cli.main import run
from modelcast.shared.roads import open_road
from modelcast.shared.signing import SigningKey


def test_an_instance_is_retired_and_who_may_not_be_has_an_exit_code(
    tmp_path: Path, signing_key: SigningKey, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "depot").mkdir(mode=0o700)
    url = ["--url", f"file://{tmp_path}/depot"]
    life = Life(open_road(url[1]), tmp_path, signing_key)
    life.publisher.publish({"weights": 1}, model="fraud", version="1.0.0")
    for name in ("web-1", "web-2"):
        report_as(life.road, name, "11" * 8)
    assert run(["retire", "fraud", "web-1", *url]) == 2
    assert run(["retire", "fraud", "web-3", *url]) == 27
    told = capsys.readouterr().err
    assert "web-1 reported within the last 3 minutes" in told
    assert "Known are: web-1, web-2." in told
    unheard(monkeypatch)
    assert run(["fleet", "fraud", *url]) == 32
    assert "0 of 2 serve" in capsys.readouterr().err
    assert run(["retire", "fraud", "web-1", *url]) == 0
    assert capsys.readouterr().out == "web-1 is retired: modelcast fleet no longer lists it.\n"
    assert run(["retire", "fraud", "web-2", "--json", *url]) == 0
    assert json.loads(capsys.readouterr().out) == {"model": "fraud", "channel": "production", "instance": "web-2"}
    run(["fleet", "fraud", *url])
    assert "No instance of fraud is known in production" in capsys.readouterr().out
