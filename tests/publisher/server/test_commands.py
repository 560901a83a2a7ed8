"""The commands ``serve`` and ``tokens``."""

import json
from pathlib import Path

import pytest

from modelcast.publisher.server.tokens import TokenBook
from modelcast.shared.cli.main import run


@pytest.fixture
def depot(tmp_path: Path) -> str:
    (tmp_path / "depot").mkdir(mode=0o700)
    return f"file://{tmp_path / 'depot'}"


def create(depot: str, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, object]:
    assert run(["tokens", "create", "--depot", depot, "--name", "ci", "--json", *options]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_token_is_shown_once_and_listed_without_its_secret(depot: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = create(depot, capsys, "--scope", "publish:fraud", "--scope", "promote:fraud/staging")
    assert str(made["token"]).startswith(f"mct_{made['id']}_")
    assert run(["tokens", "list", "--depot", depot]) == 0
    listed = capsys.readouterr().out
    assert str(made["id"]) in listed
    assert "promote:fraud/staging" in listed
    assert str(made["token"]).rpartition("_")[2] not in listed
    assert set(TokenBook(tmp_path / "depot/tokens").read()) == {made["id"]}


def test_for_people_the_token_stands_alone_on_stdout(depot: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tokens", "create", "--depot", depot, "--name", "ci", "--scope", "fetch"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("mct_")
    assert len(said.out.split()) == 1
    assert "shown once" in said.err


def test_a_token_expires_unless_it_is_said_that_it_does_not(depot: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert create(depot, capsys, "--scope", "fetch", "--days", "1")["expires_ms"] is not None
    assert create(depot, capsys, "--scope", "fetch", "--no-expiry")["expires_ms"] is None
    assert run(["tokens", "list", "--depot", depot, "--json"]) == 0
    assert [entry["has_expired"] for entry in json.loads(capsys.readouterr().out)] == [False, False]


def test_a_revoked_token_is_gone_and_a_second_time_is_an_error(depot: str, capsys: pytest.CaptureFixture[str]) -> None:
    made = create(depot, capsys, "--scope", "fetch")
    assert run(["tokens", "revoke", str(made["id"]), "--depot", depot, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"id": made["id"], "name": "ci"}
    assert run(["tokens", "revoke", str(made["id"]), "--depot", depot]) == 27
    assert "There is none at all." in capsys.readouterr().err


def test_a_scope_that_is_none_makes_no_token(depot: str, tmp_path: Path) -> None:
    assert run(["tokens", "create", "--depot", depot, "--name", "ci", "--scope", "admin"]) == 2
    assert not (tmp_path / "depot/tokens").exists()


def test_what_is_no_directory_is_not_served(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["serve", "http://somewhere"]) == 2
    assert run(["serve", f"file://{tmp_path}/none", "--port", "0"]) == 29
    assert "Hint:" in capsys.readouterr().err


def test_without_tokens_only_this_host_is_served(depot: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["serve", depot, "--host", "0.0.0.0", "--port", "0", "--insecure-no-tokens"]) == 2
    assert "could publish" in capsys.readouterr().err
