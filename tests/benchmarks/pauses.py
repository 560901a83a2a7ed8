"""When the machine itself stood still: ``python -m tests.benchmarks.pauses CORE`` is one process of the watch.

A virtual machine's core is taken away by its host now and then, for 5 to 40 ms; whoever ran on it has neither worked nor waited for a core
as far as its own kernel knows, and ``/proc/stat`` counts it (``steal``) in steps of 10 ms. Decides how it is seen: on each core a process
that goes before all others (``SCHED_FIFO``, which takes root) sleeps 2 ms at a time and notes when it was late. Linux only. Imports the
standard library.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter_ns, sleep
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]
SLEEP_NS = 2_000_000
LATE_NS = 1_000_000
END_SECONDS = 10.0

Span = tuple[int, int]
"""Begin and end, of ``perf_counter_ns``, which is one clock for all processes (``CLOCK_MONOTONIC``)."""


class Pauses:
    """Watches the cores while it is entered.

    Attributes:
        is_watching: Whether that is allowed.
        by_core: For each core when it stood still; complete after leaving.
    """

    def __init__(self) -> None:
        self.by_core, self._processes = list[list[Span]](), list[subprocess.Popen[str]]()
        self.is_watching = False

    def __enter__(self) -> Self:
        for core in sorted(os.sched_getaffinity(0)):
            command = [sys.executable, "-m", "tests.benchmarks.pauses", str(core)]
            self._processes.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True))
        self.is_watching = [_line(process) for process in self._processes] == ["ready"] * len(self._processes)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.terminate()
            said = process.communicate(timeout=END_SECONDS)[0]
            if self.is_watching:
                self.by_core.append([(begin, end) for begin, end in json.loads(said)])

    def within(self, begin: int, end: int) -> int:
        """Return for how many nanoseconds between two moments a core stood still; the one that did so for longest counts."""
        return max((overlap(spans, begin, end) for spans in self.by_core), default=0)


def overlap(spans: Sequence[Span], begin: int, end: int) -> int:
    """Return how much of the time from ``begin`` to ``end`` lies in spans."""
    return sum(max(0, min(end, until) - max(begin, since)) for since, until in spans)


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def main(core: int) -> None:
    """Watch one core until SIGTERM, then print its pauses."""
    ended, spans = list[int](), list[Span]()

    def end(number: int, _frame: Any) -> None:
        ended.append(number)

    signal.signal(signal.SIGTERM, end)
    os.sched_setaffinity(0, {core})
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        print("not allowed", flush=True)
        return
    print("ready", flush=True)
    while not ended:
        due = perf_counter_ns() + SLEEP_NS
        sleep(SLEEP_NS / 1e9)
        if (now := perf_counter_ns()) - due > LATE_NS:
            spans.append((due, now))
    print(json.dumps(spans))


if __name__ == "__main__":
    main(int(sys.argv[1]))
