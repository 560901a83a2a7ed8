"""A run with evidence: real instances that are asked for predictions all the time, publishers that may be killed, and a judge at the end.

    run.start("one", url)
    run.publish(url)                      # 1.1.0, 1.2.0, ...
    ...trouble of any kind...
    run.finish(url)                       # heal first; publishes one more, waits for it, then checks everything
"""

import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.end_to_end.checker import Attempt, Evidence, violations
from tests.end_to_end.serving import Fatal, Publish, Serve, publish, publish_and_die, serve

from modelcast.consumer.deadletters.browse import read_letters
from modelcast.publisher.publication import Publication
from modelcast.shared.errors import HostFault, SenderFault
from modelcast.shared.report import Report, ReportKind
from modelcast.shared.roads import open_road

PATIENCE_SECONDS = 60.0
LOOK_SECONDS = 0.01
_SPAWNING = multiprocessing.get_context("forkserver")
_SPAWNING.set_forkserver_preload(["tests.end_to_end.serving"])


def eventually(condition: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for something; says ``what`` was waited for in vain."""
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for: {what}"
        pause.wait(LOOK_SECONDS)


class Serving:
    """One process of an instance.

    Attributes:
        job: What it was told.
        last: The latest status that it wrote down.
        events: All that it wrote down until the last look.
        suspended_ms: From when until when it was stopped in its tracks.
    """

    def __init__(self, job: Serve) -> None:
        self.job = job
        self._offset = job.history.stat().st_size if job.history.exists() else 0
        self._process = _SPAWNING.Process(target=serve, args=(job,), name=job.name)
        self._process.start()
        self.last: dict[str, Any] = {}
        self.events: list[dict[str, Any]] = []
        self.suspended_ms: list[tuple[int, int]] = []

    @property
    def pid(self) -> int:
        """Id of the process."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.is_alive()

    def look(self) -> dict[str, Any]:
        """Read what it wrote down since the last look; returns its latest status."""
        if self.job.history.exists():
            with self.job.history.open("rb") as file:
                file.seek(self._offset)
                fresh = file.read()
            whole = fresh[: fresh.rfind(b"\n") + 1]
            self._offset += len(whole)
            for event in map(json.loads, whole.splitlines()):
                self.events.append(event)
                if event["kind"] == "status":
                    self.last = event
        return self.last

    def wait_for(self, wanted: Callable[[dict[str, Any]], bool], what: str, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """Return the first status that is wanted."""
        deadline, pause = time.monotonic() + seconds, threading.Event()
        while not ((status := self.look()) and wanted(status)):
            assert self.is_alive, f"{self.job.name} ended while waiting for: {what}; exit {self._process.exitcode}"
            assert time.monotonic() < deadline, f"{self.job.name} waited in vain for: {what}; last status: {status}"
            pause.wait(LOOK_SECONDS)
        return status

    def serves(self, version: str, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """Wait until ``version`` is in service."""
        return self.wait_for(lambda status: status["version"] == version, f"version {version}", seconds)

    def is_connected(self) -> dict[str, Any]:
        """Wait until it is connected."""
        return self.wait_for(lambda status: status["connected"], "a connection")

    def died(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Wait until the process ended by itself; returns its exit code, ``-9`` for SIGKILL."""
        self._process.join(seconds)
        assert self._process.exitcode is not None, f"{self.job.name} lives; last status: {self.look()}"
        return self._process.exitcode

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()
        self._process.join(20)

    def pause(self) -> None:
        """Stop it in its tracks (SIGSTOP)."""
        os.kill(self.pid, signal.SIGSTOP)
        self.suspended_ms.append((time.time_ns() // 1_000_000, 2**63))

    def go_on(self) -> None:
        """Let it run again."""
        os.kill(self.pid, signal.SIGCONT)
        self.suspended_ms[-1] = (self.suspended_ms[-1][0], time.time_ns() // 1_000_000)

    def end(self) -> None:
        """End it in order (SIGTERM)."""
        if self._process.is_alive():
            self._process.terminate()
            self._process.join(30)
        if self._process.is_alive():
            self.kill()


class Harness:
    """See the module.

    Args:
        folder: Where stores, logs and histories are.
        keys: Private and public key.
    """

    def __init__(self, folder: Path, keys: tuple[Path, Path]) -> None:
        self.folder, self._keys = folder, keys
        self.evidence = Evidence()
        self.running: dict[str, Serving] = {}
        self._made: list[Serving] = []
        self._number = 0

    # ------------------------------------------------------------- instances

    def start(self, name: str, url: str, *, dies_at: Fatal | None = None, **options: Any) -> Serving:
        """Start a process of the instance ``name``; the one before must have ended."""
        job = Serve(
            url, name, self._keys[1], self.folder / f"store-{name}", self.folder / f"history-{name}.jsonl", self.folder / f"log-{name}.txt",
            dies_at, **options,
        )
        serving = Serving(job)
        self.running[name] = serving
        self._made.append(serving)
        return serving

    def joined(self, name: str, url: str, **options: Any) -> Serving:
        """Start an instance and wait until its queue is there."""
        serving = self.start(name, url, **options)
        serving.is_connected()
        return serving

    def leave(self, name: str) -> None:
        """End an instance for good: what its queue holds is nobody's any more."""
        self.running.pop(name).end()
        for attempt in self.evidence.attempts.values():
            attempt.addressed -= {name}

    def _addressed(self) -> frozenset[str]:
        """Instances that were connected at some time: their queues are there."""
        return frozenset(
            name for name in list(self.running)
            if any(event["kind"] == "status" and event["connected"] for event in self._events(self.folder / f"history-{name}.jsonl"))
        )

    @staticmethod
    def _events(path: Path) -> Iterator[dict[str, Any]]:
        if path.exists():
            for line in path.read_bytes().splitlines(keepends=True):
                if line.endswith(b"\n"):
                    yield json.loads(line)

    # ------------------------------------------------------------- publishers

    def _attempt(self, url: str, version: str | None, **options: Any) -> tuple[Publish, Attempt]:
        version = version or self.next_version()
        attempt = self.evidence.attempts.setdefault(version, Attempt(version, options.get("is_good", True), addressed=self._addressed()))
        attempt.tries += 1
        seed = list(self.evidence.attempts).index(version)
        return Publish(url, self._keys[0], version, seed, self.folder / "log-publisher.txt", **options), attempt

    def next_version(self) -> str:
        """Return a version above all before."""
        self._number += 1
        return f"1.{self._number}.0"

    def publish(self, url: str, version: str | None = None, **options: Any) -> Publication:
        """Publish a model, the next version unless one is given; a HostFault is written down and leaves as it came."""
        job, attempt = self._attempt(url, version, **options)
        publication: Publication = publish(job)
        attempt.order = publication.order
        return publication

    def publish_at_last(self, url: str, version: str | None = None, seconds: float = PATIENCE_SECONDS, **options: Any) -> Publication:
        """Publish as the hint of a HostFault says: call again, until it is done."""
        version = version or self.next_version()
        deadline, pause = time.monotonic() + seconds, threading.Event()
        while True:
            try:
                return self.publish(url, version, **options)
            except HostFault:
                if time.monotonic() > deadline:
                    raise
                pause.wait(0.2)

    def publish_and_die(self, url: str, dies_at: Fatal, **options: Any) -> str:
        """Publish the next version in a process that dies at a failpoint; returns the version."""
        job, _ = self._attempt(url, None, **options)
        process = _SPAWNING.Process(target=publish_and_die, args=(replace(job, dies_at=dies_at),), name="publisher")
        process.start()
        process.join(PATIENCE_SECONDS)
        if process.exitcode is None:
            process.kill()
        assert process.exitcode == -signal.SIGKILL, f"the publisher did not pass: {dies_at.point}; exit {process.exitcode}"
        return job.version

    def may_step_down(self, before: str, after: str) -> None:
        """Allow instances to go back from one version to another."""
        self.evidence.steps_down.add((before, after))

    def lost_messages(self, *names: str) -> None:
        """Note that somebody deleted what these instances (all, without names) have to tell or to hear."""
        self.evidence.lost |= set(names or self.running)

    # ------------------------------------------------------------- the end

    def check(self, url: str, seconds: float = PATIENCE_SECONDS) -> Publication:
        """Heal first. Publish a good release, wait until every running instance serves it and has said all, and judge what is known."""
        final = self.publish_at_last(url, seconds=seconds)
        for serving in self.running.values():
            serving.serves(final.version, seconds)
            serving.wait_for(
                lambda status: status["unsent_reports"] == 0 and status["state"] == "idle", "the end of its work", seconds
            )
        self._wait_for_verdicts(url, seconds)
        return final

    def settled(self, serving: Serving, url: str, version: str) -> None:
        """Wait until an instance serves a version and has nothing left to say: the order is acknowledged before its report is sent."""
        serving.serves(version)
        self._wait_for_verdicts(url, PATIENCE_SECONDS)
        serving.wait_for(lambda status: status["unsent_reports"] == 0 and status["state"] == "idle", "the end of its work")

    def _wait_for_verdicts(self, url: str, seconds: float) -> None:
        """Judge what is known until nothing is wrong."""
        deadline, pause = time.monotonic() + seconds, threading.Event()
        while (found := self._gather(url)) and time.monotonic() < deadline:
            pause.wait(0.2)
        assert not found, "\n".join(found)

    def finish(self, url: str, seconds: float = PATIENCE_SECONDS) -> Evidence:
        """Check, end the instances, and judge again with all that they left behind."""
        self.check(url, seconds)
        for serving in self.running.values():
            serving.end()
        for name in self.running:
            root = self.folder / f"store-{name}" / "fraud" / "production"
            self.evidence.stores[name] = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
        found = self._gather(url)
        assert not found, "\n".join(found)
        return self.evidence

    def _gather(self, url: str) -> list[str]:
        """Collect the evidence; returns what is wrong so far."""
        road = open_road(url)
        self.evidence.reports = _reports(road)
        self.evidence.letters = [
            (letter.instance or "", letter.order_id) for letter in read_letters(road, limit=100_000) if letter.model == "fraud"
        ]
        self.evidence.histories = {name: list(self._events(self.folder / f"history-{name}.jsonl")) for name in self.running}
        return violations(self.evidence)

    def predictions(self) -> int:
        """Return how many predictions were counted; those of killed processes are not."""
        return sum(event["count"] for event in self._all_events("predictions"))

    def longest_gap_ms(self) -> float:
        """Return the longest pause between two predictions of a process that was not suspended meanwhile, in ms; at least 50 are counted."""
        suspended = [(serving.pid, begin, end) for serving in self._made for begin, end in serving.suspended_ms]
        return max((
            event["milliseconds"] for event in self._all_events("gap")
            if not any(pid == event["pid"] and begin - 1 <= event["at_ms"] <= end + 1000 for pid, begin, end in suspended)
        ), default=0.0)

    def _all_events(self, kind: str) -> Iterator[dict[str, Any]]:
        return (event for events in self.evidence.histories.values() for event in events if event["kind"] == kind)

    def close(self) -> None:
        """End whatever still runs."""
        for serving in self._made:
            serving.end()


def _reports(road: Any) -> list[Report]:
    source, found = road.reports(since_minutes=None), []
    try:
        while not source.is_caught_up:
            body = source.receive(LOOK_SECONDS)
            try:
                report = Report.parse(body or b"")
            except SenderFault:
                continue
            if report.kind is ReportKind.VERDICT:
                found.append(report)
    finally:
        source.close()
    return found
