"""The updater: orders in, steps one after the other, verdicts out; the worker is the test."""

import errno
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.bench import Bench, Desk
from tests.fakes.fake_broker import FakeBroker
from tests.fakes.fault_fs import FaultFs
from tests.fakes.publisher_sim import PublisherSimulator, honest, withheld

from modelcast.consumer.ahead import layout_of
from modelcast.consumer.headroom import Headroom
from modelcast.consumer.lifecycle import State
from modelcast.consumer.pointer import KeptBookmark
from modelcast.consumer.policy import Loading, Policy, Timing
from modelcast.consumer.replays import MOST_REPLAYS
from modelcast.consumer.trust import reader_of
from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.names import VersionRange
from modelcast.shared.order import AnnouncementMessage, Kind, OrderMessage, order_id
from modelcast.shared.report import Verdict
from modelcast.shared.road import ArrivedOrder, Bookmark
from modelcast.shared.turns import turn_of


@pytest.fixture
def road() -> AmqpRoad:
    return AmqpRoad(FakeBroker())


@pytest.fixture
def sim(road, signing_key) -> PublisherSimulator:
    return PublisherSimulator(road, signing_key)


@pytest.fixture
def bench(tmp_path: Path, road, key_ring) -> Iterator[Bench]:
    with Bench(tmp_path / "store", road, key_ring) as bench:
        yield bench


@pytest.fixture
def desk(bench) -> Desk:
    return Desk(bench)


def again(bench: Bench, **options: Any) -> Desk:
    """The desk after a restart."""
    bench.close()
    later = Bench(bench.store.root, bench.road, bench.ring).open()
    later.workshop.restore()
    return Desk(later, **options)


def test_an_order_goes_through_all_states_and_is_accepted_and_reported(sim, desk) -> None:
    arrived = desk.deliver(sim.publish(sim.release("1.0.0")))
    states = [desk.updater.state]
    while len(states) < 7:
        desk.do_one()
        states.append(desk.updater.state)
    assert states == [State.IDLE, State.VERIFYING, State.LOADING, State.PROBING, State.PROMOTING, State.IDLE, State.IDLE]
    desk.tell()
    assert desk.verdict_reports() == [("1.0.0", "promoted", None)]
    assert desk.road.settled == [(arrived, True)]
    report = desk.road.reports[0]
    assert list(report.stages_ms) == ["received", "verified", "loaded", "probed", "promoted"]
    assert (report.active_version, report.sequence, report.transfer["fetched_bytes"]) == ("1.0.0", 1, report.transfer["total_bytes"])


def test_a_rejection_is_reported_before_it_is_settled(sim, desk) -> None:
    arrived = desk.deliver(sim.publish(sim.release("1.0.0"), withheld(0)))
    desk.work()
    desk.tell()
    assert desk.verdict_reports() == [("1.0.0", "rejected", "chunks-missing")]
    assert desk.road.settled == [(arrived, False)]
    assert desk.road.told == ["report", "settle"]
    assert desk.updater.state is State.IDLE


def test_a_rejection_whose_report_does_not_get_through_is_not_settled(sim, desk) -> None:
    desk.deliver(b"no order at all")
    desk.work()
    broken, desk.road._cut_after = desk.road, 0
    with pytest.raises(Exception, match="cut"):
        desk.tell()
    assert broken.settled == []
    desk.verdicts.ledger.lost_connection()
    broken._cut_after = None
    again_arrived = desk.deliver(b"no order at all")
    desk.tell()
    assert broken.settled == [(again_arrived, False)]
    assert desk.verdict_reports() == [(None, "rejected", "malformed")]


def test_the_report_of_a_rejection_survives_a_crash_and_the_order_is_refused_without_another_try(sim, bench, desk) -> None:
    body = sim.publish(sim.release("1.0.0"), withheld(0))
    desk.deliver(body)
    desk.work()   # journaled, not yet told: the process dies here
    later = again(bench)
    arrived = later.deliver(body)
    assert later.updater.in_hand is None
    later.tell()
    assert later.verdict_reports() == [("1.0.0", "rejected", "chunks-missing")]
    assert later.road.settled == [(arrived, False)]
    later = again(later.bench)
    later.tell()
    assert later.road.reports == []   # once it was confirmed it is not sent again
    later.bench.close()


def test_what_was_refused_for_the_instances_own_setting_is_judged_anew_after_a_restart(sim, bench) -> None:
    body, narrow = sim.publish(sim.release("1.0.0")), Policy(accept=VersionRange(">=2"))
    desk = Desk(bench, policy=narrow)
    for _ in range(2):
        desk.deliver(body, from_history=True)
        desk.work()
        desk.tell()
        assert desk.verdict_reports() == [("1.0.0", "rejected", "version-out-of-range")]
        desk = again(desk.bench, policy=narrow)
    later = again(desk.bench)   # the application was deployed with a wider range
    later.deliver(body, from_history=True)
    later.work()
    later.tell()
    assert later.verdict_reports() == [("1.0.0", "promoted", None)]
    later.bench.close()


