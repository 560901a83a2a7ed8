"""NATS: the object store of JetStream, which cuts, hashes (SHA-256) and announces by itself."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.benchmarks.contender import Notice
from tests.benchmarks.servers import LOOPBACK, Nats
from tests.benchmarks.task import Mark, Task

OBJECT = "model"


class OverNats:
    """``put``; ``watch`` and ``get`` into a file."""

    name = "nats"
    title = "NATS object store"
    is_late = False

    def __init__(self) -> None:
        self.server = Nats()

    def missing(self) -> str | None:
        """Say what to install."""
        return self.server.missing()

    def publish(self, task: Task) -> Iterator[Mark]:
        """Put the file as one object."""
        with asyncio.Runner() as runner:
            client, store = runner.run(_bucket(task, make=True))
            yield Mark.now("ready")
            with Path(task.source).open("rb") as file:
                runner.run(store.put(OBJECT, file))
            yield Mark.now("published")
            runner.run(client.close())

    def receive(self, task: Task, notice: Notice) -> Iterator[Mark]:
        """Watch the bucket, then get the object; ``get`` compares its digest."""
        with asyncio.Runner() as runner, task.target.open("wb") as file:
            client, store = runner.run(_bucket(task, make=False))
            watcher = runner.run(store.watch(include_history=False))
            yield Mark.now("ready")
            runner.run(_announced(watcher))
            runner.run(store.get(OBJECT, writeinto=file))
            file.flush()
            os.fsync(file.fileno())
            if file.tell() != task.size:
                raise ValueError(f"{file.tell()} bytes arrived")
            yield Mark.now("verified")
            runner.run(client.close())


async def _bucket(task: Task, *, make: bool) -> tuple[Any, Any]:
    import nats

    client = await nats.connect(f"nats://{LOOPBACK}:{task.server['port']}")
    context = client.jetstream()
    store = await (context.create_object_store(task.label) if make else context.object_store(task.label))
    return client, store


async def _announced(watcher: Any) -> None:
    """Return when the object is there; before it the watcher says once that it is up to date (None)."""
    while True:
        try:
            found = await watcher.updates(timeout=300)
        except TimeoutError:
            continue
        if found is not None and found.name == OBJECT:
            return
