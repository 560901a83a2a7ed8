"""Telling verdicts: journaled, then reported, then settled; and nothing is lost when one of these fails."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.bench import Bench, Desk, RecordingRoad
from tests.fakes.fake_broker import FakeBroker
from tests.fakes.fault_fs import FaultFs

from modelcast.consumer.verdicts import Decision
from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.errors import BrokerUnreachable, SenderFault
from modelcast.shared.reasons import Reason
from modelcast.shared.report import Verdict
from modelcast.shared.road import ArrivedOrder

ORDER = "a" * 64
FAULT = SenderFault(Reason.LOAD_FAILED, "It did not load.")


@pytest.fixture
def fs(tmp_path: Path) -> FaultFs:
    return FaultFs(tmp_path / "store")


@pytest.fixture
def desk(tmp_path: Path, fs: FaultFs, key_ring) -> Iterator[Desk]:
    with Bench(tmp_path / "store", AmqpRoad(FakeBroker()), key_ring, fs=fs) as bench:
        yield Desk(bench)


def test_a_verdict_is_in_the_journal_before_it_is_told(desk: Desk) -> None:
    desk.verdicts.note(Decision(ORDER, Verdict.REJECTED, fault=FAULT))
    desk.verdicts.tell(desk.road)
    assert desk.road.reports == []   # nothing is written down yet
    desk.work()
    assert len(desk.bench.journal.reports()) == 1
    desk.tell()
    assert [report.reason for report in desk.road.reports] == ["load-failed"]
    assert desk.bench.journal.reports() == []
    assert desk.bench.journal.rejections()[ORDER].message == "It did not load."


def test_a_report_that_breaks_off_is_sent_again_and_only_then_settled(desk: Desk) -> None:
    arrived = ArrivedOrder(b"", object())
    desk.verdicts.ledger.hold(ORDER, arrived)
    desk.verdicts.note(Decision(ORDER, Verdict.REJECTED, fault=FAULT))
    desk.work()
    with pytest.raises(BrokerUnreachable):
        desk.verdicts.tell(RecordingRoad(cut_after=0))
    assert len(desk.bench.journal.reports()) == 1
    desk.tell()
    assert desk.road.told == ["report", "settle"]
    assert desk.road.settled == [(arrived, False)]


@pytest.mark.parametrize("verdict", Verdict)
def test_a_verdict_that_cannot_be_journaled_is_told_all_the_same(desk: Desk, fs: FaultFs, verdict: Verdict) -> None:
    arrived = ArrivedOrder(b"", object())
    desk.verdicts.ledger.hold(ORDER, arrived)
    fs.fail_at(0, errno.ENOSPC, lasting=True)
    desk.verdicts.note(Decision(ORDER, verdict, fault=FAULT if verdict is Verdict.REJECTED else None))
    desk.work()
    desk.tell()
    assert [report.verdict for report in desk.road.reports] == [verdict]
    assert desk.road.settled == [(arrived, verdict is not Verdict.REJECTED)]


def test_a_confirmed_report_that_cannot_be_removed_is_no_reason_to_stop(desk: Desk, fs: FaultFs) -> None:
    desk.verdicts.note(Decision(ORDER, Verdict.SUPERSEDED))
    desk.work()
    fs.fail_at(0, errno.EROFS, lasting=True)
    desk.tell()
    desk.tell()
    assert len(desk.road.reports) == 1
    assert len(desk.bench.journal.reports()) == 1   # after a restart it is sent once more


def test_verdicts_are_counted_and_the_last_one_is_remembered(desk: Desk) -> None:
    desk.now_ms = 77
    desk.verdicts.note(Decision("b" * 64, Verdict.SUPERSEDED))
    desk.verdicts.note(Decision(ORDER, Verdict.REJECTED, fault=FAULT))
    assert desk.verdicts.counts == {Verdict.PROMOTED: 0, Verdict.REJECTED: 1, Verdict.SUPERSEDED: 1}
    last = desk.verdicts.last
    assert last is not None
    assert (last.verdict, last.version, last.reason, last.message, last.at_ms) == ("rejected", None, "load-failed", "It did not load.", 77)


def test_an_order_whose_verdict_is_being_written_is_not_judged_again(desk: Desk) -> None:
    desk.deliver(b"noise")
    desk.deliver(b"noise")
    assert desk.verdicts.counts[Verdict.REJECTED] == 1
    desk.work()
    desk.tell()
    assert len(desk.road.reports) == 1
    assert len(desk.road.settled) == 2


def test_a_log_that_raises_costs_no_verdict(desk: Desk) -> None:
    class Broken:
        def __getattr__(self, _name: str):
            raise ValueError("the disk of the log is full")

    log, desk.verdicts.log = desk.verdicts.log, Broken()
    with pytest.raises(ValueError, match="log is full"):
        desk.verdicts.note(Decision(ORDER, Verdict.REJECTED, fault=FAULT))
    desk.work()
    desk.verdicts.log = log
    desk.tell()
    assert [report.reason for report in desk.road.reports] == ["load-failed"]
