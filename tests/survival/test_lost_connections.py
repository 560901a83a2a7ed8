"""A connection that is lost at any operation, once or again and again: what was meant to happen happens, once, when it is back."""

import itertools
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from tests.fakes.bench import Bench
from tests.fakes.fake_broker import FakeBroker
from tests.fakes.faulty_broker import CutAfter, FaultyBroker
from tests.fakes.publisher_sim import PublisherSimulator
from tests.fakes.stage import LONG, QUEUE, QUICK

from modelcast.consumer import ModelConsumer
from modelcast.publisher import Publisher
from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.errors import BrokerUnreachable
from modelcast.shared.limits import KIB
from modelcast.shared.link import Broker
from modelcast.shared.pika_link import PikaBroker
from modelcast.shared.signing import KeyRing, SigningKey
from modelcast.shared.topology import DEAD, history_name

ONCE, AGAIN_AND_AGAIN = 1, 6
each_outage = pytest.mark.parametrize("times", [ONCE, AGAIN_AND_AGAIN], ids=["once", "again and again"])
CHUNK = 64 * KIB
SILENCE_SECONDS = 0.1


# --------------------------------------------------------------------------- publishing


def publish(broker: Broker, key: SigningKey, path: Path, version: str) -> None:
    publisher = Publisher(AmqpRoad(broker), signing_key=key, chunk_bytes=CHUNK, busy_seconds=10.0)
    publisher.publish(path, model="fraud", version=version, format="files", lineage={})


def orders(broker: Broker) -> list[bytes]:
    """What the history of the channel holds."""
    link = broker.connect(name="test")
    held: list[bytes] = []
    inbox = link.inbox(history_name("fraud", "production"), prefetch=100, offset="first")
    while (delivery := inbox.receive(SILENCE_SECONDS if held else 10.0)) is not None:
        held.append(delivery.body)
        inbox.accept(delivery)
    link.close()
    return held


def cut_while_publishing(broker: Broker, operations: int, times: int, here: Path, key: SigningKey, ring: KeyRing) -> bool:
    """Publish until it is done, and the next version; returns whether anything was cut."""
    here.mkdir()
    cut = CutAfter(operations, times=times)
    for version in ("1.0.0", "1.1.0"):
        path = here / version
        path.write_bytes(version.encode() * CHUNK)
        for _ in range(times + 1):
            try:
                publish(FaultyBroker(broker, cut), key, path, version)
                break
            except BrokerUnreachable:
                assert cut.happened
        else:
            pytest.fail("it was not published although the connection was back")
    road = AmqpRoad(broker)
    found = orders(broker)
    assert 2 <= len(found) <= 3   # one whose confirmation was lost is ordered again, with a sequence of its own
    with Bench(here / "store", road, ring) as bench:
        trusted = [bench.trust(body) for body in found]
        assert [each.order.sequence for each in trusted] == sorted({each.order.sequence for each in trusted})
        assert list(dict.fromkeys(each.manifest.version for each in trusted)) == ["1.0.0", "1.1.0"]
        for each, body in zip(trusted, found, strict=True):
            bench.carry_out(body)
            assert bench.version == each.manifest.version
    return cut.happened


def cut_publisher_everywhere(memory: Path, key: SigningKey, ring: KeyRing, numbers: Iterable[int], times: int) -> int:
    """Cut at each of these operations until a life is clean; returns how many were not."""
    for count, operations in enumerate(numbers):
        if not cut_while_publishing(FakeBroker(), operations, times, memory / str(operations), key, ring):
            return count
    raise AssertionError("there was no end of operations")


@each_outage
def test_a_publisher_that_is_cut_off_and_called_again_sends_each_release_in_its_turn(
    memory: Path, signing_key: SigningKey, key_ring: KeyRing, times: int
) -> None:
    assert cut_publisher_everywhere(memory, signing_key, key_ring, itertools.count(times, 11), times) > 3


@pytest.mark.torture
@each_outage
def test_a_publisher_may_be_cut_off_at_every_operation(memory: Path, signing_key: SigningKey, key_ring: KeyRing, times: int) -> None:
    print(times, cut_publisher_everywhere(memory, signing_key, key_ring, itertools.count(), times))