def test_an_order_that_comes_again_while_it_is_worked_on_joins_the_work(sim, desk) -> None:
    body = sim.publish(sim.release("1.0.0"))
    desk.deliver(body)
    desk.until(State.LOADING)
    desk.verdicts.ledger.lost_connection()
    redelivered = desk.deliver(body)
    desk.work()
    desk.tell()
    assert desk.road.settled == [(redelivered, True)]
    assert desk.verdict_reports() == [("1.0.0", "promoted", None)]


def test_an_order_that_was_carried_out_is_accepted_again_and_nothing_is_done(sim, desk) -> None:
    body = sim.publish(sim.release("1.0.0"))
    desk.deliver(body)
    desk.work()
    copies = [desk.deliver(body) for _ in range(20)]
    assert desk.work() is None
    desk.tell()
    assert [arrived for arrived, accept in desk.road.settled if accept][-20:] == copies
    assert desk.bench.slot.active.generation == 1
    assert desk.verdicts.counts[Verdict.PROMOTED] == 1


def test_after_a_crash_between_pointer_and_acknowledgement_the_order_is_accepted_without_work(sim, bench, desk) -> None:
    body = sim.publish(sim.release("1.0.0"))
    desk.deliver(body)
    desk.work()
    later = again(bench)
    arrived = later.deliver(body)
    later.work()
    later.tell()
    assert later.road.settled == [(arrived, True)]
    assert later.bench.slot.active.generation == 1
    later.bench.close()


def test_a_better_order_takes_the_place_of_the_one_in_hand(sim, desk) -> None:
    one = desk.deliver(sim.publish(sim.release("1.0.0")))
    desk.until(State.PROBING)
    two = desk.deliver(sim.publish(sim.release("2.0.0")))
    desk.work()
    desk.tell()
    assert desk.bench.version == "2.0.0"
    assert sorted(desk.verdict_reports()) == [("1.0.0", "superseded", None), ("2.0.0", "promoted", None)]
    assert {(arrived, accept) for arrived, accept in desk.road.settled} == {(one, True), (two, True)}
    assert desk.bench.slot.active.generation == 1


def test_a_promotion_that_was_begun_ends_before_the_better_order_begins(sim, desk) -> None:
    desk.deliver(sim.publish(sim.release("1.0.0")))
    desk.until(State.PROMOTING)
    desk.deliver(sim.publish(sim.release("2.0.0")))
    desk.work()
    desk.tell()
    assert desk.bench.version == "2.0.0"
    assert desk.verdict_reports() == [("1.0.0", "promoted", None), ("2.0.0", "promoted", None)]


def test_a_lower_order_does_not_disturb_the_one_in_hand(sim, desk) -> None:
    desk.deliver(sim.publish(sim.release("2.0.0")))
    desk.until(State.LOADING)
    desk.deliver(sim.publish(sim.release("1.0.0")))
    desk.work()
    desk.tell()
    assert desk.verdict_reports() == [("2.0.0", "promoted", None), ("1.0.0", "rejected", "version-downgrade")]


def test_who_joins_late_promotes_the_best_and_says_nothing_of_what_was_ordered_before_it_came(sim, desk) -> None:
    bodies = [sim.publish(sim.release(version)) for version in ("1.0.0", "1.1.0", "1.2.0")]
    for body in bodies:
        desk.deliver(body, from_history=True)
    desk.work()
    desk.tell()
    assert desk.bench.version == "1.2.0"
    assert [verdict for _, verdict, _ in desk.verdict_reports()] == ["promoted"]
    assert desk.road.settled == []


def test_what_came_to_its_own_queue_is_told_when_it_is_passed_over(sim, desk) -> None:
    bodies = [sim.publish(sim.release(version)) for version in ("1.0.0", "1.1.0")]
    for body in bodies:
        desk.deliver(body)
    desk.work()
    desk.tell()
    assert sorted(verdict for _, verdict, _ in desk.verdict_reports()) == ["promoted", "superseded"]
    assert len(desk.road.settled) == 2


def test_who_joins_late_falls_back_past_bad_orders(sim, desk) -> None:
    desk.deliver(sim.publish(sim.release("1.0.0")), from_history=True)
    desk.deliver(sim.publish(sim.release("1.1.0")), from_history=True)
    desk.deliver(sim.publish(sim.release("1.2.0"), withheld(0)), from_history=True)
    desk.work()
    assert desk.bench.version == "1.1.0"


