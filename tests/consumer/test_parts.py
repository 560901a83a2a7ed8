"""Putting the parts together: one id for all processes of a host, and nothing touched before it is needed."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.fakes.fake_broker import FakeBroker

from modelcast.consumer.active import Slot
from modelcast.consumer.follower import Follower
from modelcast.consumer.parts import INSTANCE_FILE, Blueprint, kept_instance
from modelcast.consumer.policy import Policy, Timing
from modelcast.consumer.runtime import Runtime
from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.fs import Fs


def nothing() -> None:
    """Nothing."""


@pytest.fixture
def blueprint(tmp_path: Path, key_ring) -> Blueprint:
    return Blueprint(
        AmqpRoad(FakeBroker()), "fraud", "production", None, tmp_path / "store", Policy(), Timing(), key_ring, {}, [], Slot()
    )


def test_the_id_is_made_up_once_and_kept(tmp_path: Path) -> None:
    made_up = kept_instance(tmp_path, Fs())
    assert kept_instance(tmp_path, Fs()) == made_up == (tmp_path / INSTANCE_FILE).read_text().split()[0]


def test_those_who_start_at_the_same_time_get_the_same_id(tmp_path: Path) -> None:
    gate, found = threading.Barrier(8), list[str]()

    def start() -> None:
        gate.wait()
        found.append(kept_instance(tmp_path, Fs()))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_an_id_that_somebody_wrote_by_hand_is_taken(tmp_path: Path) -> None:
    (tmp_path / INSTANCE_FILE).write_text("web-7\n")
    assert kept_instance(tmp_path, Fs()) == "web-7"


def test_whatever_bit_of_the_kept_id_flips_another_one_is_made_up_and_never_the_wrong_one_taken(tmp_path: Path) -> None:
    path = tmp_path / INSTANCE_FILE
    made_up = kept_instance(tmp_path, Fs())
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        found = kept_instance(tmp_path, Fs())
        assert found == made_up or found.rpartition("-")[2] != made_up.rpartition("-")[2], (bit, found)
        assert kept_instance(tmp_path, Fs()) == found


def test_what_all_workers_log_with_is_imported_before_they_are_forked(tmp_path: Path) -> None:
    program = (
        "import sys; from modelcast.consumer.parts import Blueprint; print('structlog' in sys.modules)\n"
        "Blueprint(*[None] * 11); print('structlog' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert found.stdout.split() == ["False", "True"]


def test_building_a_store_touches_nothing(blueprint: Blueprint) -> None:
    assert blueprint.store().root == blueprint.store_root / "fraud" / "production"
    assert not blueprint.store_root.exists()


def test_an_open_store_gets_a_receiver_that_is_not_connected_yet(blueprint: Blueprint) -> None:
    store, runtime = blueprint.store(), Runtime("test", nothing, nothing, nothing)
    store.open()
    receiver = blueprint.receiver(store, runtime)
    assert (receiver.courier.restored, receiver.courier.connected_since_ms) == (False, None)
    assert receiver.updater.setting.target.instance == kept_instance(blueprint.store_root, store.fs)
    store.close()


def test_a_store_that_is_held_gets_a_follower_that_knows_what_is_served(blueprint: Blueprint) -> None:
    store, runtime = blueprint.store(), Runtime("test", nothing, nothing, nothing)
    store.open()
    follower = blueprint.follower(store, runtime, lambda: False)
    assert isinstance(follower, Follower)
    assert follower.following.serving is None
    store.close()
