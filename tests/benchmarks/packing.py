"""What packing chunks with zstd saves and costs: the figures behind ``docs/adr/0019-zstd.md``.

``python -m tests.benchmarks.packing``. Kinds of models as ``Publisher.publish`` lays them out, in chunks of 1 MiB, one thread, CPU time.
Decides nothing. Imports the pickler, zstandard, NumPy, scikit-learn and click.
"""

import time
from collections.abc import Iterator
from typing import Any

import click
import numpy as np
import zstandard
from rich.console import Console
from rich.table import Table
from sklearn.ensemble import RandomForestClassifier

from modelcast.publisher.pickling import pickle_object
from modelcast.shared.limits import MIB

MOST_BYTES = 64 * MIB
LEVELS = (1, 3)


def models() -> Iterator[tuple[str, Any]]:
    """Yield a name and a model of each kind."""
    random = np.random.default_rng(0)
    inputs = random.random((20_000, 20))
    answers = (inputs[:, 0] + random.random(20_000) > 1).astype(int)
    weights = random.standard_normal(16 * MIB).astype(np.float32)
    yield "random forest, 60 trees", RandomForestClassifier(60, n_jobs=2).fit(inputs, answers)
    yield "dictionary of 500,000 small objects", {f"user-{n}": {"score": n * 0.5, "n": n} for n in range(500_000)}
    yield "float32 weights", weights
    yield "float32 weights, half of them zero", np.where(random.random(16 * MIB) < 0.5, 0, weights).astype(np.float32)
    yield "float32 weights rounded to bfloat16", (weights.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    yield "int8 weights", (random.standard_normal(64 * MIB) * 20).astype(np.int8)


def chunks_of(model: Any) -> list[bytes]:
    """Return the first chunks of what is published for a model."""
    whole = b"".join(bytes(file.read(0, file.size)) for file in pickle_object(model)[0])[:MOST_BYTES]
    return [whole[at : at + MIB] for at in range(0, len(whole), MIB)]


@click.command()
def main() -> None:
    """Show share of the size and MB/s of packing and unpacking, for each kind of model and level."""
    table = Table("what", "level", "size after", "packing MB/s", "unpacking MB/s")
    for name, model in models():
        chunks = chunks_of(model)
        megabytes = sum(map(len, chunks)) / 1e6
        for level in LEVELS:
            begin = time.process_time()
            compressor = zstandard.ZstdCompressor(level=level)
            packed = [compressor.compress(chunk) for chunk in chunks]
            middle = time.process_time()
            decompressor = zstandard.ZstdDecompressor()
            for frame in packed:
                decompressor.decompress(frame)
            end = time.process_time()
            share = sum(map(len, packed)) / 1e6 / megabytes
            rates = f"{megabytes / (middle - begin):,.0f}", f"{megabytes / (end - middle):,.0f}"
            table.add_row(name, str(level), f"{share:.2f}", *rates)
    Console().print(table)


if __name__ == "__main__":
    main()
