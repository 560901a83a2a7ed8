"""What a GiB costs on this machine, step by step: the floor under every way of bringing it somewhere.

``python -m tests.benchmarks.unit_costs [--directory PLACE]``. Decides nothing; each step is done as modelcast does it, in pieces of
1 MiB, and its CPU time is taken, user and system. Imports the standard library, blake3, zlib and click.
"""

import hashlib
import os
import socket
import tempfile
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from statistics import median

import click
from blake3 import blake3
from rich.console import Console
from rich.table import Table
from tests.benchmarks.ground import SHARED_MEMORY, touch_memory

PIECE_BYTES = 1024 * 1024
PIECES = 512
ROUNDS = 5


def hashed(make: Callable[[memoryview], object]) -> Callable[[Path], float]:
    """Return a measurement of hashing pieces that are in the cache, as chunks are that have just arrived."""

    def run(_place: Path) -> float:
        piece = memoryview(os.urandom(PIECE_BYTES))
        begin = time.thread_time()
        for _ in range(PIECES):
            make(piece)
        return time.thread_time() - begin

    return run


def written(place: Path) -> float:
    """Write into a new file by position, its room reserved first, as an assembly does."""
    piece, path = memoryview(os.urandom(PIECE_BYTES)), place / "written"
    touch_memory(PIECES * PIECE_BYTES)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    begin = time.thread_time()
    os.posix_fallocate(descriptor, 0, PIECES * PIECE_BYTES)
    for index in range(PIECES):
        os.pwrite(descriptor, piece, index * PIECE_BYTES)
    spent = time.thread_time() - begin
    os.close(descriptor)
    path.unlink()
    return spent


def received(_place: Path) -> float:
    """Receive over loopback into one buffer."""
    ours, theirs = _connected()
    piece, buffer = memoryview(os.urandom(PIECE_BYTES)), memoryview(bytearray(PIECE_BYTES))
    sender = threading.Thread(target=lambda: [theirs.sendall(piece) for _ in range(PIECES)])
    sender.start()
    left, begin = PIECES * PIECE_BYTES, time.thread_time()
    while left:
        left -= ours.recv_into(buffer)
    spent = time.thread_time() - begin
    sender.join()
    ours.close()
    theirs.close()
    return spent


def sent(_place: Path) -> float:
    """Send over loopback from memory."""
    ours, theirs = _connected()
    piece, buffer = memoryview(os.urandom(PIECE_BYTES)), memoryview(bytearray(PIECE_BYTES))

    def swallow() -> None:
        while theirs.recv_into(buffer):
            pass

    receiver = threading.Thread(target=swallow)
    receiver.start()
    begin = time.thread_time()
    for _ in range(PIECES):
        ours.sendall(piece)
    spent = time.thread_time() - begin
    ours.close()
    receiver.join()
    theirs.close()
    return spent


def _connected() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        return ours, server.accept()[0]


STEPS: dict[str, Callable[[Path], float]] = {
    "SHA-256": hashed(lambda piece: hashlib.sha256(piece).digest()),
    "BLAKE3": hashed(lambda piece: blake3(piece).digest()),
    "CRC-32 of zlib": hashed(zlib.crc32),
    "write to a new file": written,
    "receive from a socket": received,
    "send to a socket": sent,
}


@click.command()
@click.option("--directory", type=click.Path(file_okay=False, path_type=Path), help="Where files lie; memory if left out.")
def main(directory: Path | None) -> None:
    """Show the CPU seconds that a GiB takes in each step; the median of five."""
    table = Table("step", "CPU s/GiB", title="What a GiB costs here")
    with tempfile.TemporaryDirectory(dir=directory or SHARED_MEMORY) as folder:
        for name, step in STEPS.items():
            spent = median(step(Path(folder)) for _ in range(ROUNDS)) * 1024**3 / (PIECES * PIECE_BYTES)
            table.add_row(name, f"{spent:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
