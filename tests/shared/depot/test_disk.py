"""What a depot needs of a disk, with the faults that a disk has."""

import errno
import os
from pathlib import Path

import pytest

from modelcast.shared.depot import disk as module
from modelcast.shared.depot.disk import Disk, SharedDisk, temporary_name
from modelcast.shared.errors import StorageFault


def test_what_is_not_there_is_no_fault(tmp_path: Path) -> None:
    disk, nowhere = Disk(), tmp_path / "nowhere"
    assert disk.read_if_there(nowhere, 10) is None
    assert disk.read_part(nowhere, 10, 0) == b""
    assert disk.read_into(nowhere, memoryview(bytearray(10))) is None
    assert disk.size_of(nowhere) is None
    assert disk.identity_of(nowhere) is None
    disk.sync_file(nowhere)


def test_a_folder_that_is_open_is_told_from_each_that_is_made_in_its_place(tmp_path: Path) -> None:
    disk, folder = Disk(), tmp_path / "folder"
    folder.mkdir()
    opened = disk.open_folder(folder)
    assert disk.is_still(opened, folder)
    folder.rmdir()
    assert not disk.is_still(opened, folder)
    for _ in range(20):   # of one that is not open the number is given again soon
        folder.mkdir()
        assert not disk.is_still(opened, folder)
        folder.rmdir()
    os.close(opened)
    with pytest.raises(StorageFault, match="folder"):
        disk.is_still(opened, folder)


def test_what_cannot_be_looked_at_is_a_fault_that_names_it(tmp_path: Path) -> None:
    blocked = tmp_path / "file" / "below"
    (tmp_path / "file").write_bytes(b"x")
    disk = Disk()
    for look in (
        lambda: disk.read_if_there(blocked, 10), lambda: disk.read_part(blocked, 10, 0), lambda: disk.size_of(blocked),
        lambda: disk.read_into(blocked, memoryview(bytearray(10))), lambda: disk.identity_of(blocked), lambda: disk.sync_file(blocked),
        lambda: disk.sync_all(blocked), lambda: disk.take_name(tmp_path / "file", blocked), lambda: disk.move(blocked, tmp_path / "x"),
        lambda: disk.write_new(blocked, b"", is_durable=False), lambda: disk.open_for_appending(blocked), lambda: disk.is_owners_alone(blocked),
    ):
        with pytest.raises(StorageFault, match="file/below"):
            look()


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    disk = Disk()
    for look in (
        lambda: disk.read_if_there(tmp_path / "link", 10), lambda: disk.read_part(tmp_path / "link", 10, 0),
        lambda: disk.read_into(tmp_path / "link", memoryview(bytearray(10))), lambda: disk.open_for_appending(tmp_path / "link"),
    ):
        with pytest.raises(StorageFault):
            look()


def test_a_pipe_in_the_place_of_a_file_holds_up_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    disk = Disk()
    for look in (
        lambda: disk.read_if_there(tmp_path / "pipe", 10), lambda: disk.read_part(tmp_path / "pipe", 10, 0),
        lambda: disk.read_into(tmp_path / "pipe", memoryview(bytearray(10))),
    ):
        with pytest.raises(StorageFault):
            look()


def test_a_file_is_read_to_its_end_or_to_the_end_of_the_buffer(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    buffer = memoryview(bytearray(20))
    assert Disk().read_into(tmp_path / "file", buffer) == 10
    assert bytes(buffer[:10]) == b"0123456789"
    assert Disk().read_into(tmp_path / "file", buffer[:4]) == 4


def test_a_name_is_given_once(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(name.encode())
    assert [Disk().take_name(tmp_path / name, tmp_path / "1") for name in ("a", "b")] == [True, False]
    assert (tmp_path / "1").read_bytes() == b"a"


def test_everything_can_be_synced_at_once_or_it_says_that_it_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "kind_of_file_system", lambda _: "ext4")
    assert Disk().sync_all(tmp_path) is (os.uname().sysname == "Linux")
    for kind in ("fuse.sshfs", "cifs", "nfs4", "overlay", None):
        monkeypatch.setattr(module, "kind_of_file_system", lambda _, kind=kind: kind)
        assert Disk().sync_all(tmp_path) is False
    monkeypatch.setattr(module, "kind_of_file_system", lambda _: "ext4")
    monkeypatch.setattr(module, "_syncfs", lambda: None)
    assert Disk().sync_all(tmp_path) is False

    def fails(_: int) -> int:
        import ctypes

        ctypes.set_errno(errno.EIO)
        return -1

    monkeypatch.setattr(module, "_syncfs", lambda: fails)
    with pytest.raises(StorageFault, match="Input/output error"):
        Disk().sync_all(tmp_path)


@pytest.mark.parametrize(("release", "has"), [("5.7.19", False), ("5.8", True), ("6.1.0-13-amd64", True), ("4.19.0", False), ("odd", False)])
def test_syncing_a_file_system_is_trusted_where_it_tells_errors(monkeypatch: pytest.MonkeyPatch, release: str, *, has: bool) -> None:
    if os.uname().sysname != "Linux":
        pytest.skip("Linux only")
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "host", release, "#1", "x86_64")))
    assert (module._syncfs.__wrapped__() is not None) is has


def test_a_folder_of_ours_that_others_may_write_is_not_ours_alone(tmp_path: Path) -> None:
    for mode, alone in ((0o700, True), (0o755, True), (0o775, False), (0o707, False)):
        tmp_path.chmod(mode)
        assert Disk().is_owners_alone(tmp_path) is alone
    tmp_path.chmod(0o700)
    if os.geteuid() == 0:
        os.chown(tmp_path, 12345, -1)
        assert not Disk().is_owners_alone(tmp_path)


def test_files_are_for_their_owner_and_shared_ones_as_open_as_the_umask_lets_them_be(tmp_path: Path) -> None:
    before = os.umask(0o002)
    try:
        for disk, file_mode, folder_mode in ((Disk(), 0o600, 0o700), (SharedDisk(), 0o664, 0o775)):
            name = temporary_name()
            disk.make_folder(tmp_path / name)
            disk.write_new(tmp_path / name / "file", b"x", is_durable=False)
            assert (tmp_path / name).stat().st_mode & 0o777 == folder_mode
            assert (tmp_path / name / "file").stat().st_mode & 0o777 == file_mode
    finally:
        os.umask(before)
