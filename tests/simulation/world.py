"""A channel with many instances, one publisher and a broker in memory, in one thread: chance decides what happens next.

What runs is the product's own code: courier, updater, verdicts, ledger, agenda, rules, journal, and the road by AMQP. What is simulated
is the broker (``FakeBroker``, which a contract suite holds to RabbitMQ), the worker's steps, and the time. Everything that chance
decides comes from one seed, so that a run that fails can be repeated.
"""

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.fakes.fake_broker import FakeBroker
from tests.fakes.publisher_sim import PublisherSimulator, Release
from tests.simulation.disk import QUIET, Crash, Disk, Hazards, SimWorkshop
from tests.simulation.surroundings import AlwaysRung, Clock, GatedRoad, RememberingRing

from modelcast.consumer.active import Slot
from modelcast.consumer.courier import Courier
from modelcast.consumer.host_facts import HostFacts
from modelcast.consumer.policy import Policy, Timing
from modelcast.consumer.reporting import Reporter
from modelcast.consumer.rules import Host
from modelcast.consumer.trust import reader_of
from modelcast.consumer.updater import Setting, Updater
from modelcast.consumer.verdicts import Verdicts
from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.order import Kind, order_id
from modelcast.shared.report import Report, ReportKind
from modelcast.shared.road import Target
from modelcast.shared.signing import SigningKey
from modelcast.shared.topology import instance_queue_name

TIMING = Timing(retry_first_seconds=0, retry_most_seconds=0, heartbeat_seconds=1e9)
HOST = Host("3.11.0", "cpython", lambda _name: None, frozenset({"files"}))
LATE = 1.0


@dataclass(frozen=True)
class Ordered:
    """An order as it was sent."""

    body: bytes
    release: Release
    sequence: int
    is_rollback: bool


