"""What an instance says of its host and its process, in every report: for people, and bounded.

Decides the facts: what stays (Python, platform, versions), the libraries that the model in service names, the memory, and how late the
I/O thread came back from a wait. That is all that is known of stalls without a thread or a timer more: whoever holds the
interpreter, or the processor, keeps that thread from coming back as well. It looks about once a second, so a stall between
two looks is not seen, and one is seen from the look on. Serving threads pay nothing. Imports headroom.
"""

import os
import platform
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from modelcast.consumer.active import ActiveModel
from modelcast.consumer.headroom import Headroom, read_headroom
from modelcast.shared.limits import shortened

MAX_LIBRARIES = 64
MAX_NAME_CHARACTERS = 100
"""Together below 16 KiB: a report may have 64 KiB."""


def lasting_facts() -> dict[str, Any]:
    """Return what does not change while a process runs."""
    return {
        "python": platform.python_version(), "platform": sys.platform, "machine": platform.machine(), "pid": os.getpid(),
        "host": platform.node(), "modelcast": version("modelcast"),
    }


def nothing_installed(_distribution: str) -> str | None:
    """Know of no library."""
    return None


@dataclass(slots=True)
class HostFacts:
    """The facts of one process.

    Args:
        installed: Returns the installed version of a distribution, or None.
        headroom: Reads how much memory is left.
        clock: A monotonic clock in seconds.
        root: Where ``proc`` is.
    """

    installed: Callable[[str], str | None] = nothing_installed
    headroom: Callable[[], list[Headroom]] = read_headroom
    clock: Callable[[], float] = time.monotonic
    root: Path = Path("/")
    lasting: dict[str, Any] = field(default_factory=lasting_facts)
    _libraries: tuple[str | None, dict[str, str | None]] = (None, {})
    _longest_seconds: float = 0.0

    def know(self, active: ActiveModel | None) -> None:
        """Look up the libraries that a model in service names, once for each release; run by the worker. Never raises."""
        if active is None or active.release == self._libraries[0]:
            return
        names = sorted(active.manifest.environment.dependencies)[:MAX_LIBRARIES]
        self._libraries = active.release, {shortened(name, MAX_NAME_CHARACTERS): self._installed(name) for name in names}

    def _installed(self, name: str) -> str | None:
        try:
            found = self.installed(name)
        except Exception:  # noqa: BLE001 - metadata of other people's packages; a promotion must not fail for it
            return None
        return None if found is None else shortened(found, MAX_NAME_CHARACTERS)

    @contextmanager
    def waiting(self, seconds: float) -> Generator[None]:
        """Measure how late a wait of at most so many seconds ends."""
        began = self.clock()
        yield
        self._longest_seconds = max(self._longest_seconds, self.clock() - began - seconds)

    def now(self, active: ActiveModel | None) -> dict[str, Any]:
        """Return the facts of this moment."""
        release, libraries = self._libraries
        found = {"memory": self._memory(), "longest_stall_ms": round(self._longest_seconds * 1000, 1)}
        if active is not None and active.release == release:
            found["libraries"] = libraries
        return self.lasting | found

    def begin_again(self) -> None:
        """Forget the longest stall: a state was reported with it."""
        self._longest_seconds = 0.0

    def _memory(self) -> dict[str, Any]:
        """Return what is known of the memory: on Linux; a limit of the address space says nothing of it."""
        found: dict[str, Any] = {}
        try:
            pages = int((self.root / "proc/self/statm").read_text(encoding="ascii").split()[1])
            found["resident_bytes"] = pages * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError, IndexError):
            pass   # another system
        limits = [left for left in self.headroom() if not left.counts_mappings]
        least = min(limits, key=lambda left: left.available_bytes, default=None)
        if least is not None:
            found |= {
                "available_bytes": max(0, least.available_bytes), "total_bytes": least.total_bytes,
                "limit": shortened(least.limit, 2 * MAX_NAME_CHARACTERS),
            }
        return found
