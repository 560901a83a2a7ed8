"""What a shared directory is found to be: real folders, with what can be wrong with them."""

import os
import time
from pathlib import Path

import pytest

from modelcast.shared.depot.depot import Depot
from modelcast.shared.depot.layout import MARKER
from modelcast.shared.doctor import file_checks
from modelcast.shared.doctor.file_checks import check_directory, file_system_finding, space_finding, written
from modelcast.shared.doctor.findings import Case, Finding
from modelcast.shared.limits import GIB


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "depot"
    folder.mkdir(mode=0o700)
    Depot(folder).enter()
    return folder


def found(root: Path, options: str = "") -> dict[str, Finding]:
    return {finding.subject: finding for finding in check_directory(Case(f"file://{root}{options}"))}


def test_a_directory_of_ours_is_fine_and_nothing_is_left_in_it(root: Path) -> None:
    before = sorted(path.name for path in root.rglob("*"))
    told = found(root)
    assert {name: told[name].level for name in ("directory", "writing", "clock", "file system")} == dict.fromkeys(
        ("directory", "writing", "clock", "file system"), "ok"
    )
    assert sorted(path.name for path in root.rglob("*")) == before


def test_an_empty_directory_is_a_warning_and_stays_empty(tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir(mode=0o700)
    assert found(folder)["directory"].level == "warning"
    assert list(folder.iterdir()) == []


def test_what_is_no_directory_of_ours_is_a_problem_that_says_why(tmp_path: Path, root: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir(mode=0o700)
    (foreign / "holiday.jpg").write_bytes(b"x")
    newer = tmp_path / "newer"
    newer.mkdir(mode=0o700)
    (newer / MARKER).write_bytes((root / MARKER).read_bytes().replace(b"1", b"2"))
    for folder, words in ((tmp_path / "missing", "There is no directory"), (foreign, "holds other things"), (newer, "another format")):
        told = found(folder)["directory"]
        assert told.level == "problem"
        assert words in told.text
        assert told.remedy
    assert list(found(tmp_path / "missing")) == ["directory"]


def test_one_that_others_may_write_is_a_problem_unless_that_is_allowed(root: Path) -> None:
    root.chmod(0o777)
    told = found(root)["directory"]
    assert told.level == "problem"
    assert f"chmod go-w {root}" in str(told.remedy)
    assert found(root, "?allow_shared_writes=yes")["directory"].level == "ok"


def test_one_that_cannot_be_written_is_a_problem(root: Path) -> None:
    where = root / "file"   # no folder: nobody can write below it, root neither
    where.write_bytes(b"")
    (told,) = written(where)
    assert (told.level, told.subject) == ("problem", "writing")


@pytest.mark.parametrize(("kind", "poll", "words"), [
    ("ext4", None, "tells of changes at once"), ("nfs4", None, "every 1 s"), (None, None, "every 1 s"), ("nfs4", 0.2, "every 0.2 s"),
    ("xfs", 30.0, "every 30 s"),
])
def test_a_file_system_tells_of_changes_or_is_looked_at(kind: str | None, poll: float | None, words: str) -> None:
    assert words in file_system_finding(Path("/srv/models"), kind, poll).text


def test_room_is_fine_little_or_too_little(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = os.statvfs(root)
    for free, level in ((50 * GIB, "ok"), (GIB, "warning"), (1024, "problem")):
        room = os.statvfs_result((*facts[:4], free // facts.f_frsize, *facts[5:]))
        monkeypatch.setattr(file_checks.os, "statvfs", lambda _, room=room: room)
        assert space_finding("space", root).level == level


@pytest.mark.parametrize(("ahead", "level"), [(0.0, "ok"), (60.0, "warning"), (-60.0, "warning")])
def test_the_clock_of_the_file_system_is_compared_with_ours(root: Path, ahead: float, level: str) -> None:
    writing, clock = written(root, lambda: time.time() + ahead)
    assert (writing.level, clock.level) == ("ok", level)
