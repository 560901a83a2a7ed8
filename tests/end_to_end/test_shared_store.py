"""Several real processes on one store: one receives for all, they switch together, and a dead receiver is replaced."""

import contextlib
import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.end_to_end.conftest import InstanceProcess

from modelcast.publisher import Publisher
from modelcast.shared.limits import MIB
from modelcast.shared.localbroker.node import PrivateNode
from modelcast.shared.topology import instance_queue_name

Start = Callable[..., InstanceProcess]
QUEUE = instance_queue_name("fraud", "production", "one")


def publish(url: str, keys: tuple[Path, Path], version: str, mebibytes: int = 1, seed: int = 0) -> None:
    model = np.frombuffer(np.random.default_rng(seed).bytes(mebibytes * MIB), dtype=np.uint8)
    Publisher(url, signing_key=keys[0]).publish(model, model="fraud", version=version, lineage={}, dependencies={})


def role(process: InstanceProcess, wanted: str) -> InstanceProcess:
    process.wait_for(lambda status: status["role"] == wanted, f"the role {wanted}")
    return process


def start_four(start_instance: Start) -> tuple[InstanceProcess, list[InstanceProcess]]:
    receiver = start_instance()
    receiver.wait_for(lambda status: status["connected"], "a connection")
    return receiver, [role(start_instance(), "follower") for _ in range(3)]


def all_serve(version: str, *processes: InstanceProcess) -> None:
    for process in processes:
        process.serves(version)


def heir_of(processes: list[InstanceProcess]) -> InstanceProcess:
    """Wait until one of them receives."""
    while True:
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process._process.wait(0.05)
            while not process._lines.empty():
                process.last = process._lines.get() or process.last
            if process.last.get("role") == "receiver":
                return process


def consumers_of_queue(node: PrivateNode, url: str) -> int:
    vhost = url.rpartition("/")[2]
    listed = json.loads(node.control("list_consumers", "-p", vhost, "queue_name", "--formatter", "json"))
    return sum(entry["queue_name"] == QUEUE for entry in listed)


def test_four_processes_are_one_instance_of_which_one_receives(
    node: PrivateNode, broker_url: str, keys: tuple[Path, Path], start_instance: Start, tmp_path: Path
) -> None:
    receiver, followers = start_four(start_instance)
    for number in range(3):
        publish(broker_url, keys, f"1.{number}.0", 8, seed=number)
        all_serve(f"1.{number}.0", receiver, *followers)
    assert consumers_of_queue(node, broker_url) == 1
    status = receiver.wait_for(lambda status: status["promoted"] == 3, "three promotions")
    assert status["role"] == "receiver"
    for follower in followers:
        told = follower.wait_for(lambda status: status["connected"], "the receiver's connection")
        assert told["detail"] == f"Serves 1.2.0; follows process {status['pid']} of this host, which receives."
        assert (told["fresh"], told["fault"], told["promoted"], told["instance"]) == (True, None, 0, "one")
    assert len(list((tmp_path / "store-one/fraud/production/releases").iterdir())) == 2


def test_a_killed_receiver_is_replaced_and_the_next_release_goes_through(
    node: PrivateNode, broker_url: str, keys: tuple[Path, Path], start_instance: Start
) -> None:
    receiver, followers = start_four(start_instance)
    publish(broker_url, keys, "1.0.0")
    all_serve("1.0.0", receiver, *followers)
    receiver.kill()
    heir = heir_of(followers)
    assert heir.last["version"] == "1.0.0"
    publish(broker_url, keys, "1.1.0", seed=1)
    all_serve("1.1.0", *followers)
    assert heir.wait_for(lambda status: status["promoted"] == 1, "the promotion")["rejected"] == 0
    assert consumers_of_queue(node, broker_url) == 1
    again = role(start_instance(), "follower")   # what a supervisor starts again
    again.serves("1.1.0")


@pytest.mark.parametrize("state", ["receiving", "loading", "probing"])
def test_what_a_killed_receiver_had_in_hand_is_finished_by_its_heir(
    broker_url: str, keys: tuple[Path, Path], start_instance: Start, state: str
) -> None:
    receiver, followers = start_four(start_instance)
    publish(broker_url, keys, "1.0.0")
    all_serve("1.0.0", receiver, *followers)
    publish(broker_url, keys, "1.1.0", 128, seed=2)
    receiver.wait_for(lambda status: status["state"] == state or status["version"] == "1.1.0", state)
    receiver.kill()
    all_serve("1.1.0", *followers)
    publish(broker_url, keys, "1.2.0", seed=3)
    all_serve("1.2.0", *followers)


