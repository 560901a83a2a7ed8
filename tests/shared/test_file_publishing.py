"""A publisher that is killed, or loses power, or finds the disk full, at any step: what it leaves is harmless and the next one goes on."""

import errno
import os
import random
import shutil
from pathlib import Path

import pytest
from tests.fakes.fault_disk import FaultDisk
from tests.fakes.fault_fs import Crash

from modelcast.publisher import Publisher
from modelcast.shared.compression import unpack_chunk
from modelcast.shared.depot.disk import temporary_name
from modelcast.shared.digest import digest
from modelcast.shared.errors import PublisherBusy, StorageFault
from modelcast.shared.file_road import FileRoad
from modelcast.shared.file_url import FileUrl
from modelcast.shared.fs import storage_fault
from modelcast.shared.manifest import MANIFEST_TYPE, Manifest
from modelcast.shared.order import ORDER_TYPE, OrderMessage
from modelcast.shared.road import Target
from modelcast.shared.signing import KeyRing, SigningKey

MODEL = {"weights": random.Random(1).randbytes(76_000), "text": "again and " * 20_000}   # chunks that are packed and such that are not
LATE = Target("fraud", "production", "late")


def depot_in(folder: Path) -> Path:
    root = folder / "depot"
    root.mkdir(mode=0o700)
    return root


def publish(root: Path, key: SigningKey, version: str, disk: FaultDisk | None = None):
    road = FileRoad(FileUrl(str(root)), disk=disk)
    return Publisher(road, signing_key=key, chunk_bytes=64 * 1024, busy_seconds=0).publish(MODEL | {"version": version}, model="fraud", version=version)


def whole_orders(root: Path, ring: KeyRing) -> list[str]:
    """Return the versions of all orders, after a look at every byte that each of them promises."""
    road = FileRoad(FileUrl(str(root)))
    joined = road.join(LATE)
    try:
        arrived = iter(lambda: joined.next_order(0), None)
        return [check(road, order.body, ring) for order in arrived]
    finally:
        joined.close()


def check(road: FileRoad, body: bytes, ring: KeyRing) -> str:
    """Look at every byte that an order promises; returns its version."""
    message = OrderMessage.from_bytes(body)
    ring.open(message.order, ORDER_TYPE, what="order")
    payload, _ = ring.open(message.manifest, MANIFEST_TYPE, what="manifest")
    manifest = Manifest.from_bytes(payload, what="manifest", formats=frozenset({1}), max_bytes=10**6)
    wanted = {chunk.digest for chunk in manifest.artifact.chunks()}
    source = road.chunks("fraud", None)
    try:
        while (chunk := source.receive(0)) is not None:
            content = unpack_chunk(chunk.body, max_bytes=10**6) if chunk.is_packed else chunk.body
            wanted.discard(digest(content or b""))
    finally:
        source.close()
    assert not wanted, f"{manifest.version} was ordered and {len(wanted)} of its chunks are not there"
    return manifest.version


def left_over(root: Path) -> list[Path]:
    return [path for path in root.rglob(".tmp-*") if path.parent != root]


def test_killed_at_any_step_the_next_publisher_goes_on_and_no_order_promises_what_is_not_there(
    memory: Path, signing_key: SigningKey, key_ring: KeyRing
) -> None:
    step, happened = 0, True
    while happened:
        case = memory / str(step)
        case.mkdir()
        root = depot_in(case)
        publish(root, signing_key, "1.0.0")
        disk = FaultDisk(root)
        disk.crash_at(step, killed=case / "killed", power_cut=case / "power-cut")
        try:
            publish(root, signing_key, "1.1.0", disk)
            happened = False
        except Crash:
            for left in ("killed", "power-cut"):
                what = f"{left} at step {step}, {disk.steps[-1]}"
                before = whole_orders(case / left, key_ring)
                assert before in (["1.0.0"], ["1.0.0", "1.1.0"]), what
                publication = publish(case / left, signing_key, "1.1.0")
                assert whole_orders(case / left, key_ring)[-1] == "1.1.0", what
                assert publication.sent_bytes <= publication.total_bytes, what
                assert left_over(case / left) == [], what
        disk.heal()
        shutil.rmtree(case)
        step += 1
    assert step > 40   # there were as many steps to be killed at


def test_a_full_disk_at_any_step_is_told_and_once_there_is_room_the_same_call_succeeds(
    tmp_path: Path, signing_key: SigningKey, key_ring: KeyRing
) -> None:
    root = depot_in(tmp_path)
    disk = FaultDisk(root)
    faults = step = 0
    while True:
        disk.fail_at(step, errno.ENOSPC if step % 2 else errno.EIO)
        try:
            publish(root, signing_key, f"1.{step}.0", disk)
        except StorageFault as fault:
            faults += 1
            assert fault.hint  # noqa: PT017 - the loop ends when there is none
            disk.heal()
            publish(root, signing_key, f"1.{step}.0", disk)
        else:
            break
        step += 7   # a sample of the steps: the version is another each time
    assert faults > 3
    assert whole_orders(root, key_ring)[-1] == f"1.{step}.0"


