"""A soak: minutes of random releases and random troubles on a real broker, judged every minute. ``make soak MINUTES=30``.

Prints a line for each trouble, and at the end what was counted, as a table or as JSON. Exit 0: no violation. Exit 1: one was found; the
folder with stores, logs and histories stays, and the seed is printed.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from tests.end_to_end.harness import Harness
from tests.end_to_end.serving import Fatal
from tests.fakes.proxy import Network
from tests.soak.troubles import PUBLISHER_POINTS, TROUBLES, Ground, connected_again

from modelcast.shared.errors import HostFault
from modelcast.shared.keyfiles import generate
from modelcast.shared.localbroker.chooser import ensure_installed
from modelcast.shared.localbroker.node import PrivateNode

INSTANCES = ("one", "two", "three")
CHECK_EVERY_SECONDS = 60.0
HEALING_SECONDS = 120.0
REFUSED, KILLED = 0.15, 0.15
"""How many releases the instances must refuse, and how many publishers die at a failpoint."""


@dataclass
class Counts:
    """What was counted."""

    published: int = 0
    refused: int = 0
    publishers_killed: int = 0
    publishing_faults: Counter[str] = field(default_factory=Counter)
    troubles: Counter[str] = field(default_factory=Counter)
    checks: int = 0
    longest_to_converge: float = 0.0


class Releasing(threading.Thread):
    """Publishes one release after the other, as the hint of each error says, until it is told to rest."""

    def __init__(self, ground: Ground, counts: Counts, seed: int) -> None:
        super().__init__(name="releasing", daemon=True)
        self._ground, self._counts, self._random = ground, counts, random.Random(seed)
        self.resting, self.rested, self.ended = threading.Event(), threading.Event(), threading.Event()
        self.error: BaseException | None = None

    def run(self) -> None:
        """Runs in this thread."""
        try:
            while not self.ended.is_set():
                if self.resting.is_set():
                    self.rested.set()
                    self.ended.wait(0.05)
                    continue
                self._publish_one()
                self.ended.wait(self._random.uniform(0, 2))
        except BaseException as error:  # noqa: BLE001 - told by whoever waits for this thread
            self.error = error
        finally:
            self.rested.set()

    def _publish_one(self) -> None:
        run, url, chance = self._ground.run, self._ground.url, self._random
        options = {"kibibytes": chance.choice([64, 256, 1024, 4096]), "is_good": chance.random() >= REFUSED}
        version = None
        if chance.random() < KILLED and options["is_good"]:
            try:
                version = run.publish_and_die(url, Fatal(chance.choice(PUBLISHER_POINTS)), **options)
                self._counts.publishers_killed += 1
            except AssertionError:   # the broker was away before it came to its end
                version = list(run.evidence.attempts)[-1]
        version = version or run.next_version()
        while not self.ended.is_set():
            try:
                run.publish(url, version, **options)
                break
            except HostFault as fault:
                self._counts.publishing_faults[type(fault).__name__] += 1
                self.ended.wait(0.3)
        self._counts.published += 1
        self._counts.refused += not options["is_good"]


class Soak:
    """One soak."""

    def __init__(self, folder: Path, minutes: float, seed: int) -> None:
        self._seconds, self._random = minutes * 60, random.Random(seed)
        self.counts = Counts()
        self._node = PrivateNode(folder / "node")
        self._node.start()
        status = self._node.status()
        network = Network(self._node.url, status.stream_port)
        self._ground = Ground(Harness(folder, generate(folder / "training")), self._node, network, self._random)
        self._releasing = Releasing(self._ground, self.counts, seed)
        self._began = time.monotonic()

    def play(self) -> None:
        """Play it; raises AssertionError for a violation."""
        ground = self._ground
        for name in INSTANCES:
            ground.run.joined(name, ground.url)
        ground.run.check(ground.url)
        # RabbitMQ writes down that it coordinates streams when it stops, and every three minutes: one that is killed before forgets them.
        self._node.stop()
        self._node.start()
        self._releasing.start()
        next_check = time.monotonic() + CHECK_EVERY_SECONDS
        while time.monotonic() - self._began < self._seconds:
            trouble = self._random.choice(TROUBLES)
            self._say(trouble.__name__)
            trouble(ground)
            self.counts.troubles[trouble.__name__] += 1
            ground.rest(0, 3)
            assert self._releasing.error is None, repr(self._releasing.error)
            if time.monotonic() >= next_check:
                self._check()
                next_check = time.monotonic() + CHECK_EVERY_SECONDS
        self._check()
        self._releasing.ended.set()
        self._releasing.join(HEALING_SECONDS)
        ground.run.finish(ground.url, HEALING_SECONDS)

    def _say(self, text: str) -> None:
        sys.stderr.write(f"{time.monotonic() - self._began:7.1f} s  {self.counts.published:5} releases  {text}\n")
        sys.stderr.flush()

    def _check(self) -> None:
        self._ground.network.heal()
        healed = time.monotonic()
        connected_again(self._ground, HEALING_SECONDS)
        self._releasing.rested.clear()
        self._releasing.resting.set()
        assert self._releasing.rested.wait(HEALING_SECONDS), "the publisher hangs"
        assert self._releasing.error is None, repr(self._releasing.error)
        self._ground.run.check(self._ground.url, HEALING_SECONDS)
        self._releasing.resting.clear()
        took = time.monotonic() - healed
        self.counts.checks += 1
        self.counts.longest_to_converge = max(self.counts.longest_to_converge, took)
        self._say(f"healed; all is as it should be after {took:.1f} s")

    def close(self) -> None:
        """End everything."""
        self._releasing.ended.set()
        self._ground.run.close()
        self._ground.network.close()
        self._node.stop()

    def summary(self) -> dict[str, object]:
        """Return what was counted."""
        run, evidence = self._ground.run, self._ground.run.evidence
        verdicts = Counter(str(report.verdict) for report in evidence.reports)
        return {
            "minutes": round((time.monotonic() - self._began) / 60, 1), "releases": self.counts.published, "to be refused": self.counts.refused,
            "publishers killed": self.counts.publishers_killed, "publishing was interrupted": sum(self.counts.publishing_faults.values()),
            "verdicts": dict(verdicts), "dead letters": len(evidence.letters), "predictions": run.predictions(),
            "predictions failed": sum(event["kind"] in {"failed", "wrong", "unserved"} for events in evidence.histories.values() for event in events),
            "longest pause between two predictions, ms": run.longest_gap_ms(), "checks": self.counts.checks,
            "longest time to converge after healing, s": round(self.counts.longest_to_converge, 1),
            "processes started": sum(event["kind"] == "started" for events in evidence.histories.values() for event in events),
            "troubles": dict(self.counts.troubles.most_common()),
        }


def main() -> int:
    """Play a soak and print what was counted."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="Random releases and random troubles, judged every minute.")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=None, help="decides which troubles come in which order")
    parser.add_argument("--json", action="store_true", help="print what was counted as JSON")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(2**32)
    ensure_installed(lambda text: sys.stderr.write(f"{text}\n"))
    folder = Path(tempfile.mkdtemp(prefix="modelcast-soak-"))
    sys.stderr.write(f"{options.minutes:g} minutes, seed {seed}, in {folder}\n")
    structlog.configure(logger_factory=structlog.PrintLoggerFactory((folder / "log-publisher.txt").open("a", encoding="utf-8")))
    soak = Soak(folder, options.minutes, seed)
    try:
        soak.play()
    except Exception as violation:  # noqa: BLE001 - whatever it is, it must not happen
        sys.stderr.write(f"\nViolation, with seed {seed}; stores, logs and histories are in {folder}:\n{violation!r}\n{violation}\n")
        return 1
    finally:
        soak.close()
    counted = {"seed": seed, **soak.summary()}
    if options.json:
        sys.stdout.write(json.dumps(counted, indent=2) + "\n")
    else:
        for name, value in counted.items():
            sys.stdout.write(f"{name:45} {value}\n")
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
