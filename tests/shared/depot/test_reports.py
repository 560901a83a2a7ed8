"""Reports as files: each connection has its own, an hour has its own, old hours go."""

import errno
import os
from pathlib import Path

import pytest
from tests.fakes.fault_disk import FaultDisk

from modelcast.shared.depot import reports as module
from modelcast.shared.depot.disk import Disk
from modelcast.shared.depot.reports import KEPT_DAYS, ReportReader, ReportWriter
from modelcast.shared.errors import StorageFault
from modelcast.shared.road import Target

HOUR_MS = 3_600_000
NOW_MS = 1_795_692_000_000
A, B = Target("fraud", "production", "a"), Target("fraud", "production", "b")


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.ms = NOW_MS

    def __call__(self) -> int:
        return self.ms


def all_of(reader: ReportReader) -> list[bytes]:
    found = []
    while (body := reader.next()) is not None:
        found.append(body)
    return found


def test_reports_of_several_instances_are_read_in_the_order_of_their_time(tmp_path: Path) -> None:
    clock = Clock()
    writers = [ReportWriter(Disk(), tmp_path, target, clock_ms=clock) for target in (A, B)]
    for number in range(10):
        clock.ms += HOUR_MS // 4
        writers[number % 2].append(b"%d" % number)
    reader = ReportReader(Disk(), tmp_path, None)
    assert all_of(reader) == [b"%d" % number for number in range(10)]
    clock.ms += 1
    writers[0].append(b"new")
    assert (all_of(reader), all_of(reader)) == ([b"new"], [])
    assert all_of(ReportReader(Disk(), tmp_path, clock.ms - HOUR_MS // 2)) == [b"8", b"9", b"new"]
    for writer in writers:
        writer.close()


def test_what_comes_from_a_host_whose_clock_is_far_behind_is_heard_all_the_same(tmp_path: Path) -> None:
    clock = Clock()
    right, behind = ReportWriter(Disk(), tmp_path, A, clock_ms=clock), ReportWriter(Disk(), tmp_path, B, clock_ms=lambda: clock.ms - 5 * HOUR_MS)
    behind.append(b"before")
    right.append(b"recent")
    reader = ReportReader(Disk(), tmp_path, clock.ms - HOUR_MS // 2)
    assert all_of(reader) == [b"recent"]
    behind.append(b"late by its clock")
    assert all_of(reader) == [b"late by its clock"]
    right.close()
    behind.close()


def test_what_nobody_wrote_to_for_long_is_removed_by_who_begins_an_hour(tmp_path: Path) -> None:
    clock = Clock()
    old, young = ReportWriter(Disk(), tmp_path, A, clock_ms=clock), ReportWriter(Disk(), tmp_path, B, clock_ms=clock)
    old.append(b"old")
    (path,) = tmp_path.iterdir()
    (tmp_path / "readme").write_bytes(b"no reports")
    now = path.stat().st_mtime
    for days, left in ((KEPT_DAYS - 0.1, [b"old", b"kept together"]), (KEPT_DAYS + 0.1, [b"kept together", b"young"])):
        for other in (path, tmp_path / "readme"):
            os.utime(other, (now - days * 24 * 3600,) * 2)
        clock.ms += HOUR_MS
        young.append(left[-1])
        assert all_of(ReportReader(Disk(), tmp_path, None)) == left
    assert (tmp_path / "readme").exists()
    clock.ms -= 2 * HOUR_MS   # in the same hour as at first: its file is gone
    old.append(b"into a new file")
    assert b"into a new file" in all_of(ReportReader(Disk(), tmp_path, None))
    old.close()
    young.close()


def test_a_host_whose_clock_is_weeks_ahead_removes_nobodys_reports(tmp_path: Path) -> None:
    clock = Clock()
    right = ReportWriter(Disk(), tmp_path, A, clock_ms=clock)
    ahead = ReportWriter(Disk(), tmp_path, B, clock_ms=lambda: clock.ms + 2 * KEPT_DAYS * 24 * HOUR_MS)
    right.append(b"one")
    ahead.append(b"two")
    right.append(b"three")
    assert all_of(ReportReader(Disk(), tmp_path, None)) == [b"one", b"three", b"two"]
    right.close()
    ahead.close()


def test_the_name_of_a_file_that_was_not_durable_is_synced_by_the_next_report(tmp_path: Path) -> None:
    disk = FaultDisk(tmp_path)
    writer = ReportWriter(disk, tmp_path, A)
    disk.fail_at(1, errno.EIO)   # the folder
    with pytest.raises(StorageFault):
        writer.append(b"one")
    disk.heal()
    disk.steps.clear()
    writer.append(b"one")
    assert "sync folder" in disk.steps
    writer.close()


def test_files_of_past_hours_are_not_looked_at_each_time_and_not_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[Path] = []

    class Counted(Disk):
        def growth_of(self, path: Path) -> tuple[int, int] | None:
            looked_at.append(path)
            return super().growth_of(path)

    clock = Clock()
    old, young = ReportWriter(Disk(), tmp_path, A, clock_ms=clock), ReportWriter(Disk(), tmp_path, B, clock_ms=lambda: clock.ms + 5 * HOUR_MS)
    old.append(b"old")
    (path,) = tmp_path.iterdir()
    young.append(b"young")
    os.utime(path, (path.stat().st_mtime - 5 * 3600,) * 2)
    reader = ReportReader(Counted(), tmp_path, None)
    assert all_of(reader) == [b"old", b"young"]
    looked_at.clear()
    young.append(b"younger")
    assert all_of(reader) == [b"younger"]
    assert path not in looked_at
    (ahead,) = [other for other in tmp_path.iterdir() if other != path]
    os.utime(ahead, (ahead.stat().st_mtime + 5 * 3600,) * 2)   # a clock that was ahead silences nobody
    assert all_of(reader) == []
    young.append(b"as young as any")
    assert all_of(reader) == [b"as young as any"]
    old.append(b"its clock went back")
    monkeypatch.setattr(module, "WHOLE_LOOK_SECONDS", 0.0)
    reader._next_whole_look = 0.0
    assert all_of(reader) == [b"its clock went back"]
    old.close()
    young.close()


def test_a_report_that_was_torn_by_a_full_disk_is_written_over_by_the_next_one(tmp_path: Path) -> None:
    disk = FaultDisk(tmp_path)
    writer = ReportWriter(disk, tmp_path, A)
    writer.append(b"one")
    disk.fail_at(1, errno.ENOSPC)   # in the middle of it
    with pytest.raises(StorageFault):
        writer.append(b"torn, and longer than the next one")
    disk.heal()
    writer.append(b"two")
    assert all_of(ReportReader(Disk(), tmp_path, None)) == [b"one", b"two"]
    writer.close()


def test_a_report_that_is_not_written_to_its_end_waits(tmp_path: Path) -> None:
    writer = ReportWriter(Disk(), tmp_path, A)
    writer.append(b"one")
    writer.append(b"two")
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    reader = ReportReader(Disk(), tmp_path, None)
    assert all_of(reader) == [b"one"]
    path.write_bytes(whole)
    assert all_of(reader) == [b"two"]
    writer.close()
