"""Pruning takes what nobody runs, and never more: not from a channel, not from an instance, not from a release that shares chunks."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.fault_disk import FaultDisk
from tests.fakes.fault_fs import Crash
from tests.fakes.life import Life
from tests.fakes.stage import LONG

from modelcast.publisher.pruning import Pruned, prune, reasons_to_keep
from modelcast.shared.errors import MisuseError, NotFound, PublisherBusy, VersionConflict
from modelcast.shared.file_road import FileRoad
from modelcast.shared.file_url import FileUrl


def noise(seed: str, size: int = 64 * 1024) -> np.ndarray:
    """Return so many bytes, which lie in the artifact as they are."""
    return np.frombuffer(random.Random(seed).randbytes(size), np.uint8).copy()


COMMON = noise("common")

ids = st.sampled_from("abcdefgh")


@given(st.lists(ids, min_size=1), st.dictionaries(st.sampled_from(["production", "staging"]), st.lists(ids)), st.dictionaries(ids, ids), st.integers(1, 5))
def test_the_newest_the_ordered_and_the_running_are_kept_and_nothing_else(releases, orders, running, keep: int) -> None:
    kept = reasons_to_keep(releases, orders, running, keep)
    newest = list(dict.fromkeys(reversed(releases)))[:keep]
    ordered = [release for channel in orders.values() for release in list(dict.fromkeys(reversed(channel)))[:2]]
    assert set(kept) == {*newest, *ordered, *running.values()}
    assert all(kept.values())


@pytest.fixture
def life(tmp_path: Path, signing_key) -> Iterator[Life]:
    (tmp_path / "depot").mkdir(mode=0o700)
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
    session.close()
    with pytest.raises(MisuseError, match="0 releases"):
        pruned(life, 0)
    with pytest.raises(NotFound, match="churn") as caught:
        prune(life.road.depot, ["churn"], 1)
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
