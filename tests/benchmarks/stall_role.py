"""One process of a stall round: ``python -m tests.benchmarks.stall_role publish|receive TASK``; see ``stall``.

Decides what each way does beside the serving thread, and where its phases begin and end. Imports the watch and the models.
"""

import pickle
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from time import perf_counter_ns
from typing import Any

from tests.benchmarks.precedence import go_first, own_session
from tests.benchmarks.stall_models import import_libraries, make, request
from tests.benchmarks.stall_watch import Watch, settle
from tests.benchmarks.task import Mark, Task

POLL_SECONDS = 0.05
PATIENCE_SECONDS = 600.0
AFTERWARDS_SECONDS = 1.0


def publish(task: Task, say: Callable[[Mark], None], listen: Callable[[], str]) -> None:
    """Make two models; publish one when told which and as what, and as a beginning write each as one pickle file."""
    from modelcast.publisher import Publisher

    own_session()
    told = task.server
    models = [make(told["kind"], size=task.size, entries=told["entries"], version=version) for version in (1, 2)]
    for version, model in enumerate(models, 1):
        with (Path(task.common) / f"{version}.pickle").open("wb") as file:
            pickle.dump(model, file, protocol=5)
    publisher = Publisher(told["url"], signing_key=told["key"])
    say(Mark.now("ready"))
    while (words := listen()) != "end":
        version, label = words.split()
        publisher.publish(models[int(version) - 1], model=label, version=f"{version}.0.0", lineage={})
        say(Mark.now(f"published {words}"))


def receive(task: Task, say: Callable[[Mark], None], listen: Callable[[], str]) -> None:
    """Serve beside whatever the way is."""
    went_first = go_first()
    import_libraries(task.server["kind"])
    found = {"naive": _naive, "idle": _modelcast, "modelcast": _modelcast}[task.server["way"]](task, say, listen)
    if found:   # it was not only there to receive the first version
        say(Mark.now("served", went_first=went_first, **found))


def _naive(task: Task, say: Callable[[Mark], None], listen: Callable[[], str]) -> dict[str, Any]:
    told = task.server

    def load(version: int) -> Any:
        with (Path(told["pickles"]) / f"{version}.pickle").open("rb") as file:
            return pickle.load(file)

    box, answer, times = [load(1)], request(told["kind"]), dict[str, tuple[int, int]]()

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
    settle()
    with Watch(serve, told["rate"]) as watch:
        pause.wait(AFTERWARDS_SECONDS)
        say(Mark.now("serving"))
        loader = threading.Thread(target=renew)
        loader.start()
        loader.join()
        pause.wait(AFTERWARDS_SECONDS)
    return watch.result(times)


def _modelcast(task: Task, say: Callable[[Mark], None], listen: Callable[[], str]) -> dict[str, Any]:
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
        return {}
    settle()
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
    consumer.stop()
    return watch.result(phases)


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