def test_garbage_in_the_history_is_counted_and_garbage_in_the_queue_is_refused(sim, desk) -> None:
    desk.deliver(b"noise", from_history=True)
    refused = desk.deliver(b"noise to me")
    desk.work()
    desk.tell()
    assert desk.updater.foreign == 1
    assert desk.road.settled == [(refused, False)]


def test_the_rules_are_asked_again_when_an_order_is_taken_up(sim, bench) -> None:
    desk = Desk(bench, now_ms=1000)
    desk.deliver(sim.publish(sim.release("2.0.0")))
    desk.deliver(sim.publish(sim.release("2.1.0-rc.1"), expires_ms=5000))
    desk.now_ms = 9000   # it expired while it waited
    desk.work()
    desk.tell()
    assert ("2.1.0-rc.1", "rejected", "expired") in desk.verdict_reports()
    assert desk.bench.version == "2.0.0"


def test_a_policy_of_the_application_is_kept(sim, bench) -> None:
    desk = Desk(bench, policy=Policy(VersionRange(">=2,<3")))
    desk.deliver(sim.publish(sim.release("3.0.0")))
    desk.work()
    desk.tell()
    assert desk.verdict_reports() == [("3.0.0", "rejected", "version-out-of-range")]


def test_a_fault_of_the_host_is_tried_again_after_a_pause_and_never_refused(sim, tmp_path, road, key_ring) -> None:
    fs = FaultFs(tmp_path / "faulty")
    with Bench(tmp_path / "faulty", road, key_ring, fs=fs) as bench:
        desk = Desk(bench, timing=Timing(retry_first_seconds=3600, retry_most_seconds=3600))
        desk.deliver(sim.publish(sim.release("1.0.0")))
        fs.fail_at(0, errno.ENOSPC, lasting=True)
        pause = desk.work()
        assert pause is not None
        assert 800 < pause <= 3600
        assert (desk.updater.state, desk.updater.in_hand) == (State.IDLE, None)
        assert "No space left on device" in str(desk.updater.fault)
        desk.tell()
        assert (desk.road.reports, desk.road.settled) == ([], [])


def test_a_shortage_of_memory_is_waited_for_and_a_lasting_one_is_refused(sim, tmp_path, road, key_ring) -> None:
    short = [Headroom(0, 1 << 40, "this host's memory")]
    with Bench(tmp_path / "short", road, key_ring, headroom=lambda: short, loading=Loading(shortage_seconds=3600)) as bench:
        desk = Desk(bench)
        arrived = desk.deliver(sim.publish(sim.pickled("1.0.0", [1, 2, 3])))
        while desk.updater.fault is None:
            desk.do_one()
        assert "leaves 0 MiB now" in desk.updater.fault
        desk.verdicts.tell(desk.road)
        assert desk.verdict_reports() == desk.road.settled == []
        short.clear()   # somebody else let go of it
        desk.work()
        desk.tell()
        assert (desk.verdict_reports(), desk.road.settled) == ([("1.0.0", "promoted", None)], [(arrived, True)])
    lasting = Loading(shortage_seconds=0)
    with Bench(tmp_path / "none", road, key_ring, headroom=lambda: [Headroom(0, 1 << 40, "no")], loading=lasting) as bench:
        desk = Desk(bench)
        desk.deliver(sim.publish(sim.pickled("1.1.0", [1, 2, 3])))
        desk.work()
        desk.tell()
        assert desk.verdict_reports() == [("1.1.0", "rejected", "too-large-for-memory")]


def test_a_fault_that_is_overcome_is_forgotten(sim, tmp_path, road, key_ring) -> None:
    fs = FaultFs(tmp_path / "faulty")
    with Bench(tmp_path / "faulty", road, key_ring, fs=fs) as bench:
        desk = Desk(bench)
        desk.deliver(sim.publish(sim.release("1.0.0")))
        for _ in range(5):
            fs.fail_at(3, errno.EIO, lasting=False)
            desk.do_one()
        fs.heal()
        desk.work()
        assert (desk.bench.version, desk.updater.fault) == ("1.0.0", None)


def test_a_fault_in_our_own_code_is_tried_again_too(sim, desk) -> None:
    desk.deliver(sim.publish(sim.release("1.0.0")))
    desk.updater.dispatch()
    _, then = desk.jobs.popleft()
    then(None, RuntimeError("a bug"))
    assert desk.updater.fault == "a bug"
    desk.work()
    assert desk.bench.version == "1.0.0"


def test_a_better_order_need_not_wait_for_the_pause_of_another(sim, tmp_path, road, key_ring) -> None:
    fs = FaultFs(tmp_path / "faulty")
    with Bench(tmp_path / "faulty", road, key_ring, fs=fs) as bench:
        desk = Desk(bench, timing=Timing(retry_first_seconds=3600, retry_most_seconds=3600))
        desk.deliver(sim.publish(sim.release("1.0.0")))
        fs.fail_at(0, errno.ENOSPC, lasting=True)
        assert desk.work() is not None
        fs.heal()
        desk.deliver(sim.publish(sim.release("2.0.0")))
        desk.work()
        assert bench.version == "2.0.0"


