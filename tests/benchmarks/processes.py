"""Several processes of one instance: memory they take together, how far apart they switch, and what following costs.

Bare processes and workers of gunicorn. ``python -m tests.benchmarks.processes --help``. Linux only: reads smaps_rollup and schedstat.
Decides what is compared: the processes before and with a model. Imports players' common ground.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np
from tests.benchmarks.bars import HEADINGS, Bar, rows_of
from tests.benchmarks.contender import MIB
from tests.benchmarks.contenders import BY_NAME
from tests.benchmarks.documents import ROOT, machine_facts
from tests.benchmarks.ground import Ground
from tests.benchmarks.processes_role import SETTINGS
from tests.benchmarks.tables import note, show

from modelcast.publisher import Publisher
from modelcast.shared.keyfiles import generate

ROLE, CONFIG = "tests.benchmarks.processes_role", "tests/benchmarks/gunicorn_config.py"
ARRAY_BYTES = 16 * MIB
PATIENCE_SECONDS = 180.0
COPIES = 8
"""Files, streams and two releases in the store, in the model's size."""


def pause(seconds: float) -> None:
    """Let the others run."""
    threading.Event().wait(seconds)


class Crowd:
    """Processes that share a store, and what they noted.

    Args:
        folder: Where their notes lie, one file for each process.
        count: How many there are.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self._folder, self._count = folder, count

    def pids(self) -> list[int]:
        """Return the processes that have started a consumer."""
        return [int(path.stem) for path in self._folder.glob("*.jsonl")]

    def wait_until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for something, looking ten times a second."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(what)
            pause(0.1)

    def switches(self, version: str) -> list[dict[str, Any]]:
        """Wait until every process has switched to a version and read it; return their notes."""
        def found() -> list[dict[str, Any]]:
            texts = [path.read_text() for path in self._folder.glob("*.jsonl")]
            lines = [json.loads(line) for text in texts for line in text.splitlines() if text.endswith("\n")]
            return [line for line in lines if line["version"] == version]

        self.wait_until(lambda: len(found()) == self._count, f"all processes to serve {version}")
        return found()


def pss_bytes(pid: int) -> dict[str, int]:
    """Return a process's proportional set size: all of it, and what of it are files of the store, mapped."""
    total = next(int(line.split()[1]) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines() if line.startswith("Pss:"))
    mapped, is_model = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        head = line.split()
        if not head[0].endswith(":"):
            is_model = "/releases/" in line
        elif is_model and head[0] == "Pss:":
            mapped += int(head[1])
    return {"total": total * 1024, "mapped": mapped * 1024}


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of all threads of a process, in seconds, exact to a microsecond."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir()) / 1e9


