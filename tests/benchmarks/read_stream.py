"""What reading a chunk stream costs, by the stream protocol and by AMQP: ``python -m tests.benchmarks.read_stream``.

Fills the stream of a model through its exchange, then lets N processes read all of it, without hashing and writing unless told,
and prints MB/s in sum, CPU seconds per GiB of readers and broker, peak memory and page faults of a reader. With ``--busy`` each reader
has a second thread that runs Python code without a rest, as a loaded application has: the user time is that thread's then. With
``--plain`` AMQP is measured a second time, without what modelcast changes when it receives: pika reads and joins as it comes, and every
chunk is acknowledged by itself. A private broker of its own (``MODELCAST_RABBITMQ_SERVER`` chooses another server); Linux, for ``/proc``.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import click
from tests.benchmarks.ground import SHARED_MEMORY

from modelcast.shared import amqp_channel, pika_levers, stream_source
from modelcast.shared.digest import digest
from modelcast.shared.fs import Fs
from modelcast.shared.limits import MIB
from modelcast.shared.localbroker.node import PrivateNode
from modelcast.shared.roads import open_road

GIB, MODEL, VERSION = 1024 * MIB, "bench", "1.0.0"
FILE_BYTES = 64 * MIB
"""How large the file grows into which bodies are written."""
TICKS = os.sysconf("SC_CLK_TCK")


def fill(url: str, size: int, chunk_bytes: int) -> None:
    """Publish ``size`` bytes that no compression makes smaller."""
    publisher = open_road(url).publish(MODEL, "production")
    body, count = os.urandom(chunk_bytes), size // chunk_bytes
    for index in range(count):
        publisher.chunks.send(body, version=VERSION, index=index, count=count, digest="ab" * 32)
    publisher.chunks.finish("r")
    publisher.close()


@contextmanager
def busy_thread() -> Iterator[None]:
    """Let a thread run Python code without a rest."""
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            sum(range(2000))   # some 30 microseconds

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def read(url: str, *, hashing: bool, writing: bool) -> dict[str, float]:
    """Read to the end marker; called in a process of its own, which begins when told by stdin."""
    source, fs, size = open_road(url).chunks(MODEL, None), Fs(), 0
    if source.receive(60.0) is None:
        raise SystemExit("nothing came")
    print(source.name, flush=True)
    sys.stdin.readline()
    with tempfile.NamedTemporaryFile(dir=SHARED_MEMORY) as file:
        before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
        while True:
            arrived = source.receive(60.0)
            if arrived is None:
                raise SystemExit("the stream has no end")
            if hashing and arrived.is_chunk:
                digest(arrived.body)
            if writing and arrived.is_chunk:
                fs.write_at(file.fileno(), arrived.body, size % FILE_BYTES, Path(file.name))
            size += len(arrived.body)
            if arrived.ends:
                break
        after, ended = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    source.close()
    return {
        "bytes": size, "began": began, "ended": ended, "user": after.ru_utime - before.ru_utime, "system": after.ru_stime - before.ru_stime,
        "faults": after.ru_minflt - before.ru_minflt, "peak": after.ru_maxrss * 1024,
    }


def receive_as_pika_comes() -> None:
    """Pull none of the levers of receiving in this process."""
    pika_levers.read_in_place = lambda _connection: None
    amqp_channel.CREDIT_SHARE = sys.maxsize


def broker_cpu(pid: int) -> float:
    """Return the CPU seconds that a node has used, those of its own programs included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS


def measure(url: str, readers: int, pid: int, flags: list[str]) -> str:
    """Let ``readers`` processes read at once; returns a line of the table."""
    command = [sys.executable, "-m", "tests.benchmarks.read_stream", "--as-reader", url, *flags]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(readers)]
    name = {process.stdout.readline().strip() for process in processes}.pop() + (", plain" if "--plain" in flags else "")
    cpu = broker_cpu(pid)
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    found = [json.loads(process.communicate(timeout=600)[0]) for process in processes]
    cpu = broker_cpu(pid) - cpu
    size = sum(one["bytes"] for one in found)
    seconds = max(one["ended"] for one in found) - min(one["began"] for one in found)
    per_gib = GIB / size
    return (
        f"{name:>11} {readers:>8} {size / seconds / 1e6:>8.0f} {sum(one['user'] for one in found) * per_gib:>12.3f}"
        f" {sum(one['system'] for one in found) * per_gib:>14.3f} {cpu * per_gib:>14.3f} {max(one['peak'] for one in found) / MIB:>9.0f}"
        f" {sum(one['faults'] for one in found) * per_gib:>10.0f}"
    )


@click.command()
@click.option("--mib", default=512, show_default=True, help="Size of the artifact.")
@click.option("--chunk-kib", default=1024, show_default=True, help="Size of a chunk.")
@click.option("--readers", default="1,4", show_default=True, help="How many read at once.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--hashing", is_flag=True, help="Hash each body, as an instance does.")
@click.option("--writing", is_flag=True, help="Write each body to a file in memory, as an instance does.")
@click.option("--busy", is_flag=True, help="Beside a thread of each reader that never rests.")
@click.option("--sources", default="stream,amqp", show_default=True, help="With commas.")
@click.option("--credit", type=int, help="Osiris chunks that the broker may send ahead.")
@click.option("--crc-kib", type=int, help="Up to which size osiris chunks are compared with their CRC-32.")
@click.option("--plain", is_flag=True, help="AMQP once more, as pika comes.")
@click.option("--as-reader", hidden=True)
def main(
    mib: int, chunk_kib: int, readers: str, rounds: int, sources: str, credit: int | None, crc_kib: int | None, as_reader: str | None,
    *, hashing: bool, writing: bool, busy: bool, plain: bool,
) -> None:
    """Measure, or be a reader that is measured."""
    if credit is not None:
        stream_source.CREDIT, stream_source.TOP_UP = credit, max(1, credit // 2)
    if crc_kib is not None:
        stream_source.CRC_BYTES = crc_kib * 1024
    if as_reader is not None:
        if plain:
            receive_as_pika_comes()
        with busy_thread() if busy else nullcontext():
            print(json.dumps(read(as_reader, hashing=hashing, writing=writing)))
        return
    flags = [name for name, is_on in (("--hashing", hashing), ("--writing", writing), ("--busy", busy)) if is_on]
    flags += [f"--credit={credit}"] if credit is not None else []
    flags += [f"--crc-kib={crc_kib}"] if crc_kib is not None else []
    with tempfile.TemporaryDirectory() as folder:
        node = PrivateNode(Path(folder) / "broker")
        node.start()
        try:
            url, pid = node.application_url, node.status().pid
            fill(url, mib * MIB, chunk_kib * 1024)
            print("     source  readers     MB/s   user s/GiB   system s/GiB   broker s/GiB  peak MiB faults/GiB")
            for number in map(int, readers.split(",")):
                for _ in range(rounds):
                    for source in sources.split(","):
                        print(measure(f"{url}&chunks={source}", number, pid, flags), flush=True)
                    if plain:
                        print(measure(f"{url}&chunks=amqp", number, pid, [*flags, "--plain"]), flush=True)
        finally:
            node.stop()


if __name__ == "__main__":
    main()