def test_what_was_published_right_after_a_rollback_is_taken_while_the_rollback_is_loaded(sim, desk) -> None:
    one = sim.release("1.0.0")
    for release in (one, sim.release("2.0.0")):
        desk.deliver(sim.publish(release))
        desk.work()
    desk.deliver(sim.order(one, kind=Kind.ROLLBACK))
    desk.until(State.LOADING)
    desk.deliver(sim.publish(sim.release("1.0.1")))
    desk.work()
    desk.tell()
    assert desk.bench.version == "1.0.1"
    assert str(desk.updater.standing.floor) == "1.0.1"
    assert ("1.0.0", "superseded", None) in desk.verdict_reports()


def test_the_pointer_says_from_where_on_the_history_matters(sim, desk) -> None:
    first, second, third = (sim.publish(sim.release(version)) for version in ("1.0.0", "1.1.0", "1.2.0"))
    desk.updater.on_order(ArrivedOrder(first, offset=0))
    desk.updater.on_order(ArrivedOrder(b"noise", offset=1))
    desk.updater.on_order(ArrivedOrder(second, offset=2))
    desk.work()
    kept = desk.bench.store.pointer().bookmark
    assert kept == KeptBookmark(Bookmark(2, order_id(second)), reader_of(desk.bench.ring))
    assert desk.updater.go_on_from() == kept.bookmark
    desk.deliver(third)   # the history is slower than the queue
    desk.work()
    assert (desk.bench.version, desk.bench.store.pointer().bookmark) == ("1.2.0", kept)
    desk.updater.on_order(ArrivedOrder(third, offset=3))
    assert desk.updater.go_on_from() == Bookmark(3, order_id(third))


def test_an_order_whose_judgement_fails_is_read_again(sim, desk) -> None:
    desk.updater.on_order(ArrivedOrder(sim.publish(sim.release("1.0.0")), offset=0))
    before = desk.updater.go_on_from()
    failing = ArrivedOrder(sim.publish(sim.release("1.1.0"), expires_ms=1), offset=1)
    desk.now_ms = None   # a clock with a bug
    with pytest.raises(TypeError):
        desk.updater.on_order(failing)
    assert desk.updater.go_on_from() == before


def test_stopping_drops_what_is_in_hand_and_nothing_begins_after_it(sim, desk) -> None:
    desk.deliver(sim.publish(sim.release("1.0.0")))
    desk.until(State.LOADING)
    trial = desk.updater._trial
    desk.updater.stop()
    desk.updater.stop()
    assert trial.dropped
    while desk.jobs:
        desk.do_one()
    assert desk.updater.dispatch() is None
    assert (desk.updater.state, desk.bench.version) == (State.STOPPED, None)


def test_a_promotion_that_ends_after_the_stop_is_remembered(sim, desk) -> None:
    desk.deliver(sim.publish(sim.release("1.0.0")))
    desk.until(State.PROMOTING)
    desk.updater.stop()
    desk.do_one()
    assert desk.updater.standing.sequence == 1
    assert desk.bench.version == "1.0.0"


def test_what_is_announced_is_received_before_its_order_and_promoted_by_it(sim, desk) -> None:
    release = sim.release("1.0.0")
    offset = sim.send(release)
    desk.hear(sim.announcement(release, chunks_offset=offset))
    desk.updater.dispatch()
    assert (desk.updater.state, desk.updater.version_ahead, desk.updater.in_hand) == (State.AHEAD, "1.0.0", None)
    desk.work()
    assert (desk.updater.state, desk.updater.version_ahead, desk.bench.version) == (State.IDLE, None, None)
    desk.deliver(sim.order(release, chunks_offset=offset))
    desk.work()
    desk.tell()
    assert desk.bench.version == "1.0.0"
    transfer = desk.road.reports[0].transfer
    assert transfer["ahead_bytes"] == transfer["total_bytes"]


def test_an_announcement_is_no_order_and_leaves_no_verdict(sim, desk) -> None:
    release = sim.release("1.0.0")
    body = sim.announcement(release, chunks_offset=sim.send(release))
    desk.hear(body)
    desk.work()
    desk.tell()
    assert (desk.bench.version, desk.road.reports, desk.road.settled) == (None, [], [])
    desk.deliver(body)   # as an order it is none
    desk.work()
    desk.tell()
    assert desk.verdict_reports() == [(None, "rejected", "malformed")]


