"""What each step of a load does to a serving thread, without a broker: ``python -m tests.benchmarks.stall_steps objects``.

One process: a thread that only looks at the clock, and beside it one step after the other, as the consumer does it and as it was
before. To find out what stalls; ``stall`` measures the whole. Imports the consumer's and the publisher's modules that it looks into.
"""

import gc
import pickle
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import click
from tests.benchmarks.stall_models import KINDS, import_libraries, make
from tests.benchmarks.tables import show

from modelcast.consumer.collecting import sparing
from modelcast.consumer.pickles import load_pickled
from modelcast.consumer.releasing import take_apart
from modelcast.publisher.pickling import pickle_object

LONG_NS = 1_000_000
PIECE = 2**20
COLUMNS = ("step", "takes ms", "longest gaps of the other thread, ms")


def beside(step: Callable[[], object]) -> list[str]:
    """Do a step beside a busy thread; return how long it took, and the thread's longest gaps."""
    ended, pause, gaps = threading.Event(), threading.Event(), list[int]()

    def look() -> None:
        last = perf_counter_ns()
        while not ended.is_set():
            now = perf_counter_ns()
            if now - last > LONG_NS:
                gaps.append(now - last)
            last = now

    thread = threading.Thread(target=look)
    thread.start()
    pause.wait(0.1)
    begin = perf_counter_ns()
    step()
    took = perf_counter_ns() - begin
    pause.wait(0.1)
    ended.set()
    thread.join()
    return [f"{took / 1e6:.0f}", ", ".join(f"{gap / 1e6:.1f}" for gap in sorted(gaps, reverse=True)[:4])]


def churn() -> None:
    """Make containers as an application does that keeps some: sooner or later the collector makes a full pass."""
    for _ in range(300):
        kept.extend([[] for _ in range(1000)])
    kept.clear()


kept: list[Any] = []


@click.command()
@click.argument("kind", type=click.Choice(KINDS))
@click.option("--size", default=64, show_default=True, help="MiB of arrays and of the forest.")
@click.option("--entries", default=1_000_000, show_default=True, help="Entries of the dictionary.")
def main(*, kind: str, size: int, entries: int) -> None:
    """What each step of a load does to a serving thread."""
    import_libraries(kind)
    box, lines = list[Any](), list[list[str]]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _lay_out(make(kind, size=size * PIECE, entries=entries, version=1), folder)
        gc.collect()
        lines.append(["nothing", *beside(lambda: threading.Event().wait(0.5))])
        lines.append(["an application at work", *beside(churn)])
        lines.append(["pickle.load", *beside(lambda: box.append(_naive(folder)))])
        lines.append(["dropped", *beside(box.clear)])
        for rule in ("leave", "pause", "freeze"):
            gc.collect()

            def load(rule: str = rule) -> None:
                with sparing(rule):
                    box.append(load_pickled(folder))

            lines.append([f"loaded, collector: {rule}", *beside(load)])
            lines.append(["   an application at work", *beside(churn)])
            lines.append(["   taken apart", *beside(lambda: take_apart(box))])
            gc.unfreeze()
    show(f"{kind}: what stalls", COLUMNS, lines)


def _lay_out(model: object, folder: Path) -> None:
    with (folder / "naive.pickle").open("wb") as file:
        pickle.dump(model, file, protocol=5)
    for source in pickle_object(model)[0]:
        with (folder / source.path).open("wb") as file:
            for start in range(0, source.size, PIECE):
                file.write(source.read(start, min(PIECE, source.size - start)))


def _naive(folder: Path) -> object:
    with (folder / "naive.pickle").open("rb") as file:
        return pickle.load(file)


if __name__ == "__main__":
    main()
