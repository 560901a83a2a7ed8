"""Models that take their process with them: real processes end, and the last good release is served again."""

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.end_to_end.conftest import InstanceProcess

from modelcast.consumer.pointer import TRIES
from modelcast.consumer.workshop import MAX_TRIES
from modelcast.publisher import Publisher
from modelcast.shared.pika_link import PikaBroker
from modelcast.shared.topology import history_name, orders_name

NOWHERE = "amqp://nobody@127.0.0.1:1/"
Start = Callable[..., InstanceProcess]
Modelcast = Callable[..., subprocess.CompletedProcess[str]]


def model(armed: Path | None, way: str) -> Any:
    """A model that ends its process while it is unpickled, once a file is there; it travels by value."""

    class Mine:
        def __init__(self) -> None:
            self.armed, self.way = str(armed), way

        def __setstate__(self, state: dict[str, Any]) -> None:
            import os
            import signal

            self.__dict__.update(state)
            if os.path.exists(self.armed):
                if self.way == "exit":
                    os._exit(3)
                signal.raise_signal(signal.SIGSEGV)   # to this thread: another one might take its time to die of it

        def predict(self, inputs: Any) -> Any:
            return inputs

    return Mine()


def publish(url: str, keys: tuple[Path, Path], version: str, what: object) -> None:
    Publisher(url, signing_key=keys[0]).publish(what, model="fraud", version=version, lineage={})


def order_again(url: str) -> None:
    """Send the latest order of the history once more, as a broker does that has lost a receipt."""
    link = PikaBroker(url).connect(name="redelivery")
    history = link.inbox(history_name("fraud", "production"), prefetch=10, offset="first")
    bodies: list[bytes] = []
    while len(bodies) < 2:
        delivery = history.receive(10.0)
        assert delivery is not None
        bodies.append(delivery.body)
        history.accept(delivery)
    outbox = link.outbox(window=1)
    outbox.post(orders_name("fraud", "production"), bodies[-1])
    outbox.flush()
    link.close()


def letters_of(modelcast: Modelcast) -> list[dict[str, Any]]:
    letters: list[dict[str, Any]] = json.loads(modelcast("dead-letters", "list", "--json").stdout)["dead_letters"]
    return letters


ENDS = {"exit": 3, "fault": -signal.SIGSEGV}


@pytest.mark.parametrize("way", ["fault", pytest.param("exit", marks=pytest.mark.torture)])
def test_a_model_that_ends_its_process_at_each_start_gives_way_to_the_one_before_and_is_remembered(
    broker_url: str, keys: tuple[Path, Path], start_instance: Start, tmp_path: Path, way: str, modelcast: Modelcast
) -> None:
    armed = tmp_path / "armed"
    instance = start_instance()
    publish(broker_url, keys, "1.0.0", model(None, way))
    instance.serves("1.0.0")
    publish(broker_url, keys, "2.0.0", model(armed, way))
    instance.serves("2.0.0")
    instance.wait_for(lambda status: status["promoted"] == 2, "the promotions to be told")
    instance.close()
    armed.touch()
    for number in range(TRIES):
        assert start_instance(url=NOWHERE if number else broker_url).ended_with() == ENDS[way]
    survivor = start_instance(url=NOWHERE)   # without a broker: the store alone decides
    survivor.serves("1.0.0")
    survivor.wait_for(lambda status: f"ended the process {TRIES} times" in str(status["fault"]), "the reason")
    survivor.close()
    again = start_instance()
    again.wait_for(lambda status: status["connected"], "a connection")
    order_again(broker_url)
    status = again.wait_for(lambda status: status["rejected"] > 0, "the refusal of the bad one")
    assert (status["version"], status["last_verdict"]["version"], status["last_verdict"]["reason"]) == ("1.0.0", "2.0.0", "load-failed")
    again.wait_for(lambda status: status["unsent_reports"] == 0, "the report")
    assert [(letter["reason"], letter["version"]) for letter in letters_of(modelcast)] == [("load-failed", "2.0.0")]
    publish(broker_url, keys, "2.1.0", model(None, way))
    again.serves("2.1.0")


@pytest.mark.parametrize("way", ["exit", pytest.param("fault", marks=pytest.mark.torture)])
def test_a_model_that_ends_its_process_when_it_is_tried_is_refused_after_some_tries_and_never_served(
    broker_url: str, keys: tuple[Path, Path], start_instance: Start, tmp_path: Path, way: str, modelcast: Modelcast
) -> None:
    (tmp_path / "armed").touch()
    instance = start_instance()
    publish(broker_url, keys, "1.0.0", model(None, way))
    instance.serves("1.0.0")
    publish(broker_url, keys, "2.0.0", model(tmp_path / "armed", way))
    assert instance.ended_with() == ENDS[way]
    for _ in range(MAX_TRIES - 1):
        assert start_instance().ended_with() == ENDS[way]
    survivor = start_instance()
    status = survivor.wait_for(lambda status: status["rejected"] > 0, "the refusal")
    assert (status["version"], status["last_verdict"]["reason"]) == ("1.0.0", "load-failed")
    survivor.wait_for(lambda status: status["unsent_reports"] == 0, "the report")
    assert [(letter["reason"], letter["version"]) for letter in letters_of(modelcast)] == [("load-failed", "2.0.0")]
    publish(broker_url, keys, "2.1.0", model(None, way))
    survivor.serves("2.1.0")