def test_an_order_signed_as_an_announcement_is_not_carried_out(sim, desk, signing_key) -> None:
    release = sim.release("1.0.0")
    offset = sim.send(release)
    announced = AnnouncementMessage.from_bytes(sim.announcement(release, chunks_offset=offset))
    honest = OrderMessage.from_bytes(sim.order(release, chunks_offset=offset))
    for forged in (OrderMessage(announced.announcement, honest.manifest), OrderMessage(honest.order, announced.draft)):
        desk.deliver(forged.to_bytes())
        desk.work()
    desk.tell()
    assert {verdict for _, verdict, _ in desk.verdict_reports()} == {"rejected"}
    assert desk.bench.version is None


@pytest.mark.parametrize("spoil", ["garbage", "stranger's key", "other model", "out of range", "expired", "stale", "known version"])
def test_what_would_not_be_carried_out_is_not_received_ahead(sim, desk, bench, other_key, spoil: str) -> None:
    desk.deliver(sim.publish(sim.release("1.0.0")))
    desk.work()
    desk.now_ms = 10
    desk = Desk(bench, policy=Policy(accept=VersionRange("<2")), now_ms=10)
    release = sim.release("2.0.0" if spoil == "out of range" else "1.0.0" if spoil == "known version" else "1.5.0")
    fields = {"expired": {"expires_ms": 9}, "other model": {"model": "other"}}
    if spoil == "stale":
        desk.updater.standing = replace(desk.updater.standing, sequence=100)
    body = sim.announcement(release, key=other_key if spoil == "stranger's key" else None, **fields.get(spoil, {}))
    desk.hear(b"garbage" if spoil == "garbage" else body)
    desk.updater.dispatch()
    assert (desk.updater.state, desk.updater.version_ahead, list(desk.jobs)) == (State.IDLE, None, [])


def test_an_order_for_something_else_ends_the_receiving_ahead_at_once(sim, desk) -> None:
    announced, ordered = sim.release("1.1.0"), sim.release("1.0.0")
    body = sim.publish(ordered)
    desk.hear(sim.announcement(announced, chunks_offset=0))
    desk.updater.dispatch()
    ahead = desk.updater._announcements.running
    desk.deliver(body)
    desk.updater.dispatch()
    assert (desk.updater.state, ahead.dropped, ahead.ordered_release) == (State.RECEIVING, True, None)
    desk.work()
    assert (desk.bench.version, desk.updater.state) == ("1.0.0", State.IDLE)


def test_its_own_order_lets_the_receiving_ahead_end_by_itself(sim, desk) -> None:
    release = sim.release("1.0.0")
    offset = sim.send(release)
    desk.hear(sim.announcement(release, chunks_offset=offset))
    desk.updater.dispatch()
    ahead = desk.updater._announcements.running
    desk.deliver(sim.order(release, chunks_offset=offset))
    desk.updater.dispatch()
    assert (desk.updater.state, ahead.dropped, ahead.ordered_release) == (State.RECEIVING, False, release.id)
    desk.work()
    assert desk.bench.version == "1.0.0"


def test_a_later_announcement_takes_the_place_of_an_earlier_one(sim, desk) -> None:
    first, second = sim.release("1.0.0"), sim.release("1.1.0")
    desk.hear(sim.announcement(first, chunks_offset=sim.send(first)))
    desk.updater.dispatch()
    dropped = desk.updater._announcements.running
    desk.hear(sim.announcement(second, chunks_offset=sim.send(second)))
    desk.updater.dispatch()
    assert dropped.dropped
    desk.do_one()
    desk.updater.dispatch()
    assert (desk.updater.state, desk.updater.version_ahead) == (State.AHEAD, "1.1.0")
    desk.work()
    assert desk.updater.state is State.IDLE


def test_what_is_announced_while_an_order_is_carried_out_waits_for_its_end(sim, desk) -> None:
    first, second = sim.release("1.0.0"), sim.release("1.1.0")
    desk.deliver(sim.publish(first))
    desk.until(State.LOADING)
    desk.hear(sim.announcement(second, chunks_offset=sim.send(second)))
    desk.until(State.IDLE)
    desk.updater.dispatch()
    assert (desk.bench.version, desk.updater.version_ahead) == ("1.0.0", "1.1.0")


def test_a_disk_that_fails_while_receiving_ahead_changes_nothing(sim, tmp_path, road, key_ring) -> None:
    fs = FaultFs(tmp_path / "faulty")
    with Bench(tmp_path / "faulty", road, key_ring, fs=fs) as bench:
        desk, release = Desk(bench), sim.release("1.0.0")
        offset = sim.send(release)
        fs.fail_at(0, errno.ENOSPC, lasting=True)
        desk.hear(sim.announcement(release, chunks_offset=offset))
        desk.work()
        assert (desk.updater.state, desk.updater.fault) == (State.IDLE, None)
        fs.heal()
        desk.deliver(sim.order(release, chunks_offset=offset))
        desk.work()
        assert bench.version == "1.0.0"