@pytest.mark.parametrize("operations", [7, *(pytest.param(number, marks=pytest.mark.torture) for number in (0, 3, 12, 17, 22, 28, 35, 44))])
@each_outage
def test_a_publisher_may_be_cut_off_from_rabbitmq_too(
    broker_url: str, tmp_path: Path, signing_key: SigningKey, key_ring: KeyRing, operations: int, times: int
) -> None:
    assert cut_while_publishing(PikaBroker(broker_url), operations, times, tmp_path / "here", signing_key, key_ring)


# --------------------------------------------------------------------------- receiving, promoting, refusing, reporting


def eventually(condition: Callable[[], object], consumer: ModelConsumer) -> None:
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline, consumer.status()
        threading.Event().wait(0.005)


def depth(broker: Broker, queue: str) -> int:
    link = broker.connect(name="test")
    try:
        return link.depth(queue)
    finally:
        link.close()


def is_settled(broker: Broker) -> bool:
    """Whether no order waits, and none is held; RabbitMQ tells only of those that wait."""
    held = [] if not isinstance(broker, FakeBroker) else broker.node.queues[QUEUE].consumers
    return depth(broker, QUEUE) == 0 and not any(consumer._unsettled for consumer in held)


def cut_while_receiving(broker: Broker, operations: int, times: int, store: Path, key: SigningKey) -> bool:
    """Let an instance promote, refuse and promote; returns whether anything was cut."""
    cut, sim = CutAfter(operations, times=times), PublisherSimulator(AmqpRoad(broker), key)

    def consumer(connected_to: Broker) -> ModelConsumer:
        return ModelConsumer(
            AmqpRoad(connected_to), model="fraud", trust=[key.trusted()], store=store, instance="a", timing=QUICK   # type: ignore[arg-type]
        )

    first = consumer(broker)   # its queue is there: every order has an addressee
    first.start()
    eventually(lambda: first.status().connected, first)
    assert first.stop(LONG)
    instance = consumer(FaultyBroker(broker, cut))
    instance.start()
    try:
        for version, told in (("1.0.0", (1, 0)), ("0.9.0", (1, 1)), ("1.2.0", (2, 1))):
            before = instance.status().version
            sim.publish(sim.release(version, {"model.bin": version.encode() * 500}))
            eventually(lambda told=told: (instance.status().promoted, instance.status().rejected) == told, instance)
            assert instance.status().version == (before if version == "0.9.0" else version)
        happened = cut.happened
        cut.heal()
        eventually(lambda: instance.status().connected and instance.status().unsent_reports == 0, instance)
        eventually(lambda: is_settled(broker) and depth(broker, DEAD) == 1, instance)
        eventually(lambda: not list((store / "fraud/production/journal").glob("report-*")), instance)
        assert (instance.status().version, instance.status().promoted, instance.status().rejected) == ("1.2.0", 2, 1)
    finally:
        assert instance.stop(LONG)
    return happened


def cut_instance_everywhere(memory: Path, key: SigningKey, numbers: Iterable[int], times: int) -> int:
    """Cut at each of these operations until a life is clean; returns how many were not."""
    for count, operations in enumerate(numbers):
        if not cut_while_receiving(FakeBroker(), operations, times, memory / str(operations), key):
            return count
    raise AssertionError("there was no end of operations")


@each_outage
def test_an_instance_that_is_cut_off_promotes_and_refuses_each_order_once_when_it_is_back(
    memory: Path, signing_key: SigningKey, times: int
) -> None:
    assert cut_instance_everywhere(memory, signing_key, itertools.count(times, 17), times) > 3


@pytest.mark.torture
@pytest.mark.timeout(1800)
@each_outage
def test_an_instance_may_be_cut_off_at_every_operation(memory: Path, signing_key: SigningKey, times: int) -> None:
    print(times, cut_instance_everywhere(memory, signing_key, itertools.count(), times))


@pytest.mark.parametrize("operations", [9, *(pytest.param(number, marks=pytest.mark.torture) for number in (0, 4, 14, 21, 33, 48, 60, 75))])
@each_outage
def test_an_instance_may_be_cut_off_from_rabbitmq_too(
    broker_url: str, tmp_path: Path, signing_key: SigningKey, operations: int, times: int
) -> None:
    assert cut_while_receiving(PikaBroker(broker_url), operations, times, tmp_path / "store", signing_key)
