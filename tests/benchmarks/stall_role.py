"""One process of a stall round: ``python -m tests.benchmarks.stall_role publish|receive TASK``; see ``stall``.

Decides how a serving thread is watched: at full speed the time between two requests that follow each other at once, at a steady
rate the time from when a request was due to its answer. Nothing is subtracted; but beside each long gap stands how much of it the
thread was ready and had no core (``schedstat``): that part is the machine's, the rest is the lock's, the kernel's or the request's.
"""

import os
import pickle
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Self

from tests.benchmarks.stall_models import import_libraries, make, request
from tests.benchmarks.task import Mark, Task

FINE_NS = 1_000
"""Gaps below a millisecond are counted by the microsecond, longer ones are noted one by one."""
LONG_NS = 1_000_000
POLL_SECONDS = 0.05
PATIENCE_SECONDS = 600.0
AFTERWARDS_SECONDS = 1.0
SHOWN_GAPS = 12
REFRESH = 64
"""Requests after which the time without a core is read again; it takes some microseconds."""


def queue_time() -> Callable[[], int]:
    """Return what tells for how many nanoseconds the calling thread was ready and had no core; proc(5), ``schedstat``."""
    try:
        descriptor = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY)
        os.pread(descriptor, 64, 0).split()[1]
    except (OSError, IndexError):
        return lambda: 0
    return lambda: int(os.pread(descriptor, 64, 0).split()[1])