def test_stopping_drops_what_is_received_ahead(sim, desk) -> None:
    release = sim.release("1.0.0")
    desk.hear(sim.announcement(release, chunks_offset=sim.send(release)))
    desk.updater.dispatch()
    ahead = desk.updater._announcements.running
    desk.updater.stop()
    assert ahead.dropped
    while desk.jobs:
        desk.do_one()
    assert desk.updater.state is State.STOPPED


def test_a_rollback_does_not_wait_for_what_was_announced_and_then_ordered(sim, desk) -> None:
    one, two = sim.release("1.0.0"), sim.release("2.0.0")
    desk.deliver(sim.publish(one))
    desk.work()
    offset = sim.send(two)
    desk.hear(sim.announcement(two, chunks_offset=offset))
    desk.updater.dispatch()
    ahead = desk.updater._announcements.running
    desk.deliver(sim.order(two, chunks_offset=offset))
    desk.updater.dispatch()
    desk.deliver(sim.order(one, kind=Kind.ROLLBACK))
    desk.updater.dispatch()
    assert (ahead.dropped, desk.updater._trial.dropped) == (True, True)
    desk.work()
    assert desk.bench.version == "1.0.0"


@pytest.mark.parametrize("alter", [honest, withheld(0)], ids=["promoted", "rejected"])
def test_what_was_ordered_is_not_received_once_more_when_its_announcement_comes_late_or_again(sim, desk, alter) -> None:
    release = sim.release("1.0.0")
    announcement, order = sim.announcement(release), sim.publish(release, alter)
    desk.deliver(order, from_history=True)   # the queue of an instance that was away holds the announcement
    desk.updater.dispatch()
    for _ in range(3):
        desk.hear(announcement)
        desk.work()
    assert (desk.updater.state, desk.bench.fs.names(desk.bench.store.root / "incoming")) == (State.IDLE, [])


def test_who_repeats_announcements_gets_nowhere(sim, desk) -> None:
    first, second = (sim.release(version, {"model.bin": version.encode() * 900}) for version in ("1.0.0", "1.1.0"))
    one, two = (sim.announcement(release, chunks_offset=0, issued_ms=number) for number, release in enumerate((first, second), 1))
    sim.send(second, withheld(1), ends=False)
    for body in (one, two):
        desk.hear(body)
        desk.updater.dispatch()
    desk.do_one()
    desk.updater.dispatch()
    ahead = desk.updater._announcements.running
    for body in (two, one, two, one):
        desk.hear(body)
        desk.updater.dispatch()
    assert (desk.updater._announcements.running, ahead.dropped, ahead.version) == (ahead, False, "1.1.0")


def test_a_rejection_does_not_wait_for_what_is_received_ahead_which_goes_on_afterwards(sim, desk) -> None:
    release = sim.release("1.0.0", {"model.bin": b"".join(n.to_bytes(4, "big") for n in range(1250))})
    offset = sim.send(release, withheld(4), ends=False)
    desk.hear(sim.announcement(release, chunks_offset=offset))
    desk.updater.dispatch()
    ahead = desk.updater._announcements.running
    refused = desk.deliver(b"junk")
    assert ahead.is_interrupted
    desk.do_one()   # comes back at once
    desk.do_one()
    desk.verdicts.tell(desk.road)
    assert desk.road.settled == [(refused, False)]
    sim.send(release)
    desk.work()
    assert sorted(ahead.digests) == [0, 1, 2, 3, 4]


def test_an_order_before_an_announcement_does_not_make_it_be_forgotten(sim, desk) -> None:
    one, two = sim.release("1.0.0"), sim.release("1.1.0")
    order = sim.publish(one)
    announcement = sim.announcement(two, chunks_offset=sim.send(two))
    desk.deliver(order)
    desk.hear(announcement)
    desk.work()
    assert desk.bench.version == "1.0.0"
    assert desk.bench.fs.names(desk.bench.store.root / "incoming") == [layout_of(two.manifest)]


def test_an_order_that_is_refused_ends_what_was_received_for_it(sim, desk) -> None:
    release = sim.release("1.0.0")
    offset = sim.send(release)
    desk.hear(sim.announcement(release, chunks_offset=offset))
    desk.updater.dispatch()
    ahead = desk.updater._announcements.running
    desk.now_ms = 100
    desk.deliver(sim.order(release, chunks_offset=offset, expires_ms=50))
    assert ahead.dropped
    desk.work()
    assert (desk.updater.state, desk.verdicts.last.reason) == (State.IDLE, "expired")


