"""The journal: reports survive until they are confirmed, rejections are remembered, tries are counted across crashes."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelcast.consumer import journal as module
from modelcast.consumer.journal import MAX_REJECTIONS, MAX_REPORTS, Journal, Rejection
from modelcast.shared.fs import Fs


class FastFs(Fs):
    """Does not wait for the disk."""

    def sync(self, descriptor: int, path: Path) -> None:
        """Nothing."""

    def sync_folder(self, path: Path) -> None:
        """Nothing."""


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path, FastFs())


def again(tmp_path: Path) -> Journal:
    """The journal after a restart."""
    return Journal(tmp_path, FastFs())


def rejection(number: int) -> Rejection:
    return Rejection(f"{number:064x}", "load-failed", "It did not load.", "1.0.0")


def test_reports_survive_a_restart_in_their_order_until_they_are_confirmed(tmp_path: Path, journal: Journal) -> None:
    names = [journal.add_report(b"report %d" % number) for number in range(12)]
    journal.forget_report(names[3])
    later = again(tmp_path)
    assert [body for _, body in later.reports()] == [b"report %d" % number for number in range(12) if number != 3]
    assert later.add_report(b"new") > names[-1]
    assert later.reports()[-1][1] == b"new"


def test_a_name_is_not_used_again_for_another_report(tmp_path: Path, journal: Journal) -> None:
    first = journal.add_report(b"one")
    journal.forget_report(first)
    assert journal.add_report(b"two") != first


def test_the_oldest_reports_go_when_there_are_too_many(tmp_path: Path, journal: Journal) -> None:
    for number in range(MAX_REPORTS + 3):
        journal.add_report(b"%d" % number)
    bodies = [body for _, body in journal.reports()]
    assert (len(bodies), bodies[0], bodies[-1]) == (MAX_REPORTS, b"3", b"%d" % (MAX_REPORTS + 2))


def test_a_report_that_is_forgotten_twice_is_forgotten(journal: Journal) -> None:
    name = journal.add_report(b"report")
    journal.forget_report(name)
    journal.forget_report(name)
    assert journal.reports() == []


@pytest.mark.parametrize("name", ["report-x", "report-", "rejected-", "trying", "stranger", "report-000000000001"])
@pytest.mark.parametrize("content", [b"", b"garbage", bytes(100_000)], ids=["empty", "garbage", "huge"])
def test_what_is_damaged_in_the_journal_keeps_nothing_from_going_on(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    journal = again(tmp_path)
    journal.remember(rejection(1))
    kept = journal.add_report(b"good")
    assert (kept, b"good") in journal.reports()
    assert rejection(1) in journal.rejections().values()
    assert journal.begin_try("order") == 1


@given(st.builds(Rejection, st.text("0123456789abcdef", min_size=64, max_size=64), st.text(max_size=30), st.text(max_size=300), st.none() | st.just("1.0.0"), st.none() | st.text(max_size=64), st.integers(0, 99), st.booleans()))
def test_rejections_survive_a_restart(tmp_path: Path, kept: Rejection) -> None:
    again(tmp_path).remember(kept)
    assert again(tmp_path).rejections()[kept.order] == kept


def test_an_order_that_is_rejected_again_is_remembered_once_with_the_latest_reason(journal: Journal) -> None:
    journal.remember(rejection(1))
    journal.remember(Rejection(rejection(1).order, "timed-out", "Too slow.", None))
    assert [kept.reason for kept in journal.rejections().values()] == ["timed-out"]


def test_the_oldest_rejection_goes_when_there_are_too_many(tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_REJECTIONS", 5)
    assert MAX_REJECTIONS > 100
    for number in range(5):
        journal.remember(rejection(number))
        os.utime(tmp_path / f"rejected-{rejection(number).order}", ns=(number, number))
    journal.remember(rejection(9))
    assert set(journal.rejections()) == {rejection(number).order for number in (1, 2, 3, 4, 9)}


def test_tries_that_did_not_end_are_counted_across_restarts(tmp_path: Path) -> None:
    assert [again(tmp_path).begin_try("order") for _ in range(3)] == [1, 2, 3]


def test_a_try_that_ended_or_another_order_begins_at_one(tmp_path: Path, journal: Journal) -> None:
    journal.begin_try("order")
    journal.end_try()
    journal.end_try()
    assert journal.begin_try("order") == 1
    assert journal.begin_try("other") == 1
    assert again(tmp_path).begin_try("order") == 1


def test_a_file_in_which_one_bit_flipped_counts_as_missing_and_is_never_believed(tmp_path: Path, journal: Journal) -> None:
    """A count of tries that never were would refuse a good release, and an altered report would tell what never was."""
    journal.add_report(b"the report")
    journal.remember(rejection(1))
    journal.begin_try("order")
    for path in sorted(tmp_path.iterdir()):
        whole = path.read_bytes()
        for at in range(len(whole)):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
            later = again(tmp_path)
            assert len(later.reports()) == (not path.name.startswith("report-"))
            assert len(later.rejections()) == (not path.name.startswith("rejected-"))
            assert later._tries_of("order") == (path.name != "trying")
        path.write_bytes(whole)
    later = again(tmp_path)
    assert ([body for _, body in later.reports()], later.rejections()) == ([b"the report"], {rejection(1).order: rejection(1)})
    assert later.begin_try("order") == 2
