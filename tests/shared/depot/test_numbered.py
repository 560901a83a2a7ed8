"""Numbered records: complete when they have their name, no number twice."""

import threading
from pathlib import Path

import pytest
from tests.fakes.fault_disk import FaultDisk

from modelcast.shared.depot.disk import Disk
from modelcast.shared.depot.numbered import NumberedLog
from modelcast.shared.errors import StorageFault


def log_in(folder: Path, disk: Disk | None = None) -> NumberedLog:
    for name in ("log", "incoming"):
        (folder / name).mkdir(exist_ok=True)
    return NumberedLog(disk or Disk(), folder / "log", folder / "incoming", max_bytes=1000)


def test_records_are_numbered_from_one_and_read_by_their_number(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    assert (log.numbers(), log.last(), log.read(1), log.has(1)) == ([], 0, None, False)
    assert [log.append(body) for body in (b"a", b"b")] == [1, 2]
    assert (log.numbers(), log.last(), log.read(1), log.has(2)) == ([1, 2], 2, b"a", True)
    assert list((tmp_path / "incoming").iterdir()) == []


def test_two_writers_never_take_the_same_number(tmp_path: Path) -> None:
    logs = [log_in(tmp_path) for _ in range(4)]
    taken: list[int] = []

    def write(log: NumberedLog) -> None:
        taken.extend(log.append(b"x") for _ in range(25))

    threads = [threading.Thread(target=write, args=(log,)) for log in logs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(1, 101))
    assert logs[0].numbers() == list(range(1, 101))


def test_what_else_lies_there_is_no_record(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    for name in (".tmp-1", "readme", "1"):
        (tmp_path / "log" / name).write_bytes(b"x")
    assert (log.numbers(), log.append(b"a")) == ([], 1)


def test_a_record_can_be_replaced_and_removed(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    log.append(b"a")
    log.append(b"b")
    log.replace(1, b"A")
    log.remove(2)
    assert (log.read(1), log.numbers()) == (b"A", [1])


def test_of_a_record_that_is_too_large_one_byte_too_many_is_read(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    log.append(b"x" * 5000)
    assert log.read(1) == b"x" * 1001


def test_where_there_are_no_hard_links_a_number_that_is_taken_stays_with_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno
    import os

    def no_links(*_: object, **__: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "link", no_links)
    first, second = log_in(tmp_path), log_in(tmp_path)
    assert [first.append(b"a"), first.append(b"b"), second.append(b"c")] == [1, 2, 3]
    assert (second.read(1), second.read(3)) == (b"a", b"c")


def test_a_full_disk_takes_no_number_and_leaves_nothing(tmp_path: Path) -> None:
    import errno

    disk = FaultDisk(tmp_path)
    log = log_in(tmp_path, disk)
    disk.fail_at(0, errno.ENOSPC)
    with pytest.raises(StorageFault, match="No space left") as caught:
        log.append(b"a")
    assert caught.value.hint
    disk.heal()
    assert log.append(b"a") == 1
