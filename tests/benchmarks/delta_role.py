"""The processes of ``delta``: a publisher of several versions, and an instance that follows them or is killed on the way.

``python -m tests.benchmarks.delta_role publish|receive TASK``; marks carry what went over the sockets until then.
"""

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.benchmarks.task import Mark, Task
from tests.benchmarks.wire import Wire, count_sockets

LAYERS = 10
VERSIONS = ("1.0.0", "1.1.0", "1.2.0")
"""The first; one layer of ten other; the same bytes as the one before."""
POLL_SECONDS = 0.005


def publish(task: Task, wire: Wire) -> Iterator[Mark]:
    """Publish the next version whenever it is told to."""
    import numpy as np

    from modelcast.publisher import Publisher

    random = np.random.default_rng(1)
    layers = [random.standard_normal(task.size // 4 // LAYERS, dtype=np.float32) for _ in range(LAYERS)]
    publisher = Publisher(task.server["url"], signing_key=task.server["key"])
    yield Mark.now("ready")
    for version in VERSIONS:
        if version == "1.1.0":
            layers[LAYERS // 2] = random.standard_normal(len(layers[0]), dtype=np.float32)
        if not _told("go"):
            return
        done = publisher.publish({"layers": layers}, model=task.label, version=version)
        yield Mark.now(version, wire_sent=wire.sent, sent_bytes=done.sent_bytes, total_bytes=done.total_bytes)


def receive(task: Task, wire: Wire) -> Iterator[Mark]:
    """Follow the versions; ``number`` says whether to be killed at half of the first."""
    import numpy as np  # noqa: F401 - an application that serves arrays has it loaded

    from modelcast.consumer import ModelConsumer

    wire.kill_at = task.size // 2 if task.number else 0
    store = Path(task.common) / "store"
    consumer = ModelConsumer(task.server["url"], model=task.label, trust=[task.server["trust"]], store=store, instance="i0")
    with consumer:
        yield Mark.now("ready")
        pause = threading.Event()
        for version in VERSIONS:
            consumer.wait_until_ready()
            while consumer.active.version != version:
                pause.wait(POLL_SECONDS)
            yield Mark.now(version, wire_received=wire.received)


def _told(word: str) -> bool:
    return any(line.strip() == word for line in iter(sys.stdin.readline, "end\n"))


def main() -> None:
    """Play the role."""
    role, text = sys.argv[1:3]
    channel, sys.stdout = sys.stdout, sys.stderr
    wire, roles = count_sockets(), {"publish": publish, "receive": receive}
    marks: Any = roles[role](Task.from_json(text), wire)
    if role == "receive":
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    for mark in marks:
        print(mark.to_json(), file=channel, flush=True)


def _end_with_stdin() -> None:
    sys.stdin.read()
    import os

    os._exit(0)   # an instance that waits for a version that never comes


if __name__ == "__main__":
    main()
