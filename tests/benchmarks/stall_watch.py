"""A serving thread that is watched: how long its requests wait, and for what.

Decides what is a gap: at full speed the time between two requests that follow each other at once, at a steady rate the time from when
a request was due to its answer. Nothing is subtracted; beside each long gap stands what it was spent on: the thread's own work,
passes of the cyclic collector, waiting for a core (``schedstat``), or a pause of the machine. What is left is the interpreter's lock.
Linux only. Imports the watch for pauses.
"""

import gc
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter_ns, thread_time_ns
from typing import Any, Self

from tests.benchmarks.pauses import Pauses, Span, overlap

FINE_NS = 1_000
"""Gaps below a millisecond are counted by the microsecond, longer ones are noted one by one."""
LONG_NS = 1_000_000
SHOWN_GAPS = 12
REFRESH = 64
"""Requests after which the time without a core is read again; the reading lets go of the interpreter, so not at each."""

Phases = Mapping[str, tuple[int, int]]
"""Name of a phase to its begin and end, of ``perf_counter_ns``."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A request that took long, in nanoseconds.

    Attributes:
        began: When, of ``perf_counter_ns``.
        length: How long.
        own: CPU time of the serving thread in it.
        queued: In which the thread was ready and had no core.
        others: In which that was so for another thread of the process, which may have had the interpreter's lock.
    """

    began: int
    length: int
    own: int
    queued: int
    others: int

    @property
    def middle(self) -> int:
        """When half of it was over: the phase in which that was is the phase of the gap."""
        return self.began + self.length // 2

    @property
    def ended(self) -> int:
        """When it was over."""
        return self.began + self.length


class Collections:
    """Notes the passes of the cyclic collector that take a millisecond and more, in whichever thread."""

    def __init__(self) -> None:
        self.passes, self._began = list[Span](), 0

    def __call__(self, phase: str, _facts: object) -> None:
        """Be told by the collector; see ``gc.callbacks``."""
        if phase == "start":
            self._began = perf_counter_ns()
        elif (now := perf_counter_ns()) - self._began >= LONG_NS:
            self.passes.append((self._began, now))


class Queues:
    """For how many nanoseconds each thread of this process was ready and had no core; proc(5), ``schedstat``.

    Made by the serving thread; threads that begin later are not looked at.
    """

    def __init__(self) -> None:
        self._own = threading.get_native_id()
        self._files = {int(name): os.open(f"/proc/self/task/{name}/schedstat", os.O_RDONLY) for name in os.listdir("/proc/self/task")}

    def __call__(self) -> dict[int, int]:
        """Return the time of each thread until now."""
        return {thread: _queued(descriptor) for thread, descriptor in self._files.items()}

    def since(self, before: Mapping[int, int]) -> tuple[int, int]:
        """Return what was added for the serving thread, and at most for another one."""
        added = {thread: time - before[thread] for thread, time in self().items()}
        return added.pop(self._own), max(added.values(), default=0)


def _queued(descriptor: int) -> int:
    try:
        return int(os.pread(descriptor, 64, 0).split()[1])
    except OSError:
        return 0   # that thread has ended


def settle() -> None:
    """Collect what the start left over and freeze the rest, as a service does once it is up.

    A full pass over what an application has imported takes long by itself (30 ms with scikit-learn): it would be in every row, also in
    that of an idle process, and hide what a release does. What comes after is collected as ever.
    """
    gc.collect()
    gc.freeze()


