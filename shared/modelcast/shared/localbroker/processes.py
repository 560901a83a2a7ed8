"""Processes found by their arguments, started detached, and ended.

Decides that the process table is the truth: no pid file is believed, so none can be stale, and a number that another
program has taken over is never signalled. Imports only the standard library and the errors.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from modelcast.shared.errors import HostFault

_POLL_SECONDS = 0.02    # a process table is read in about a millisecond
_KILL_SECONDS = 10.0    # after SIGKILL only the kernel is in the way


def with_arguments(program: str, option: str, value: str) -> list[int]:
    """Return the ids of the processes of ``program`` that were called with ``option value``.

    Args:
        program: A word that is part of one of the arguments, such as ``epmd``.
        option: An argument, such as ``-port``.
        value: The argument right after it.
    """
    if Path("/proc/self/cmdline").exists():
        return [pid for pid, words in _from_proc() if _called_so(words, program, option, value)]
    answer = subprocess.run(["ps", "-axww", "-o", "pid=,command="], capture_output=True, text=True, check=True)
    lines = (line.split(None, 1) for line in answer.stdout.splitlines())
    return [int(line[0]) for line in lines if len(line) == 2 and _called_so(line[1].split(), program, option, value)]


def _called_so(words: Sequence[str], program: str, option: str, value: str) -> bool:
    return (option, value) in pairwise(words) and any(program in word for word in words)


def _from_proc() -> list[tuple[int, list[str]]]:
    found: list[tuple[int, list[str]]] = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        # It may end while we look; a zombie has no arguments and so matches nothing.
        with contextlib.suppress(OSError):
            words = Path(entry.path, "cmdline").read_bytes().split(b"\0")
            found.append((int(entry.name), [os.fsdecode(word) for word in words]))
    return found


def launch(command: Sequence[str], *, variables: Mapping[str, str], log: Path) -> None:
    """Start ``command`` so that it outlives this process, its terminal and Ctrl-C.

    A shell starts it in the background and ends, so that it is no child of ours: nothing has to be waited for, and no
    zombie remains while this process lives.

    Args:
        command: The program and its arguments.
        variables: Its whole environment.
        log: File that its output is appended to.
    """
    shell = ["/bin/sh", "-c", 'log=$1; shift; "$@" </dev/null >>"$log" 2>&1 &', "sh", str(log), *command]
    subprocess.run(
        shell, env=dict(variables), check=True, start_new_session=True, umask=0o077, cwd="/", stdin=subprocess.DEVNULL
    )


def end(find: Callable[[], list[int]], *, grace_seconds: float) -> None:
    """Ask the processes that ``find`` returns to end, wait, and kill what is left.

    Args:
        find: Returns the ids afresh, so that a number is never signalled after another program has taken it over.
        grace_seconds: How long they may take before they are killed.

    Raises:
        HostFault: Some are still there after they were killed.
    """
    for number, seconds in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, _KILL_SECONDS)):
        if seconds > 0 and _gone(find, number, seconds):
            return
    raise HostFault("A process does not end, even when killed.", facts={"pids": find()})


def _signal(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _gone(find: Callable[[], list[int]], number: signal.Signals, seconds: float) -> bool:
    """Signal whatever ``find`` returns, each process once, until nothing is left or the time is over.

    A process has no arguments for a moment while it becomes another program, so one may be found later than the others.
    """
    deadline = time.monotonic() + seconds
    signalled: set[int] = set()
    while (found := find()) or not all(map(_has_ended, signalled)):
        _signal([pid for pid in found if pid not in signalled], number)
        signalled.update(found)
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _has_ended(pid: int) -> bool:
    """Tell whether a process is over: a killed one loses its arguments before it lets go of its ports."""
    if not Path("/proc/self/stat").exists():
        answer = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return answer.stdout.strip()[:1] in {"", "Z"}
    try:
        # "pid (name) state ...": the name may hold anything, so count from its end.
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
        # The first thread is a zombie while the others still hold the sockets.
        threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
    except OSError:
        return True
    return state.split()[0] in {"Z", "X"} and threads == 1
