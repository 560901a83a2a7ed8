"""Export, purge and replay, as an operator types them."""

import json
import os
import shutil
import zipfile
from pathlib import Path

import click
import pytest
from tests.consumer.deadletters.conftest import Run
from tests.consumer.deadletters.test_browse import refuse
from tests.fakes import specimens

from modelcast.consumer.deadletters import handling
from modelcast.consumer.deadletters.browse import read_letters
from modelcast.consumer.deadletters.letter import Letter
from modelcast.consumer.deadletters.moving import choose, remove
from modelcast.shared.errors import MissingPath, MisuseError, NotConfirmed, NotFound
from modelcast.shared.keyfiles import public_pem
from modelcast.shared.road import Target
from modelcast.shared.roads import open_road
from modelcast.shared.signing import SigningKey


def letters_of(url: str) -> list[Letter]:
    return read_letters(open_road(url), limit=1000)


@pytest.fixture
def order(signing_key: SigningKey) -> bytes:
    return specimens.order_message(signing_key).to_bytes()


def refuse_some(url: str, order: bytes) -> None:
    road = open_road(url)
    refuse(road, order, "web-1", "load-failed")
    refuse(road, order, "web-2", "timed-out")
    refuse(road, b"random bytes", "web-3", "malformed")
    refuse(road, b"other bytes", "web-3", None)


def reasons_left(url: str) -> list[str | None]:
    return [letter.reason for letter in letters_of(url)]


# --------------------------------------------------------------------------- export


def test_an_export_is_a_zip_with_the_very_message_and_the_letter_stays(call: Run, depot_url: str, order: bytes, tmp_path: Path) -> None:
    refuse(open_road(depot_url), order, "web-1", "load-failed")
    (letter,) = letters_of(depot_url)
    first, second = tmp_path / "first.zip", tmp_path / "second.zip"
    told = json.loads(call("export", letter.id[:5], "--output", str(first), "--json").stdout)
    call("export", letter.id, "--output", str(second))
    assert first.read_bytes() == second.read_bytes()
    assert (told["id"], told["path"], told["bytes"]) == (letter.id, str(first), first.stat().st_size)
    with zipfile.ZipFile(first) as archive:
        folder = f"dead-letter-{letter.id}"
        assert archive.read(f"{folder}/order.bin") == order
        assert [report["reason"] for report in json.loads(archive.read(f"{folder}/reports.json"))] == ["load-failed"]
    assert letters_of(depot_url) == [letter]


