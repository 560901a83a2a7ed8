"""One process of an instance with several: a consumer that notes when it switched, as a process or as a worker of gunicorn.

Decides what is noted: a line of JSON for each switch, written after every page of the model was read. The settings come in the
environment, because a worker of gunicorn has no arguments. Imports the consumer as an application does.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from modelcast.consumer import ModelConsumer
from modelcast.consumer.active import ActiveModel, Slot

SETTINGS = "BENCHMARK_SETTINGS"


def _watch_swaps(note: Callable[[ActiveModel, int], None]) -> None:
    """Call ``note`` in a thread of its own after each swap; what the swap itself takes is not prolonged, and nothing polls."""
    real, swapped, times = Slot.swap, threading.Semaphore(0), list[tuple[ActiveModel, int]]()

    def swap(slot: Slot, *what: Any, **more: Any) -> ActiveModel:
        active = real(slot, *what, **more)
        times.append((active, time.monotonic_ns()))
        swapped.release()
        return active

    def watch() -> None:
        while swapped.acquire():
            note(*times.pop(0))

    Slot.swap = swap   # type: ignore[method-assign]
    threading.Thread(target=watch, daemon=True).start()


def build() -> ModelConsumer:
    """Return the consumer, not started; may be done before a fork."""
    settings = json.loads(os.environ[SETTINGS])
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    return ModelConsumer(settings["url"], model=settings["model"], trust=[settings["trust"]], store=settings["store"])


def start(consumer: ModelConsumer) -> None:
    """Start it, and note switches in a file of this process."""
    folder = Path(json.loads(os.environ[SETTINGS])["notes"])

    def note(active: ActiveModel, at_ns: int) -> None:
        total = sum(float(np.sum(array)) for array in active.model)   # reads every page, as answering requests does
        line = {"version": active.version, "at_ns": at_ns, "role": consumer.status().role, "total": total}
        with (folder / f"{os.getpid()}.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    _watch_swaps(note)
    consumer.start()
    (folder / f"{os.getpid()}.jsonl").touch()


def application(_environment: dict[str, Any], begin: Callable[[str, list[tuple[str, str]]], object]) -> Iterable[bytes]:
    """Answer with the state of the worker that happens to be asked."""
    begin("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({**CONSUMER.status().to_dict(), "pid": os.getpid()}).encode()]


def main() -> None:
    """Be one of several bare processes, until standard input ends."""
    consumer = build()
    start(consumer)
    sys.stdin.read()
    consumer.stop()


if __name__ == "__main__":
    main()
elif SETTINGS in os.environ:
    CONSUMER = build()
