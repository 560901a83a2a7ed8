"""Reports of many instances in few files, and readers that are remembered."""

from pathlib import Path

import pytest

from modelcast.publisher.server.problems import Problem
from modelcast.publisher.server.reportdesk import Readings, ReportDesk, extent
from modelcast.publisher.server.tokens import ANYBODY
from modelcast.shared.depot.disk import Disk
from modelcast.shared.road import Target


def test_instances_of_one_channel_share_a_file(tmp_path: Path) -> None:
    desk = ReportDesk(Disk(), tmp_path)
    for number in range(5):
        desk.append(Target("fraud", "production", f"i{number}"), b"report %d" % number)
    desk.append(Target("fraud", "staging", "i1"), b"another")
    desk.close()
    assert len(list(tmp_path.iterdir())) == 2


def test_the_extent_grows_with_each_report(tmp_path: Path) -> None:
    desk, seen = ReportDesk(Disk(), tmp_path), [extent(Disk(), tmp_path)]
    for _ in range(3):
        desk.append(Target("fraud", "production", "a"), b"report")
        seen.append(extent(Disk(), tmp_path))
    desk.close()
    assert seen == sorted(set(seen))


def test_of_too_many_channels_the_files_that_rest_are_closed_and_found_again(tmp_path: Path) -> None:
    desk = ReportDesk(Disk(), tmp_path)
    for number in range(70):
        desk.append(Target(f"m{number}", "production", "a"), b"report %d" % number)
    assert len(desk._writers) == 64
    desk.append(Target("m0", "production", "a"), b"again")
    desk.close()
    readings = Readings(Disk(), tmp_path, 2)
    _, reading = readings.begin(ANYBODY, None)
    bodies = reading.look(0, 10**6)
    assert bodies is not None
    assert sorted(bodies) == sorted([b"report %d" % number for number in range(70)] + [b"again"])


def test_the_reader_that_has_not_asked_for_the_longest_time_is_forgotten(tmp_path: Path) -> None:
    readings = Readings(Disk(), tmp_path, 2)
    begun = [readings.begin(ANYBODY, None) for _ in range(3)]
    for name, reading in (*begun[:2], begun[0], begun[2]):
        readings.keep(name, reading)
    assert readings.find(begun[0][0], ANYBODY) is begun[0][1]
    with pytest.raises(Problem, match="over"):
        readings.find(begun[1][0], ANYBODY)


def test_an_answer_ends_about_where_it_is_to_end(tmp_path: Path) -> None:
    desk = ReportDesk(Disk(), tmp_path)
    for number in range(5):
        desk.append(Target("fraud", "production", "a"), b"report %d" % number)
    desk.close()
    _, reading = Readings(Disk(), tmp_path, 2).begin(ANYBODY, None)
    pages = [reading.look(number, 10) for number in range(4)]
    assert [len(page or []) for page in pages] == [2, 2, 1, 0]
    assert reading.is_caught_up
