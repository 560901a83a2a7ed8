"""All threads of a consumer: the I/O thread, the worker, and short-lived ones, which bound a call's time or do what may hang.

Decides when threads start and end; no other module starts one. The I/O thread owns the road and never does anything slow;
the worker does one job after the other. Fork-safe: a child that inherits a started consumer is told so.
"""

import os
import queue
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

from modelcast.shared.errors import SenderFault
from modelcast.shared.reasons import Reason

Job = Callable[[], Any]
Then = Callable[[Any, BaseException | None], None]

ERROR_PAUSE_SECONDS = 1.0
"""After a turn that raised, which none should: without a pause it might do so a million times a second."""

_started: "weakref.WeakSet[Runtime]" = weakref.WeakSet()
_hook_lock = threading.Lock()
_hook_is_set = False


def _mark_forked() -> None:
    for runtime in list(_started):
        runtime.forked = True


def _watch_forks() -> None:
    global _hook_is_set  # noqa: PLW0603 - the hook cannot be taken back, so it is set once, at the first start
    with _hook_lock:
        if not _hook_is_set and hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_mark_forked)
            _hook_is_set = True


class Runtime:
    """The threads of one consumer.

    Args:
        name: Prefix of the threads' names.
        turn: One turn of the I/O thread; returns after at most some seconds, at once when rung. Must not raise.
        ring: Ends a wait inside ``turn`` from any thread.
        end: Is called by the I/O thread when it ends.
        leave: Is called by whichever thread ends last, however late: nothing of this runtime runs after it.
        tend: Is called by the worker between jobs; returns after how many seconds again, or None. Must not raise.
    """

    def __init__(
        self, name: str, turn: Callable[[], None], ring: Callable[[], None], end: Callable[[], None],
        leave: Callable[[], None] = lambda: None, *, tend: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._name, self._turn, self._ring, self._end, self._leave, self._tend = name, turn, ring, end, leave, tend
        self._running = 2
        self._count_lock = threading.Lock()
        self._jobs: queue.SimpleQueue[tuple[Job, Then] | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[tuple[Then, Any, BaseException | None]] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._beside: threading.Thread | None = None
        self._ticked = time.monotonic()
        self.forked = False

    @property
    def stopping(self) -> bool:
        """Whether the end was asked for."""
        return self._stop.is_set()

    def is_live(self, within_seconds: float) -> bool:
        """Whether both threads run in this process and the I/O thread turned within the last seconds."""
        running = bool(self._threads) and not self.forked and all(thread.is_alive() for thread in self._threads)
        return running and time.monotonic() - self._ticked < within_seconds

    def start(self) -> None:
        """Start the threads."""
        _watch_forks()
        self._threads = [
            threading.Thread(target=self._work, name=f"{self._name} worker", daemon=True),
            threading.Thread(target=self._run, name=f"{self._name} i/o", daemon=True),
        ]
        _started.add(self)
        for thread in self._threads:
            thread.start()

    def stop(self, seconds: float) -> bool:
        """Ask the threads to end and wait; from one of them, only ask. Returns whether they ended in time."""
        self._stop.set()
        self._jobs.put(None)
        if self.forked:
            return True   # there are no threads here to wait for
        self._ring()
        deadline = time.monotonic() + seconds
        others = [thread for thread in self._threads if thread is not threading.current_thread()]
        for thread in others:
            thread.join(max(0.0, deadline - time.monotonic()))
        if self._beside is not None:   # looked at last: the I/O thread may have started it in its last turn
            others.append(self._beside)
            self._beside.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in others)

    def rest(self, seconds: float) -> None:
        """Wait in the worker, or until the end is asked for."""
        self._stop.wait(seconds)

    def submit(self, job: Job, then: Then) -> None:
        """Give the worker a job; ``then`` gets its result or its error in the I/O thread."""
        self._jobs.put((job, then))

    def aside(self, job: Callable[[], None]) -> None:
        """Do something small that may hang, such as a write, in a thread of its own; passed over while the one before has not ended.

        Called in the I/O thread, which has a broker's heartbeats to answer and must wait for no disk. The job must not raise.
        """
        if self._beside is not None and self._beside.is_alive():
            return
        with self._count_lock:
            self._running += 1
        beside = threading.Thread(target=self._do_aside, args=(job,), name=f"{self._name} aside", daemon=True)
        try:
            beside.start()
        except RuntimeError:   # the interpreter ends, or the host has no thread left
            with self._count_lock:
                self._running -= 1
        else:
            self._beside = beside   # only now: nobody can wait for a thread that was not started

    def _do_aside(self, job: Callable[[], None]) -> None:
        try:
            job()
        finally:
            self._leave_if_last()   # until then the store stays ours: what is written late must not meet another receiver

    def take_results(self) -> None:
        """Hand results to those who wait for them; called in the I/O thread."""
        while True:
            try:
                then, result, error = self._results.get_nowait()
            except queue.Empty:
                return
            then(result, error)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._ticked = time.monotonic()
                try:
                    self._turn()
                except Exception:  # noqa: BLE001 - a log that cannot be written any more: there is nobody left to tell
                    self._stop.wait(ERROR_PAUSE_SECONDS)
        finally:
            try:
                self._end()
            finally:
                self._leave_if_last()

    def _leave_if_last(self) -> None:
        with self._count_lock:
            self._running -= 1
            is_last = self._running == 0
        if is_last:
            self._leave()

    def _work(self) -> None:
        try:
            self._do_jobs()
        finally:
            self._leave_if_last()

    def _next_job(self) -> tuple[Job, Then] | None:
        while True:
            try:
                return self._jobs.get(timeout=self._tend())
            except queue.Empty:
                continue

    def _do_jobs(self) -> None:
        while (entry := self._next_job()) is not None:
            job, then = entry
            try:
                result, error = job(), None
            except BaseException as caught:  # noqa: BLE001 - a model may raise anything, SystemExit too; the worker must live
                result, error = None, caught
            self._results.put((then, result, error))
            del job, then, entry, result, error
            self._ring()


def bounded(call: Callable[[], Any], seconds: float, what: str) -> Any:
    """Run ``call`` with a time limit.

    A thread cannot be ended from outside: what does not come back in time is left behind as a daemon thread.

    Raises:
        SenderFault: ``timed-out``.
        BaseException: Whatever ``call`` raises.
    """
    outcome: list[tuple[Any, BaseException | None]] = []

    def run() -> None:
        """Run in the thread that may be left behind."""
        try:
            outcome.append((call(), None))
        except BaseException as caught:  # noqa: BLE001 - handed to the caller below
            outcome.append((None, caught))

    thread = threading.Thread(target=run, name=f"modelcast {what}", daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise SenderFault(
            Reason.TIMED_OUT, f"{what.capitalize()} took longer than {seconds:g} s.", facts={"what": what, "limit_seconds": seconds}
        )
    result, error = outcome.pop()
    if error is not None:
        raise error if isinstance(error, Exception) else RuntimeError(f"{type(error).__name__}: {error}")
    return result
