"""A store on the file system of a shared directory borrows its blocks, where files can share them; elsewhere it copies, as ever."""

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.bench import Bench
from tests.fakes.publisher_sim import PublisherSimulator

from modelcast.consumer.ahead import Ahead
from modelcast.consumer.sharing import NAME, Borrowing, LendingRoad
from modelcast.consumer.trust import open_announcement
from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.errors import DepotUnusable, StorageFault
from modelcast.shared.file_road import FileRoad
from modelcast.shared.file_url import FileUrl
from modelcast.shared.fs import Fs, Sharing
from modelcast.shared.http_road import HttpRoad

BLOCK = 4096
MIB = 1024 * 1024
CONTENT = b"".join(n.to_bytes(4, "big") for n in range(4 * BLOCK))   # 64 KiB, sixteen blocks
TAIL = CONTENT + b"and some more"


@pytest.fixture(scope="module")
def sharing_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system whose files can share blocks."""
    if os.geteuid() != 0 or shutil.which("mkfs.xfs") is None:
        pytest.skip("needs root and mkfs.xfs")
    image, place = tmp_path_factory.mktemp("image") / "xfs", tmp_path_factory.mktemp("mounted")
    with image.open("wb") as file:
        file.truncate(400 * MIB)
    for command in (["mkfs.xfs", "-q", "-m", "reflink=1", str(image)], ["mount", "-o", "loop", str(image), str(place)]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"{command[0]}: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


class Scene:
    """A shared directory with a release, and a store."""

    def __init__(self, folder: Path, store: Path, signing_key, key_ring, files: dict[str, bytes], **options: Any) -> None:
        (folder / "depot").mkdir(mode=0o700)
        self.road = FileRoad(FileUrl(str(folder / "depot")))
        self.sim = PublisherSimulator(self.road, signing_key)
        self.release = self.sim.release("1.0.0", files, chunk_bytes=BLOCK * 4)
        self.body = self.sim.publish(self.release)
        self.bench = Bench(store, self.road, key_ring, borrowing=Borrowing(self.road, "fraud"), **options).open()

    def carry_out(self) -> dict[str, int | str]:
        """Receive, verify, load and promote; returns the transfer."""
        trial = self.bench.trial(self.body)
        for step in self.bench.steps():
            step(trial)
        folder = self.bench.store.folder(self.release.id)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == dict(self.release.files)
        return trial.transfer


@pytest.fixture
def scene(sharing_disk: Path, request: pytest.FixtureRequest, signing_key, key_ring) -> Iterator[Scene]:
    folder = sharing_disk / f"{request.node.name[:40].replace('[', '-').replace(']', '')}"
    folder.mkdir()
    made = Scene(folder, folder / "store", signing_key, key_ring, {"a.bin": CONTENT, "b.bin": TAIL})
    yield made
    made.bench.close()
    shutil.rmtree(folder)


def used_blocks(place: Path) -> int:
    os.sync()
    facts = os.statvfs(place)
    return facts.f_blocks - facts.f_bfree


def test_no_byte_of_a_release_is_copied(scene: Scene) -> None:
    transfer = scene.carry_out()
    assert (transfer["fetched_bytes"], transfer["wire_bytes"], transfer["source"]) == (0, 0, NAME)
    assert transfer["reused_bytes"] == transfer["total_bytes"] == len(CONTENT) + len(TAIL)


def test_a_large_release_takes_no_room(sharing_disk: Path, signing_key, key_ring) -> None:
    folder = sharing_disk / "large"
    folder.mkdir()
    made = Scene(folder, folder / "store", signing_key, key_ring, {"a.bin": os.urandom(64 * MIB)})
    before = used_blocks(sharing_disk)
    made.carry_out()
    assert (used_blocks(sharing_disk) - before) * os.statvfs(sharing_disk).f_frsize < 4 * MIB
    made.bench.close()
    shutil.rmtree(folder)


def test_blocks_that_changed_since_are_not_taken_for_the_chunk(scene: Scene) -> None:
    (damaged, *_others) = sorted((scene.road.depot.root).rglob("*" + _digest_of(scene, 1)))
    damaged.chmod(0o600)
    with damaged.open("r+b") as file:
        file.write(b"!")
    trial = scene.bench.trial(scene.body)
    with pytest.raises(Exception, match="do not match"):
        scene.bench.workshop.receive(trial)
    assert trial.transfer["damaged_chunks"] > 0


def _digest_of(scene: Scene, index: int) -> str:
    return list(scene.release.manifest.artifact.chunks())[index].digest.hex()


def test_what_does_not_begin_where_a_block_does_is_copied(sharing_disk: Path, signing_key, key_ring) -> None:
    folder = sharing_disk / "odd"
    folder.mkdir()
    made = Scene(folder, folder / "store", signing_key, key_ring, {"a.bin": CONTENT})
    odd = made.sim.release("2.0.0", {"a.bin": CONTENT[::-1]}, chunk_bytes=BLOCK + 1)
    made.release, made.body = odd, made.sim.publish(odd)
    transfer = made.carry_out()
    assert (transfer["fetched_bytes"], transfer["reused_bytes"]) == (len(CONTENT), 0)
    made.bench.close()
    shutil.rmtree(folder)


def test_on_another_file_system_everything_is_copied(tmp_path: Path, memory: Path, signing_key, key_ring) -> None:
    made = Scene(tmp_path, memory / "store", signing_key, key_ring, {"a.bin": CONTENT, "b.bin": TAIL})
    assert not Borrowing(made.road, "fraud").is_possible(made.bench.store)
    transfer = made.carry_out()
    assert (transfer["fetched_bytes"], transfer["reused_bytes"], transfer["source"]) == (len(CONTENT) + len(TAIL), 0, "file")
    made.bench.close()


def test_a_directory_that_is_away_lends_nothing_and_says_nothing(tmp_path: Path, signing_key, key_ring) -> None:
    class Away(FileRoad):
        def open_chunk(self, model: str, digest: str) -> int | None:
            raise DepotUnusable("It is not mounted.")

        open_index = open_chunk   # type: ignore[assignment]

    made = Scene(tmp_path, tmp_path / "store", signing_key, key_ring, {"a.bin": CONTENT})
    away = Borrowing(Away(FileUrl(str(tmp_path / "depot"))), "fraud")
    made.bench.workshop._intake._borrowing = away
    assert made.carry_out()["fetched_bytes"] == len(CONTENT)
    made.bench.close()


@pytest.mark.parametrize("can", [True, False])
def test_nothing_is_received_ahead_where_blocks_are_shared(tmp_path: Path, signing_key, key_ring, can: bool) -> None:
    class Able(Fs):
        def share_at(self, descriptor: int, source: int, size: int, offset: int, path: Path) -> Sharing:
            return Sharing.DONE if can else Sharing.IMPOSSIBLE

    made = Scene(tmp_path, tmp_path / "store", signing_key, key_ring, {"a.bin": CONTENT}, fs=Able())
    release = made.sim.release("2.0.0", {"a.bin": CONTENT[::-1]}, chunk_bytes=BLOCK)
    body = made.sim.announcement(release, chunks_offset=made.sim.send(release))
    ahead = Ahead(open_announcement(body, key_ring, model="fraud", channel="production"))
    made.bench.workshop.receive_ahead(ahead)
    assert (ahead.fetched_bytes > 0) is not can
    assert not (made.bench.store.root / "share-probe").exists()
    made.bench.close()


def test_a_release_of_packed_chunks_is_received_ahead_the_next_time(tmp_path: Path, signing_key, key_ring) -> None:
    class Able(Fs):
        def share_at(self, descriptor: int, source: int, size: int, offset: int, path: Path) -> Sharing:
            return Sharing.DONE if size == 0 else Sharing.NOT_THESE   # the file system can, these chunks cannot

    made = Scene(tmp_path, tmp_path / "store", signing_key, key_ring, {"a.bin": CONTENT}, fs=Able())
    borrowing = made.bench.workshop._intake._borrowing
    assert borrowing is not None
    assert borrowing.is_possible(made.bench.store)
    made.carry_out()
    assert not borrowing.is_possible(made.bench.store)
    made.bench.close()


@pytest.mark.parametrize(
    ("number", "becomes"),
    [(errno.EAGAIN, Sharing.NOT_THESE), (errno.EINVAL, Sharing.NOT_THESE), (errno.ETXTBSY, Sharing.NOT_THESE), (524, Sharing.NOT_THESE),
     (errno.EXDEV, Sharing.IMPOSSIBLE), (errno.EOPNOTSUPP, Sharing.IMPOSSIBLE), (errno.ENOSPC, None), (errno.EIO, None)],
)
def test_only_a_disk_that_is_full_or_broken_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, becomes: Sharing | None) -> None:
    def refuse(*_arguments: object) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr("fcntl.ioctl", refuse)
    if becomes is None:
        with pytest.raises(StorageFault):
            Fs().share_at(0, 0, 1, 0, tmp_path)
    else:
        assert Fs().share_at(0, 0, 1, 0, tmp_path) is becomes


def test_only_a_directory_of_this_host_lends() -> None:
    assert issubclass(FileRoad, LendingRoad)
    assert not issubclass(AmqpRoad, LendingRoad)
    assert not issubclass(HttpRoad, LendingRoad)