def test_a_session_that_fails_to_open_lets_the_next_one_in(tmp_path: Path) -> None:
    root = depot_in(tmp_path)
    disk = FaultDisk(root)
    step = 0
    while True:
        disk.fail_at(step, errno.EIO)
        try:
            FileRoad(FileUrl(str(root)), disk=disk).publish("fraud", "production").close()
            break
        except StorageFault:
            disk.heal()
            FileRoad(FileUrl(str(root))).publish("fraud", "production").close()
        (root / "models" / "fraud" / "index").unlink(missing_ok=True)
        step += 1
        if step > 60:
            raise AssertionError("it never opens")


def test_the_lock_is_held_while_it_is_open_and_told_with_the_model(tmp_path: Path) -> None:
    road = FileRoad(FileUrl(str(depot_in(tmp_path))))
    session = road.publish("fraud", "production")
    with pytest.raises(PublisherBusy, match="fraud") as caught:
        road.publish("fraud", "production")
    assert caught.value.hint
    session.close()


def test_who_orders_touches_nothing_of_what_is_being_sent(tmp_path: Path) -> None:
    root = depot_in(tmp_path)
    road, model = FileRoad(FileUrl(str(root))), root / "models" / "fraud"
    sender = road.publish("fraud", "production")
    sender.chunks.mark()
    sender.apart()
    half = model / "incoming" / temporary_name()
    half.write_bytes(b"half a chunk")
    with (model / "index").open("ab") as index:
        index.write(b"half an entry")
    before = (model / "index").read_bytes()
    road.publish("fraud", "production", sends=False).close()
    assert half.read_bytes() == b"half a chunk"
    assert (model / "index").read_bytes() == before
    sender.close()
    road.publish("fraud", "production").close()   # nobody sends any more: what is half is swept
    assert not half.exists()
    assert len((model / "index").read_bytes()) < len(before)


def test_a_bit_that_flips_in_a_chunk_is_mended_by_sending_it_again(tmp_path: Path, signing_key: SigningKey, key_ring: KeyRing) -> None:
    root = depot_in(tmp_path)
    publication = publish(root, signing_key, "1.0.0")
    largest = max((root / "models" / "fraud" / "chunks").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    content = bytearray(largest.read_bytes())
    content[100] ^= 1
    largest.write_bytes(content)
    with pytest.raises(AssertionError, match="1 of its chunks"):
        whole_orders(root, key_ring)
    road = FileRoad(FileUrl(str(root)))
    again = Publisher(road, signing_key=signing_key, chunk_bytes=64 * 1024).publish(
        MODEL | {"version": "1.0.0"}, model="fraud", version="1.0.0", resend=True
    )
    assert again.release == publication.release
    assert set(whole_orders(root, key_ring)) == {"1.0.0"}


def test_a_chunk_that_is_gone_or_cut_is_sent_again_by_the_next_release_that_needs_it(
    tmp_path: Path, signing_key: SigningKey, key_ring: KeyRing
) -> None:
    root = depot_in(tmp_path)
    publish(root, signing_key, "1.0.0")
    chunks = sorted((path for path in (root / "models/fraud/chunks").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    chunks[-1].unlink()
    publication = publish(root, signing_key, "1.1.0")
    assert publication.sent_bytes >= 64 * 1024
    assert whole_orders(root, key_ring) == ["1.0.0", "1.1.0"]
    chunks[-1].write_bytes(chunks[-1].read_bytes()[:-1])
    publication = Publisher(FileRoad(FileUrl(str(root))), signing_key=signing_key, chunk_bytes=64 * 1024).publish(
        MODEL | {"version": "1.1.0"}, model="fraud", version="1.1.0", channel="staging"   # nothing of it is new
    )
    assert 64 * 1024 <= publication.sent_bytes < publication.total_bytes
    assert whole_orders(root, key_ring) == ["1.0.0", "1.1.0"]


class BadSector(FaultDisk):
    """A disk that does not give what lies in one file."""

    bad: Path | None = None

    def _give(self, path: Path) -> None:
        if self.bad is not None and path == self.bad and path.stat().st_ino == self.sector:
            raise storage_fault("read", path, OSError(errno.EIO, os.strerror(errno.EIO)))

    def spoil(self, path: Path) -> None:
        self.bad, self.sector = path, path.stat().st_ino

    def read_if_there(self, path: Path, max_bytes: int) -> bytes | None:
        self._give(path)
        return super().read_if_there(path, max_bytes)

    def read_into(self, path: Path, buffer: memoryview) -> int | None:
        self._give(path)
        return super().read_into(path, buffer)


def test_a_chunk_that_the_disk_does_not_give_any_more_is_mended_by_sending_it_again(
    tmp_path: Path, signing_key: SigningKey, key_ring: KeyRing
) -> None:
    root = depot_in(tmp_path)
    publication = publish(root, signing_key, "1.0.0")
    disk = BadSector(root)
    road = FileRoad(FileUrl(str(root)), disk=disk)
    largest = max((root / "models/fraud/chunks").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    disk.spoil(largest)
    sink = road.publish("fraud", "production")
    held = list(sink.chunks.held_since(0))
    sink.close()
    assert bytes.fromhex(largest.name.removesuffix(".zst")) not in held
    assert held
    publisher = Publisher(road, signing_key=signing_key, chunk_bytes=64 * 1024)
    assert publisher.publish(MODEL | {"version": "1.0.0"}, model="fraud", version="1.0.0", resend=True).release == publication.release
    assert largest.stat().st_ino != disk.sector
    assert set(whole_orders(root, key_ring)) == {"1.0.0"}
