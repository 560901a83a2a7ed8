"""An instance on the file road that is killed, loses power or finds the disk full at any step loses no order and no dead letter."""

import errno
import shutil
import threading
from pathlib import Path

import pytest
from tests.fakes.fault_disk import FaultDisk
from tests.fakes.fault_fs import Crash

from modelcast.shared.errors import DepotUnusable, HostFault, StorageFault
from modelcast.shared.file_road import FileInstanceRoad, FileRoad
from modelcast.shared.file_url import FileUrl
from modelcast.shared.road import ArrivedOrder, Target

HERE = Target("fraud", "production", "a")
LONG = 20.0


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "depot"
    root.mkdir(mode=0o700)
    return root


def road_to(root: Path, disk: FaultDisk | None = None) -> FileRoad:
    return FileRoad(FileUrl(str(root)), disk=disk)


def order(root: Path, *bodies: bytes) -> None:
    session = road_to(root).publish("fraud", "production")
    for body in bodies:
        session.order("production", body)
    session.close()


def unsettled(joined: FileInstanceRoad) -> list[ArrivedOrder]:
    found = []
    while (arrived := joined.next_order(0)) is not None:
        if arrived.receipt is not None:
            found.append(arrived)
    return found


def live(root: Path, disk: FaultDisk | None = None) -> None:
    """Be an instance that accepts the first order, refuses the second, and reports."""
    joined = road_to(root, disk).join(HERE)
    try:
        for arrived in unsettled(joined):
            joined.settle(arrived, accept=arrived.body != b"bad")
            joined.report(b"a report of " + arrived.body)
    finally:
        joined.close()


def test_killed_at_any_step_an_order_is_settled_or_comes_again_and_a_refusal_is_kept_once(memory: Path) -> None:
    step, happened = 0, True
    while happened:
        case = memory / str(step)
        (case / "depot").mkdir(mode=0o700, parents=True)
        root = case / "depot"
        road_to(root).join(HERE).close()
        order(root, b"good", b"bad")
        disk = FaultDisk(root)
        disk.crash_at(step, killed=case / "killed", power_cut=case / "power-cut")
        try:
            live(root, disk)
            happened = False
        except Crash:
            for left in ("killed", "power-cut"):
                what = f"{left} at step {step}, {disk.steps[-1]}"
                road = road_to(case / left)
                joined = road.join(HERE)
                again = [arrived.body for arrived in unsettled(joined)]
                joined.close()
                assert b"bad" in again or [letter.body for letter in road.dead_letters(10)] == [b"bad"], what
                live(case / left)
                assert [letter.body for letter in road.dead_letters(10)] == [b"bad"], what
                joined = road.join(HERE)
                assert unsettled(joined) == [], what
                joined.close()
        disk.heal()
        shutil.rmtree(case)
        step += 1
    assert step > 25


def test_a_full_disk_at_any_step_is_the_hosts_fault_and_afterwards_it_goes_on(root: Path) -> None:
    road_to(root).join(HERE).close()
    order(root, b"good", b"bad")
    disk = FaultDisk(root)
    step = 0
    while True:
        disk.fail_at(step, errno.ENOSPC)
        try:
            live(root, disk)
            break
        except StorageFault:
            step += 1
    disk.heal()
    live(root, disk)
    assert step > 0
    assert [letter.body for letter in road_to(root).dead_letters(10)] == [b"bad"]


def test_a_torn_record_of_what_is_settled_brings_the_orders_again_and_loses_none(root: Path) -> None:
    road_to(root).join(HERE).close()
    order(root, b"one", b"two")
    (record,) = root.rglob("settled")
    record.write_bytes(record.read_bytes()[:-1])
    joined = road_to(root).join(HERE)
    assert [arrived.body for arrived in unsettled(joined)] == [b"one", b"two"]
    joined.close()


def test_an_order_that_was_pruned_before_it_was_seen_is_passed_over(root: Path) -> None:
    road_to(root).join(HERE).close()
    order(root, b"one", b"two", b"three")
    joined = road_to(root).join(HERE)
    (root / "models/fraud/channels/production/orders/000000000002").unlink()
    arrived = unsettled(joined)
    assert [each.body for each in arrived] == [b"one", b"three"]
    for each in arrived:
        joined.settle(each, accept=True)
    joined.close()
    again = road_to(root).join(HERE)
    assert unsettled(again) == []
    again.close()


def test_a_directory_that_is_unmounted_or_made_anew_under_an_instance_is_told(root: Path) -> None:
    joined = road_to(root).join(HERE)
    shutil.rmtree(root)
    with pytest.raises(DepotUnusable, match="gone"):
        joined.next_order(0)
    joined.close()
    with pytest.raises(DepotUnusable, match="There is no directory"):
        road_to(root).join(HERE)
    root.mkdir(mode=0o700)
    joined = road_to(root).join(HERE)
    shutil.rmtree(root / "models")
    order(root, b"one")
    with pytest.raises(DepotUnusable):
        joined.next_order(0)
    joined.close()
    joined = road_to(root).join(HERE)
    arrived = joined.next_order(0)
    assert arrived is not None
    assert arrived.body == b"one"
    joined.close()


def test_an_instance_that_fails_to_join_can_join_again(root: Path) -> None:
    disk = FaultDisk(root)
    step = 0
    while True:
        disk.fail_at(step, errno.EIO)
        try:
            road_to(root, disk).join(HERE).close()
            break
        except StorageFault:
            step += 1
    assert step > 0


def test_a_name_that_is_used_is_told_with_what_to_do(root: Path) -> None:
    joined = road_to(root).join(HERE)
    with pytest.raises(HostFault, match="connected already") as caught:
        road_to(root).join(HERE)
    assert caught.value.hint
    joined.close()


def test_waking_before_the_wait_and_after_the_end_does_no_harm(root: Path) -> None:
    joined = road_to(root).join(HERE)
    joined.wake()
    assert joined.next_order(LONG) is None
    joined.close()
    joined.wake()


def test_reports_of_the_last_minutes_are_read_without_what_is_older(root: Path) -> None:
    joined = road_to(root).join(HERE)
    assert joined.report(b"one")()
    source = road_to(root).reports(since_minutes=5)
    assert (source.receive(0), source.receive(0), source.is_caught_up) == (b"one", None, True)
    heard: list[bytes | None] = []
    waiting = threading.Thread(target=lambda: heard.append(source.receive(LONG)))
    waiting.start()
    joined.report(b"two")
    waiting.join(LONG)
    assert heard == [b"two"]
    source.close()
    joined.close()
