"""A rollout by the real command, on a real broker: the command is killed in the middle, and another one goes on."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.life import Life
from tests.fakes.stage import LONG

from modelcast.consumer import ModelConsumer
from modelcast.publisher import Rollouts
from modelcast.shared.roads import open_road
from modelcast.shared.signing import SigningKey
from modelcast.shared.turns import turn_of

FOUR = sorted(("a", "b", "c", "d"), key=turn_of)


@pytest.fixture
def life(broker_url: str, tmp_path: Path, signing_key: SigningKey) -> Iterator[Life]:
    life = Life(open_road(broker_url), tmp_path, signing_key)
    yield life
    life.stop()


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """A shell that runs the tests in the background has them ignore SIGINT, and so would the commands that they start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def command(broker_url: str, key_file: Path, *arguments: str) -> "subprocess.Popen[str]":
    environment = os.environ | {"MODELCAST_URL": broker_url, "MODELCAST_ORDER_KEY": str(key_file)}
    return subprocess.Popen(
        [sys.executable, "-m", "modelcast.shared.cli", *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def versions(fleet: dict[str, ModelConsumer]) -> list[str | None]:
    return [consumer.status().version for consumer in fleet.values()]


def test_a_command_that_is_killed_leaves_the_rollout_where_it_is_and_another_goes_on(
    life: Life, broker_url: str, key_file: Path
) -> None:
    fleet = {name: life.started(instance=name) for name in FOUR}
    life.eventually(lambda: all(consumer.status().connected for consumer in fleet.values()))
    life.publisher.publish({"version": 1}, model="fraud", version="1.0.0")
    for consumer in fleet.values():
        life.serves(consumer, "1.0.0")
    life.publisher.publish({"version": 2}, model="fraud", version="1.1.0", channel="staging")
    first = command(broker_url, key_file, "promote", "fraud", "1.1.0", "--waves", "1,50%,100%", "--soak", "3600", "--timeout", str(LONG))
    assert first.stdout is not None
    for line in first.stdout:
        if "watching it for" in line:
            break
    first.send_signal(signal.SIGKILL)
    assert first.wait(LONG) == -signal.SIGKILL
    first.communicate()
    assert versions(fleet) == ["1.1.0", "1.0.0", "1.0.0", "1.0.0"]
    status = Rollouts(broker_url).status("fraud")
    assert (status.rollout.phase, status.rollout.accepted, status.promoted) == ("running", 0, (FOUR[0],))
    second = command(broker_url, key_file, "rollout", "resume", "fraud")
    assert second.stdout is not None
    for line in second.stdout:
        if "watching it for" in line:
            break
    second.send_signal(signal.SIGINT)
    out, err = second.communicate(timeout=LONG)
    assert (second.returncode, out) == (130, "")
    assert "modelcast rollout resume fraud --channel production" in err
    assert versions(fleet) == ["1.1.0", "1.0.0", "1.0.0", "1.0.0"]
    last = command(broker_url, key_file, "rollout", "abort", "fraud", "--why", "enough")
    out, err = last.communicate(timeout=LONG)
    assert (last.returncode, out) == (0, "")
    assert "production goes back to 1.0.0" in err
    for consumer in fleet.values():
        life.serves(consumer, "1.0.0")
    assert life.letters() == []
