"""An instance as a process that is asked for predictions all the time, and writes down what it saw, line by line, in a file that outlives it.

It also publishes in a process of its own. Both can be told to die (SIGKILL) at a named failpoint.
"""

import json
import os
import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from modelcast.consumer import ModelConsumer, Timing
from modelcast.publisher import Publisher
from modelcast.shared.errors import HostFault, NotReady
from modelcast.shared.failpoints import Point, arm

BLOCKS = 16
PAUSE_SECONDS = 0.002
LONG_GAP_SECONDS = 0.05
"""Between two predictions; longer ones are written down."""
TIMING = Timing(
    retry_first_seconds=0.05, retry_most_seconds=0.5, chunk_idle_seconds=2.0, heartbeat_seconds=1.0, load_seconds=60, probe_seconds=60,
)


class Witness:
    """A model that knows its version and what it must answer.

    Args:
        version: Its version.
        seed: Decides its weights.
        kibibytes: Size of the weights.
        is_good: Whether the instances' validator takes it.
        steps: Statements of Python that loading it runs: such as one that ends the process.
        pondered: Seconds that the instances' validator takes.
    """

    def __init__(
        self, version: str, *, seed: int, kibibytes: int = 256, is_good: bool = True, steps: tuple[str, ...] = (), pondered: float = 0.0
    ) -> None:
        self.version, self.is_good, self.steps, self.pondered = version, is_good, steps, pondered
        self.weights = np.random.default_rng(seed).random((BLOCKS, kibibytes * 1024 // 8 // BLOCKS))
        self.answers = [float(block.sum()) for block in self.weights]

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for step in self.steps:
            exec(step, {})

    def predict(self, number: int) -> tuple[str, float, float]:
        """Return the version, an answer, and what it must be."""
        return self.version, float(self.weights[number % BLOCKS].sum()), self.answers[number % BLOCKS]


@dataclass(frozen=True)
class Fatal:
    """Die when ``point`` is reached for the ``count``-th time."""

    point: Point
    count: int = 1

    def arm(self) -> None:
        """Arm it in this process."""
        passed, lock = 0, threading.Lock()

        def action(point: Point) -> None:
            nonlocal passed
            if point is self.point:
                with lock:
                    passed += 1
                if passed == self.count:
                    os.kill(os.getpid(), signal.SIGKILL)

        arm(action)


@dataclass(frozen=True)
class Serve:
    """What an instance is told."""

    url: str
    name: str
    trust: Path
    store: Path
    history: Path
    log: Path
    dies_at: Fatal | None = None
    timing: Timing = TIMING
    probes: bool = True
    queue_type: str = "classic"
    clock: Path | None = None


class History:
    """Events as JSON lines; each is one write, so that a killed process leaves whole ones."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, kind: str, **facts: object) -> None:
        line = json.dumps({"kind": kind, "pid": os.getpid(), "at_ms": time.time_ns() // 1_000_000, **facts})
        os.write(self._descriptor, line.encode() + b"\n")


def _resources() -> dict[str, int]:
    own = Path("/proc/self")
    if not own.is_dir():
        return {"threads": threading.active_count()}
    anonymous = next(line.split()[1] for line in (own / "status").read_text().splitlines() if line.startswith("RssAnon:"))
    return {
        "threads": len(os.listdir(own / "task")), "descriptors": len(os.listdir(own / "fd")), "private_bytes": int(anonymous) * 1024,
    }


class Probing:
    """Asks for predictions until it is told to end, and notes whatever is not as it should be."""

    def __init__(self, consumer: ModelConsumer, history: History, ended: threading.Event) -> None:
        self._consumer, self._history, self._ended = consumer, history, ended
        self._generation = self._count = 0
        self._served = False
        self._last = 0.0

    def run(self) -> None:
        """Runs in a thread of its own."""
        try:
            while not self._ended.wait(PAUSE_SECONDS):
                self._ask()
        finally:
            self._history.note("predictions", count=self._count)

    def _ask(self) -> None:
        try:
            active = self._consumer.active
        except NotReady:
            if self._served:
                self._served = False
                self._history.note("unserved")
            return
        if active.generation != self._generation or not self._served:
            self._generation, self._served = active.generation, True
            self._history.note("serves", version=active.version, release=active.release)
        try:
            version, answer, expected = active.model.predict(self._count)
        except Exception as error:  # noqa: BLE001 - whatever it is, a request failed
            self._history.note("failed", version=active.version, error=repr(error))
        else:
            if (version, answer) != (active.version, expected):
                self._history.note("wrong", version=active.version, model=version, answer=answer, expected=expected)
        now = time.monotonic()
        gap, self._last = now - self._last if self._last else 0.0, now
        if gap > LONG_GAP_SECONDS:
            self._history.note("gap", milliseconds=round(gap * 1000, 1))
        self._count += 1


def _log_to(path: Path) -> None:
    structlog.reset_defaults()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(path.open("a", encoding="utf-8", buffering=1)))


def _no_monster(candidate: Any, _manifest: object) -> bool:
    threading.Event().wait(candidate.pondered)
    return bool(candidate.is_good)


def _follow_clock(offset: Path) -> None:
    """Let this process's clock be off by the seconds that stand in a file, which may change at any time; nothing monotonic is."""
    wall, wall_ns = time.time, time.time_ns

    def off() -> float:
        return float(offset.read_text()) if offset.exists() else 0.0

    time.time = lambda: wall() + off()
    time.time_ns = lambda: wall_ns() + int(off() * 1e9)


def serve(job: Serve) -> None:
    """Serve until SIGTERM comes, or the parent is gone."""
    parent, ended = os.getppid(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    _log_to(job.log)
    history = History(job.history)
    history.note("started", name=job.name)
    if job.dies_at is not None:
        job.dies_at.arm()
    if job.clock is not None:
        _follow_clock(job.clock)
    consumer = ModelConsumer(
        job.url, model="fraud", trust=[job.trust], store=job.store, instance=job.name, timing=job.timing,
        queue_type=job.queue_type,
    )
    consumer.validator(_no_monster)
    consumer.start()
    if job.probes:
        probe = threading.Thread(target=Probing(consumer, history, ended).run, name="probe")
        probe.start()
    last: dict[str, object] = {}
    is_settled = False
    while not ended.wait(0.02) and os.getppid() == parent:
        status = consumer.status().to_dict() | {"last_contact_ms": None}
        if status != last:
            history.note("status", **status)
            last = status
        if not is_settled and status["ready"] and status["connected"] and not status["unsent_reports"]:
            is_settled = True
            history.note("resources", when="first", **_resources())
    ended.set()
    history.note("resources", when="last", is_at_rest=last["state"] == "idle" and last["connected"], **_resources())
    if job.probes:
        probe.join()
    consumer.stop()
    history.note("stopped", threads=threading.active_count())


@dataclass(frozen=True)
class Publish:
    """What a publisher is told."""

    url: str
    key: Path
    version: str
    seed: int
    log: Path
    kibibytes: int = 256
    is_good: bool = True
    steps: tuple[str, ...] = ()
    pondered: float = 0.0
    expires_seconds: float | None = None
    dies_at: Fatal | None = None


def publish(job: Publish) -> Any:
    """Publish once; returns the publication."""
    if job.dies_at is not None:
        job.dies_at.arm()
    model = Witness(job.version, seed=job.seed, kibibytes=job.kibibytes, is_good=job.is_good, steps=job.steps, pondered=job.pondered)
    publisher = Publisher(job.url, signing_key=job.key, chunk_bytes=64 * 1024, busy_seconds=60)
    return publisher.publish(model, model="fraud", version=job.version, lineage={}, dependencies={}, expires_seconds=job.expires_seconds)


def publish_and_die(job: Publish) -> None:
    """Runs in a process of its own, which a failpoint ends, unless the broker was away before."""
    _log_to(job.log)
    with suppress(HostFault):
        publish(job)