class Watch:
    """A serving thread that notes how long its requests wait.

    Args:
        serve: Handles the request with a number; returns the handle of the model it used.
        rate: Requests per second; 0 is full speed.
    """

    def __init__(self, serve: Callable[[int], object], rate: int) -> None:
        self._serve, self._rate = serve, rate
        self._fine, self._long = [0] * (LONG_NS // FINE_NS), list[Gap]()
        self._collections, self._pauses = Collections(), Pauses()
        self.swaps: list[int] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._steadily if rate else self._at_full_speed, name="serving")

    def __enter__(self) -> Self:
        self._pauses.__enter__()
        gc.callbacks.append(self._collections)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        gc.callbacks.remove(self._collections)
        self._pauses.__exit__()

    def _at_full_speed(self) -> None:
        serve, ended, number, queued = self._serve, self._ended.is_set, 0, Queues()
        current, without = serve(0), queued()
        last, own = perf_counter_ns(), thread_time_ns()
        while not ended():
            number += 1
            used = serve(number)
            now, worked = perf_counter_ns(), thread_time_ns()
            gap = now - last
            if gap < LONG_NS:
                self._fine[gap // FINE_NS] += 1
            else:
                self._long.append(Gap(last, gap, worked - own, *queued.since(without)))
            if gap >= LONG_NS or number % REFRESH == 0:
                without = queued()
            last, own = now, worked
            if used is not current:
                self.swaps.append(now)
            current = used

    def _steadily(self) -> None:
        period, number, pause, queued = 1_000_000_000 // self._rate, 0, threading.Event(), Queues()
        current, due, without, own = self._serve(0), perf_counter_ns(), queued(), thread_time_ns()
        while not self._ended.is_set():
            number += 1
            due += period
            if (early := due - perf_counter_ns()) > 0:   # who is late is so because of what came before, since this point
                without, own = queued(), thread_time_ns()
                pause.wait(early / 1e9)
            used = self._serve(number)
            gap = perf_counter_ns() - due
            if gap < LONG_NS:
                self._fine[gap // FINE_NS] += 1
            else:
                self._long.append(Gap(due, gap, thread_time_ns() - own, *queued.since(without)))
            if used is not current:
                self.swaps.append(perf_counter_ns())
            current = used

    def result(self, phases: Phases) -> dict[str, Any]:
        """Return the longest gap and percentiles in milliseconds, and of the longest gaps when they began and what they were spent on."""
        def longest_in(begin: int, end: int, size: Callable[[Gap], int]) -> float:
            return _ms(max((size(gap) for gap in self._long if begin <= gap.middle < end), default=0))

        longest = sorted(self._long, key=lambda gap: -gap.length)
        with_a_core = {gap: max(0, gap.length - gap.queued - self._pauses.within(gap.began, gap.ended)) for gap in self._long}
        return {
            "longest_ms": _ms(longest[0].length) if longest else self._percentile(1.0),
            **{f"p{label}_ms": self._percentile(share) for label, share in (("50", 0.5), ("99", 0.99), ("99.9", 0.999))},
            "requests": self._count,
            "over_5_ms": sum(gap.length > 5_000_000 for gap in self._long),
            "longest_with_a_core_ms": _ms(max(with_a_core.values(), default=0)),
            "pauses_watched": self._pauses.is_watching,
            "longest_pass_ms": _ms(max((until - since for since, until in self._collections.passes), default=0)),
            "phases_ms": {name: _ms(end - begin) for name, (begin, end) in phases.items()},
            "longest_by_phase_ms": {name: longest_in(begin, end, lambda gap: gap.length) for name, (begin, end) in phases.items()},
            "longest_with_a_core_by_phase_ms": {
                name: longest_in(begin, end, with_a_core.__getitem__) for name, (begin, end) in phases.items()
            },
            "longest_gaps": [
                {
                    "ms": _ms(gap.length), "own_work_ms": _ms(gap.own), "without_a_core_ms": _ms(gap.queued), "others_without_a_core_ms": _ms(gap.others),
                    "collector_ms": _ms(overlap(self._collections.passes, gap.began, gap.ended)),
                    "machine_ms": _ms(self._pauses.within(gap.began, gap.ended)),
                    "phase": next((name for name, (begin, end) in phases.items() if begin <= gap.middle < end), "before"),
                }
                for gap in longest[:SHOWN_GAPS]
            ],
        }

    @property
    def _count(self) -> int:
        return sum(self._fine) + len(self._long)

    def _percentile(self, share: float) -> float:
        wanted, seen = share * self._count, 0
        for index, count in enumerate(self._fine):
            seen += count
            if seen >= wanted:
                return _ms((index + 1) * FINE_NS)
        gaps = sorted(gap.length for gap in self._long)
        return _ms(gaps[min(len(gaps) - 1, max(0, round(wanted) - seen - 1))]) if gaps else 0.0


def _ms(nanoseconds: int) -> float:
    return round(nanoseconds / 1e6, 3)
