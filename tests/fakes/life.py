"""The whole life of releases on any road: the real publisher, the real consumers, and a clock that is patient."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.fakes.publisher_sim import PublisherSimulator
from tests.fakes.stage import LONG, QUICK

from modelcast.consumer import ModelConsumer
from modelcast.consumer.deadletters.browse import read_letters
from modelcast.consumer.deadletters.letter import Letter
from modelcast.publisher import Publisher
from modelcast.shared.errors import SenderFault
from modelcast.shared.operating_road import OpenRoad
from modelcast.shared.report import Report, ReportKind

LOOK_SECONDS = 0.01
CHUNK_BYTES = 64 * 1024
"""Small chunks, so that a small model has many."""


class Life:
    """A road with a publisher, and consumers that are stopped when the test ends.

    Args:
        road: The road.
        folder: Where stores are.
        signing_key: Signs everything.
    """

    def __init__(self, road: OpenRoad, folder: Path, signing_key: Any) -> None:
        self.road, self._folder, self._key = road, folder, signing_key
        self.publisher = Publisher(road, signing_key=signing_key, chunk_bytes=CHUNK_BYTES, busy_seconds=LONG)
        self.sim = PublisherSimulator(road, signing_key)
        self._made: list[ModelConsumer] = []

    def another_publisher(self, road: Any = None, **options: Any) -> Publisher:
        """Return one more publisher."""
        settings = {"signing_key": self._key, "chunk_bytes": CHUNK_BYTES}
        return Publisher(road or self.road, **(settings | options))

    def started(self, *, instance: str = "a", road: Any = None, **options: Any) -> ModelConsumer:
        """Start an instance."""
        settings = {"model": "fraud", "trust": [self._key.trusted()], "store": self._folder / instance, "timing": QUICK}
        consumer = ModelConsumer(road or self.road, instance=instance, **(settings | options))
        self._made.append(consumer)
        consumer.start()
        return consumer

    def joined(self, **options: Any) -> ModelConsumer:
        """Start an instance and wait until it is connected."""
        consumer = self.started(**options)
        self.eventually(lambda: consumer.status().connected)
        return consumer

    def eventually(self, condition: Callable[[], object]) -> None:
        """Wait for something that an instance or the road does in its own time."""
        deadline, pause = time.monotonic() + LONG, threading.Event()
        while not condition():
            assert time.monotonic() < deadline, [consumer.status() for consumer in self._made]
            pause.wait(LOOK_SECONDS)

    def serves(self, consumer: ModelConsumer, version: str) -> None:
        """Wait until a version is in service."""
        self.eventually(lambda: consumer.status().version == version)

    def letters(self) -> list[Letter]:
        """All dead letters, each with its report."""
        return read_letters(self.road, limit=100)

    def verdicts(self, instance: str = "a") -> list[tuple[str | None, str | None, str | None]]:
        """Version, verdict and reason of each verdict of an instance, in their order."""
        source, found = self.road.reports(since_minutes=None), []
        try:
            while not source.is_caught_up:
                body = source.receive(LOOK_SECONDS)
                try:
                    report = Report.parse(body or b"")
                except SenderFault:
                    continue
                if report.instance == instance and report.kind is ReportKind.VERDICT:
                    found.append((report.version, str(report.verdict), report.reason))
        finally:
            source.close()
        return found

    def has_said(self, version: str, *instances: str) -> bool:
        """Whether each of the instances told its verdict on a version; it serves it a moment before, and whoever waits counts that."""
        return all(any(found == version for found, _, _ in self.verdicts(instance)) for instance in instances)

    def stop(self) -> None:
        """Stop every instance."""
        for consumer in self._made:
            consumer.stop(LONG)
