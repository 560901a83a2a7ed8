"""The longest wait of a thread that does nothing but look at the clock, while a release is published, received, loaded and swapped.

``python -m tests.benchmarks.stall_clock [--size 512] [--rate 200]``. Beside ``stall``, whose requests make garbage and take time of their
own, this shows the stalls alone. Publisher and broker stand back, and this process goes before everybody else where that is allowed
(root): in service they are on other machines. Imports precedence, the private broker, publisher and consumer.
"""

import multiprocessing
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np
from tests.benchmarks.ground import SHARED_MEMORY
from tests.benchmarks.precedence import go_first, own_session, stand_back

from modelcast.consumer import ModelConsumer
from modelcast.publisher import Publisher
from modelcast.shared.keyfiles import generate
from modelcast.shared.localbroker.node import PrivateNode

MIB = 1024 * 1024
LAYERS = 8
AFTERWARDS_SECONDS = 3.0
"""How long is looked on after the swap, while the old model is freed."""
NOTED_NS = 1_000_000


def publish(url: str, key: Path, mib: int, version: str) -> None:
    """Publish arrays of random numbers; run in a process of its own."""
    own_session()
    stand_back(os.getpid())
    generator = np.random.default_rng()
    layers = {f"layer{n}": generator.random(mib * MIB // 4 // LAYERS, dtype=np.float32) for n in range(LAYERS)}
    Publisher(url, signing_key=key).publish(layers, model="clock", version=version)


def start_node(folder: Path) -> None:
    """Start the broker; run in a process of its own."""
    node = PrivateNode(folder)
    node.start()
    stand_back(node.status().pid or 0)


def watch(consumer: ModelConsumer, rate: int) -> tuple[float, list[float]]:
    """Look at the clock until a while after the next swap; returns seconds to the swap and all gaps over 1 ms, in ms."""
    before, begin, swapped = consumer.active.version, time.perf_counter(), None
    gaps: list[float] = []
    last = time.perf_counter_ns()
    while swapped is None or time.perf_counter() < swapped + AFTERWARDS_SECONDS:
        if rate:
            time.sleep(1 / rate)
            last = time.perf_counter_ns()
        sum(range(2000))   # some 30 microseconds of Python
        now = time.perf_counter_ns()
        if now - last > NOTED_NS:
            gaps.append((now - last) / 1e6)
        last = now
        if swapped is None and consumer.active.version != before:
            swapped = time.perf_counter()
    return swapped - begin, gaps


@click.command()
@click.option("--size", default=512, show_default=True, help="MiB of arrays.")
@click.option("--rate", default=0, help="Looks at the clock a second; 0 is without a pause.")
@click.option("--repeats", default=3, show_default=True)
def main(size: int, rate: int, repeats: int) -> None:
    """Show the longest gap of each repetition."""
    with TemporaryDirectory(dir=SHARED_MEMORY) as folder:
        key, public = generate(Path(folder) / "key")[:2]
        node = PrivateNode(Path(folder) / "node")
        spawn = multiprocessing.get_context("spawn")
        try:
            starter = spawn.Process(target=start_node, args=(Path(folder) / "node",))
            starter.start()
            starter.join()
            publish_in = lambda mib, version: spawn.Process(target=publish, args=(node.application_url, key, mib, version))  # noqa: E731
            first = publish_in(1, "0.0.1")
            first.start()
            first.join()
            with ModelConsumer(node.application_url, model="clock", trust=[public], store=Path(folder) / "store") as consumer:
                consumer.wait_until_ready(60)
                go_first()
                for number in range(1, repeats + 1):
                    publisher = publish_in(size, f"1.{number}.0")
                    publisher.start()
                    seconds, gaps = watch(consumer, rate)
                    publisher.join()
                    click.echo(f"longest {max(gaps, default=0.0):5.1f} ms, {len(gaps)} over 1 ms, swapped after {seconds:.1f} s")
        finally:
            node.stop()


if __name__ == "__main__":
    main()
