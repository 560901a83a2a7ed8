"""An instance on the file road that is killed, loses power or finds the disk full at any step loses no order and no dead letter."""

import errno
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.fakes.fault_disk import FaultDisk
from tests.fakes.fault_fs import Crash

from modelcast.shared.depot.disk import Disk
from modelcast.shared.digest import digest
from modelcast.shared.errors import DepotUnusable, HostFault, StorageFault
from modelcast.shared.file_publishing import FilePublisherRoad
from modelcast.shared.file_road import FileInstanceRoad, FileRoad
from modelcast.shared.file_url import FileUrl
from modelcast.shared.file_watch import Watch
from modelcast.shared.fs import storage_fault
from modelcast.shared.limits import DEFAULT_LIMITS
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


def test_an_order_that_is_too_large_is_given_out_to_be_refused_and_holds_up_none_behind_it(root: Path) -> None:
    road_to(root).join(HERE).close()
    order(root, b"one", b"x" * (DEFAULT_LIMITS.order_bytes + 1000), b"three")
    joined = road_to(root).join(HERE)
    arrived = unsettled(joined)
    assert [len(each.body) for each in arrived] == [3, DEFAULT_LIMITS.order_bytes + 1, 5]
    joined.settle(arrived[1], accept=False)
    joined.close()
    assert [len(letter.body) for letter in road_to(root).dead_letters(10)] == [DEFAULT_LIMITS.order_bytes + 1]


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


class Unreadable(Disk):
    """A disk whose chunks cannot be read."""

    def read_into(self, path: Path, buffer: memoryview) -> int | None:
        raise storage_fault("read", path, OSError(errno.EIO, os.strerror(errno.EIO)))


def test_a_chunk_that_the_disk_does_not_give_is_the_hosts_fault_and_no_gap(root: Path) -> None:
    session = road_to(root).publish("fraud", "production")
    send(session, b"chunk")
    session.close()
    source = FileRoad(FileUrl(str(root)), disk=Unreadable()).chunks("fraud", 1)
    with pytest.raises(StorageFault, match="Input/output error"):
        source.receive(0)
    source.close()


def test_a_chunk_that_is_gone_is_passed_over_and_the_end_is_told(root: Path) -> None:
    session = road_to(root).publish("fraud", "production")
    send(session, b"chunk")
    session.close()
    next(path for path in root.rglob("chunks/*/*")).unlink()
    source = road_to(root).chunks("fraud", 1)
    arrived = source.receive(0)
    assert arrived is not None
    assert arrived.ends == digest(b"release").hex()
    source.close()


# --------------------------------------------------------------------------- several users


def as_user(user: int, act: Callable[[], str]) -> str:
    """Return what a function says, or its error, in a process of another user of one group."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(GROUP)
            os.setuid(user)
            os.umask(0o007)
            said = act()
        except BaseException as error:  # noqa: BLE001 - told to the parent
            said = f"{type(error).__name__}: {error}"
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read().decode()
    os.waitpid(child, 0)
    return said


TRAINER, SERVER, STRANGER, GROUP = 52_001, 52_002, 52_003, 52_000


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")
def test_two_users_of_a_group_share_a_directory_because_its_address_says_so(memory: Path) -> None:
    memory.chmod(0o755)
    root = memory / "depot"
    root.mkdir()
    os.chown(root, TRAINER, GROUP)
    root.chmod(0o2770)
    road = FileRoad(FileUrl(str(root), allow_shared_writes=True))
    assert Watch([root]).close() is None   # loads what only root may read here

    def publish() -> str:
        session = road.publish("fraud", "production")
        send(session, b"chunk")
        session.order("production", b"order")
        session.close()
        return "published"

    def serve() -> str:
        joined = road.join(HERE)
        arrived = unsettled(joined)
        for each in arrived:
            joined.settle(each, accept=False)
        joined.report(b"report")
        source = road.chunks("fraud", None)
        mark, chunk = source.receive(0), source.receive(0)
        assert mark is not None
        assert not mark.is_chunk
        source.close()
        joined.close()
        return f"{len(arrived)} orders, {bytes(chunk.body).decode() if chunk else None}"

    assert "Other users may write" in as_user(TRAINER, lambda: str(road_to(root).publish("fraud", "production")))
    assert as_user(TRAINER, publish) == "published"
    assert as_user(SERVER, serve) == "0 orders, chunk"
    assert as_user(TRAINER, publish) == "published"
    assert as_user(SERVER, serve) == "1 orders, chunk"
    assert as_user(TRAINER, lambda: str(len(list(road.dead_letters(10))))) == "1"
    assert not [path for path in root.rglob("*") if path.stat().st_mode & 0o007]


def send(session: FilePublisherRoad, body: bytes) -> None:
    session.chunks.mark()
    session.chunks.send(body, version="1.0.0", index=0, count=1, digest=digest(body).hex())
    session.chunks.finish(digest(b"release").hex())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_user_who_may_not_enter_or_write_is_told_where(memory: Path) -> None:
    memory.chmod(0o755)
    root = memory / "depot"
    root.mkdir(mode=0o700)
    road_to(root).join(HERE).close()
    (memory / "closed").mkdir(mode=0o700)
    ways = (
        lambda: road_to(memory / "closed" / "depot").join(HERE), lambda: road_to(root).join(HERE),
        lambda: road_to(root).publish("fraud", "production"), lambda: road_to(root).reports(since_minutes=None),
        lambda: list(road_to(root).dead_letters(1)), lambda: road_to(root).chunks("fraud", None),
    )
    for mode in (0o700, 0o755):
        root.chmod(mode)
        for way in ways:
            said = as_user(STRANGER, lambda way=way: f"it got in: {way()}")
            assert said.startswith(("StorageFault: ", "DepotUnusable: ")), said