@pytest.mark.parametrize("state", ["well", "killed"])
def test_what_one_follower_reports_as_bad_is_left_by_all_also_when_the_receiver_dies(
    broker_url: str, keys: tuple[Path, Path], start_instance: Start, tmp_path: Path, state: str
) -> None:
    receiver, followers = start_four(start_instance)
    for number in range(2):
        publish(broker_url, keys, f"1.{number}.0", seed=number)
        all_serve(f"1.{number}.0", receiver, *followers)
    followers[1].report_bad("answers drift")
    if state == "killed":
        receiver.kill()
    else:
        receiver.serves("1.0.0")
    all_serve("1.0.0", *followers)
    heir = heir_of(followers) if state == "killed" else receiver
    verdict = heir.wait_for(lambda status: status["last_verdict"] and status["last_verdict"]["verdict"] == "rejected", "the verdict")
    assert (verdict["last_verdict"]["reason"], verdict["last_verdict"]["message"]) == ("reported-bad", "answers drift")
    publish(broker_url, keys, "1.2.0", seed=2)
    all_serve("1.2.0", heir, *followers)
    assert not list((tmp_path / "store-one/fraud/production/complaints").iterdir())


def test_a_receiver_that_ends_in_order_is_replaced(broker_url: str, keys: tuple[Path, Path], start_instance: Start) -> None:
    receiver, followers = start_four(start_instance)
    publish(broker_url, keys, "1.0.0")
    all_serve("1.0.0", receiver, *followers)
    receiver.close()
    heir_of(followers)
    publish(broker_url, keys, "1.1.0", seed=1)
    all_serve("1.1.0", *followers)


def test_killed_one_after_the_other_the_last_one_still_receives(
    broker_url: str, keys: tuple[Path, Path], start_instance: Start
) -> None:
    receiver, followers = start_four(start_instance)
    publish(broker_url, keys, "1.0.0")
    all_serve("1.0.0", receiver, *followers)
    for number in range(1, 4):
        receiver.kill()
        receiver = heir_of(followers)
        followers.remove(receiver)
        publish(broker_url, keys, f"1.{number}.0", seed=number)
        all_serve(f"1.{number}.0", receiver, *followers)


def test_a_killed_follower_and_one_that_is_stopped_hold_up_nobody(
    broker_url: str, keys: tuple[Path, Path], start_instance: Start
) -> None:
    receiver, followers = start_four(start_instance)
    followers.pop().kill()
    stopped = followers.pop()
    stopped._process.send_signal(signal.SIGSTOP)
    try:
        publish(broker_url, keys, "1.0.0")
        all_serve("1.0.0", receiver, *followers)
    finally:
        stopped._process.send_signal(signal.SIGCONT)
    stopped.serves("1.0.0")


def test_a_follower_whose_validator_refuses_keeps_its_model_and_the_release_is_promoted_all_the_same(
    broker_url: str, keys: tuple[Path, Path], start_instance: Start
) -> None:
    receiver = start_instance()
    receiver.wait_for(lambda status: status["connected"], "a connection")
    follower, picky = role(start_instance(), "follower"), role(start_instance(refused=("1.1.0",)), "follower")
    publish(broker_url, keys, "1.0.0")
    all_serve("1.0.0", receiver, follower, picky)
    publish(broker_url, keys, "1.1.0", seed=1)
    all_serve("1.1.0", receiver, follower)
    status = picky.wait_for(lambda status: status["fault"], "the fault")
    assert (status["version"], status["ready"]) == ("1.0.0", True)
    assert "returned False" in status["fault"]
    assert receiver.wait_for(lambda status: status["promoted"] == 2, "the promotion")["rejected"] == 0
    publish(broker_url, keys, "1.2.0", seed=2)
    all_serve("1.2.0", receiver, follower, picky)
    assert picky.wait_for(lambda status: status["fault"] is None, "an end of the fault")["version"] == "1.2.0"


def test_a_receiver_whose_validator_refuses_decides_for_all(
    broker_url: str, keys: tuple[Path, Path], start_instance: Start
) -> None:
    receiver = start_instance(refused=("1.1.0",))
    receiver.wait_for(lambda status: status["connected"], "a connection")
    follower = role(start_instance(), "follower")
    publish(broker_url, keys, "1.0.0")
    all_serve("1.0.0", receiver, follower)
    publish(broker_url, keys, "1.1.0", seed=1)
    receiver.wait_for(lambda status: status["rejected"] == 1, "the rejection")
    publish(broker_url, keys, "1.2.0", seed=2)
    all_serve("1.2.0", receiver, follower)
    assert follower.last["fault"] is None
