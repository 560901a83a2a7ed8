"""A release that passed every check and fails at its work: the application takes it out, the one before serves, and everybody hears of it."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.fakes.stage import LONG, Doubler, Stage

from modelcast.consumer import Loading, ModelConsumer, Probation, store, vetoes
from modelcast.consumer.complaints import Complaint, Complaints
from modelcast.consumer.store import Store
from modelcast.consumer.succession import pointer_without
from modelcast.shared.errors import MisuseError, NotReady, StorageFault
from modelcast.shared.fs import Fs
from modelcast.shared.order import Kind
from modelcast.shared.report import Verdict


@pytest.fixture
def stage(tmp_path: Path, signing_key) -> Iterator[Stage]:
    stage = Stage(tmp_path, signing_key)
    yield stage
    stage.stop()


class Heavy:
    """A model whose weights are mapped."""

    def __init__(self, factor: float) -> None:
        self.weights = np.full(200_000, factor)

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        return inputs * self.weights[0]


def served(stage: Stage, consumer: ModelConsumer, *models: object) -> list[bytes]:
    """Promote versions 1.0.0, 1.1.0, …; returns their orders."""
    orders = []
    for number, model in enumerate(models):
        orders.append(stage.sim.publish(stage.sim.pickled(f"1.{number}.0", model)))
        stage.serves(consumer, f"1.{number}.0")
    return orders


def refusals(stage: Stage) -> list[tuple[str | None, str | None, str | None]]:
    return [(report.version, report.reason, report.message) for report in stage.reports() if report.verdict is Verdict.REJECTED]


@pytest.mark.parametrize(("model", "rule", "is_at_once"), [
    (Heavy, "mapped", True), (Doubler, "mapped", False), (Doubler, "always", True), (Heavy, "never", False),
])
def test_the_model_before_serves_again_and_the_report_says_why(stage: Stage, model: type, rule: str, is_at_once: bool) -> None:
    consumer = stage.joined(loading=Loading(keep_previous=rule))
    served(stage, consumer, model(2.0), model(3.0))
    assert consumer.report_bad("answers drift") is is_at_once
    stage.eventually(lambda: consumer.active.version == "1.0.0" and refusals(stage))
    assert consumer.active.model.predict(np.array([1.0])) == [2.0]
    assert refusals(stage) == [("1.1.0", "reported-bad", "answers drift")]
    assert consumer.status().last_verdict.reason == "reported-bad"
    stage.sim.publish(stage.sim.pickled("1.2.0", model(4.0)))
    stage.serves(consumer, "1.2.0")


def test_what_was_reported_stays_out_after_a_restart_and_when_its_order_comes_again(stage: Stage) -> None:
    consumer = stage.joined()
    _, order = served(stage, consumer, Heavy(2.0), Heavy(3.0))
    consumer.report_bad("bad")
    stage.eventually(lambda: refusals(stage))
    stage.eventually(lambda: consumer.status().unsent_reports == 0)
    consumer.stop(LONG)
    again = stage.joined()
    assert again.wait_until_ready(LONG).version == "1.0.0"
    assert (again.active.sequence, again.active.order) == (0, None)   # it came back: no order put it there
    stage.sim.announce(order)
    stage.eventually(stage.is_settled)
    assert again.active.version == "1.0.0"


def test_a_new_order_for_it_is_tried_again(stage: Stage) -> None:
    consumer = stage.joined()
    served(stage, consumer, Heavy(2.0))
    release = stage.sim.pickled("1.1.0", Heavy(3.0))
    stage.sim.publish(release)
    stage.serves(consumer, "1.1.0")
    consumer.report_bad("bad")
    stage.eventually(lambda: refusals(stage))
    stage.sim.announce(stage.sim.order(release))
    stage.serves(consumer, "1.1.0")


def test_a_report_about_what_is_served_no_more_changes_nothing(stage: Stage) -> None:
    consumer = stage.joined()
    served(stage, consumer, Heavy(2.0), Heavy(3.0))
    assert consumer.report_bad("late", version="1.0.0")
    assert consumer.active.version == "1.1.0"
    assert refusals(stage) == []


@pytest.mark.parametrize("model", [Heavy, Doubler], ids=["mapped", "not mapped"])
def test_many_requests_that_fail_at_once_take_it_out_once(stage: Stage, model: type) -> None:
    consumer = stage.joined(loading=Loading(keep_previous="mapped"))
    served(stage, consumer, model(1.0), model(2.0), model(3.0))
    gate = threading.Barrier(8)

    def fails() -> None:
        gate.wait(LONG)
        consumer.report_bad("boom", version="1.2.0")

    threads = [threading.Thread(target=fails) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    stage.eventually(lambda: consumer.active.version == "1.1.0" and refusals(stage))
    stage.sim.publish(stage.sim.pickled("1.3.0", model(4.0)))
    stage.serves(consumer, "1.3.0")
    assert refusals(stage) == [("1.2.0", "reported-bad", "boom")]


def test_where_there_is_nothing_to_go_back_to_it_stays_and_that_is_told(stage: Stage) -> None:
    consumer = stage.joined()
    with pytest.raises(NotReady):
        consumer.report_bad("nothing there")
    served(stage, consumer, Heavy(2.0))
    assert not consumer.report_bad("bad")
    stage.eventually(lambda: refusals(stage))
    assert consumer.active.version == "1.0.0"
    (report,) = [report for report in stage.reports() if report.verdict is Verdict.REJECTED]
    assert "no release before it" in report.facts["fault"]


class FullDisk:
    """A disk on which no pointer can be written until there is room."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_full = False
        write = Fs.write_whole

        def write_whole(fs: Fs, path: Path, content: bytes) -> None:
            if self.is_full and path.name.startswith("current"):
                raise StorageFault(f"Cannot write {path}: No space left on device.")
            write(fs, path, content)

        monkeypatch.setattr(Fs, "write_whole", write_whole)


