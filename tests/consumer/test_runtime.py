"""The threads: one that turns, one that works; they end when asked, and are never said to live when they do not."""

import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.fakes.bench import Hang

from modelcast.consumer import runtime as runtime_module
from modelcast.consumer.runtime import Runtime, bounded
from modelcast.shared.errors import SenderFault
from modelcast.shared.reasons import Reason

LONG = 30.0


class Rig:
    """A runtime whose turns wait for a bell."""

    def __init__(self, turn: Callable[[], None] | None = None, tend: Callable[[], float | None] = lambda: None) -> None:
        self.bell, self.turned, self.ended = threading.Event(), threading.Event(), threading.Event()
        self.results: list[tuple[Any, BaseException | None]] = []
        self.runtime = Runtime("test", turn or self._turn, self.bell.set, self.ended.set, tend=tend)

    def _turn(self) -> None:
        self.bell.wait(LONG)
        self.bell.clear()
        self.runtime.take_results()
        self.turned.set()

    def do(self, job: Callable[[], Any]) -> tuple[Any, BaseException | None]:
        """Have the worker do a job and wait until the I/O thread has its result."""
        done = threading.Event()

        def then(result: Any, error: BaseException | None) -> None:
            self.results.append((result, error))
            done.set()

        self.runtime.submit(job, then)
        assert done.wait(LONG)
        return self.results[-1]


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.runtime.stop(LONG)


def test_nothing_runs_before_the_start(rig: Rig) -> None:
    assert not rig.runtime.is_live(LONG)
    assert rig.runtime.stop(LONG)


def test_the_worker_tends_what_waits_between_jobs_and_while_there_are_none() -> None:
    tended, threads = threading.Event(), set[str]()
    pauses = iter([0.001, 0.001, None])

    def tend() -> float | None:
        threads.add(threading.current_thread().name)
        pause = next(pauses, None)
        if pause is None:
            tended.set()
        return pause

    rig = Rig(tend=tend)
    rig.runtime.start()
    assert tended.wait(LONG)
    assert rig.do(lambda: "done") == ("done", None)
    assert rig.runtime.stop(LONG)
    assert threads == {"test worker"}


def test_jobs_are_done_by_the_worker_and_their_results_taken_by_the_io_thread(rig: Rig) -> None:
    rig.runtime.start()
    where: list[str] = []
    assert rig.do(lambda: where.append(threading.current_thread().name)) == (None, None)
    assert where == ["test worker"]
    assert rig.runtime.is_live(LONG)


def test_jobs_are_done_one_after_the_other_in_their_order(rig: Rig) -> None:
    order: list[int] = []
    for number in range(50):
        rig.runtime.submit(lambda number=number: order.append(number), lambda *_: None)   # type: ignore[misc]
    rig.runtime.start()
    rig.do(lambda: None)
    assert order == list(range(50))


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1), KeyboardInterrupt(), MemoryError()], ids=lambda e: type(e).__name__)
def test_whatever_a_job_raises_the_worker_lives(rig: Rig, error: BaseException) -> None:
    rig.runtime.start()

    def fails() -> None:
        raise error

    assert rig.do(fails) == (None, error)
    assert rig.do(lambda: "alive") == ("alive", None)


def test_the_worker_holds_nothing_of_a_job_that_is_done(rig: Rig) -> None:
    class Model:
        pass

    rig.runtime.start()
    model = Model()
    reference = weakref.ref(model)
    rig.do(lambda model=model: None)   # type: ignore[misc]
    del model
    rig.do(lambda: None)
    gc.collect()
    assert reference() is None


def test_a_stop_ends_both_threads_and_says_goodbye(rig: Rig) -> None:
    rig.runtime.start()
    rig.do(lambda: None)
    assert rig.runtime.stop(LONG)
    assert rig.ended.is_set()
    assert not rig.runtime.is_live(LONG)
    assert rig.runtime.stopping
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("test ")]


def test_a_stop_that_takes_too_long_says_so_and_does_not_wait(rig: Rig) -> None:
    hang = Hang()
    rig.runtime.submit(hang, lambda *_: None)
    rig.runtime.start()
    assert not rig.runtime.stop(0.05)
    hang.let_go()
    assert rig.runtime.stop(LONG)


def test_a_stop_from_inside_does_not_wait_for_itself(rig: Rig) -> None:
    rig.runtime.start()
    outcome: list[bool] = []
    done = threading.Event()

    def stops() -> None:
        outcome.append(rig.runtime.stop(LONG))
        done.set()

    rig.runtime.submit(stops, lambda *_: None)
    assert done.wait(LONG)
    assert outcome == [True]


