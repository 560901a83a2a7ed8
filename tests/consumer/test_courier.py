"""The courier's turns: back on the road after every loss, orders in, verdicts out, and a goodbye at the end."""

import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from tests.fakes.bench import Bench, Desk, RecordingRoad
from tests.fakes.fake_broker import FakeBroker
from tests.fakes.publisher_sim import PublisherSimulator

from modelcast.consumer.courier import Courier
from modelcast.consumer.lifecycle import State
from modelcast.consumer.policy import Timing
from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.errors import BrokerUnreachable, DepotUnusable, HostFault, TopologyMismatch
from modelcast.shared.order import order_id
from modelcast.shared.report import ReportKind
from modelcast.shared.road import ArrivedOrder, Bookmark

AT_ONCE = Timing(retry_first_seconds=0, retry_most_seconds=0, heartbeat_seconds=3600)


class Joined(RecordingRoad):
    """A connection that never waits."""

    def __init__(self, script: "Script") -> None:
        super().__init__()
        self._script, self.closed, self.woken = script, False, 0

    def next_order(self, seconds: float) -> ArrivedOrder | None:
        if self._script.arriving:
            arrived = self._script.arriving.popleft()
            if isinstance(arrived, BaseException):
                raise arrived
            return arrived
        return None

    def wake(self) -> None:
        self.woken += 1

    def close(self) -> None:
        self.closed = True


class Script:
    """A road that does what the test says: ``joining`` holds errors for the next attempts, ``arriving`` orders and errors."""

    def __init__(self) -> None:
        self.joining: deque[BaseException] = deque()
        self.arriving: deque[ArrivedOrder | BaseException] = deque()
        self.joined: list[Joined] = []
        self.bookmarks: list[Bookmark | None] = []

    def join(self, _target: object, *, bookmark: Bookmark | None = None) -> Joined:
        self.bookmarks.append(bookmark)
        if self.joining:
            raise self.joining.popleft()
        self.joined.append(Joined(self))
        return self.joined[-1]


@pytest.fixture
def sim(signing_key) -> PublisherSimulator:
    return PublisherSimulator(AmqpRoad(FakeBroker()), signing_key)


@pytest.fixture
def desk(tmp_path: Path, sim, key_ring) -> Iterator[Desk]:
    with Bench(tmp_path / "store", sim._road, key_ring) as bench:
        yield Desk(bench)


@pytest.fixture
def script() -> Script:
    return Script()


def courier_of(desk: Desk, script: Script, timing: Timing = AT_ONCE, *, restored: bool = True) -> Courier:
    def take_results() -> None:
        while desk.jobs:
            desk.do_one()

    return Courier(
        script, desk.updater.setting.target, desk.updater, desk.verdicts, desk.verdicts.reporter, timing, take_results,   # type: ignore[arg-type]
        structlog.get_logger(), restored=restored,
    )


def test_nothing_is_joined_before_the_store_is_read(desk, script) -> None:
    courier = courier_of(desk, script, restored=False)
    courier.ring()
    courier._bell.set()
    for _ in range(3):
        courier._bell.set()
        courier.take_results()
    assert script.joined == []
    assert courier.connected_since_ms is None


def test_it_joins_reports_its_state_and_takes_orders(desk, script, sim) -> None:
    courier = courier_of(desk, script)
    courier.turn()
    assert courier.connected_since_ms is not None
    script.arriving.append(ArrivedOrder(sim.publish(sim.release("1.0.0")), object()))
    for _ in range(4):
        courier.turn()
    assert desk.bench.version == "1.0.0"
    assert [report.kind for report in script.joined[0].reports] == [ReportKind.STATE, ReportKind.VERDICT]
    assert len(script.joined[0].settled) == 1
    assert courier.last_contact_ms is not None


@pytest.mark.parametrize("error", [BrokerUnreachable("gone"), TopologyMismatch("queue deleted"), RuntimeError("a bug")], ids=lambda e: type(e).__name__)
def test_a_connection_that_breaks_is_closed_and_made_again(desk, script, error) -> None:
    courier = courier_of(desk, script)
    courier._bell = AlreadyRung()   # a bug makes it rest; not in a test
    courier.turn()
    script.arriving.append(error)
    courier.turn()
    assert script.joined[0].closed
    assert (courier.losses, courier.connected_since_ms) == (1, None)
    assert courier.fault
    courier.turn()
    assert len(script.joined) == 2
    assert courier.fault is None


def test_a_connection_that_cannot_even_be_closed_is_made_again(desk, script, monkeypatch: pytest.MonkeyPatch) -> None:
    courier = courier_of(desk, script)
    courier.turn()

    def fails(_joined: Joined) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(Joined, "close", fails)
    script.arriving.append(BrokerUnreachable("gone"))
    for _ in range(3):
        courier.turn()
    assert len(script.joined) == 2