class Instance:
    """One instance of the application: processes come and go, the disk stays."""

    def __init__(self, name: str, world: "World", *, is_picky: bool) -> None:
        self.name, self.is_picky, self._world, self.disk, self.starts = name, is_picky, world, Disk(), 0
        self.addressed: list[str] = []
        self.start()

    def start(self) -> None:
        """Start a process."""
        world, target = self._world, Target("fraud", "production", self.name)
        self.starts += 1
        self.slot, self.jobs, self._results = Slot(), deque[Any](), deque[Any]()
        self.workshop = SimWorkshop(self.disk, self.slot, world.ring, world.hazards, self.refuses)
        reporter = Reporter(target, boot=f"{self.starts:016d}", clock_ms=lambda: 0, host=HostFacts(headroom=list, lasting={}))
        self.verdicts = Verdicts(reporter, self.workshop, self.slot, self._submit, QUIET)   # type: ignore[arg-type]
        setting = Setting(target, Policy(), TIMING, world.ring, HOST)
        self.updater = Updater(setting, self.workshop, self.verdicts, self._submit, QUIET)   # type: ignore[arg-type]
        self.workshop.restore()
        self.updater.remember(self.workshop.standing(), self.workshop.journal.rejections(), self.workshop.journal.reports())
        self.updater.kept = None if self.disk.pointer is None else self.disk.pointer.bookmark_of(reader_of(world.ring))
        self.road = GatedRoad(world)
        self.courier = Courier(
            self.road, target, self.updater, self.verdicts, reporter, TIMING, self._take_results, QUIET, restored=True   # type: ignore[arg-type]
        )
        self.courier._bell = AlwaysRung()   # type: ignore[assignment]

    def refuses(self, release: str) -> bool:
        """Whether this host cannot load a release."""
        return release in self._world.bad or (self.is_picky and release in self._world.strange)

    def _submit(self, job: Callable[[], Any], then: Callable[[Any, BaseException | None], None]) -> None:
        self.jobs.append((job, then))

    def _take_results(self) -> None:
        while self._results:
            then, result, error = self._results.popleft()
            then(result, error)

    def turn(self) -> None:
        """Let the I/O thread have a turn."""
        self.courier.turn()

    def work(self) -> None:
        """Let the worker do a job, which may take the process with it."""
        if not self.jobs:
            return
        job, then = self.jobs.popleft()
        try:
            result, error = job(), None
        except Crash:
            self.crash()
            return
        except Exception as caught:  # noqa: BLE001 - handed on, as the runtime does
            result, error = None, caught
        self._results.append((then, result, error))

    def cut(self) -> None:
        """Cut its connections."""
        inner = self.road.inner
        if inner is not None:
            with self._world.broker.node.changed:
                for link in (inner._link, inner._publishing):
                    link.lose("The cable was cut.")

    def crash(self) -> None:
        """End the process with all that is in its memory, and start another one."""
        self.cut()
        self.start()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left to be done as far as it knows."""
        ledger = self.verdicts.ledger
        return not (self.jobs or self._results or self.updater._agenda or ledger.unsent or ledger._receipts or self.updater.in_hand)


class World:
    """Everything.

    Args:
        seed: Decides everything that chance decides.
        key: Signs releases and orders.
        clock: The time.
    """

    def __init__(self, seed: int, key: SigningKey, clock: Clock) -> None:
        self.random, self.clock, self.ring = random.Random(seed), clock, RememberingRing([key.trusted()])
        self.broker = FakeBroker(clock=lambda: clock.now)
        self.hazards = Hazards(self.random, fault=0.1, crash=0.1)
        self.lateness = self.random.choice([0.0, 0.5, 0.9])
        self.road = AmqpRoad(self.broker)
        self.sim = PublisherSimulator(self.road, key)
        self.ordered: list[Ordered] = []
        self.bad: set[str] = set()
        self.strange: set[str] = set()
        self._count = 0
        self.instances: list[Instance] = []
        self.road.publish("fraud", "production").close()

    # ------------------------------------------------------------------- what may happen

    def join(self) -> None:
        """Another instance comes."""
        if len(self.instances) < 5:
            number = len(self.instances)
            self.instances.append(Instance(f"i{number}", self, is_picky=number % 2 == 1))

    def publish(self) -> None:
        """A new release, above or below those before it; some load nowhere, some not on every host."""
        self._count += 1
        text = f"{self.random.randrange(1, 6)}.{self._count}.0"
        release = self.sim.release(text, {"model.bin": text.encode()})
        fate = self.random.random()
        if fate < 0.15:
            self.bad.add(release.id)
        elif fate < 0.3:
            self.strange.add(release.id)
        self._send(release, Kind.PROMOTION)

    def roll_back(self) -> None:
        """An order for a release that loads everywhere and was ordered before."""
        good = [each.release for each in self.ordered if each.release.id not in self.bad | self.strange]
        if good:
            self._send(self.random.choice(good), Kind.ROLLBACK)

    def _send(self, release: Release, kind: Kind) -> None:
        body = self.sim.order(release, kind=kind)
        self.ordered.append(Ordered(body, release, self.sim.sequence, kind is Kind.ROLLBACK))
        for instance in self.instances:
            if instance_queue_name("fraud", "production", instance.name) in self.broker.node.queues:
                instance.addressed.append(order_id(body))
        for _ in range(1 + (self.random.random() < 0.1)):   # a publisher that was not told that it got through sends again
            self.sim.announce(body)

    def someone(self, does: Callable[[Instance], None]) -> None:
        """Let something happen to one of the instances."""
        if self.instances:
            does(self.random.choice(self.instances))

    def restart_broker(self) -> None:
        """The node stops and starts again."""
        self.broker.stop()
        self.someone(Instance.turn)
        self.broker.start()

    def happen(self) -> None:
        """Let one thing happen."""
        chances: list[tuple[float, Callable[[], None]]] = [
            (1.0, self.publish), (0.4, self.roll_back), (0.7, self.join), (1.0, lambda: self.someone(Instance.cut)),
            (1.2, lambda: self.someone(Instance.crash)), (0.2, self.restart_broker), (0.1, self._pass_time),
            (8.0, lambda: self.someone(Instance.turn)), (8.0, lambda: self.someone(Instance.work)), (6.0, lambda: self.someone(self._live)),
        ]
        (act,) = self.random.choices([act for _, act in chances], [weight for weight, _ in chances])
        act()

    def _live(self, instance: Instance) -> None:
        """Let an instance get on for a while: often long enough for a promotion."""
        for _ in range(self.random.randrange(30)):
            self.random.choice((instance.turn, instance.work))()

    def _pass_time(self) -> None:
        self.clock.now += self.random.choice([LATE, 20.0])

    # ------------------------------------------------------------------- the end

    def heal_and_drain(self) -> None:
        """Nothing goes wrong any more; go on until nothing is left to be done."""
        self.lateness = self.hazards.fault = self.hazards.crash = 0.0
        idle = 0
        for _ in range(400):
            self.clock.now += LATE
            for instance in self.instances:
                instance.turn()
                while instance.jobs:
                    instance.work()
            idle = idle + 1 if all(instance.is_idle for instance in self.instances) else 0
            if idle > 30:   # longer than a silent history is waited for
                return
        raise AssertionError("the world does not come to rest")

    def reports(self) -> list[Report]:
        """Return every verdict that was reported."""
        source, found = self.road.reports(since_minutes=None), list[Report]()
        while (body := source.receive(0)) is not None:
            found.append(Report.from_bytes(body, what="report", formats=frozenset({1}), max_bytes=len(body)))
        source.close()
        return [report for report in found if report.kind is ReportKind.VERDICT]
