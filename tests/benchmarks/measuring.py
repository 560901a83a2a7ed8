"""What a process has used: CPU time, memory, page faults; read from ``getrusage`` and from ``/proc``.

Decides what is counted as whose. A peak is reset where a measurement begins (``/proc/<pid>/clear_refs``), so that what a process
needed at its start does not count. Linux only. Imports the standard library.
"""

import os
import resource
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
RESET_PEAK = "5"
"""proc(5), ``clear_refs``: resets the peak resident set size to what is resident now."""


@dataclass(frozen=True)
class Usage:
    """What a process had used at a moment.

    Attributes:
        cpu_seconds: User and system time, its ended children included.
        minor_faults: Page faults that needed no disk.
        resident: Bytes of memory in use, mapped files included.
        anonymous: Bytes of memory in use that are nobody else's: heap, stacks, private copies.
        peak: The most bytes that were resident since the peak was reset, mapped files included.
    """

    cpu_seconds: float
    minor_faults: int
    resident: int
    anonymous: int
    peak: int


def now_ns() -> int:
    """Return ``CLOCK_MONOTONIC`` in nanoseconds: the same for all processes of the machine."""
    return time.monotonic_ns()


def memory_of(pid: int | str) -> dict[str, int]:
    """Return the memory fields of ``/proc/<pid>/status`` in bytes; empty when the process is gone."""
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return {name: int(value.split()[0]) * 1024 for name, _, value in (line.partition(":") for line in lines) if value.endswith(" kB")}
    return {}


def usage_now() -> Usage:
    """Return what this process has used until now."""
    own, ended = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    memory = memory_of("self")
    return Usage(
        own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime, own.ru_minflt,
        memory.get("VmRSS", 0), memory.get("RssAnon", 0), memory.get("VmHWM", 0),
    )


def reset_peak(pid: int | str = "self") -> None:
    """Let the peak of a process begin anew; where that is not allowed the peak is that of its whole life."""
    with suppress(OSError):
        Path(f"/proc/{pid}/clear_refs").write_text(RESET_PEAK)


def with_children(pid: int) -> list[int]:
    """Return the process with all that it started, now."""
    found, waiting = list[int](), [pid]
    while waiting:
        current = waiting.pop()
        found.append(current)
        with suppress(OSError):
            for thread in Path(f"/proc/{current}/task").iterdir():
                waiting += [int(child) for child in (thread / "children").read_text().split()]
    return found


def cpu_seconds_of(pid: int | None) -> float:
    """Return the CPU time of a server: all its threads, processes and ended children. None has used nothing."""
    ticks = 0
    for process in with_children(pid) if pid is not None else ():
        with suppress(OSError):
            # proc(5), stat: what follows the name in brackets begins with field 3; 14 to 17 are utime, stime, cutime, cstime.
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS_PER_SECOND


class AnonymousPeak:
    """Watches the anonymous memory of processes from outside, so that nothing disturbs them.

    Args:
        pids: The processes.
        period_seconds: How often is looked; what lives shorter is not seen.
    """

    def __init__(self, pids: Iterable[int], *, period_seconds: float) -> None:
        self.first: dict[int, int] = {pid: memory_of(pid).get("RssAnon", 0) for pid in pids}
        self.peak = dict(self.first)
        self._period, self._ended = period_seconds, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def above_first(self, pid: int) -> int:
        """Return the most bytes that a process had above what it had when the watch began."""
        return self.peak[pid] - self.first[pid]

    def _watch(self) -> None:
        while not self._ended.wait(self._period):
            for pid, peak in self.peak.items():
                self.peak[pid] = max(peak, memory_of(pid).get("RssAnon", 0))
