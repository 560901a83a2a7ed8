"""One process of a memory round: ``python -m tests.benchmarks.memory_role publish|receive TASK``; see ``memory``."""

import sys
import threading
from pathlib import Path
from typing import Any

from tests.benchmarks.stall_models import import_libraries, make
from tests.benchmarks.task import Mark, Task

PIECE = 2**20
POLL_SECONDS = 0.01


def publish(task: Task) -> None:
    """Publish a file of random bytes, or arrays, when told."""
    import os

    from modelcast.publisher import Publisher

    model: Any = Path(task.folder) / "source.bin"
    if task.server["what"] == "files":
        with model.open("wb") as file:
            for _ in range(task.size // PIECE):
                file.write(os.urandom(PIECE))
    else:
        model = make("arrays", size=task.size, entries=0, version=1)
    publisher = Publisher(task.server["url"], signing_key=task.server["key"])
    _say(Mark.now("ready"))
    sys.stdin.readline()
    layout = "files" if task.server["what"] == "files" else None
    publisher.publish(model, model=task.label, version="1.0.0", format=layout, lineage={})
    _say(Mark.now("published"))


def receive(task: Task) -> None:
    """Follow the model until it is in service."""
    from modelcast.consumer import ModelConsumer

    import_libraries("arrays")
    consumer = ModelConsumer(
        task.server["url"], model=task.label, trust=[task.server["trust"]], store=Path(task.common) / "store", instance="one"
    )
    consumer.start()
    pause = threading.Event()
    while not consumer.status().connected:
        pause.wait(POLL_SECONDS)
    _say(Mark.now("ready"))
    consumer.wait_until_ready(600)
    _say(Mark.now("promoted"))
    sys.stdin.readline()
    consumer.stop()


def _say(mark: Mark) -> None:
    print(mark.to_json(), file=CHANNEL, flush=True)


CHANNEL = sys.stdout

if __name__ == "__main__":
    sys.stdout = sys.stderr   # whatever a library prints must not look like a mark
    {"publish": publish, "receive": receive}[sys.argv[1]](Task.from_json(sys.argv[2]))
    sys.stdin.readline()
