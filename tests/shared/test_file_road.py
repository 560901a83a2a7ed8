"""An instance on the file road that is killed, loses power or finds the disk full at any step loses no order and no dead letter."""

import errno
import fcntl
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.fakes.fault_disk import FaultDisk
from tests.fakes.fault_fs import Crash

from modelcast.shared import file_road as module
from modelcast.shared.depot.depot import Depot
from modelcast.shared.depot.disk import Disk
from modelcast.shared.depot.settled import Settled
from modelcast.shared.digest import digest
from modelcast.shared.errors import DepotUnusable, HostFault, StorageFault
from modelcast.shared.file_publishing import FilePublisherRoad
from modelcast.shared.file_road import FileInstanceRoad, FileRoad
from modelcast.shared.file_url import FileUrl
from modelcast.shared.file_watch import Watch
from modelcast.shared.fs import storage_fault
from modelcast.shared.limits import DEFAULT_LIMITS
from modelcast.shared.road import ArrivedOrder, Bookmark, Target

HERE = Target("fraud", "production", "a")
LONG = 20.0


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "depot"
    root.mkdir(mode=0o700)
    Depot(root).enter()
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
        Depot(root).enter()
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


ORDERS = "models/fraud/channels/production/orders"


def given_out(joined: FileInstanceRoad) -> tuple[list[bytes], list[bytes]]:
    """Return what comes of the history, and what comes to be settled."""
    found: tuple[list[bytes], list[bytes]] = ([], [])
    while (arrived := joined.next_order(0)) is not None:
        found[arrived.receipt is not None].append(arrived.body)
        joined.settle(arrived, accept=True)
    return found