@pytest.mark.parametrize("rule", ["always", "never"])
def test_what_a_full_disk_could_not_keep_is_written_when_there_is_room(stage: Stage, monkeypatch: pytest.MonkeyPatch, rule: str) -> None:
    disk, consumer = FullDisk(monkeypatch), stage.joined(loading=Loading(keep_previous=rule))
    served(stage, consumer, Heavy(2.0), Heavy(3.0))
    disk.is_full = True
    assert consumer.report_bad("drifts") is (rule == "always")
    stage.eventually_without_broker(lambda: "No space left" in str(consumer.status().fault))
    stage.eventually(lambda: len(refusals(stage)) == 1)   # told without waiting for the disk
    assert "No space left" in str(next(report for report in stage.reports() if report.verdict is Verdict.REJECTED).facts["fault"])
    disk.is_full = False
    stage.eventually_without_broker(lambda: consumer.status().fault is None and consumer.active.version == "1.0.0")
    stage.eventually(lambda: refusals(stage) == [("1.1.0", "reported-bad", "drifts")] * 2)
    assert consumer.status().rejected == 1   # told twice, counted once
    assert next(report for report in reversed(stage.reports()) if report.verdict is Verdict.REJECTED).facts["fault"] is None
    consumer.stop(LONG)
    assert stage.joined().wait_until_ready(LONG).version == "1.0.0"


