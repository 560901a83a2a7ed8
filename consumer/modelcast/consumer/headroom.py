"""Whether a model can be loaded into the memory that this host has left: refused with a reason instead of killed without one.

Decides from what loading an artifact is expected to take (one table, by format), and what each limit leaves and is in all: the
control groups of this process with all above them (v2 and v1), the host, the address space. What is larger than a limit is
refused for good; what does not fit now is the host's fault, for a bounded time. Where nothing can be read (another system than
Linux) nothing is refused. Imports the manifest, the policy and errors.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from modelcast.consumer.policy import Loading
from modelcast.shared.errors import HostFault, SenderFault
from modelcast.shared.limits import KIB, MIB
from modelcast.shared.manifest import Artifact
from modelcast.shared.reasons import Reason

STREAM, BUFFERS, LAYOUT = "model.pickle", "model.buffers", "model.layout"
FACTORS: dict[str, dict[str, float]] = {
    # A byte of a pickle stream became 1 byte (texts), 4 (words, numbers), 9 (small lists in a dict) to 12 (tuples of two): measured
    # with CPython 3.11. Buffers are mapped: the kernel takes such pages back when it needs them. A tenth of them is for models that
    # write into their arrays.
    "cloudpickle": {STREAM: 8.0, BUFFERS: 0.1, LAYOUT: 1.0},
    "joblib": {"": 1.0},        # read into arrays once; a compressed file needs more, which its size does not tell
    "safetensors": {"": 1.0},   # copied out of the file
    "skops": {"": 1.0},
    "onnx": {"": 2.0},          # the runtime parses the file, then keeps its own copy of the weights
}
"""Bytes of memory of its own that a loader takes for each byte of a file (by name; "" is any other). A loader that is not here
may map, stream or ignore its files: nothing is expected of it."""


@dataclass(frozen=True, slots=True)
class Need:
    """What loading an artifact is expected to take.

    Attributes:
        private_bytes: Memory that only this process has.
        mapped_bytes: Files that are mapped: they take address space, and no memory that the kernel cannot have back.
    """

    private_bytes: int
    mapped_bytes: int


@dataclass(frozen=True, slots=True)
class Headroom:
    """What one limit leaves.

    Attributes:
        available_bytes: Bytes that are left.
        total_bytes: What the limit is, with nothing else in it.
        limit: Where the limit comes from.
        counts_mappings: Whether mapped files count, too.
    """

    available_bytes: int
    total_bytes: int
    limit: str
    counts_mappings: bool = False


def expected_need(artifact: Artifact) -> Need:
    """Return what loading ``artifact`` is expected to take."""
    factors = FACTORS.get(artifact.loader, {})
    private = sum(int(entry.size * factors.get(entry.path, factors.get("", 0.0))) for entry in artifact.files)
    is_mapped = artifact.loader == "cloudpickle"
    return Need(private, sum(entry.size for entry in artifact.files if is_mapped and entry.path == BUFFERS))


@dataclass(slots=True)
class MemoryCheck:
    """Tells an order that can never fit from one that does not fit at the moment. Used by one thread.

    Args:
        loading: Whether to check at all, and how long a shortage may last.
        read: Reads what each limit leaves.
        clock: A monotonic clock in seconds.
    """

    loading: Loading
    read: Callable[[], list[Headroom]]
    clock: Callable[[], float] = time.monotonic
    _short_for: str | None = None
    _short_since: float = 0.0

    def before_bytes(self, artifact: Artifact) -> None:
        """Refuse what is larger than a limit is in all, before anything of it is fetched or read.

        Raises:
            SenderFault: ``too-large-for-memory``.
        """
        if self.loading.check_memory:
            _refuse_what_can_never_fit(artifact, self.read())

    def before_load(self, order: str, artifact: Artifact) -> None:
        """Compare the need with every limit as it is now.

        Args:
            order: What a shortage is remembered by: an order, or a release where there is none.
            artifact: What is to be loaded.

        Raises:
            HostFault: It does not fit now.
            SenderFault: ``too-large-for-memory``: it never will, or has not for as long as a shortage may last.
        """
        if not self.loading.check_memory:
            return
        limits = self.read()
        _refuse_what_can_never_fit(artifact, limits)
        short = next((left for left in limits if needed_bytes(artifact, left) > left.available_bytes), None)
        if short is None:
            self._short_for = None
            return
        if self._short_for != order:
            self._short_for, self._short_since = order, self.clock()
        patience_seconds, waited_seconds = self.loading.shortage_seconds, self.clock() - self._short_since
        text = f"{_expected(artifact, short)}; {short.limit} leaves {max(0, short.available_bytes) // MIB:,} MiB"
        facts = _facts(artifact, short) | {"waited_seconds": round(waited_seconds, 1)}
        if waited_seconds >= patience_seconds:
            self._short_for = None   # sent back by an operator it is waited for again
            raise SenderFault(Reason.TOO_LARGE_FOR_MEMORY, f"{text}, and no more for {waited_seconds:.0f} s.", facts=facts)
        raise HostFault(
            f"{text} now.", hint=f"Free memory; it is rejected when that lasts {patience_seconds:g} s in all.", facts=facts
        )


def needed_bytes(artifact: Artifact, left: Headroom) -> int:
    """Return what loading ``artifact`` is expected to take of one limit."""
    need = expected_need(artifact)
    return need.private_bytes + (need.mapped_bytes if left.counts_mappings else 0)


def _refuse_what_can_never_fit(artifact: Artifact, limits: list[Headroom]) -> None:
    for left in limits:
        if needed_bytes(artifact, left) > left.total_bytes:
            raise SenderFault(
                Reason.TOO_LARGE_FOR_MEMORY, f"{_expected(artifact, left)}; {left.limit} is {left.total_bytes // MIB:,} MiB in all.",
                facts=_facts(artifact, left),
            )


def _expected(artifact: Artifact, left: Headroom) -> str:
    return f"Loading this model is expected to take {needed_bytes(artifact, left) // MIB:,} MiB of memory"


def _facts(artifact: Artifact, left: Headroom) -> dict[str, object]:
    return {
        "needed_bytes": needed_bytes(artifact, left), "available_bytes": left.available_bytes, "total_bytes": left.total_bytes,
        "limit": left.limit, "loader": artifact.loader, "artifact_bytes": artifact.size,
    }


def read_headroom(root: Path = Path("/")) -> list[Headroom]:
    """Return what each limit leaves to this process; what cannot be read is left out.

    Args:
        root: Where ``proc`` and ``sys`` are.
    """
    if sys.platform != "linux":
        return []
    return [*_of_groups(root), *_of_host(root), *_of_address_space(root)]


def _of_groups(root: Path) -> Iterator[Headroom]:
    """cgroups(7): ``hierarchy:controllers:path``, one a line; v2 has neither number nor controllers."""
    mounts = root / "sys/fs/cgroup"
    for line in _lines(root / "proc/self/cgroup"):
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if (number, controllers) == ("0", ""):
            for folder in _with_parents(mounts, path):
                yield from _of_group(folder, ("memory.max", "memory.current"), ("inactive_file", "active_file"))
        elif "memory" in controllers.split(","):
            for folder in _with_parents(mounts / "memory", path):
                files = ("memory.limit_in_bytes", "memory.usage_in_bytes")
                yield from _of_group(folder, files, ("total_inactive_file", "total_active_file"))


def _with_parents(top: Path, path: str) -> Iterator[Path]:
    """Yield a group's folder and those above it; inside a container the path may be the host's, and only the top is there."""
    folder = top / path.lstrip("/")
    if ".." in folder.parts:   # the group lies outside of this cgroup namespace
        folder = top
    while folder != top:
        yield folder
        folder = folder.parent
    yield top


def _of_group(folder: Path, files: tuple[str, str], reclaimable: tuple[str, str]) -> Iterator[Headroom]:
    limit, used = (_number(folder / name) for name in files)
    if limit is None or used is None:
        return   # no limit, or no memory controller here
    fields = _fields(folder / "memory.stat")
    cached = sum(fields.get(name, 0) for name in reclaimable)   # what was just received is in the page cache, and counted as used
    yield Headroom(limit - used + cached, limit, f"the memory limit of the control group {folder.name or folder}")


def _of_host(root: Path) -> Iterator[Headroom]:
    fields = _fields(root / "proc/meminfo")
    if "MemAvailable:" in fields:
        left, total = fields["MemAvailable:"] + fields.get("SwapFree:", 0), fields.get("MemTotal:", 0) + fields.get("SwapTotal:", 0)
        yield Headroom(left * KIB, max(left, total) * KIB, "this host's memory")


def _of_address_space(root: Path) -> Iterator[Headroom]:
    """proc(5): ``limits`` has RLIMIT_AS as "Max address space", soft limit first; ``status`` has what is used."""
    for line in _lines(root / "proc/self/limits"):
        if line.startswith("Max address space"):
            soft = line.removeprefix("Max address space").split()[0]
            used = _fields(root / "proc/self/status").get("VmSize:")
            if soft.isdecimal() and used is not None:
                what = "the limit of this process's address space (RLIMIT_AS)"
                yield Headroom(int(soft) - used * KIB, int(soft), what, counts_mappings=True)


def _lines(path: Path) -> list[str]:
    with suppress(OSError):
        return path.read_text(encoding="ascii", errors="replace").splitlines()
    return []


def _number(path: Path) -> int | None:
    text = "".join(_lines(path)).strip()
    return int(text) if text.isdecimal() else None   # "max" is no limit


def _fields(path: Path) -> dict[str, int]:
    parts = [line.split() for line in _lines(path)]
    return {part[0]: int(part[1]) for part in parts if len(part) > 1 and part[1].isdecimal()}
