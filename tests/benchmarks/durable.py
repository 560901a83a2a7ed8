"""How long it takes until the chunks of a release are durable in a depot, in the ways that there are.

``python -m tests.benchmarks.durable --directory PLACE`` on the disk that is asked about; memory would tell nothing. Decides nothing.
"""

import os
import tempfile
import time
from pathlib import Path
from statistics import median

import click
from blake3 import blake3
from rich.console import Console
from rich.table import Table

from modelcast.shared.depot import disk as module
from modelcast.shared.depot.chunks import ChunkShelf
from modelcast.shared.depot.disk import Disk
from modelcast.shared.depot.index import Entry, EntryKind
from modelcast.shared.depot.layout import ModelPlaces

CHUNKS, CHUNK_BYTES = 512, 1024 * 1024


class FileByFile(Disk):
    """A disk whose file system cannot be synced at once."""

    def sync_all(self, path: Path, descriptor: int | None = None) -> bool:
        return False


def seconds(place: Path, disk: Disk) -> tuple[float, float]:
    """Return how long writing took, and then syncing."""
    places, content = ModelPlaces("m"), bytearray(os.urandom(CHUNK_BYTES))
    with tempfile.TemporaryDirectory(dir=place) as folder:
        root = Path(folder)
        for name in (places.incoming, places.chunks):
            (root / name).mkdir(parents=True)
        shelf, entries = ChunkShelf(disk, root, places), []
        os.sync()
        begin = time.perf_counter()
        for number in range(CHUNKS):
            content[:8] = number.to_bytes(8, "big")
            entries.append(Entry(EntryKind.CHUNK, blake3(content).digest(), CHUNK_BYTES))
            shelf.put(entries[-1], memoryview(content))
        written = time.perf_counter()
        shelf.sync(entries)
        return written - begin, time.perf_counter() - written


@click.command()
@click.option("--directory", required=True, type=click.Path(file_okay=False, path_type=Path), help="On which disk.")
@click.option("--rounds", default=5, show_default=True)
def main(directory: Path, rounds: int) -> None:
    """Show the medians; the ways take turns."""
    begins = module._begin_to_write
    ways = {"at once, begun early": (Disk(), begins), "at once": (Disk(), lambda _: None), "file by file": (FileByFile(), lambda _: None)}
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, (disk, begin) in ways.items():
            module._begin_to_write = begin
            found[way].append(seconds(directory, disk))
    table = Table("way", "write, s", "then sync, s", "together, s", title=f"{CHUNKS} chunks of {CHUNK_BYTES // 1024} KiB")
    for way, times in found.items():
        write, sync = zip(*times, strict=True)
        table.add_row(way, f"{median(write):.2f}", f"{median(sync):.2f}", f"{median(map(sum, times)):.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
