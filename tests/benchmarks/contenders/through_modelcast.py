"""modelcast as a user gets it: ``Publisher.publish`` of an object, ``ModelConsumer`` in every instance, nothing set by hand.

Decides how its moments are seen from outside: *verified* is when the loader is called, which happens right after every byte on
disk was compared with the manifest and the release got its name; *promoted* is when ``wait_until_ready`` returns.
"""

import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.benchmarks.contender import Notice, Server
from tests.benchmarks.task import Mark, Task

LAYERS = 16
PATIENCE_SECONDS = 120.0
POLL_SECONDS = 0.005


class ThroughModelcast:
    """One of the ways in which modelcast can be set up.

    Args:
        name: One word.
        title: What the tables say.
        server: RabbitMQ, or a shared directory.
        chunks: Source of chunks that is forced by the URL, or None for what modelcast chooses.
        chunk_bytes: Largest chunk, or None for the default.
        is_late: Whether the instances start after the release is in the stream.
    """

    def __init__(
        self, name: str, title: str, server: Server, *, chunks: str | None = None, chunk_bytes: int | None = None, is_late: bool = False
    ) -> None:
        self.name, self.title, self.server, self.is_late = name, title, server, is_late
        self._chunks, self._chunk_bytes = chunks, chunk_bytes

    def missing(self) -> str | None:
        """Say whether this modelcast knows the source of chunks that is wanted."""
        from modelcast.consumer import ModelConsumer
        from modelcast.shared.errors import MisuseError
        from modelcast.shared.keyfiles import generate

        if self._chunks is None:
            return self.server.missing()
        with tempfile.TemporaryDirectory() as folder:
            public = generate(Path(folder) / "key")[1]
            try:
                url = self._url({"url": "amqp://user:word@127.0.0.1/x?stream_port=1"})
                ModelConsumer(url, model="m", trust=[public], store=Path(folder) / "store")
            except MisuseError:
                return f"this modelcast does not know ?chunks={self._chunks}"
        return self.server.missing()

    def publish(self, task: Task) -> Iterator[Mark]:
        """Make a model and publish it."""
        from modelcast.publisher import Publisher

        model = weights(task.size)
        url, key = self._url(task.server), task.server["key"]
        publisher = Publisher(url, signing_key=key, chunk_bytes=self._chunk_bytes) if self._chunk_bytes else Publisher(url, signing_key=key)
        yield Mark.now("ready")
        publication = publisher.publish(model, model=task.label, version="1.0.0")
        yield Mark.now("published", sent_bytes=publication.sent_bytes, total_bytes=publication.total_bytes)

    def receive(self, task: Task, notice: Notice) -> Iterator[Mark]:
        """Follow the model until the release is in service."""
        import numpy as np  # noqa: F401 - an application that serves arrays has it loaded

        from modelcast.consumer import ModelConsumer
        from modelcast.consumer.pickles import load_pickled

        verified: list[Mark] = []

        def load(folder: Path) -> object:
            verified.append(Mark.now("verified", promotes=True))
            return load_pickled(folder)

        consumer = ModelConsumer(
            self._url(task.server), model=task.label, trust=[task.server["trust"]], store=Path(task.folder) / "store",
            instance=f"i{task.number}", loaders={"cloudpickle": load},
        )
        if self.is_late:
            yield Mark.now("ready")
            notice()
            consumer.start()
        else:
            consumer.start()
            wait_until_connected(consumer)
            yield Mark.now("ready")
        active = consumer.wait_until_ready(PATIENCE_SECONDS)
        promoted = Mark.now("promoted")
        yield verified[0]
        yield promoted
        assert sum(layer["weights"].nbytes for layer in active.model["layers"]) >= task.size - LAYERS * 4
        consumer.stop()

    def _url(self, server: Mapping[str, Any]) -> str:
        return str(server["url"]) if self._chunks is None else f"{server['url']}&chunks={self._chunks}"


def wait_until_connected(consumer: Any) -> None:
    """Return when a consumer says that it is connected."""
    pause = threading.Event()
    while not consumer.status().connected:
        pause.wait(POLL_SECONDS)


def weights(size: int, *, seed: int = 1) -> dict[str, Any]:
    """Return a model of about ``size`` bytes: a few layers of random float32 weights, as training leaves them."""
    import numpy as np

    random = np.random.default_rng(seed)
    count = size // 4 // LAYERS
    layers = [
        {"name": f"layer-{number}", "weights": random.standard_normal(count, dtype=np.float32), "bias": np.zeros(64, np.float32)}
        for number in range(LAYERS)
    ]
    return {"layers": layers, "config": {"activation": "relu", "layers": LAYERS}}
