"""Locks between processes: one holder or many sharers, gone with their process, and never a forked child's."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from modelcast.shared.errors import StorageFault
from modelcast.shared.locks import HostLock

HOLDER = """
import sys
from pathlib import Path
from modelcast.shared.locks import HostLock
lock = HostLock(Path(sys.argv[1]))
print(lock.take(shared=sys.argv[2] == "shared"), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lock"


def test_one_holds_it_and_the_others_do_not(path: Path) -> None:
    one, two = HostLock(path), HostLock(path)
    assert one.take()
    assert one.take()   # again is no second time
    assert not two.take()
    assert not two.take(shared=True)
    one.release()
    one.release()
    assert two.take()
    assert (one.is_held, two.is_held) == (False, True)
    two.release()


def test_many_may_share_it_and_keep_out_who_wants_it_alone(path: Path) -> None:
    sharers, alone = [HostLock(path) for _ in range(3)], HostLock(path)
    assert all(lock.take(shared=True) for lock in sharers)
    for lock in sharers:
        assert not alone.take()
        lock.release()
    assert alone.take()
    alone.release()


@pytest.mark.parametrize("mode", ["shared", "alone"])
def test_a_killed_process_holds_nothing(path: Path, mode: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path), mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        lock = HostLock(path)
        assert not lock.take()
        holder.send_signal(signal.SIGKILL)
        holder.wait(30)
    assert lock.take()
    lock.release()


FORK = """
import os, sys, warnings
from pathlib import Path
from modelcast.shared.locks import HostLock
lock, other = HostLock(Path(sys.argv[1])), HostLock(Path(sys.argv[1]))
lock.take()
ends, begins = os.pipe()
if os.fork() == 0:
    os.close(begins)
    said = [lock.is_held, other.take()]   # not the child's, and still held
    lock.release()                        # takes nothing from the parent
    said.append(other.take())
    os.write(1, repr(said).encode())
    os.read(ends, 1)                      # outlives the parent
    os._exit(0)
os.close(ends)
os.read(int(sys.argv[2]), 1)
os._exit(0)                               # and the child goes on
"""


def test_a_forked_child_does_not_hold_its_parents_lock_and_cannot_let_go_of_it(path: Path) -> None:
    ends, begins = os.pipe()
    parent = subprocess.Popen(
        [sys.executable, "-c", FORK, str(path), str(ends)], stdout=subprocess.PIPE, pass_fds=[ends, begins]
    )
    assert parent.stdout is not None
    assert os.read(parent.stdout.fileno(), 100) == b"[False, False, False]"
    lock = HostLock(path)
    assert not lock.take()
    os.write(begins, b"x")
    parent.wait(30)
    assert lock.take()   # although the child lives
    lock.release()
    os.close(ends)
    os.close(begins)
    parent.stdout.close()


def test_a_lock_without_a_name_keeps_nobody_out_and_so_is_none(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def removed_at_once(*arguments: object, **named: object) -> int:
        descriptor = real(*arguments, **named)   # type: ignore[arg-type]
        path.unlink()
        return descriptor

    lock = HostLock(path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", removed_at_once)
        assert not lock.take()
    assert lock.take()
    lock.release()


def test_a_file_system_without_locks_is_named_as_what_it_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno
    import fcntl

    def refuses(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuses)
    with pytest.raises(StorageFault, match="has no locks") as raised:
        HostLock(path).take()
    assert "local disk" in (raised.value.hint or "")


def test_a_folder_that_is_not_there_is_a_fault_of_the_disk(tmp_path: Path) -> None:
    with pytest.raises(StorageFault, match="Cannot lock"):
        HostLock(tmp_path / "nowhere" / "lock").take()
