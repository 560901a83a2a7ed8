"""Export, purge and replay, as an operator types them."""

import json
import os
import zipfile
from pathlib import Path

import pytest
from tests.consumer.deadletters.conftest import Run
from tests.consumer.deadletters.test_browse import refuse
from tests.fakes import specimens

from modelcast.consumer.deadletters.browse import read_letters
from modelcast.consumer.deadletters.letter import Letter
from modelcast.shared.errors import MissingPath, MisuseError, NotFound
from modelcast.shared.keyfiles import public_pem
from modelcast.shared.roads import open_road
from modelcast.shared.signing import SigningKey


def letters_of(url: str) -> list[Letter]:
    return read_letters(open_road(url), limit=1000)


@pytest.fixture
def order(signing_key: SigningKey) -> bytes:
    return specimens.order_message(signing_key).to_bytes()


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