def test_what_a_new_order_brought_back_meanwhile_stays(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    disk, consumer = FullDisk(monkeypatch), stage.joined(loading=Loading(keep_previous="always"))
    first, release = stage.sim.pickled("1.0.0", Heavy(2.0)), stage.sim.pickled("1.1.0", Heavy(3.0))
    for each in (first, release):
        stage.sim.publish(each)
        stage.serves(consumer, each.version)
    disk.is_full = True
    monkeypatch.setattr(vetoes, "pause_seconds", lambda _timing, _count: 1.0)
    consumer.report_bad("drifts")
    stage.eventually_without_broker(lambda: "No space left" in str(consumer.status().fault))
    disk.is_full = False
    stage.sim.announce(stage.sim.order(release))
    stage.serves(consumer, "1.1.0")
    role = consumer._running.role   # type: ignore[union-attr]
    stage.eventually_without_broker(lambda: not role.vetoes._unwritten and not role.vetoes._open)   # type: ignore[union-attr]
    assert consumer.active.version == "1.1.0"
    assert consumer.status().fault is None


# --------------------------------------------------------------------------- several processes


def together(stage: Stage, **options: object) -> list[ModelConsumer]:
    """A receiver and two followers that serve 1.1.0."""
    consumers = [stage.joined(**options), stage.started(**options), stage.started(**options)]
    for version, factor in (("1.0.0", 2.0), ("1.1.0", 3.0)):
        stage.sim.publish(stage.sim.pickled(version, Heavy(factor)))
        all_serve(stage, version, consumers)
    return consumers


def all_serve(stage: Stage, version: str, consumers: list[ModelConsumer]) -> None:
    stage.eventually_without_broker(lambda: all(consumer.status().version == version for consumer in consumers))


def left_in(consumer: ModelConsumer) -> list[str]:
    return Fs().names(consumer._blueprint.store_root / "fraud/production/complaints")


@pytest.mark.parametrize("rule", ["mapped", "never"])
def test_what_a_follower_reports_is_left_by_all_and_told_once(stage: Stage, rule: str) -> None:
    consumers = together(stage, loading=Loading(keep_previous=rule))
    bad = consumers[1].active
    assert consumers[1].report_bad("answers drift") is (rule == "mapped")
    if rule == "mapped":
        assert consumers[1].active.version == "1.0.0"   # at once
    consumers[2].report_bad("me, too", version="1.1.0")
    all_serve(stage, "1.0.0", consumers)
    stage.eventually_without_broker(lambda: refusals(stage) and not left_in(consumers[0]))
    ((version, reason, message),) = refusals(stage)
    assert (version, reason) == ("1.1.0", "reported-bad")
    assert message in {"answers drift", "me, too"}
    (report,) = [report for report in stage.reports() if report.verdict is Verdict.REJECTED]
    assert report.order in {promoted.order for promoted in stage.reports() if promoted.verdict is Verdict.PROMOTED}
    pointer = consumers[0]._running.store.pointer()   # type: ignore[union-attr]
    assert (bad.release in pointer.bad, pointer.previous) == (True, None)   # type: ignore[union-attr]
    stage.sim.publish(stage.sim.pickled("1.2.0", Heavy(4.0)))
    all_serve(stage, "1.2.0", consumers)


def test_a_probation_that_ends_badly_in_a_follower_takes_the_release_out_for_all(stage: Stage) -> None:
    consumers = together(stage, probation=Probation(min_requests=2))
    for _ in range(2):
        consumers[2].record(ok=False)
    all_serve(stage, "1.0.0", consumers)
    stage.eventually_without_broker(lambda: refusals(stage))
    assert "2 of 2 requests failed on probation" in str(refusals(stage)[0][2])


def test_an_heir_takes_out_what_its_dead_receiver_was_told_and_never_loads_it(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vetoes, "LOOK_SECONDS", 1e9)   # a receiver that dies before it looks
    consumers = together(stage, loading=Loading(keep_previous="mapped"))
    consumers[1].report_bad("drifts")
    stage.eventually_without_broker(lambda: len(left_in(consumers[0])) == 1)
    consumers[0].stop(LONG)
    monkeypatch.undo()
    all_serve(stage, "1.0.0", consumers[1:])
    stage.eventually_without_broker(lambda: refusals(stage) == [("1.1.0", "reported-bad", "drifts")] and not left_in(consumers[0]))
    heir = next(consumer for consumer in consumers[1:] if consumer.status().role == "receiver")
    if heir is consumers[1]:
        assert heir.active.generation == 3   # 1.0.0, 1.1.0, 1.0.0 and no more


def test_a_complaint_about_what_another_order_put_into_service_changes_nothing(stage: Stage) -> None:
    consumers = together(stage)
    active = consumers[0].active
    complaints = Complaints(consumers[0]._blueprint.store_root / "fraud/production/complaints", Fs())
    complaints.leave(Complaint(active.release, active.sequence + 1, "of another order"))
    complaints.leave(Complaint("ab" * 32, active.sequence, "of another release"))
    stage.eventually_without_broker(lambda: not left_in(consumers[0]))
    assert (consumers[0].active, refusals(stage)) == (active, [])


def test_a_crash_between_pointer_and_report_costs_no_report(stage: Stage) -> None:
    consumers = together(stage)
    bad, first = consumers[0].active, consumers[0]
    consumers[2].stop(LONG)
    consumers[1].stop(LONG)
    first.stop(LONG)
    root = first._blueprint.store_root / "fraud/production"
    store = Store(root, Fs())
    store.point(pointer_without(store.pointer(), bad.release))   # type: ignore[arg-type]
    Complaints(root / "complaints", Fs()).leave(Complaint(bad.release, bad.sequence, "drifts"))
    first.start()
    stage.eventually_without_broker(lambda: refusals(stage) == [("1.1.0", "reported-bad", "drifts")] and not left_in(first))
    assert first.active.version == "1.0.0"


def test_a_follower_that_may_not_write_the_store_says_so_and_keeps_its_model(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    consumers = together(stage, loading=Loading(keep_previous="mapped"))
    monkeypatch.setattr(Fs, "may_write", lambda _self, _path: False)
    with pytest.raises(StorageFault, match=r"may not write .*cannot hear that a release is bad"):
        consumers[1].report_bad("bad")
    assert [consumer.active.version for consumer in consumers] == ["1.1.0"] * 3


def test_a_complaint_that_a_full_disk_refused_is_dealt_with_by_the_process_itself_when_it_receives(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumers = together(stage, loading=Loading(keep_previous="mapped"))
    consumers[2].stop(LONG)

    def full(*_: object) -> None:
        raise StorageFault("No space left.")

    monkeypatch.setattr(Complaints, "leave", full)
    consumers[1].report_bad("drifts")
    assert consumers[1].active.version == "1.0.0"
    stage.eventually_without_broker(lambda: "cannot be told" in str(consumers[1].status().fault))
    consumers[0].stop(LONG)
    stage.eventually_without_broker(lambda: refusals(stage) == [("1.1.0", "reported-bad", "drifts")])
    assert consumers[1].active.version == "1.0.0"


@pytest.mark.parametrize(("rule", "is_kept"), [("mapped", True), ("always", True), ("never", False)])
def test_a_rollback_to_what_is_at_hand_loads_nothing(stage: Stage, rule: str, is_kept: bool) -> None:
    consumer = stage.joined(loading=Loading(keep_previous=rule))
    first, second = stage.sim.pickled("1.0.0", Heavy(2.0)), stage.sim.pickled("1.1.0", Heavy(3.0))
    stage.sim.publish(first)
    stage.serves(consumer, "1.0.0")
    before = consumer.active.model
    stage.sim.publish(second)
    stage.serves(consumer, "1.1.0")
    began = time.monotonic()
    stage.sim.announce(stage.sim.order(first, kind=Kind.ROLLBACK))
    stage.serves(consumer, "1.0.0")
    print(f"rolled back after {(time.monotonic() - began) * 1000:.0f} ms")
    assert (consumer.active.model is before) is is_kept


def test_a_rule_that_is_none_is_refused() -> None:
    with pytest.raises(MisuseError, match="no rule for the model before"):
        Loading(keep_previous="perhaps")


# --------------------------------------------------------------------------- what was read is not read again


def two_releases(stage: Stage) -> tuple[ModelConsumer, object, Path]:
    """Promote two releases; returns the consumer, the first of them, and the file of its buffers."""
    consumer = stage.joined()
    first = stage.sim.pickled("1.0.0", Heavy(2.0))
    for release in (first, stage.sim.pickled("1.1.0", Heavy(3.0))):
        stage.sim.publish(release)
        stage.serves(consumer, release.version)
    return consumer, first, consumer._blueprint.store_root / "fraud/production/releases" / first.id / "files/model.buffers"


def rolled_back(stage: Stage, release: object) -> None:
    stage.sim.announce(stage.sim.order(release, kind=Kind.ROLLBACK))   # type: ignore[arg-type]


def test_a_rollback_reads_what_is_unpickled_and_no_buffers_that_nobody_touched(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    consumer, first, _ = two_releases(stage)
    read: list[str] = []
    compare = store._compare_content
    monkeypatch.setattr(store, "_compare_content", lambda file, entry, buffer: read.append(entry.path) or compare(file, entry, buffer))
    rolled_back(stage, first)
    stage.serves(consumer, "1.0.0")
    assert "model.pickle" in read
    assert "model.buffers" not in read
    assert consumer.active.model.predict(np.array([1.0])) == [2.0]


@pytest.mark.parametrize("keeps_time", [False, True])
def test_buffers_that_somebody_touched_are_read_and_never_served(stage: Stage, keeps_time: bool) -> None:
    consumer, first, buffers = two_releases(stage)
    facts = buffers.stat()
    with buffers.open("r+b") as file:
        file.seek(5000)
        byte = file.read(1)
        file.seek(5000)
        file.write(bytes([byte[0] ^ 1]))
    if keeps_time:
        os.utime(buffers, ns=(facts.st_atime_ns, facts.st_mtime_ns))   # the inode's own time cannot be set
    rolled_back(stage, first)
    stage.serves(consumer, "1.0.0")   # found, fetched again
    assert consumer.active.model.weights.min() == consumer.active.model.weights.max() == 2.0
