"""Processes are killed for real; whatever was in flight is finished by the next one, and nobody ever serves half a release."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tests.end_to_end.conftest import InstanceProcess

from modelcast.publisher import Publisher
from modelcast.shared.errors import HostFault
from modelcast.shared.limits import MIB
from modelcast.shared.localbroker.node import PrivateNode

Start = Callable[..., InstanceProcess]


def noise(path: Path, mebibytes: int, seed: int = 0) -> Path:
    path.write_bytes(np.random.default_rng(seed).bytes(mebibytes * MIB))
    return path


def publish(url: str, key: Path, path: Path, version: str) -> object:
    return Publisher(url, signing_key=key).publish(path, model="fraud", version=version, format="files", lineage={})


def publish_again(url: str, key: Path, path: Path, version: str) -> object:
    """Publish as the hint of the error says: call again, until the broker has got everything back."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return publish(url, key, path, version)
        except HostFault:
            assert time.monotonic() < deadline


KILLED_PUBLISHER = """
import os, signal, sys
from pathlib import Path
from modelcast.publisher import Publisher

def watch(progress):
    if progress.stage == "sending" and progress.done_bytes >= int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)

Publisher(sys.argv[1], signing_key=sys.argv[2]).publish(
    Path(sys.argv[3]), model="fraud", version="1.1.0", format="files", lineage={}, watch=watch)
"""


def test_a_publisher_killed_in_mid_transfer_is_finished_by_the_next_which_sends_only_the_rest(
    broker_url: str, keys: tuple[Path, Path], start_instance: Start, tmp_path: Path
) -> None:
    instance = start_instance()
    publish(broker_url, keys[0], noise(tmp_path / "first", 1), "1.0.0")
    instance.serves("1.0.0")
    path = noise(tmp_path / "model", 64, seed=1)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_PUBLISHER, broker_url, str(keys[0]), str(path), str(48 * MIB)], check=False, timeout=60
    )
    assert killed.returncode == -signal.SIGKILL
    publication = Publisher(broker_url, signing_key=keys[0]).publish(
        path, model="fraud", version="1.1.0", format="files", lineage={}
    )
    # 48 MiB were handed over; up to a window of 32 was unconfirmed and may be lost with the process
    assert 48 * MIB <= publication.sent_bytes + publication.reused_bytes == 64 * MIB
    assert publication.sent_bytes <= 48 * MIB
    instance.serves("1.1.0")
    status = instance.wait_for(lambda status: status["promoted"] == 2, "the promotion to be told")
    assert status["rejected"] == 0


def test_an_instance_killed_while_receiving_takes_up_what_it_has(
    broker_url: str, keys: tuple[Path, Path], start_instance: Start, tmp_path: Path
) -> None:
    instance = start_instance()
    publish(broker_url, keys[0], noise(tmp_path / "first", 1), "1.0.0")
    instance.serves("1.0.0")
    publish(broker_url, keys[0], noise(tmp_path / "big", 256, seed=2), "2.0.0")
    instance.wait_for(lambda status: status["state"] == "receiving", "receiving")
    instance.kill()
    again = start_instance(url="amqp://nobody@127.0.0.1:1/")
    assert again.serves("1.0.0")["connected"] is False   # the last good one, before and without a connection
    again.close()
    third = start_instance()
    third.serves("1.0.0")
    third.serves("2.0.0")
    third.wait_for(lambda status: status["promoted"] == 1, "the promotion to be told")


@pytest.mark.parametrize("after_seconds", [0.0, 0.05, 0.2, 0.5])
def test_an_instance_killed_at_any_moment_serves_the_old_or_the_new_and_then_the_new(
    broker_url: str, keys: tuple[Path, Path], start_instance: Start, tmp_path: Path, after_seconds: float
) -> None:
    instance = start_instance()
    publish(broker_url, keys[0], noise(tmp_path / "first", 1), "1.0.0")
    instance.serves("1.0.0")
    publish(broker_url, keys[0], noise(tmp_path / "second", 32, seed=3), "1.1.0")
    try:
        instance._process.wait(after_seconds)
    except subprocess.TimeoutExpired:
        instance.kill()
    again = start_instance()
    first = again.wait_for(lambda status: status["ready"], "a model in service")
    assert first["version"] in {"1.0.0", "1.1.0"}
    again.serves("1.1.0")


@pytest.fixture
def mortal(rabbitmq_installed: None, tmp_path: Path) -> Iterator[PrivateNode]:
    """A node of a test's own: that of the whole run would take a minute to look after all its virtual hosts again."""
    node = PrivateNode(tmp_path / "mortal")
    node.start()
    yield node
    node.stop()


def test_a_broker_killed_in_mid_transfer_and_started_again_is_found_again_by_itself(
    mortal: PrivateNode, keys: tuple[Path, Path], start_instance: Start, tmp_path: Path
) -> None:
    url, big = mortal.application_url, noise(tmp_path / "big", 256, seed=4)
    instance = start_instance(url=url)
    publish(url, keys[0], noise(tmp_path / "first", 1), "1.0.0")
    instance.serves("1.0.0")
    # RabbitMQ writes down that it coordinates streams when it stops, and every three minutes: a node that is killed before never
    # finds its streams again ("0 registered servers" in its log).
    mortal.stop()
    mortal.start()
    instance.wait_for(lambda status: not status["connected"], "the loss")
    instance.wait_for(lambda status: status["connected"], "a connection")
    with ThreadPoolExecutor(1) as background:
        publishing = background.submit(publish, url, keys[0], big, "1.1.0")
        instance.wait_for(lambda status: status["state"] == "ahead", "receiving ahead of the order")
        mortal.kill()
        with pytest.raises(HostFault):
            publishing.result(60)
    status = instance.wait_for(lambda status: not status["connected"], "the loss")
    assert status["version"] == "1.0.0"
    mortal.start()
    publish_again(url, keys[0], big, "1.1.0")   # sends what is missing
    instance.serves("1.1.0")
    publish(url, keys[0], noise(tmp_path / "third", 1, seed=5), "1.2.0")
    status = instance.serves("1.2.0")
    assert status["rejected"] == 0


def test_an_instance_stops_in_order_and_says_so(
    broker_url: str, keys: tuple[Path, Path], start_instance: Start, tmp_path: Path,
    modelcast: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    instance = start_instance("one")
    stays = start_instance("two")
    path = noise(tmp_path / "first", 1)
    for process in (instance, stays):
        process.wait_for(lambda status: status["connected"], "a connection")
    instance.close()
    done = modelcast(
        "publish", path, "--model", "fraud", "--version", "1.0.0", "--format", "files", "--key", keys[0], "--wait-share", "1.0",
        "--timeout", "30", "--json",
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["outcome"]["promoted"] == ["two"]
    assert os.path.isdir(tmp_path / "store-two" / "fraud" / "production" / "releases")