class AlreadyRung:
    """A bell that nobody has to wait for."""

    def wait(self, _seconds: float | None = None) -> bool:
        return True

    def set(self) -> None:
        """Nothing."""

    def clear(self) -> None:
        """Nothing."""


def test_attempts_that_fail_are_counted_and_the_last_error_is_kept(desk, script) -> None:
    courier = courier_of(desk, script)
    script.joining.extend(BrokerUnreachable(f"attempt {number}") for number in range(3))
    for _ in range(3):
        courier.turn()
    assert (courier.losses, courier.fault) == (3, "attempt 2")
    courier.turn()
    assert (len(script.joined), courier.fault, courier.failures) == (1, None, 0)


@pytest.mark.parametrize(("fault", "longest"), [(DepotUnusable("Nothing is mounted."), 2.0), (BrokerUnreachable("Nobody answers."), 40.0)])
def test_a_directory_is_looked_at_again_soon_and_a_server_is_left_alone(desk, script, fault: HostFault, longest: float) -> None:
    courier = courier_of(desk, script, Timing(retry_first_seconds=40, retry_most_seconds=40))
    courier._lose(fault)
    pause = courier._next_join - time.monotonic()
    assert longest / 5 < pause <= longest


def test_a_fault_that_goes_on_is_logged_ever_more_seldom_and_another_one_at_once(desk, script) -> None:
    courier = courier_of(desk, script)
    with structlog.testing.capture_logs() as entries:
        courier.log = structlog.get_logger()
        for _ in range(100):
            courier._lose(DepotUnusable("Nothing is mounted."))
        courier._lose(BrokerUnreachable("Nobody answers."))
    assert [entry["fault"] for entry in entries] == ["Nothing is mounted."] * 7 + ["Nobody answers."]


def test_no_attempt_is_made_before_its_pause_is_over(desk, script) -> None:
    courier = courier_of(desk, script, Timing(retry_first_seconds=100, retry_most_seconds=10_000))
    script.joining.extend(BrokerUnreachable("no") for _ in range(2))
    courier.turn()
    first = courier._next_join
    courier._bell = AlreadyRung()
    courier.turn()
    assert script.joining   # not yet
    assert courier._next_join == first


def test_an_order_that_arrived_before_the_loss_is_settled_by_its_redelivery(desk, script, sim) -> None:
    courier = courier_of(desk, script)
    courier.turn()
    body = sim.publish(sim.release("1.0.0"))
    script.arriving.extend([ArrivedOrder(body, object()), BrokerUnreachable("cut")])
    courier.turn()
    script.arriving.append(ArrivedOrder(body, "the second"))
    for _ in range(5):
        courier.turn()
    assert [arrived.receipt for arrived, _ in script.joined[1].settled] == ["the second"]
    assert script.joined[0].settled == []
    assert desk.bench.slot.active.generation == 1


def test_a_new_connection_reads_the_history_from_the_last_order_on(desk, script, sim) -> None:
    courier = courier_of(desk, script)
    courier.turn()
    body = sim.publish(sim.release("1.0.0"))
    script.arriving.extend([ArrivedOrder(body, offset=7), ArrivedOrder(b"noise", object()), BrokerUnreachable("cut")])
    courier.turn()
    courier.turn()
    assert script.bookmarks == [None, Bookmark(7, order_id(body))]


def test_the_state_is_reported_again_after_every_heartbeat(desk, script) -> None:
    courier = courier_of(desk, script, Timing(heartbeat_seconds=0))
    for _ in range(4):
        courier.turn()
    assert [report.kind for report in script.joined[0].reports] == [ReportKind.STATE] * 3


def test_a_ring_wakes_the_connection_that_waits(desk, script) -> None:
    courier = courier_of(desk, script)
    courier.ring()
    courier.turn()
    courier.ring()
    assert script.joined[0].woken == 1


def test_at_the_end_it_tells_what_is_due_says_goodbye_and_leaves(desk, script) -> None:
    courier = courier_of(desk, script)
    courier.turn()
    script.arriving.append(ArrivedOrder(b"noise", object()))
    courier.turn()
    courier.take_results()
    courier.end()
    joined = script.joined[0]
    assert [report.kind for report in joined.reports][-2:] == [ReportKind.VERDICT, ReportKind.STOPPED]
    assert len(joined.settled) == 1
    assert joined.closed
    assert desk.updater.state is State.STOPPED


def test_a_goodbye_that_does_not_get_through_is_no_error(desk, script) -> None:
    courier = courier_of(desk, script)
    courier.turn()
    script.joined[0]._cut_after = 0
    courier.end()
    assert script.joined[0].closed


def test_an_end_without_a_connection_is_an_end(desk, script) -> None:
    courier_of(desk, script).end()
    assert desk.updater.state is State.STOPPED