def test_what_hangs_aside_holds_up_neither_thread_and_what_comes_meanwhile_is_passed_over(rig: Rig) -> None:
    hang, asked, done = Hang(), threading.Event(), list[str]()
    rig.runtime.start()

    def turn_with(job: Callable[[], None]) -> None:
        rig.runtime._results.put((lambda _result, _error: rig.runtime.aside(job), None, None))   # as the I/O thread would
        rig.bell.set()

    turn_with(hang)
    assert hang.entered.wait(LONG)
    turn_with(lambda: done.append("passed over"))
    assert rig.do(lambda: "worked") == ("worked", None)
    hang.let_go()
    assert rig.runtime._beside is not None
    rig.runtime._beside.join(LONG)
    turn_with(asked.set)
    assert asked.wait(LONG)
    assert done == []


def test_who_hangs_aside_is_the_last_to_leave() -> None:
    hang, left, turned = Hang(), threading.Event(), threading.Event()

    def turn() -> None:
        if not turned.is_set():
            runtime.aside(hang)
            turned.set()
        threading.Event().wait(0.001)

    runtime = Runtime("test", turn, lambda: None, lambda: None, left.set)
    runtime.start()
    assert turned.wait(LONG)
    assert not runtime.stop(0.05)
    assert not left.is_set()
    hang.let_go()
    assert runtime.stop(LONG)
    assert left.wait(LONG)


def test_a_thread_that_cannot_be_started_is_done_without(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    left = threading.Event()
    runtime = Runtime("test", lambda: None, lambda: None, lambda: None, left.set)
    runtime.start()

    def no_thread_left(_self: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread_left)
        runtime.aside(left.set)
    assert not left.is_set()
    assert runtime.stop(LONG)
    assert left.is_set()


def test_a_rest_ends_with_the_stop(rig: Rig) -> None:
    rig.runtime.start()
    rig.runtime.submit(lambda: rig.runtime.rest(3600), lambda *_: None)
    assert rig.runtime.stop(LONG)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")   # it is what the test is about
def test_a_thread_that_died_is_not_said_to_live() -> None:
    """SystemExit ends a thread without a word; whatever its cause, the status must not say that all is well."""
    def dies() -> None:
        raise SystemExit

    rig = Rig(dies)
    rig.runtime.start()
    assert rig.ended.wait(LONG)   # what it holds is given back all the same
    rig.runtime._threads[1].join(LONG)
    assert not rig.runtime.is_live(LONG)
    assert rig.runtime.stop(LONG)


def test_a_thread_that_does_not_turn_is_not_said_to_live(rig: Rig) -> None:
    rig.runtime.start()
    assert rig.runtime.is_live(LONG)
    assert not rig.runtime.is_live(0.0)


# --------------------------------------------------------------------------- time limits


def test_a_call_within_its_limit_gives_its_result() -> None:
    assert bounded(lambda: 42, LONG, "counting") == 42


def test_a_call_beyond_its_limit_is_left_behind() -> None:
    hang = Hang()
    with pytest.raises(SenderFault, match=r"Counting took longer than 0\.05 s") as raised:
        bounded(hang, 0.05, "counting")
    hang.let_go()
    assert (raised.value.reason, raised.value.facts) == (Reason.TIMED_OUT, {"what": "counting", "limit_seconds": 0.05})


def test_an_error_comes_through_as_it_is() -> None:
    error = ValueError("no")

    def fails() -> None:
        raise error

    with pytest.raises(ValueError, match="no") as raised:
        bounded(fails, LONG, "counting")
    assert raised.value is error


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=lambda e: type(e).__name__)
def test_what_would_end_the_process_becomes_an_error(error: BaseException) -> None:
    def ends() -> None:
        raise error

    with pytest.raises(RuntimeError, match=type(error).__name__):
        bounded(ends, LONG, "counting")


# --------------------------------------------------------------------------- fork

FORK = """
import os, sys, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)   # of 3.12 on: fork in a process with threads is what this is about
from modelcast.consumer.runtime import Runtime
bell = threading.Event()
runtime = Runtime("test", lambda: bell.wait(0.01), bell.set, lambda: None)
runtime.start()
child = os.fork()
if child == 0:
    told = [runtime.forked, runtime.is_live(60), runtime.stop(60)]
    os._exit(0 if told == [True, False, True] else 1)
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status), runtime.forked, runtime.is_live(60), runtime.stop(60))
"""


def test_a_forked_child_knows_that_it_has_no_threads_and_the_parent_keeps_its_own() -> None:
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "0 False True True\n"


def test_a_turn_that_raises_all_the_same_does_not_end_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_module, "ERROR_PAUSE_SECONDS", 0.001)
    turned, again = [], threading.Event()

    def turn() -> None:
        turned.append(None)
        if len(turned) == 1:
            raise ValueError("I/O operation on closed file")   # what print says when nobody listens any more
        again.set()
        threading.Event().wait(0.001)

    started = Runtime("log", turn, lambda: None, lambda: None)
    started.start()
    assert again.wait(20)
    assert started.stop(20)
