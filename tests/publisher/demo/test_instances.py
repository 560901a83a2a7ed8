"""Instances are real processes: they start, say why when they cannot, can be killed, and never stay behind."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from modelcast.publisher.demo.instances import Instance, Setting
from modelcast.publisher.demo.patience import until
from modelcast.publisher.demo.traffic import Caller, Exam
from modelcast.shared.errors import HostFault
from modelcast.shared.keyfiles import generate


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting("amqp://nobody:secret@127.0.0.1:1/", "demo", generate(tmp_path / "training")[1], tmp_path)


@pytest.fixture
def instance(setting: Setting) -> Iterator[Instance]:
    instance = Instance("instance-1", setting, Caller(Exam([[1.0]]), 100))
    yield instance
    instance.stop()


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_starts_answers_and_stops(instance: Instance) -> None:
    instance.start(connected=False)
    instance.call()
    pid = instance.pid
    assert pid is not None
    status = instance.status()
    assert (status["instance"], status["ready"], status["pid"]) == ("instance-1", False, pid)
    assert instance.connections == 0
    instance.stop()
    assert not runs(pid)
    assert instance.pid is None
    assert instance.status() == {}


def test_it_can_be_killed_and_started_again(instance: Instance) -> None:
    instance.start(connected=False)
    instance.call()
    first = instance.pid
    assert first is not None
    instance.caller.hold()
    instance.kill()
    assert not runs(first)
    instance.start(connected=False)
    instance.call()
    assert instance.pid not in {None, first}


def test_the_way_to_the_broker_can_be_opened_later(instance: Instance) -> None:
    instance.start(connected=False)
    instance.call()
    until(lambda: "Connection refused" in str(instance.status().get("detail")), seconds=20, what="the closed way is noticed")
    instance.let_through()
    assert instance.status()["live"]


def test_one_that_cannot_start_says_why(setting: Setting) -> None:
    setting.trust.write_text("no key")
    instance = Instance("instance-1", setting, Caller(Exam([[1.0]]), 100))
    instance.start(connected=False)
    with pytest.raises(HostFault, match=r"instance-1 did not start: .*InvalidKey"):
        instance.call()
    instance.stop()


def test_the_password_stands_in_no_argument(setting: Setting) -> None:
    assert "secret" in setting.url
    instance = Instance("instance-1", setting, Caller(Exam([[1.0]]), 100))
    assert "instance-1" in instance.arguments
    assert not any("secret" in word for word in instance.arguments)


def test_it_follows_the_channel_of_its_setting(setting: Setting) -> None:
    for channel in ("production", "staging"):
        arguments = Instance("instance-1", replace(setting, channel=channel), Caller(Exam([[1.0]]), 100)).arguments
        assert arguments[arguments.index("--channel") + 1] == channel


def test_stopping_what_never_started_does_nothing(instance: Instance) -> None:
    instance.stop()
    assert instance.pid is None