def test_a_rollback_that_comes_while_the_last_probe_passes_keeps_the_candidate_out_of_service(sim, desk) -> None:
    one, two = sim.release("1.0.0"), sim.release("2.0.0")
    desk.deliver(sim.publish(one))
    desk.work()
    desk.deliver(sim.publish(two))
    desk.until(State.PROBING)
    desk.updater.dispatch()
    job, then = desk.jobs.popleft()
    job()
    desk.deliver(sim.order(one, kind=Kind.ROLLBACK))   # before the worker's result is taken
    then(None, None)
    assert desk.updater.state is State.IDLE
    desk.work()
    desk.tell()
    assert desk.bench.version == "1.0.0"
    assert ("2.0.0", "promoted", None) not in desk.verdict_reports()


def test_what_can_never_fit_into_memory_is_not_received_ahead(sim, tmp_path, road, key_ring) -> None:
    small = Headroom(10, 10, "a limit of this test")
    with Bench(tmp_path / "small", road, key_ring, headroom=lambda: [small]) as bench:
        desk, release = Desk(bench), sim.joblibbed("1.0.0", list(range(2_000)))
        desk.hear(sim.announcement(release, chunks_offset=sim.send(release)))
        desk.work()
        assert (desk.updater.state, bench.fs.names(bench.store.root / "incoming")) == (State.IDLE, [])


# --------------------------------------------------------------------------- sent back by an operator


def refused_once(sim: PublisherSimulator, desk: Desk) -> bytes:
    """Publish a release of which a chunk is missing, and let it be refused."""
    body = sim.publish(sim.release("1.0.0"), withheld(0))
    desk.deliver(body)
    desk.work()
    desk.tell()
    assert desk.verdict_reports() == [("1.0.0", "rejected", "chunks-missing")]
    return body


def refused_by_a_wrong_clock(sim: PublisherSimulator, desk: Desk) -> bytes:
    """Publish a release and let it be refused as expired; then the clock is set."""
    body, desk.now_ms = sim.publish(sim.release("1.0.0"), expires_ms=5), 10
    desk.deliver(body)
    desk.work()
    desk.tell()
    assert desk.verdict_reports() == [("1.0.0", "rejected", "expired")]
    desk.now_ms = 0
    return body


def test_an_order_that_is_sent_back_is_judged_anew_by_all_the_checks(sim, desk) -> None:
    body = refused_by_a_wrong_clock(sim, desk)
    back = desk.deliver(body, replay="first")
    assert desk.updater.state is State.IDLE
    desk.work()
    desk.tell()
    assert desk.verdict_reports()[1:] == [("1.0.0", "promoted", None)]
    assert desk.road.settled[1:] == [(back, True)]
    assert desk.bench.journal.rejections()[order_id(body)].is_open   # and counts no more


def test_without_the_mark_it_is_refused_again_without_a_try(sim, desk) -> None:
    body = refused_by_a_wrong_clock(sim, desk)
    again_arrived = desk.deliver(body)
    desk.work()
    desk.tell()
    assert len(desk.verdict_reports()) == 1
    assert desk.road.settled[1:] == [(again_arrived, False)]


def test_what_is_sent_back_and_fails_again_is_reported_and_refused_again(sim, desk) -> None:
    body = refused_once(sim, desk)
    for time in ("first", "second"):
        back = desk.deliver(body, replay=time)
        desk.work()
        desk.tell()
        assert desk.road.settled[-1] == (back, False)
    assert desk.verdict_reports() == [("1.0.0", "rejected", "chunks-missing")] * 3
    kept = desk.bench.journal.rejections()[order_id(body)]
    assert (kept.reason, kept.replay, kept.replays, kept.is_open) == ("chunks-missing", "second", 2, False)


def test_the_same_time_is_answered_once_however_often_it_comes(sim, bench, desk) -> None:
    body = refused_once(sim, desk)
    desk.deliver(body, replay="first")
    desk.deliver(body, replay="first")   # sent back once more after a crash of the operator
    desk.work()
    desk.tell()
    assert len(desk.verdict_reports()) == 2
    assert [accepted for _, accepted in desk.road.settled] == [False] * 3
    later = again(bench)
    back = later.deliver(body, replay="first")   # the road gives it out again after a crash of the instance
    later.work()
    later.tell()
    assert (later.verdict_reports(), later.road.settled) == ([], [(back, False)])


def test_a_crash_while_it_is_judged_anew_goes_on_with_that_and_counts_it_once(sim, bench, desk) -> None:
    body = refused_by_a_wrong_clock(sim, desk)
    desk.deliver(body, replay="first")
    desk.do_one()   # it is journaled that it is judged anew; the process dies here
    later = again(bench)
    assert later.bench.journal.rejections()[order_id(body)].replays == 1
    back = later.deliver(body, replay="first")
    later.work()
    later.tell()
    assert later.verdict_reports() == [("1.0.0", "promoted", None)]
    assert later.road.settled == [(back, True)]