def test_the_python_in_an_export_does_what_it_says(
    call: Run, depot_url: str, order: bytes, signing_key: SigningKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(open_road(depot_url), order, "web-1", "load-failed")
    monkeypatch.chdir(tmp_path)
    call("export", letters_of(depot_url)[0].id)
    (made,) = tmp_path.glob("*.zip")
    with zipfile.ZipFile(made) as archive:
        archive.extractall(tmp_path)
    (folder,) = tmp_path.glob("dead-letter-*")
    (folder / "training.pub").write_text(public_pem(signing_key.trusted()))
    readme = (folder / "README").read_text().splitlines()
    code = "\n".join(line.strip() for line in readme if line.startswith(("  from ", "  open_order(")))
    assert code.count("\n") == 3
    monkeypatch.chdir(folder)
    exec(compile(code, "README", "exec"), {})


def test_an_export_replaces_no_other_file(call: Run, depot_url: str, order: bytes, tmp_path: Path) -> None:
    refuse(open_road(depot_url), order, "web-1", None)
    identity, target = letters_of(depot_url)[0].id, tmp_path / "there.zip"
    target.write_bytes(b"mine")
    call("export", identity, "--output", str(target), expects=MisuseError)
    assert target.read_bytes() == b"mine"
    call("export", identity, "--output", str(tmp_path / "missing" / "x.zip"), expects=MissingPath)
    call("export", "zzzz", expects=NotFound)
    target.unlink()
    for _ in range(2):
        assert str(target) in call("export", identity, "--output", str(target)).stdout
    assert os.listdir(tmp_path / "depot" / "dead-letters")


# --------------------------------------------------------------------------- purge


def test_a_purge_removes_what_fits_and_nothing_else(call: Run, depot_url: str, order: bytes) -> None:
    refuse_some(depot_url, order)
    told = json.loads(call("purge", "--reason", "malformed", "--yes", "--json").stdout)
    assert [letter["reason"] for letter in told["purged"]] == ["malformed"]
    assert reasons_left(depot_url) == ["load-failed", "timed-out", None]
    identity = letters_of(depot_url)[0].id
    assert call("purge", identity[:6], "--yes").stdout == "Removed 1 dead letter (1 load-failed).\n"
    assert call("purge", "--model", "churn", "--yes").stdout == "No dead letters.\n"
    call("purge", "--all", "--yes")
    assert reasons_left(depot_url) == []


def test_a_purge_that_nobody_confirms_removes_nothing(call: Run, depot_url: str, order: bytes) -> None:
    refuse_some(depot_url, order)
    refused = call("purge", "--all", expects=NotConfirmed)
    assert "4 dead letters (1 load-failed" in str(refused.exception)
    assert isinstance(refused.exception, NotConfirmed)
    assert refused.exception.exit_code == 35
    assert call("purge", "--all", "--dry-run").stdout.startswith("Would remove 4 dead letters")
    assert len(reasons_left(depot_url)) == 4


@pytest.mark.parametrize(("answer", "left"), [("y\n", 0), ("n\n", 1), ("", 1)])
def test_on_a_terminal_a_purge_asks(call: Run, depot_url: str, monkeypatch: pytest.MonkeyPatch, answer: str, left: int) -> None:
    refuse(open_road(depot_url), b"random bytes", "web-1", "malformed")
    monkeypatch.setattr(handling, "is_terminal", lambda: True)
    call("purge", "--all", answers=answer, expects=None if left == 0 else (NotConfirmed if answer else click.Abort))
    assert len(letters_of(depot_url)) == left


@pytest.mark.parametrize("command", ["purge", "replay"])
def test_without_an_id_or_a_filter_nothing_is_moved_unless_all_are_meant(call: Run, depot_url: str, order: bytes, command: str) -> None:
    refuse_some(depot_url, order)
    for arguments in ((), ("--yes",) if command == "purge" else ("--dry-run",), ("--all", "--reason", "malformed"), ("--all", "abc")):
        call(command, *arguments, expects=MisuseError)
    call(command, "zzzz", expects=NotFound)
    assert len(reasons_left(depot_url)) == 4


def test_what_dies_while_a_purge_is_under_way_stays(depot_url: str) -> None:
    road = open_road(depot_url)
    refuse(road, b"first", "web-1", "malformed")
    chosen = choose(road, ())
    refuse(road, b"second", "web-1", "malformed")
    assert [letter.id for letter in remove(road, chosen)] == [chosen[0].id]
    assert len(letters_of(depot_url)) == 1


# --------------------------------------------------------------------------- replay


def queued(url: str, instance: str) -> list[bytes]:
    """What an instance gets besides the history; it settles nothing, so that it gets it again."""
    joined = open_road(url).join(Target("fraud", "production", instance))
    found = list[bytes]()
    while (arrived := joined.next_order(0)) is not None:
        if arrived.replay is not None:
            found.append(arrived.body)
    joined.close()
    return found


def test_a_replay_goes_to_the_one_that_refused_or_to_all_that_did_and_never_to_others(call: Run, depot_url: str, order: bytes) -> None:
    refuse_some(depot_url, order)
    open_road(depot_url).join(Target("fraud", "production", "web-9")).close()   # it refused nothing
    first = letters_of(depot_url)[0]
    told = json.loads(call("replay", first.id, "--json").stdout)
    assert [(letter["instance"], letter["reason"]) for letter in told["replayed"]] == [("web-1", "load-failed")]
    assert [len(queued(depot_url, f"web-{number}")) for number in (1, 2, 3, 9)] == [1, 0, 0, 0]
    assert reasons_left(depot_url) == ["timed-out", "malformed", None]
    refuse(open_road(depot_url), order, "web-4", "load-failed")
    told = json.loads(call("replay", letters_of(depot_url)[0].id, "--all-that-refused", "--json").stdout)
    assert sorted(letter["instance"] for letter in told["replayed"]) == ["web-2", "web-4"]
    assert [queued(depot_url, f"web-{number}") for number in (1, 2, 3, 4, 9)] == [[order], [order], [], [order], []]
    assert reasons_left(depot_url) == ["malformed", None]


def test_a_dry_run_says_the_same_and_sends_nothing(call: Run, depot_url: str, order: bytes) -> None:
    refuse_some(depot_url, order)
    dry = json.loads(call("replay", "--reason", "load-failed", "--all-that-refused", "--dry-run", "--json").stdout)
    assert (dry["dry_run"], sorted(letter["instance"] for letter in dry["replayed"])) == (True, ["web-1", "web-2"])
    assert "would send fraud 2.1.0 to web-1 of production back" in call("replay", "--instance", "web-1", "--dry-run").stdout
    assert len(reasons_left(depot_url)) == 4
    assert queued(depot_url, "web-1") == []
    wet = json.loads(call("replay", "--reason", "load-failed", "--all-that-refused", "--json").stdout)
    assert wet == dry | {"dry_run": False}


def test_what_cannot_go_back_stays_and_the_others_go(call: Run, depot_url: str, order: bytes, tmp_path: Path) -> None:
    refuse_some(depot_url, order)
    shutil.rmtree(tmp_path / "depot" / "models/fraud/channels/production/at/web-1")
    result = call("replay", "--all", "--json")
    told = json.loads(result.stdout)
    assert result.return_value == 36
    assert [letter["instance"] for letter in told["kept"]] == ["web-1"]
    assert "has no place" in told["kept"][0]["why"]
    assert len(told["replayed"]) == 3
    assert reasons_left(depot_url) == ["load-failed"]
    assert "stays" in call("replay", "--all").stderr
    assert call("replay", "--model", "churn").stdout == "No dead letters.\n"
