"""Telling verdicts: journaled, then reported, then settled; and nothing is lost when one of these fails."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.fakes.bench import Bench, Desk, RecordingRoad
from tests.fakes.fake_broker import FakeBroker
from tests.fakes.fault_fs import FaultFs
from tests.fakes.publisher_sim import PublisherSimulator, withheld

from modelcast.consumer.trial import Attempt
from modelcast.consumer.verdicts import Decision
from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.errors import BrokerUnreachable, SenderFault
from modelcast.shared.order import order_id
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
    assert desk.verdicts.counts == {Verdict.PROMOTED: 0, Verdict.REJECTED: 1, Verdict.SUPERSEDED: 1, Verdict.DEFERRED: 0}
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


EVENTS = {verdict.value for verdict in Verdict}
NAMES = {
    "event", "log_level", "version", "release", "order", "kind", "sequence", "active_version", "since_order_ms", "reason", "message", "stages_ms",
    "source", "total_bytes", "fetched_bytes", "reused_bytes", "wire_bytes", "ahead_bytes", "fetched_chunks", "reused_chunks", "damaged_chunks",
}


def test_every_attempt_is_one_line_of_the_log_with_everything_about_it(desk: Desk, signing_key) -> None:
    sim = PublisherSimulator(desk.bench.road, signing_key)
    promoted, damaged, passed, followed = (sim.release(version) for version in ("1.0.0", "1.1.0", "1.2.0", "1.3.0"))
    desk.now_ms = 1_790_000_005_000
    with capture_logs() as lines:
        bodies = [sim.publish(promoted), sim.publish(damaged, withheld(0)), b"noise"]
        for body in bodies:
            desk.deliver(body)
            desk.work()
            desk.tell()
        bodies += [sim.publish(passed), sim.publish(followed)]
        desk.deliver(bodies[3])
        desk.updater.dispatch()   # it is in hand when a better one comes
        desk.deliver(bodies[4])
        desk.work()
        desk.tell()
        for body in bodies:
            desk.deliver(body)   # given out again: no verdict, no line
        desk.work()
        desk.tell()
    told = [line for line in lines if line["event"] in EVENTS]
    assert [(line["event"], line["version"], line["reason"], line["log_level"]) for line in told] == [
        ("promoted", "1.0.0", None, "info"), ("rejected", "1.1.0", "chunks-missing", "warning"), ("rejected", None, "malformed", "warning"),
        ("promoted", "1.3.0", None, "info"), ("superseded", "1.2.0", None, "info"),
    ]
    assert all(set(line) == NAMES for line in told)
    first = told[0]
    assert (first["release"], first["order"], first["kind"]) == (promoted.id[:12], order_id(bodies[0])[:12], "promotion")
    assert (first["sequence"], first["active_version"]) == (1, "1.0.0")
    assert first["since_order_ms"] == desk.now_ms - desk.bench.trust(bodies[0]).order.issued_ms
    assert list(first["stages_ms"]) == ["received", "verified", "loaded", "probed", "promoted"]
    assert (first["fetched_bytes"], first["reused_bytes"], first["source"]) == (first["total_bytes"], 0, "amqp")
    assert told[1]["fetched_bytes"] == told[1]["total_bytes"] - 1000
    assert (told[2]["order"], told[2]["since_order_ms"], told[2]["stages_ms"], told[2]["active_version"]) == (
        order_id(b"noise")[:12], None, None, "1.0.0")


def test_a_model_that_is_taken_out_of_service_is_named_by_its_line(desk: Desk, signing_key) -> None:
    sim = PublisherSimulator(desk.bench.road, signing_key)
    release = sim.release("1.0.0")
    desk.deliver(sim.publish(release))
    desk.work()
    with capture_logs() as lines:
        desk.verdicts.note(Decision(ORDER, Verdict.REJECTED, fault=FAULT, about=desk.bench.slot.active))
    [line] = lines
    assert set(line) == NAMES
    assert (line["event"], line["version"], line["release"], line["sequence"]) == ("rejected", "1.0.0", release.id[:12], 1)


def test_an_attempt_that_is_put_off_says_as_much(desk: Desk, fs: FaultFs, signing_key) -> None:
    sim = PublisherSimulator(desk.bench.road, signing_key)
    desk.deliver(sim.publish(sim.release("1.0.0")))
    seen: list[Attempt] = []
    desk.verdicts.watchers = [seen.append]
    with capture_logs() as lines:
        fs.fail_at(0, errno.ENOSPC, lasting=True)
        desk.do_one()
    assert [(line["event"], line["version"], line["sequence"]) for line in lines if line["log_level"] == "warning"] == [("will try again", "1.0.0", 1)]
    assert set(lines[-1]) == NAMES - {"reason", "message"} | {"fault", "seconds", "exc_info"}
    assert (desk.verdicts.tallies.retries, desk.verdicts.tallies.failures) == (1, 1)
    fs.heal()
    desk.work()
    assert [attempt.outcome for attempt in seen] == ["put off", "promoted"]
    assert "fault" in seen[0].facts
    assert (desk.verdicts.tallies.retries, desk.verdicts.tallies.failures) == (1, 0)
    assert desk.verdicts.tallies.verdicts["promoted", ""] == 1


def test_a_verdict_that_is_told_again_after_a_restart_is_neither_counted_nor_logged_as_one(desk: Desk) -> None:
    with capture_logs() as lines:
        desk.verdicts.note(Decision(ORDER, Verdict.PROMOTED, is_repeated=True))
    assert [(line["event"], line["verdict"]) for line in lines] == [("verdict told again", "promoted")]
    assert sum(desk.verdicts.tallies.verdicts.values()) == sum(desk.verdicts.counts.values()) == 0
