"""Who gets the cores of a machine that a benchmark shares with its own servers and with others.

In service broker and publisher are on other machines. Where they are not, they stand back: a tenth of the share of others, not less, or
whoever else works on the machine stops them. A nice value counts within one session only where the kernel groups processes by it
(``CONFIG_SCHED_AUTOGROUP``; a broker in the background has a session of its own): there the group gets one as well, see sched(7).
Linux only. Imports measuring.
"""

import os
from contextlib import suppress
from pathlib import Path

from tests.benchmarks.measuring import with_children

LAST, FIRST = 10, -20
"""Nice values."""


def stand_back(pid: int) -> None:
    """Let a process, which has a session of its own, and its children have less than others."""
    for process in with_children(pid):
        with suppress(OSError):
            _group(process, LAST)
        with suppress(OSError):
            for thread in Path(f"/proc/{process}/task").iterdir():   # setpriority(2) is for one thread on Linux
                os.setpriority(os.PRIO_PROCESS, int(thread.name), LAST)


def own_session() -> None:
    """Give this process a session of its own, so that its precedence is not that of the whole benchmark."""
    with suppress(OSError):   # it leads one already
        os.setsid()


def go_first() -> bool:
    """Let this process and its threads go before everybody else; returns False where that takes rights that it does not have."""
    own_session()
    try:
        os.setpriority(os.PRIO_PROCESS, 0, FIRST)
    except OSError:
        return False
    with suppress(OSError):
        _group(os.getpid(), FIRST)
    return True


def _group(pid: int, nice: int) -> None:
    Path(f"/proc/{pid}/autogroup").write_text(str(nice), encoding="ascii")
