"""Waiting for changes in folders: told where the file system tells, looked for where it does not."""

import errno
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from modelcast.shared.file_watch import POLL_SECONDS, TELLING_POLL_SECONDS, Watch, kind_of_file_system

MOUNTS = """
22 1 259:2 / / rw,relatime shared:1 - ext4 /dev/root rw
30 22 0:26 / /srv rw - nfs4 server:/srv rw
31 30 0:27 / /srv/models rw - ext4 /dev/sdb rw
32 22 0:28 / /mnt/mein\\040Verzeichnis\\134ü rw - cifs //server/share rw
33 22 0:29 / /over rw - ext4 /dev/sdc rw
34 33 0:30 / /over rw - fuse.sshfs host: rw
"""
LONG = 20.0


@pytest.mark.parametrize(("path", "kind"), [
    ("/home", "ext4"), ("/srv/data", "nfs4"), ("/srv", "nfs4"), ("/srv/models/x", "ext4"), ("/srvx", "ext4"), ("/mnt/mein Verzeichnis\\ü/x", "cifs"),
    ("/over/x", "fuse.sshfs"),
])
def test_the_longest_mount_point_that_holds_a_path_says_its_kind_and_of_two_the_later(path: str, kind: str) -> None:
    assert kind_of_file_system(Path(path), MOUNTS) == kind


def test_a_system_that_says_nothing_and_a_line_that_is_none_are_no_kind() -> None:
    assert kind_of_file_system(Path("/x"), "no line\n1 2 - ext4\n") is None


@pytest.fixture(params=["told", "polled"])
def watch(request: pytest.FixtureRequest, tmp_path: Path):
    watch = Watch([tmp_path], 0.02 if request.param == "polled" else None)
    if request.param == "told" and not watch.is_told:
        watch.close()
        pytest.skip("this file system does not tell")
    yield watch
    watch.close()


def soon(watch: Watch, change: threading.Timer) -> float:
    began = time.monotonic()
    change.start()
    watch.wait(LONG)
    waited = time.monotonic() - began
    change.join()
    return waited


def test_a_change_ends_the_wait(watch: Watch, tmp_path: Path) -> None:
    for change in (lambda: (tmp_path / "new").write_bytes(b"x"), lambda: (tmp_path / "new").rename(tmp_path / "name")):
        assert soon(watch, threading.Timer(0.05, change)) < LONG / 4


def test_a_change_before_the_wait_ends_it_at_once(watch: Watch, tmp_path: Path) -> None:
    (tmp_path / "new").write_bytes(b"x")
    began = time.monotonic()
    watch.wait(LONG)
    assert time.monotonic() - began < LONG / 4


def test_another_thread_can_end_it_however_often_it_calls(watch: Watch) -> None:
    for _ in range(100_000):
        watch.wake()   # the pipe is full long before
    assert watch.wait(LONG) is False
    while watch.wait(0) is False:
        pass
    assert soon(watch, threading.Timer(0.05, watch.wake)) < LONG / 4


def test_without_a_change_it_ends_in_time(watch: Watch) -> None:
    began = time.monotonic()
    assert watch.wait(0.05) is True
    assert time.monotonic() - began < LONG / 4


def test_waking_and_closing_after_the_end_do_no_harm(tmp_path: Path) -> None:
    watch = Watch([tmp_path])
    watch.close()
    watch.close()
    watch.wake()


def test_where_nothing_is_told_it_looks_every_second_and_otherwise_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from modelcast.shared import file_watch

    told = Watch([tmp_path])
    assert told.poll_seconds == (TELLING_POLL_SECONDS if told.is_told else POLL_SECONDS)
    monkeypatch.setattr(file_watch, "TELLING", frozenset())
    polled = Watch([tmp_path])
    assert (polled.is_told, polled.poll_seconds) == (False, POLL_SECONDS)
    told.close()
    polled.close()


@pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")
def test_a_user_without_inotify_to_spare_is_polled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import inotify_simple

    def used_up(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(inotify_simple.INotify, "add_watch", used_up)
    watch = Watch([tmp_path])
    assert not watch.is_told
    watch.close()


def test_without_the_library_that_tells_of_changes_they_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "inotify_simple", None)
    watch = Watch([tmp_path])
    assert (watch.is_told, watch.poll_seconds) == (False, POLL_SECONDS)
    watch.close()
