"""The processes of ``small``: ``python -m tests.benchmarks.small_role publish|receive|restart TASK``; times in marks and their notes."""

import sys
import threading
import timeit
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.benchmarks.contenders.through_modelcast import PATIENCE_SECONDS, wait_until_connected, weights
from tests.benchmarks.measuring import now_ns
from tests.benchmarks.task import Mark, Task

POLL_SECONDS = 0.002
READS = 200_000
REPEATS = 7
TINY_BYTES = 1024


def publish(task: Task) -> Iterator[Mark]:
    """Publish a version whenever told to; a size of 0 is the tiny model."""
    from modelcast.publisher import Publisher

    model = weights(task.size) if task.size else {"weights": bytes(TINY_BYTES)}
    publisher = Publisher(task.server["url"], signing_key=task.server["key"])
    yield Mark.now("ready")
    number = 0
    while _told("go"):
        called_ns = now_ns()
        publisher.publish(model | {"number": number}, model=task.label, version=f"1.0.{number}")
        yield Mark.now(f"1.0.{number}", called_ns=called_ns)
        number += 1


def receive(task: Task) -> Iterator[Mark]:
    """Follow the versions for as long as told to; then say what reading ``active`` costs."""
    consumer = _consumer(task)
    with consumer:
        wait_until_connected(consumer)
        yield Mark.now("ready")
        pause, number = threading.Event(), 0
        while _told("next"):
            consumer.wait_until_ready(PATIENCE_SECONDS)
            while consumer.active.version != f"1.0.{number}":
                pause.wait(POLL_SECONDS)
            yield Mark.now(f"1.0.{number}")
            number += 1
        yield Mark.now("read", nanoseconds=_read_nanoseconds(consumer))


def restart(task: Task) -> Iterator[Mark]:
    """Start on a store that holds a release while no broker answers."""
    import numpy as np  # noqa: F401 - an application that serves arrays has it loaded

    consumer = _consumer(task)
    yield Mark.now("ready")
    consumer.start()
    consumer.wait_until_ready(PATIENCE_SECONDS)
    yield Mark.now("promoted")
    consumer.stop()


def _consumer(task: Task) -> Any:
    from modelcast.consumer import ModelConsumer

    name = f"i{task.number}"
    return ModelConsumer(
        task.server["url"], model=task.label, trust=[task.server["trust"]], store=Path(task.common) / f"store-{name}", instance=name
    )


def _read_nanoseconds(consumer: Any) -> float:
    """Return what ``consumer.active`` costs above reading a plain attribute."""
    plain = SimpleNamespace(active=consumer.active)
    ours = min(timeit.repeat("it.active", globals={"it": consumer}, number=READS, repeat=REPEATS))
    theirs = min(timeit.repeat("it.active", globals={"it": plain}, number=READS, repeat=REPEATS))
    return (ours - theirs) / READS * 1e9


def _told(word: str) -> bool:
    """Whether the next word is ``word``; anything else, or the end of the harness, ends the loop."""
    return sys.stdin.readline().strip() == word


def main() -> None:
    """Play the role."""
    role, text = sys.argv[1:3]
    channel, sys.stdout = sys.stdout, sys.stderr
    roles = {"publish": publish, "receive": receive, "restart": restart}
    for mark in roles[role](Task.from_json(text)):
        print(mark.to_json(), file=channel, flush=True)


if __name__ == "__main__":
    main()
