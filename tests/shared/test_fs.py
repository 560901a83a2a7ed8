"""Operations on the disk: whole or not at all, for their owner only, and every failure typed."""

import errno
import os
from pathlib import Path

import pytest
from tests.fakes.fault_fs import Crash, FaultFs

from modelcast.shared.errors import StorageFault
from modelcast.shared.fs import TEMPORARY_PREFIX, Fs, storage_fault


@pytest.fixture
def fs() -> Fs:
    return Fs()


def test_a_file_is_replaced_whole_and_leaves_nothing_beside_it(fs: Fs, tmp_path: Path) -> None:
    for content in (b"one", b"", b"three" * 1000):
        fs.write_whole(tmp_path / "file", content)
        assert fs.read_whole(tmp_path / "file", 10_000) == content
    assert fs.names(tmp_path) == ["file"]


@pytest.mark.parametrize("step", range(5))
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_file_that_cannot_be_replaced_stays_as_it_was(tmp_path: Path, step: int, number: int) -> None:
    fs = FaultFs(tmp_path)
    fs.write_whole(tmp_path / "file", b"old")
    assert len(fs.steps) == 5   # write whole, write, sync, rename, sync folder
    fs.fail_at(step, number, lasting=False)
    with pytest.raises(StorageFault) as raised:
        fs.write_whole(tmp_path / "file", b"new")
    assert raised.value.facts["errno"] == number
    assert (tmp_path / "file").read_bytes() == (b"new" if step == 4 else b"old")
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("step", range(5))
def test_a_crash_leaves_the_old_file_or_the_new_one(tmp_path: Path, step: int) -> None:
    (tmp_path / "here").mkdir()
    fs = FaultFs(tmp_path / "here")
    fs.write_whole(tmp_path / "here" / "file", b"old")
    fs.crash_at(step, killed=tmp_path / "killed", power_cut=tmp_path / "cut")
    with pytest.raises(Crash):
        fs.write_whole(tmp_path / "here" / "file", b"new")
    for disk in ("killed", "cut"):
        assert (tmp_path / disk / "file").read_bytes() in {b"old", b"new"}
        assert all(name == "file" or name.startswith(TEMPORARY_PREFIX) for name in os.listdir(tmp_path / disk))


def test_a_link_is_neither_read_nor_written_through(fs: Fs, tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    with pytest.raises(StorageFault):
        fs.read_whole(tmp_path / "link", 100)
    with pytest.raises(StorageFault):
        fs.open_for_assembly(tmp_path / "link", 10)
    fs.write_whole(tmp_path / "link", b"replaces the link")
    assert (tmp_path / "victim").read_bytes() == b"precious"


def test_a_file_over_its_limit_is_not_read(fs: Fs, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert fs.read_whole(tmp_path / "file", 5) == b"12345"
    with pytest.raises(StorageFault, match="larger than 4 bytes"):
        fs.read_whole(tmp_path / "file", 4)


def test_folders_are_made_with_their_parents_for_their_owner(fs: Fs, tmp_path: Path) -> None:
    fs.make_folder(tmp_path / "a" / "b" / "c")
    fs.make_folder(tmp_path / "a" / "b" / "c")
    assert [(tmp_path / part).stat().st_mode & 0o777 for part in ("a", "a/b", "a/b/c")] == [0o700] * 3


def test_a_file_to_be_assembled_has_its_room_and_keeps_its_content(fs: Fs, tmp_path: Path) -> None:
    for _ in range(2):
        descriptor = fs.open_for_assembly(tmp_path / "file", 10_000)
        fs.write_at(descriptor, b"at the end", 9_990, tmp_path / "file")
        assert fs.read_at(descriptor, 100, 9_990, tmp_path / "file") == b"at the end"
        fs.sync(descriptor, tmp_path / "file")
        os.close(descriptor)
    assert (tmp_path / "file").stat().st_size == 10_000
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


def test_what_is_not_there_can_be_removed_and_has_no_names(fs: Fs, tmp_path: Path) -> None:
    fs.remove(tmp_path / "nothing")
    fs.remove_tree(tmp_path / "nothing")
    assert fs.names(tmp_path / "nothing") == []


def test_a_path_through_a_file_is_the_hosts_fault(fs: Fs, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for operation in (
        lambda: fs.make_folder(tmp_path / "file"), lambda: fs.make_folder(tmp_path / "file" / "below"),
        lambda: fs.write_whole(tmp_path / "file" / "below", b""), lambda: fs.sync_folder(tmp_path / "file"),
        lambda: fs.rename(tmp_path / "nothing", tmp_path / "file"), lambda: fs.read_whole(tmp_path / "nothing", 1),
    ):
        with pytest.raises(StorageFault) as raised:
            operation()
        assert raised.value.facts["path"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO])
def test_every_usual_failure_says_what_to_do(number: int) -> None:
    fault = storage_fault("write", "/store/file", OSError(number, os.strerror(number)))
    assert str(fault) == f"Cannot write /store/file: {os.strerror(number)}."
    assert fault.hint
    assert fault.facts == {"errno": number, "path": "/store/file"}


def test_what_is_posted_takes_the_place_of_what_was_there(tmp_path: Path) -> None:
    for content in (b"one", b"two"):
        Fs().post(tmp_path / "notice", content)
        assert (tmp_path / "notice").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["notice"]


def test_a_post_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "notice").mkdir()
    with pytest.raises(StorageFault):
        Fs().post(tmp_path / "notice", b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["notice"]


def test_a_file_that_was_read_was_read_whatever_its_close_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"content")
    close = os.close

    def failing(descriptor: int) -> None:
        close(descriptor)
        raise OSError(errno.EIO, "the disk")

    monkeypatch.setattr(os, "close", failing)
    found = Fs().read_whole(tmp_path / "file", 100)
    Fs().sync_folder(tmp_path)
    monkeypatch.undo()
    assert found == b"content"