@pytest.mark.parametrize("is_new", [True, False])
@pytest.mark.parametrize("shape", ["link", "folder", "pipe", "error"])
def test_an_order_that_cannot_be_read_is_passed_over_and_comes_when_it_can(
    root: Path, shape: str, is_new: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LIST_SECONDS", 0.0)
    if is_new:
        road_to(root).join(HERE).close()
    order(root, b"one", b"two", b"three")
    path, aside, disk = root / ORDERS / "000000000002", root / "two", UnreadableFile(root / ORDERS / "000000000002")
    if shape != "error":
        path.rename(aside)
    if shape == "link":
        path.symlink_to(aside)
    elif shape == "folder":
        path.mkdir()
    elif shape == "pipe":
        os.mkfifo(path)
    if shape != "error":
        disk.heal()
    joined = FileRoad(FileUrl(str(root)), disk=disk).join(HERE, bookmark=Bookmark(2, "ab" * 32))
    assert given_out(joined) == ([b"one", b"three"], [b"one", b"three"] if is_new else [])
    if shape == "error":
        disk.heal()
    else:
        path.rmdir() if shape == "folder" else path.unlink()
        aside.rename(path)
    assert given_out(joined) == (([], [b"two"]) if is_new else ([b"two"], []))
    joined.close()


class UnreadableFile(Disk):
    """A disk that does not give one file."""

    def __init__(self, path: Path) -> None:
        self._bad: Path | None = path

    def heal(self) -> None:
        self._bad = None

    def read_if_there(self, path: Path, max_bytes: int) -> bytes | None:
        if path == self._bad:
            raise storage_fault("read", path, OSError(errno.EIO, os.strerror(errno.EIO)))
        return super().read_if_there(path, max_bytes)


def test_orders_beyond_a_gap_are_heard_by_who_is_connected(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order(root, b"zero")
    joined = road_to(root).join(HERE)
    assert given_out(joined) == ([b"zero"], [])
    order(root, b"one", b"two", b"three")
    (root / ORDERS / "000000000002").unlink()
    assert given_out(joined) == ([], [b"two", b"three"])
    joined.close()
    monkeypatch.setattr(module, "LIST_SECONDS", 0.0)   # and if the time of the folder did not tell
    joined = road_to(root).join(HERE)
    assert given_out(joined)[1] == []
    before = (root / ORDERS).stat()
    order(root, b"four", b"five")
    (root / ORDERS / "000000000005").unlink()
    os.utime(root / ORDERS, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert given_out(joined) == ([], [b"five"])
    joined.close()


def test_orders_come_to_who_can_read_though_the_disk_takes_no_report_and_reports_follow(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WRITE_AGAIN_SECONDS", 0.0)
    road_to(root).join(HERE).close()
    order(root, b"one")
    disk = FaultDisk(root)
    joined = road_to(root, disk).join(HERE)
    disk.fail_at(0, errno.ENOSPC)
    first, second = joined.report(b"a report"), joined.report(b"another")
    assert (first(), second()) == (False, False)
    assert [arrived.body for arrived in unsettled(joined)] == [b"one"]
    disk.heal()
    joined.next_order(0)
    assert (first(), second()) == (True, True)
    joined.close()
    source = road_to(root).reports(since_minutes=None)
    assert [source.receive(0), source.receive(0)] == [b"a report", b"another"]
    source.close()


def test_orders_that_were_pruned_hold_up_no_record_of_what_is_settled(root: Path) -> None:
    road_to(root).join(HERE).close()
    order(root, b"one", b"two", b"three")
    joined = road_to(root).join(HERE)
    for arrived in unsettled(joined)[1:]:
        joined.settle(arrived, accept=True)
    joined.close()
    (root / ORDERS / "000000000001").unlink()
    road_to(root).join(HERE).close()
    order(root, b"four")
    joined = road_to(root).join(HERE)
    (last,) = unsettled(joined)
    joined.settle(last, accept=True)
    (record,) = root.rglob("settled")
    assert Settled.from_bytes(record.read_bytes()) == Settled(4)
    joined.close()


def test_who_is_polled_looks_as_often_as_the_address_says_however_short_the_waits(root: Path) -> None:
    joined = FileRoad(FileUrl(str(root), poll_seconds=3600.0)).join(HERE)
    assert joined.next_order(0.001) is None   # the first look
    order(root, b"one")
    assert [joined.next_order(0.001) for _ in range(3)] == [None] * 3
    arrived = joined.next_order(0)   # who does not wait looks
    assert arrived is not None
    assert arrived.body == b"one"
    joined.close()


def test_who_reads_reports_and_is_polled_looks_as_often_as_the_address_says(root: Path) -> None:
    joined = road_to(root).join(HERE)
    joined.report(b"one")
    joined.report(b"two")
    source = FileRoad(FileUrl(str(root), poll_seconds=3600.0)).reports(since_minutes=None)
    assert [source.receive(0.001) for _ in range(2)] == [b"one", b"two"]
    assert [source.receive(0.001) for _ in range(2)] == [None, None]
    joined.report(b"three")
    assert [source.receive(0.001), source.receive(0)] == [None, b"three"]
    source.close()
    joined.close()


class BadCloses:
    """Closing and unlocking fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._close, self._flock = os.close, fcntl.flock
        monkeypatch.setattr(os, "close", self.close)
        monkeypatch.setattr(fcntl, "flock", self.flock)

    def close(self, descriptor: int) -> None:
        self._close(descriptor)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def flock(self, descriptor: int, operation: int) -> None:
        if operation == fcntl.LOCK_UN:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._flock(descriptor, operation)


def test_leaving_never_raises_and_lets_go_of_everything_whatever_closing_says(root: Path) -> None:
    joined = road_to(root).join(HERE)
    joined.report(b"a report")
    with pytest.MonkeyPatch.context() as patch:
        BadCloses(patch)
        joined.close()
    again = road_to(root).join(HERE)
    again.close()


def test_an_error_at_the_order_of_a_bookmark_leaves_no_lock_behind(root: Path) -> None:
    order(root, b"one")
    path = root / ORDERS / "000000000001"

    class Interrupted(Disk):
        def read_if_there(self, wanted: Path, max_bytes: int) -> bytes | None:
            if wanted == path:
                raise KeyboardInterrupt
            return super().read_if_there(wanted, max_bytes)

    with pytest.raises(KeyboardInterrupt):
        FileRoad(FileUrl(str(root)), disk=Interrupted()).join(HERE, bookmark=Bookmark(1, "ab" * 32))
    unreadable = FileRoad(FileUrl(str(root)), disk=UnreadableFile(path)).join(HERE, bookmark=Bookmark(1, "ab" * 32))
    unreadable.close()
    road_to(root).join(HERE).close()


def test_a_directory_that_is_unmounted_or_made_anew_under_an_instance_is_told(root: Path) -> None:
    joined = road_to(root).join(HERE)
    shutil.rmtree(root)
    with pytest.raises(DepotUnusable, match="gone"):
        joined.next_order(0)
    joined.close()
    with pytest.raises(DepotUnusable, match="There is no directory"):
        road_to(root).join(HERE)
    root.mkdir(mode=0o700)
    for enter in (
        lambda: road_to(root).join(HERE), lambda: road_to(root).chunks("fraud", None), lambda: road_to(root).reports(since_minutes=None),
        lambda: list(road_to(root).dead_letters(1)), lambda: road_to(root).retire("fraud", "production", []),
    ):
        with pytest.raises(DepotUnusable, match="no depot yet") as caught:   # it may be the folder that nothing is mounted on
            enter()
        assert "mounted" in (caught.value.hint or "")
    assert list(root.iterdir()) == []
    order(root, b"zero")
    joined = road_to(root).join(HERE)
    assert given_out(joined) == ([b"zero"], [])
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
    order(root, b"one")
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