def test_an_older_order_that_is_sent_back_is_superseded_and_never_a_step_back(sim, desk) -> None:
    body = refused_by_a_wrong_clock(sim, desk)
    newer = sim.publish(sim.release("1.1.0"))
    desk.deliver(newer)
    desk.work()
    desk.tell()
    back = desk.deliver(body, replay="first")
    desk.work()
    desk.tell()
    assert desk.verdict_reports()[1:] == [("1.1.0", "promoted", None), ("1.0.0", "superseded", None)]
    assert desk.road.settled[-1] == (back, True)
    assert desk.bench.slot.active.version == "1.1.0"


def test_a_forged_mark_on_what_is_no_order_changes_nothing(desk) -> None:
    for time in (None, "first", "second"):
        arrived = desk.deliver(b"no order at all", replay=time)
        desk.work()
        desk.tell()
        assert desk.road.settled[-1] == (arrived, False)
    assert {reason for _, _, reason in desk.verdict_reports()} == {"malformed"}


def test_a_mark_on_what_serves_does_nothing(sim, desk) -> None:
    body = sim.publish(sim.release("1.0.0"))
    desk.deliver(body)
    desk.work()
    desk.tell()
    back = desk.deliver(body, replay="first")
    desk.work()
    desk.tell()
    assert desk.verdict_reports() == [("1.0.0", "promoted", None)]
    assert desk.road.settled[-1] == (back, True)


def test_one_order_is_judged_anew_only_so_often_also_across_restarts(sim, bench, desk) -> None:
    body = refused_once(sim, desk)
    for number in range(MOST_REPLAYS + 2):
        if number == MOST_REPLAYS // 2:
            desk = again(bench)
            bench = desk.bench
        desk.deliver(body, replay=f"forged {number}")
        desk.work()
        desk.tell()
    assert len(desk.verdict_reports()) == MOST_REPLAYS - MOST_REPLAYS // 2
    assert desk.bench.journal.rejections()[order_id(body)].replays == MOST_REPLAYS


# --------------------------------------------------------------------------- waves

BELOW, ABOVE = turn_of("a") - 1, turn_of("a")
"""Waves that just do not reach the instance, and just reach it."""


def test_before_its_turn_an_order_is_accepted_deferred_and_told(sim, desk) -> None:
    desk.deliver(sim.publish(sim.release("1.0.0")))
    desk.work()
    release = sim.release("1.1.0")
    arrived = desk.deliver(sim.publish(release, up_to=BELOW, rollout=2))
    desk.work()
    desk.tell()
    assert desk.bench.version == "1.0.0"
    assert desk.verdict_reports()[-1] == ("1.1.0", "deferred", None)
    assert desk.road.settled[-1] == (arrived, True)
    assert (desk.updater.standing.sequence, desk.verdicts.counts[Verdict.DEFERRED]) == (1, 1)
    desk.deliver(sim.order(release, up_to=ABOVE, rollout=2))
    desk.work()
    desk.tell()
    assert desk.bench.version == "1.1.0"
    assert desk.verdict_reports()[-1] == ("1.1.0", "promoted", None)


def test_a_later_wave_of_what_is_served_is_promoted_without_work(sim, desk) -> None:
    release = sim.release("1.0.0")
    desk.deliver(sim.publish(release, up_to=ABOVE, rollout=1))
    desk.work()
    arrived = desk.deliver(sim.order(release, rollout=1))
    assert desk.updater.state is State.IDLE
    desk.work()
    desk.tell()
    assert desk.bench.slot.active.generation == 1
    assert [verdict for _, verdict, _ in desk.verdict_reports()] == ["promoted", "promoted"]
    assert (desk.road.settled[-1], desk.verdicts.counts[Verdict.PROMOTED]) == ((arrived, True), 1)


def test_who_joins_late_passes_over_waves_that_are_not_for_it(sim, desk) -> None:
    desk.deliver(sim.publish(sim.release("1.0.0")), from_history=True)
    desk.deliver(sim.publish(sim.release("1.1.0"), up_to=BELOW, rollout=2), from_history=True)
    desk.work()
    desk.tell()
    assert (desk.bench.version, desk.updater.foreign) == ("1.0.0", 0)
    assert [verdict for _, verdict, _ in desk.verdict_reports()] == ["promoted"]


def test_a_wave_for_others_disturbs_nothing_that_is_in_hand(sim, desk) -> None:
    desk.deliver(sim.publish(sim.release("1.0.0")))
    desk.until(State.LOADING)
    desk.deliver(sim.publish(sim.release("1.1.0"), up_to=BELOW, rollout=2))
    desk.work()
    assert desk.bench.version == "1.0.0"
    assert len(desk.updater._agenda) == 0
