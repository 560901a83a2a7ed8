"""A broker in memory with a publisher, and consumers on it: everything but the network is real."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tests.fakes.fake_broker import FakeBroker
from tests.fakes.publisher_sim import PublisherSimulator

from modelcast.consumer import ModelConsumer, Timing
from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.report import Report, ReportKind
from modelcast.shared.topology import REPORTS, instance_queue_name

LONG = 30.0
QUICK = Timing(
    load_seconds=20, probe_seconds=20, chunk_idle_seconds=0.3, heartbeat_seconds=0.1, retry_first_seconds=0.01, retry_most_seconds=0.05,
)
QUEUE = instance_queue_name("fraud", "production", "a")


class Doubler:
    """A model."""

    def __init__(self, factor: float = 2.0) -> None:
        self.factor = factor

    def predict(self, inputs: Any) -> Any:
        return np.asarray(inputs) * self.factor


class Stage:
    """A broker in memory with a publisher, and consumers that are stopped when the test ends."""

    def __init__(self, folder: Path, signing_key) -> None:
        self.broker = FakeBroker()
        self.road = AmqpRoad(self.broker)
        self.sim = PublisherSimulator(self.road, signing_key)
        self._folder, self._key = folder, signing_key
        self._made: list[ModelConsumer] = []

    def consumer(self, *, instance: str = "a", road: Any = None, **options: Any) -> ModelConsumer:
        settings = {"model": "fraud", "trust": [self._key.trusted()], "store": self._folder / instance, "timing": QUICK}
        self._made.append(ModelConsumer(road or self.road, instance=instance, **(settings | options)))
        return self._made[-1]

    def started(self, **options: Any) -> ModelConsumer:
        consumer = self.consumer(**options)
        consumer.start()
        return consumer

    def joined(self, consumer: ModelConsumer | None = None, **options: Any) -> ModelConsumer:
        """Start a consumer and wait until its queue is there: what is published from now on comes through it."""
        consumer = consumer or self.consumer(**options)
        consumer.start()
        self.eventually(lambda: consumer.status().connected)
        return consumer

    def eventually(self, condition: Callable[[], object]) -> None:
        """Wait for something; whatever happens at the broker (a heartbeat at the latest) has it looked at again."""
        changed = self.broker.node.changed
        with changed:
            assert changed.wait_for(condition, LONG), [consumer.status() for consumer in self._made]

    def eventually_without_broker(self, condition: Callable[[], object]) -> None:
        """Wait for something that nothing at the broker tells of."""
        deadline = time.monotonic() + LONG
        while not condition():
            assert time.monotonic() < deadline, [consumer.status() for consumer in self._made]
            threading.Event().wait(0.01)

    def serves(self, consumer: ModelConsumer, version: str) -> None:
        """Wait until a version is in service and its order is settled."""
        self.eventually(lambda: consumer.status().version == version and self.is_settled())

    def is_settled(self, queue: str = QUEUE) -> bool:
        """Whether no order waits and none is held unsettled."""
        found = self.broker.node.queues[queue]
        return found.depth == 0 and all(not consumer._unsettled for consumer in found.consumers)

    def reports(self) -> list[Report]:
        """All verdicts that were reported."""
        bodies = [held.message.body for held in self.broker.node.queues[REPORTS]._held]
        reports = [Report.parse(body) for body in bodies]
        return [report for report in reports if report.kind is ReportKind.VERDICT]

    def post(self, exchange: str, body: bytes) -> None:
        """Send anything to an exchange, as a stranger."""
        link = self.broker.connect(name="stranger")
        link.outbox(window=1).post(exchange, body)
        link.close()

    def stop(self) -> None:
        for consumer in self._made:
            consumer.stop(LONG)
