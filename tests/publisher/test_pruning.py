"""Pruning takes what nobody runs, and never more: not from a channel, not from an instance, not from a release that shares chunks."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.fakes import specimens
from tests.fakes.fault_disk import FaultDisk
from tests.fakes.fault_fs import Crash
from tests.fakes.life import Life
from tests.fakes.stage import LONG

from modelcast.publisher.catalog import Catalog, Ordered
from modelcast.publisher.pruning import Pruned, prune
from modelcast.shared.depot.depot import Depot
from modelcast.shared.errors import DepotUnusable, MisuseError, NotFound, PublisherBusy, VersionConflict
from modelcast.shared.file_road import FileRoad
from modelcast.shared.file_url import FileUrl
from modelcast.shared.order import ORDER_TYPE, Kind, OrderMessage
from modelcast.shared.road import Target


def noise(seed: str, size: int = 64 * 1024) -> np.ndarray:
    """Return so many bytes, which lie in the artifact as they are."""
    return np.frombuffer(random.Random(seed).randbytes(size), np.uint8).copy()


COMMON = noise("common")

@pytest.fixture
def life(tmp_path: Path, signing_key) -> Iterator[Life]:
    (tmp_path / "depot").mkdir(mode=0o700)
    Depot(tmp_path / "depot").enter()
    life = Life(FileRoad(FileUrl(str(tmp_path / "depot"))), tmp_path, signing_key)
    yield life
    life.stop()


def publish(life: Life, *versions: str, channel: str = "production") -> None:
    for version in versions:
        life.publisher.publish({"own": noise(version), "common": COMMON}, model="fraud", version=version, channel=channel)


def pruned(life: Life, keep: int = 1, *, tries: bool = False) -> Pruned:
    assert isinstance(life.road, FileRoad)
    (result,) = prune(life.road.depot, [], keep, tries=tries)
    return result


def gone(result: Pruned) -> list[str]:
    return [fate.version for fate in result.fates if not fate.reasons]


def files(life: Life) -> set[Path]:
    assert isinstance(life.road, FileRoad)
    return {path for path in life.road.depot.root.rglob("*") if path.is_file()}


def test_old_releases_go_with_their_orders_and_what_they_share_with_others_stays(life: Life) -> None:
    publish(life, "1.0.0", "1.1.0", "1.2.0", "1.3.0")
    before = files(life)
    assert gone(pruned(life, tries=True)) == ["1.0.0", "1.1.0"]
    assert files(life) == before
    result = pruned(life)
    assert gone(result) == ["1.0.0", "1.1.0"]
    assert 2 * 64 * 1024 <= result.freed_bytes < 3 * 64 * 1024
    assert len([path for path in before - files(life) if path.parent.name == "orders"]) == 2
    assert gone(pruned(life)) == []   # once is enough
    late = life.started()
    assert np.array_equal(late.wait_until_ready(LONG).model["common"], COMMON)
    assert (late.active.version, life.letters()) == ("1.3.0", [])


def roll_back(life: Life, signing_key, version: str) -> None:
    session = life.road.publish("fraud", "production")
    catalog = Catalog(session.register.read())
    known, sequence = catalog.release(version), catalog.next_sequence("production", 0)
    assert known is not None
    order = specimens.order(
        release=bytes.fromhex(known.release), kind=Kind.ROLLBACK, sequence=sequence, chunks_offset=0, oldest_offset=0
    )
    session.register.append(Ordered("production", sequence, known.release, 0, "0" * 64).to_bytes())
    session.order("production", OrderMessage(signing_key.sign(ORDER_TYPE, order.to_bytes()), known.record.manifest).to_bytes())
    session.close()


def test_a_release_that_was_rolled_back_does_not_come_back_when_what_it_went_back_to_is_old(life: Life, signing_key) -> None:
    publish(life, "1.0.0", "2.0.0", "3.0.0")
    roll_back(life, signing_key, "1.0.0")
    publish(life, "1.1.0", "1.2.0")
    result = pruned(life, 3)
    kept = {fate.version: fate.reasons for fate in result.fates}
    assert (gone(result), kept["1.0.0"]) == (["2.0.0"], ("rolled back to in production",))
    late = life.started()
    assert late.wait_until_ready(LONG).version == "1.2.0"


def test_with_an_earlier_rollback_goes_what_it_left(life: Life, signing_key) -> None:
    publish(life, "1.0.0", "3.0.0")
    roll_back(life, signing_key, "1.0.0")
    publish(life, "1.5.0", "1.6.0")
    roll_back(life, signing_key, "1.5.0")
    publish(life, "1.5.1", "1.5.2", "1.5.3")
    publish(life, "3.0.0", channel="staging")   # its chunks stay, and its order in production must not be better than 1.6.0
    assert gone(pruned(life)) == ["1.0.0", "1.6.0", "1.5.1"]
    assert isinstance(life.road, FileRoad)
    left = life.road.depot.orders("fraud", "production").numbers()
    assert left == [4, 6, 8, 9]


def test_what_is_current_is_what_instances_would_run_and_not_what_was_ordered_last(life: Life) -> None:
    publish(life, "2.0.0", "1.9.0", "1.9.1", "1.9.2")
    result = pruned(life)
    kept = {fate.version: fate.reasons for fate in result.fates if fate.reasons}
    assert kept == {"2.0.0": ("current in production",), "1.9.2": ("one of the newest 1", "previous in production")}
    assert life.started().wait_until_ready(LONG).version == "2.0.0"


@pytest.mark.parametrize("folder", ["register", "channels/production/orders"])
@pytest.mark.parametrize("content", [b"", b"damaged", None])
def test_nothing_is_removed_while_a_record_or_an_order_cannot_be_read(life: Life, folder: str, content: bytes | None) -> None:
    publish(life, "1.0.0", "1.1.0", "1.2.0", "1.3.0")
    assert isinstance(life.road, FileRoad)
    victim = sorted((life.road.depot.root / "models/fraud" / folder).iterdir())[-2]
    whole = victim.read_bytes()
    victim.write_bytes(whole[:-1] if content is None else content)
    before = files(life)
    for tries in (True, False):
        with pytest.raises(DepotUnusable, match="nothing was removed") as caught:
            pruned(life, tries=tries)
        assert caught.value.facts["path"] == str(victim)
    assert files(life) == before
    victim.write_bytes(whole)
    assert gone(pruned(life)) == ["1.0.0", "1.1.0"]


def test_a_release_that_is_ordered_and_in_no_register_keeps_its_chunks(life: Life) -> None:
    publish(life, "1.0.0", "1.1.0", "1.2.0", "1.3.0")
    assert isinstance(life.road, FileRoad)
    for record in (life.road.depot.root / "models/fraud/register").iterdir():
        if b"1.3.0" in record.read_bytes():
            record.unlink()
    pruned(life)
    assert life.started().wait_until_ready(LONG).version == "1.3.0"


def test_nothing_is_removed_when_an_instance_runs_what_nobody_knows(life: Life) -> None:
    publish(life, "1.0.0", "1.1.0", "1.2.0")
    session = life.road.join(Target("fraud", "production", "stranger"))
    session.report(specimens.report(instance="stranger", active_release="ab" * 32).to_bytes())
    session.close()
    before = files(life)
    with pytest.raises(DepotUnusable, match="abab"):
        pruned(life)
    assert files(life) == before


def test_a_dry_run_changes_not_even_a_torn_index(life: Life) -> None:
    publish(life, "1.0.0")
    assert isinstance(life.road, FileRoad)
    index = life.road.depot.root / "models/fraud/index"
    with index.open("ab") as file:
        file.write(b"torn")
    before = index.read_bytes()
    pruned(life, tries=True)
    assert index.read_bytes() == before


def test_a_model_behind_a_link_is_not_pruned(life: Life, tmp_path: Path) -> None:
    publish(life, "1.0.0", "1.1.0", "1.2.0")
    assert isinstance(life.road, FileRoad)
    for name in ("chunks", "register", "channels", "channels/production/orders"):
        folder = life.road.depot.root / "models/fraud" / name
        folder.rename(tmp_path / "aside")
        folder.symlink_to(tmp_path / "aside")
        before = sorted((tmp_path / "aside").rglob("*"))
        with pytest.raises(DepotUnusable, match="symbolic link"):
            pruned(life)
        assert sorted((tmp_path / "aside").rglob("*")) == before
        folder.unlink()
        (tmp_path / "aside").rename(folder)


def test_what_an_instance_or_another_channel_still_runs_stays(life: Life) -> None:
    publish(life, "1.0.0")
    held = life.joined(accept="<1.1")
    life.serves(held, "1.0.0")
    publish(life, "1.1.0", channel="staging")
    publish(life, "1.2.0", "1.3.0", "1.4.0")
    life.eventually(lambda: len(life.letters()) == 3)
    result = pruned(life)
    assert gone(result) == ["1.2.0"]
    kept = {fate.version: fate.reasons for fate in result.fates}
    assert kept["1.0.0"] == ("run by a in production",)
    assert kept["1.1.0"] == ("current in staging",)
    assert kept["1.3.0"] == ("previous in production",)
    assert kept["1.4.0"] == ("one of the newest 1", "current in production")
    held.stop(LONG)
    shutil.rmtree(life._folder / "a")
    again = life.started(accept="<1.1")   # its store is lost and the release is still there
    assert again.wait_until_ready(LONG).version == "1.0.0"


def test_a_version_that_was_pruned_keeps_its_meaning_and_can_be_published_again(life: Life) -> None:
    publish(life, "1.0.0", "1.1.0", "1.2.0", "1.3.0")
    pruned(life)
    with pytest.raises(VersionConflict):
        life.publisher.publish({"other": COMMON[1:].copy()}, model="fraud", version="1.0.0")
    publish(life, "1.0.0", channel="staging")
    consumer = life.started(channel="staging")
    assert consumer.wait_until_ready(LONG).version == "1.0.0"
    assert "1.0.0" not in gone(pruned(life))


def test_the_next_release_does_not_count_on_chunks_that_are_gone(life: Life) -> None:
    publish(life, "1.0.0", "1.1.0", "1.2.0", "1.3.0")
    pruned(life)
    life.publisher.publish({"own": noise("1.0.0"), "common": COMMON}, model="fraud", version="1.4.0")
    assert life.started().wait_until_ready(LONG).version == "1.4.0"


def test_what_an_interrupted_publisher_sent_is_kept_for_it(life: Life) -> None:
    from tests.fakes.cut_road import CutRoad

    from modelcast.shared.errors import BrokerUnreachable

    publish(life, "1.0.0")
    with pytest.raises(BrokerUnreachable):
        life.another_publisher(CutRoad(life.road, sends=5)).publish(
            {"weights": noise("large", 640 * 1024)}, model="fraud", version="1.1.0"
        )
    pruned(life)
    publication = life.publisher.publish({"weights": noise("large", 640 * 1024)}, model="fraud", version="1.1.0")
    assert publication.sent_bytes < publication.total_bytes * 0.6


def test_nothing_is_pruned_while_somebody_publishes_and_what_cannot_be_is_said(life: Life) -> None:
    publish(life, "1.0.0")
    assert isinstance(life.road, FileRoad)
    session = life.road.publish("fraud", "production")
    with pytest.raises(PublisherBusy):
        pruned(life)
    life.publisher.publish({"own": noise("1.0.0")}, model="churn", version="1.0.0")
    with pytest.raises(PublisherBusy, match="dealt with: churn"):
        prune(life.road.depot, [], 1)
    session.close()
    with pytest.raises(MisuseError, match="0 releases"):
        pruned(life, 0)
    with pytest.raises(NotFound, match="spam") as caught:
        prune(life.road.depot, ["spam"], 1)
    assert "fraud" in (caught.value.hint or "")


def test_killed_at_any_step_too_much_is_left_and_never_too_little(memory: Path, tmp_path: Path, signing_key) -> None:
    whole = memory / "whole"
    whole.mkdir(mode=0o700)
    publish(Life(FileRoad(FileUrl(str(whole))), tmp_path, signing_key), "1.0.0", "1.1.0", "1.2.0", "1.3.0")
    step, happened = 0, True
    while happened:
        root = memory / f"{step}"
        shutil.copytree(whole, root)
        disk = FaultDisk(root)
        disk.crash_at(step, killed=memory / f"{step}-killed", power_cut=memory / f"{step}-power-cut")
        try:
            prune(FileRoad(FileUrl(str(root)), disk=disk).depot, [], 1)
            happened = False
        except Crash:
            for left in ("killed", "power-cut"):
                life = Life(FileRoad(FileUrl(str(memory / f"{step}-{left}"))), memory / f"stores-{step}-{left}", signing_key)
                life.publisher.publish({"own": noise("1.0.0"), "common": COMMON}, model="fraud", version="1.4.0")
                assert life.started().wait_until_ready(LONG).version == "1.4.0", f"{left} at {disk.steps[-1]}"
                life.stop()
                pruned(life)
                assert gone(pruned(life)) == []
        disk.heal()
        step += 1
    assert step > 10
