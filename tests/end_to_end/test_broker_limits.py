"""What a broker's limits do to orders that are refused: a queue of dead letters that takes nothing, and orders given out too often."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.life import Life
from tests.fakes.operator import Operator
from tests.fakes.stage import LONG

from modelcast.shared.localbroker.node import PrivateNode
from modelcast.shared.roads import open_road
from modelcast.shared.topology import DEAD, instance_queue_name


@pytest.fixture
def operator(node: PrivateNode, broker_url: str) -> Operator:
    return Operator(node, broker_url)


@pytest.fixture
def soon(node: PrivateNode) -> Iterator[None]:
    """Dead letters that were not taken are tried again within a second, not within RabbitMQ's three minutes."""
    setting = "application:{}_env(rabbit, dead_letter_worker_publisher_confirm_timeout{})."
    before = node.control("eval", setting.format("get", "")).strip().removeprefix("{ok,").removesuffix("}")
    node.control("eval", setting.format("set", ", 1000"))
    yield
    node.control("eval", setting.format("set", f", {before}"))


@pytest.fixture(params=["classic", "quorum"])
def life(request: pytest.FixtureRequest, broker_url: str, tmp_path: Path, signing_key) -> Iterator[Life]:
    life = Life(open_road(broker_url, queue_type=request.param), tmp_path, signing_key)
    life.kind = request.param   # type: ignore[attr-defined]
    yield life
    life.stop()


def publish(life: Life, version: str, **options: Any) -> None:
    life.publisher.publish({"version": version}, model="fraud", version=version, **options)


@pytest.mark.usefixtures("soon")
def test_dead_letters_that_have_no_room_hold_nobody_up_and_every_refusal_is_told_all_the_same(life: Life, operator: Operator) -> None:
    consumer = life.joined(accept="<2")
    publish(life, "1.0.0")
    life.serves(consumer, "1.0.0")
    operator.set_policy("full", f"^{DEAD}$", {"max-length": 1, "overflow": "reject-publish"}, "queues")
    for version in ("2.0.0", "2.1.0", "2.2.0"):
        publish(life, version)
    life.eventually(lambda: consumer.status().rejected == 3 and consumer.status().unsent_reports == 0)
    told = {version: reason for version, verdict, reason in life.verdicts() if verdict == "rejected"}
    assert told == dict.fromkeys(("2.0.0", "2.1.0", "2.2.0"), "version-out-of-range")
    publish(life, "1.1.0", resend=False)
    life.serves(consumer, "1.1.0")
    assert {letter.version for letter in life.letters()} <= set(told)
    operator.clear_policy("full")
    if life.kind == "quorum":   # type: ignore[attr-defined]
        life.eventually(lambda: len(life.letters()) == 3)   # kept at the broker until there is room


def test_an_order_that_the_broker_gave_out_too_often_is_a_letter_that_says_so_and_is_promoted_all_the_same(
    life: Life, operator: Operator
) -> None:
    if life.kind == "classic":   # type: ignore[attr-defined]
        pytest.skip("only quorum queues count")
    ready = threading.Event()
    consumer = life.started()
    consumer.validator(lambda _candidate, _manifest: ready.wait(LONG))
    life.eventually(lambda: consumer.status().connected)
    operator.set_policy("often", "^" + instance_queue_name("fraud", "production", "a") + "$", {"delivery-limit": 1}, "queues")
    publish(life, "1.0.0")
    life.eventually(lambda: consumer.status().state == "probing")
    for losses in (1, 2, 3):
        operator.close_connections()
        life.eventually(lambda losses=losses: consumer.status().reconnects >= losses and consumer.status().connected)
    life.eventually(life.letters)
    ready.set()
    life.serves(consumer, "1.0.0")
    life.eventually(lambda: consumer.status().unsent_reports == 0)
    [letter] = life.letters()
    assert (letter.version, letter.cause, letter.reason) == ("1.0.0", "delivery_limit", None)
    assert "as often as its delivery limit" in letter.explanation.happened
    assert life.verdicts()[-1] == ("1.0.0", "promoted", None)
