"""Complaints on disk: what is written is read back, what is none is removed, and there is a bound."""

import errno
import os
from pathlib import Path

import pytest

from modelcast.consumer import complaints as module
from modelcast.consumer.complaints import MAX_COMPLAINTS, Complaint, Complaints
from modelcast.shared.errors import StorageFault
from modelcast.shared.fs import Fs, storage_fault

RELEASE = "ab" * 32


@pytest.fixture
def complaints(tmp_path: Path) -> Complaints:
    return Complaints(tmp_path / "complaints", Fs())


def test_what_was_left_is_read_and_removed(complaints: Complaints, tmp_path: Path) -> None:
    assert complaints.read() == []   # nobody ever complained
    one, two = Complaint(RELEASE, 7, "drifts"), Complaint(RELEASE, 8, "")
    complaints.leave(one)
    complaints.leave(two)
    complaints.leave(one)
    assert complaints.read() == [one, two]
    complaints.remove(one)
    assert complaints.read() == [two]
    assert (tmp_path / "complaints").stat().st_mode & 0o777 == 0o700


def test_a_long_reason_is_cut(complaints: Complaints) -> None:
    complaints.leave(Complaint(RELEASE, 7, "ä" * 100_000))
    (found,) = complaints.read()
    assert found.reason == "ä" * 999 + "…"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (f"{RELEASE}-7", b""), (f"{RELEASE}-7", Complaint(RELEASE, 8, "x").to_bytes()), (f"{RELEASE}-8", Complaint(RELEASE, 8, "x").to_bytes()[:-1]),
        ("..-7", Complaint(RELEASE, 7, "x").to_bytes()), (f"{RELEASE.upper()}-7", Complaint(RELEASE.upper(), 7, "x").to_bytes()),
        (f"{RELEASE}-7", b"x" * 100_000), (f"{RELEASE}-7", module.seal(module.MAGIC, {"release": RELEASE, "sequence": "7", "reason": "x"})),
    ],
    ids=["empty", "of another name", "torn", "no release", "no digits", "too large", "of another type"],
)
def test_what_is_no_complaint_is_removed(complaints: Complaints, tmp_path: Path, name: str, content: bytes) -> None:
    complaints.leave(Complaint(RELEASE, 9, "good"))
    (tmp_path / "complaints" / name).write_bytes(content)
    assert [found.sequence for found in complaints.read()] == [9]
    assert os.listdir(tmp_path / "complaints") == [f"{RELEASE}-9"]


def test_a_file_that_is_being_written_is_left_alone(complaints: Complaints, tmp_path: Path) -> None:
    complaints.leave(Complaint(RELEASE, 9, "good"))
    (tmp_path / "complaints/.tmp-x").write_bytes(b"half")
    complaints.read()
    assert (tmp_path / "complaints/.tmp-x").exists()


def test_more_than_the_bound_are_removed(complaints: Complaints, tmp_path: Path) -> None:
    for number in range(MAX_COMPLAINTS + 5):
        complaints.leave(Complaint(RELEASE, 100 + number, "x"))
    assert len(complaints.read()) == MAX_COMPLAINTS
    assert len(os.listdir(tmp_path / "complaints")) == MAX_COMPLAINTS


def test_a_disk_that_fails_to_read_costs_no_complaint(complaints: Complaints, monkeypatch: pytest.MonkeyPatch) -> None:
    complaints.leave(Complaint(RELEASE, 9, "good"))

    def fails(_self: Fs, path: Path, _max_bytes: int) -> bytes:
        raise storage_fault("read", path, OSError(errno.EIO, "I/O error"))

    with monkeypatch.context() as patch:
        patch.setattr(Fs, "read_whole", fails)
        assert complaints.read() == []
    assert len(complaints.read()) == 1


def test_who_may_not_write_is_told_before(complaints: Complaints, monkeypatch: pytest.MonkeyPatch) -> None:
    complaints.refuse_if_in_vain()
    monkeypatch.setattr(Fs, "may_write", lambda _self, _path: False)
    with pytest.raises(StorageFault, match="may not write") as caught:
        complaints.refuse_if_in_vain()
    assert "modelcast rollback" in str(caught.value.hint)