def model_of(size: int, seed: int) -> list[Any]:
    """Return arrays of ``size`` bytes together, with other numbers for each seed."""
    random = np.random.default_rng(seed)
    return [random.random(min(ARRAY_BYTES, size - start) // 4, dtype=np.float32) for start in range(0, size, ARRAY_BYTES)]


@contextmanager
def bare(settings: dict[str, Any], count: int) -> Iterator[None]:
    """Run ``count`` processes of Python."""
    environment = os.environ | {SETTINGS: json.dumps(settings)}
    with open(Path(settings["notes"]).parent / "bare.log", "ab") as log:
        running = [
            subprocess.Popen([sys.executable, "-m", ROLE], stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment, cwd=ROOT)
            for _ in range(count)
        ]
        try:
            yield
        finally:
            for process in running:
                process.communicate(timeout=30)


@contextmanager
def gunicorn(settings: dict[str, Any], count: int) -> Iterator[None]:
    """Run gunicorn with ``count`` workers, and ask it once whether it answers."""
    environment = os.environ | {SETTINGS: json.dumps(settings)}
    short = tempfile.mkdtemp(prefix="bench-")   # a socket's path has at most 107 bytes
    socket = f"{short}/gunicorn.sock"
    command = [
        sys.executable, "-m", "gunicorn", "--config", CONFIG, "--workers", str(count), "--bind", f"unix:{socket}", f"{ROLE}:application",
    ]
    with open(Path(settings["notes"]).parent / "gunicorn.log", "ab") as log:
        master = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=ROOT)
        try:
            yield
        finally:
            master.terminate()
            master.wait(30)
            shutil.rmtree(short, ignore_errors=True)


def play(kind: Any, settings: dict[str, Any], key: Path, size: int, count: int, swaps: int, idle_seconds: float) -> dict[str, Any]:
    """Start the processes, publish ``swaps`` versions, and measure."""
    notes = Path(settings["notes"])
    notes.mkdir(parents=True)
    crowd, publisher = Crowd(notes, count), Publisher(settings["url"], signing_key=key)
    with kind(settings, count):
        crowd.wait_until(lambda: len(crowd.pids()) == count, "all processes to start")
        pause(2.0)   # what starting takes does not count
        before = [pss_bytes(pid)["total"] for pid in crowd.pids()]
        spreads, waits = list[float](), list[float]()
        for number in range(swaps):
            publisher.publish(model_of(size, number), model=settings["model"], version=f"1.{number}.0", lineage={}, dependencies={})
            told_ns = time.monotonic_ns()
            times = [line["at_ns"] for line in crowd.switches(f"1.{number}.0")]
            spreads.append((max(times) - min(times)) / 1e6)
            waits.append((max(times) - told_ns) / 1e6)
        pause(2.0)   # until the model before is let go
        after = [pss_bytes(pid) for pid in crowd.pids()]
        used = {pid: cpu_seconds(pid) for pid in crowd.pids()}
        pause(idle_seconds)
        idle = {pid: (cpu_seconds(pid) - used[pid]) / idle_seconds for pid in crowd.pids()}
        receiver = (json.loads(line) for path in notes.glob("*.jsonl") for line in path.read_text().splitlines()[-1:])
        roles = dict(zip([int(path.stem) for path in notes.glob("*.jsonl")], [line["role"] for line in receiver], strict=True))
    total, mapped = sum(process["total"] for process in after), sum(process["mapped"] for process in after)
    return {
        "pss_before_bytes": sum(before), "pss_bytes": total, "pss_mapped_bytes": mapped, "spread_ms": spreads, "last_after_order_ms": waits,
        "follower_cpu": [share for pid, share in idle.items() if roles[pid] == "follower"],
        "receiver_cpu": [share for pid, share in idle.items() if roles[pid] == "receiver"],
    }


def run(directory: Path | None, *, mebibytes: int, processes: int, swaps: int, idle_seconds: float) -> dict[str, Any]:
    """Measure both kinds, print, and return the document."""
    server, size, found = BY_NAME["modelcast"].server, mebibytes * MIB, dict[str, dict[str, Any]]()
    with Ground(directory, needed=size * COPIES) as ground, redirect_stdout(sys.stderr):   # what the library logs is no result
        key, public = generate(ground.path / "key")
        try:
            url = server.start(ground.path / "rabbitmq")["url"]
            for name, kind in (("bare", bare), ("gunicorn", gunicorn)):
                folder = ground.path / name
                settings = {
                    "url": url, "model": name, "trust": str(public), "store": str(folder / "store"), "notes": str(folder / "notes"),
                }
                found[name] = play(kind, settings, key, size, processes, swaps, idle_seconds)
                note(f"{name}: measured")
                shutil.rmtree(folder)
        finally:
            server.stop()
        facts = machine_facts(file_system=ground.kind, swaps=swaps, processes=processes, model_mib=mebibytes)
    bars = [bar for name, values in found.items() for bar in _bars(name, values, size, processes)]
    show(f"{processes} processes of one instance, {mebibytes} MiB", HEADINGS, rows_of(bars))
    return {"kind": "processes", "facts": facts, "values": found, "bars": [bar.to_plain() for bar in bars]}


def _bars(name: str, values: dict[str, Any], size: int, processes: int) -> Sequence[Bar]:
    who = f"{processes} {'processes' if name == 'bare' else 'workers of gunicorn'}"
    added = values["pss_bytes"] - values["pss_before_bytes"]
    return [
        Bar(f"{who}: PSS of the mapped model, in sum, over the model", 1.1, values["pss_mapped_bytes"] / size),
        Bar(f"{who}: what the model adds to the sum of PSS, over the model", 1.1, added / size),
        Bar(
            f"{who}: sum of PSS over the model", 1.1, values["pss_bytes"] / size,
            condition=f"Python and libraries alone: {values['pss_before_bytes'] / MIB:.0f} MiB",
        ),
        Bar(
            f"{who}: first to last switch, the worst of {len(values['spread_ms'])}", 100, max(values["spread_ms"]), "ms",
            condition=f"median {median(values['spread_ms']):.1f} ms",
        ),
        Bar(f"{who}: CPU of a follower that has nothing to do", 0.5, 100 * max(values["follower_cpu"]), "% of a core"),
    ]


@click.command()
@click.option("--size-mib", default=512, show_default=True, type=click.IntRange(1))
@click.option("--processes", default=4, show_default=True, type=click.IntRange(2))
@click.option("--swaps", default=5, show_default=True, type=click.IntRange(1))
@click.option("--idle-seconds", default=20.0, show_default=True)
@click.option("--directory", type=click.Path(file_okay=False, path_type=Path), help="Where files lie; memory (/dev/shm) if left out.")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON on stdout.")
def main(*, size_mib: int, processes: int, swaps: int, idle_seconds: float, directory: Path | None, as_json: bool) -> None:
    """Several processes that share one store: memory, switching, and what following costs."""
    document = run(directory, mebibytes=size_mib, processes=processes, swaps=swaps, idle_seconds=idle_seconds)
    if as_json:
        click.echo(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