class Watch:
    """A serving thread that notes how long its requests wait.

    Args:
        serve: Handles the request with a number; returns the handle of the model it used.
        rate: Requests per second; 0 is full speed.
    """

    def __init__(self, serve: Callable[[int], object], rate: int) -> None:
        self._serve, self._rate = serve, rate
        self._fine, self.long = [0] * (LONG_NS // FINE_NS), list[tuple[int, int, int]]()
        self.swaps: list[int] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._steadily if rate else self._at_full_speed, name="serving")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _at_full_speed(self) -> None:
        serve, ended, fine, number = self._serve, self._ended.is_set, self._fine, 0
        queued = queue_time()
        current, without = serve(0), queued()
        last = perf_counter_ns()
        while not ended():
            number += 1
            used = serve(number)
            now = perf_counter_ns()
            gap = now - last
            if gap < LONG_NS:
                fine[gap // FINE_NS] += 1
            else:
                self.long.append((last, gap, queued() - without))
            if gap >= LONG_NS or number % REFRESH == 0:
                without = queued()
            last = now
            if used is not current:
                self.swaps.append(now)
            current = used

    def _steadily(self) -> None:
        period, number, pause = 1_000_000_000 // self._rate, 0, threading.Event()
        queued = queue_time()
        current, due = self._serve(0), perf_counter_ns()
        while not self._ended.is_set():
            number += 1
            due += period
            without = queued()
            pause.wait(max(0, due - perf_counter_ns()) / 1e9)
            used = self._serve(number)
            gap = perf_counter_ns() - due
            if gap < LONG_NS:
                self._fine[gap // FINE_NS] += 1
            else:
                self.long.append((due, gap, queued() - without))
            if used is not current:
                self.swaps.append(perf_counter_ns())
            current = used

    def result(self, phases: dict[str, tuple[int, int]]) -> dict[str, Any]:
        """Return longest, percentiles in milliseconds, and in which phases the longest gaps began."""
        longest = sorted(self.long, key=lambda entry: -entry[1])
        return {
            "longest_ms": longest[0][1] / 1e6 if longest else self._percentile(1.0),
            **{f"p{label}_ms": self._percentile(share) for label, share in (("50", 0.5), ("99", 0.99), ("99.9", 0.999))},
            "requests": sum(self._fine) + len(self.long),
            "over_5_ms": sum(gap > 5_000_000 for _, gap, _ in self.long),
            "longest_with_a_core_ms": max((gap - queued for _, gap, queued in self.long), default=0) / 1e6,
            "phases_ms": {name: round((end - begin) / 1e6, 1) for name, (begin, end) in phases.items()},
            "longest_by_phase_ms": {
                name: round(max((gap for at, gap, _ in self.long if begin <= at + gap // 2 < end), default=0) / 1e6, 2)
                for name, (begin, end) in phases.items()
            },
            "longest_with_a_core_by_phase_ms": {
                name: round(max((gap - q for at, gap, q in self.long if begin <= at + gap // 2 < end), default=0) / 1e6, 2)
                for name, (begin, end) in phases.items()
            },
            "longest_gaps": [
                {
                    "ms": round(gap / 1e6, 2), "without_a_core_ms": round(queued / 1e6, 2),
                    "phase": next((name for name, (begin, end) in phases.items() if begin <= at + gap // 2 < end), "before"),
                }
                for at, gap, queued in longest[:SHOWN_GAPS]
            ],
        }

    def _percentile(self, share: float) -> float:
        wanted, seen = share * (sum(self._fine) + len(self.long)), 0
        for index, count in enumerate(self._fine):
            seen += count
            if seen >= wanted:
                return (index + 1) * FINE_NS / 1e6
        gaps = sorted(gap for _, gap, _ in self.long)
        return gaps[min(len(gaps) - 1, max(0, round(wanted) - seen - 1))] / 1e6 if gaps else 0.0


def publish(task: Task, say: Callable[[Mark], None], listen: Callable[[], str]) -> None:
    """Make two versions; publish each when told, or write each as one pickle file."""
    from modelcast.publisher import Publisher

    told = task.server
    models = [make(told["kind"], size=task.size, entries=told["entries"], version=version) for version in (1, 2)]
    if told["way"] == "naive":
        for version, model in enumerate(models, 1):
            with (Path(task.common) / f"{version}.pickle").open("wb") as file:
                pickle.dump(model, file, protocol=5)
    publisher = Publisher(told["url"], signing_key=told["key"])
    say(Mark.now("ready"))
    while (word := listen()) in {"1", "2"}:
        publisher.publish(models[int(word) - 1], model=task.label, version=f"{word}.0.0", lineage={})
        say(Mark.now(f"published {word}"))


def receive(task: Task, say: Callable[[Mark], None], listen: Callable[[], str]) -> None:
    """Serve beside whatever the way is."""
    import_libraries(task.server["kind"])
    {"naive": _naive, "idle": _modelcast, "modelcast": _modelcast}[task.server["way"]](task, say, listen)


def _naive(task: Task, say: Callable[[Mark], None], listen: Callable[[], str]) -> None:
    def load(version: int) -> Any:
        with (Path(task.common) / f"{version}.pickle").open("rb") as file:
            return pickle.load(file)

    box, answer, times = [load(1)], request(task.server["kind"]), dict[str, tuple[int, int]]()

    def serve(number: int) -> object:
        model = box[0]
        answer(model, number)
        return id(model)

    def renew() -> None:
        begin = perf_counter_ns()
        new = load(2)
        end = perf_counter_ns()
        box[0] = new
        times.update(load=(begin, end), release=(end, perf_counter_ns() + int(AFTERWARDS_SECONDS * 1e9)))

    pause = threading.Event()
    say(Mark.now("ready"))
    listen()
    with Watch(serve, task.server["rate"]) as watch:
        pause.wait(AFTERWARDS_SECONDS)
        say(Mark.now("serving"))
        loader = threading.Thread(target=renew)
        loader.start()
        loader.join()
        pause.wait(AFTERWARDS_SECONDS)
    say(Mark.now("served", **watch.result(times)))


def _modelcast(task: Task, say: Callable[[Mark], None], listen: Callable[[], str]) -> None:
    import structlog

    from modelcast.consumer import ModelConsumer
    from modelcast.consumer.pickles import load_pickled
    from modelcast.consumer.policy import Loading

    told, events = task.server, dict[str, Any]()

    def note(_logger: object, _name: str, event: dict[str, Any]) -> dict[str, Any]:
        if event["event"] == "promoted":
            events["stages_ms"] = event["stages_ms"]
        return event

    structlog.configure(processors=[note, structlog.processors.JSONRenderer()], logger_factory=structlog.PrintLoggerFactory(sys.stderr))

    def load(folder: Path) -> object:
        events["load"] = perf_counter_ns()
        model = load_pickled(folder)
        events["loaded"] = perf_counter_ns()
        return model

    consumer = ModelConsumer(
        told["url"], model=task.label, trust=[told["trust"]], store=Path(task.common) / "store", instance="serving",
        loaders={"cloudpickle": load}, loading=Loading(told["collector"]),
    )
    answer, pause = request(told["kind"]), threading.Event()

    def serve(number: int) -> object:
        active = consumer.active
        answer(active.model, number)
        return active

    consumer.start()
    consumer.wait_until_ready(PATIENCE_SECONDS)
    say(Mark.now("ready"))
    if listen() == "end":
        consumer.stop()
        return
    with Watch(serve, told["rate"]) as watch:
        begin = perf_counter_ns()
        if not told["is_waiting"]:
            pause.wait(AFTERWARDS_SECONDS)
            begin = perf_counter_ns()
        say(Mark.now("serving"))
        if told["way"] == "idle":
            pause.wait(told["idle_seconds"])
        else:
            _until(lambda: consumer.active.version == "2.0.0" and not consumer._slot.departed.is_waiting, pause)
        freed = perf_counter_ns()
        pause.wait(AFTERWARDS_SECONDS)
    phases = {"idle": (begin, perf_counter_ns())} if told["way"] == "idle" else _phases(begin, events, watch.swaps, freed)
    say(Mark.now("served", **watch.result(phases)))
    consumer.stop()


def _phases(begin: int, events: dict[str, Any], swaps: list[int], freed: int) -> dict[str, tuple[int, int]]:
    verify = events["load"] - int(events["stages_ms"].get("verified", 0) * 1e6)
    swap = swaps[-1] if swaps else freed
    return {
        "receive": (begin, verify), "verify": (verify, events["load"]), "load": (events["load"], events["loaded"]),
        "prove and swap": (events["loaded"], swap), "release": (swap, freed), "afterwards": (freed, freed + int(AFTERWARDS_SECONDS * 1e9)),
    }


def _until(done: Callable[[], bool], pause: threading.Event) -> None:
    waited = 0.0
    while not done() and waited < PATIENCE_SECONDS:
        pause.wait(POLL_SECONDS)
        waited += POLL_SECONDS


def main() -> None:
    """Play the role; marks go to standard output, words come from standard input."""
    role, text = sys.argv[1:3]
    channel, sys.stdout = sys.stdout, sys.stderr   # whatever a library prints must not look like a mark

    def say(mark: Mark) -> None:
        print(mark.to_json(), file=channel, flush=True)

    def listen() -> str:
        return (sys.stdin.readline() or "end").strip()

    task = Task.from_json(text)
    {"publish": publish, "receive": receive}[role](task, say, listen)


if __name__ == "__main__":
    main()
