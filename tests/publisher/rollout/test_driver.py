"""Driving a rollout, by a clock of the test's own: who is waited for, and how long."""

from dataclasses import dataclass, field

import pytest
from tests.publisher.rollout.test_tally import OURS, PROMOTED, report, state

from modelcast.publisher.rollout import desk as desk_module
from modelcast.publisher.rollout import driver as module
from modelcast.publisher.rollout.driver import GRACE_SECONDS, LOOK_SECONDS, POLL_SECONDS, Driver, Happening
from modelcast.publisher.rollout.plan import Amount, RolloutPlan, waves_of
from modelcast.publisher.rollout.records import Begun, Phase, Rollout, Sent, Step, Stepped
from modelcast.publisher.rollout.tally import Tally
from modelcast.shared.errors import BrokerUnreachable
from modelcast.shared.report import Report, ReportKind, Verdict
from modelcast.shared.turns import turn_of

OTHER, ORDER, LAST_ORDER, HEARD_SECONDS = "cd" * 32, "ee" * 32, "ff" * 32, 180.0
A, B, C = sorted(("a", "b", "c"), key=turn_of)


def here(name: str) -> bytes:
    return state(OTHER, instance=name, sequence=6)


def promoted(name: str) -> bytes:
    return report(verdict=Verdict.PROMOTED, instance=name)


@dataclass
class Scene:
    """Reports that come at their time; the clock goes on by what is waited."""

    reports: list[tuple[float, bytes]]
    now: float = 0.0
    is_away: bool = False
    all: list[tuple[float, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.all = list(self.reports)

    def heard(self) -> set[str]:
        """Who reported within the last three minutes, and did not stop."""
        lately = [Report.parse(body) for at, body in self.all if self.now - HEARD_SECONDS < at <= self.now]
        last = {report.instance: report for report in lately}
        return {name for name, report in last.items() if report.kind is not ReportKind.STOPPED}

    def receive(self, seconds: float) -> bytes | None:
        if self.reports and self.reports[0][0] <= self.now:
            return self.reports.pop(0)[1]
        self.now += seconds
        return None

    @property
    def is_caught_up(self) -> bool:
        return not self.is_away and not (self.reports and self.reports[0][0] <= self.now)

    def close(self) -> None:
        pass


@dataclass
class FakeDesk:
    """A desk whose rollout is in memory; ``ends_at`` is when somebody else takes it over."""

    rollout: Rollout
    scene: Scene
    ends_at: float = 1e9
    is_away: bool = False
    driver: str = "me"
    orders: list[int] = field(default_factory=list)

    def look(self) -> Rollout:
        if self.is_away:
            raise BrokerUnreachable("away")
        return self.rollout

    def look_patiently(self) -> Rollout:
        return self.rollout

    def is_mine(self, rollout: Rollout) -> bool:
        return rollout.phase is Phase.RUNNING and self.scene.now < self.ends_at

    def step(self, step: Step, *, wave: int | None = None, why: str = "") -> bool:
        if not self.is_mine(self.rollout):
            return False
        self.rollout.add(Stepped("production", 7, step, 0, "me", wave, why))
        return True

    def order(self, number: int, up_to: int | None) -> Sent | None:
        if not self.is_mine(self.rollout):
            return None
        self.orders.append(number)
        self.rollout.sent[number] = sent = Sent(7 + number, up_to, 0, ORDER if number == 0 else LAST_ORDER)
        return sent


def driven(reports: list[tuple[float, bytes]], waves: str = "1,100%", ends_at: float = 1e9, **options: object) -> tuple[FakeDesk, list[Happening]]:
    plan = RolloutPlan(waves_of(waves), **({"verdict_seconds": 100} | options))   # type: ignore[arg-type]
    scene = Scene(sorted(reports, key=lambda each: each[0]))
    desk, seen = FakeDesk(Rollout(Begun("production", 7, OURS, "1.1.0", plan, 0), plan, driver="me"), scene, ends_at), list[Happening]()
    driver = Driver(desk, scene, Tally("fraud", "production", OURS, 7), seen.append, scene.heard, clock=lambda: scene.now)   # type: ignore[arg-type]
    driver.run()
    return desk, seen


PLAN = RolloutPlan(waves_of("1,100%"), soak_seconds=60, verdict_seconds=100)
FLEET = [(0.0, here(A)), (0.0, here(B)), (0.0, here(C))]


def test_a_wave_that_is_watched_lasts_as_long_as_was_asked_and_the_last_one_is_not_watched() -> None:
    desk, seen = driven([*FLEET, (1.0, promoted(A)), (60.0, promoted(B)), (60.0, promoted(C))], soak_seconds=30)
    assert desk.rollout.phase is Phase.COMPLETED
    assert [happening.what for happening in seen if happening.what != "decided"] == [
        "ordered", "soaking", "accepted", "ordered", "accepted", "completed",
    ]
    assert 60 <= desk.scene.now < 60 + 4 * POLL_SECONDS


def test_who_was_not_heard_lately_is_not_waited_for() -> None:
    silent, first, third = (0.0, here(B)), [(0.0, here(A)), (1.0, promoted(A))], [(float(second), here(C)) for second in range(0, 230, 30)]
    serves = [(float(second), state(OURS, "1.1.0", instance=A)) for second in range(30, 400, 30)]
    desk, seen = driven(
        [silent, *first, *third, *serves, (HEARD_SECONDS + 60, promoted(C))], soak_seconds=HEARD_SECONDS + 20,
    )
    assert desk.rollout.phase is Phase.COMPLETED
    assert [happening.instances for happening in seen if happening.what == "ordered"] == [(A,), (A, C)]


def test_who_is_heard_and_does_not_decide_in_time_has_failed_unless_that_may_be() -> None:
    desk, _ = driven([*FLEET, (1.0, promoted(A)), (2.0, promoted(B))])
    assert (desk.rollout.phase, desk.rollout.why) == (Phase.HALTED, f"1 of 3 failed, 0 may: {C}: has not decided.")
    assert 100 <= desk.scene.now < 110
    allowed, _ = driven([*FLEET, (1.0, promoted(A)), (2.0, promoted(B))], max_failures=Amount(percent=34))
    assert allowed.rollout.phase is Phase.COMPLETED


def test_who_cannot_read_the_order_of_a_wave_has_failed_once_its_turn_has_come() -> None:
    def old(name: str, order: str = ORDER) -> bytes:
        return report(
            verdict=Verdict.REJECTED, instance=name, order=order, release=None, version=None, sequence=None, reason="unknown-format", message="2",
        )

    desk, _ = driven([*FLEET, (1.0, old(A))])
    assert desk.rollout.why == f"1 of 1 failed, 0 may: {A}: unknown-format: 2."
    assert desk.scene.now < 3   # at once, and not when the time is over
    desk, _ = driven([*FLEET, (1.0, old(C)), (1.0, old(B, OTHER)), (2.0, promoted(A)), *((5.0, promoted(name)) for name in (B, C))])
    assert desk.rollout.phase is Phase.COMPLETED   # the last wave is for all, and has format 1


def test_who_leaves_the_release_has_a_moment_to_say_why() -> None:
    leaves = [*FLEET, (1.0, promoted(A)), (2.0, here(A))]
    desk, _ = driven(leaves, soak_seconds=3600)
    assert (desk.rollout.phase, desk.rollout.why) == (Phase.HALTED, f"1 of 1 failed, 0 may: {A}: serves 1.0.0 again.")
    assert 2 + GRACE_SECONDS <= desk.scene.now < 3 + GRACE_SECONDS
    veto = report(verdict=Verdict.REJECTED, instance=A, reason="reported-bad", message="drift")
    vetoed, _ = driven([*leaves, (4.0, veto)], soak_seconds=3600)
    assert vetoed.rollout.why == f"1 of 1 reported it as bad, 0 may: {A}: reported-bad: drift."
    back, _ = driven([*leaves, (4.0, PROMOTED if A == "a" else promoted(A)), (5.0, promoted(B)), (5.0, promoted(C))], soak_seconds=3)
    assert back.rollout.phase is Phase.COMPLETED


def test_a_wave_is_not_accepted_while_somebody_has_left_without_a_word() -> None:
    desk, _ = driven([*FLEET, (1.0, promoted(A)), (2.0, here(A))], soak_seconds=2)
    assert (desk.rollout.phase, desk.rollout.accepted) == (Phase.HALTED, 0)


def test_nothing_is_decided_while_what_is_long_past_is_read_again() -> None:
    scene = Scene([*FLEET, (1.0, promoted(A))])
    desk = FakeDesk(Rollout(Begun("production", 7, OURS, "1.1.0", PLAN, 0), PLAN, driver="me"), scene)
    again = [here(A), report(verdict=Verdict.REJECTED, instance=A, reason="load-failed", message="once"), promoted(A)]   # after a loss
    received, slow = scene.receive, iter((*again, *(None for _ in range(10_000))))

    def receive(seconds: float) -> bytes | None:
        if scene.now < 20:
            return received(seconds)
        body = next(slow)
        scene.is_away, scene.now = body is not None, scene.now + GRACE_SECONDS
        return body

    scene.receive = receive   # type: ignore[method-assign]
    Driver(desk, scene, Tally("fraud", "production", OURS, 7), lambda _h: None, scene.heard, clock=lambda: scene.now).run()   # type: ignore[arg-type]
    late = "; ".join(f"{name}: has not decided" for name in sorted((B, C)))   # and A is no failure
    assert (desk.rollout.accepted, desk.rollout.why) == (1, f"2 of 3 failed, 0 may: {late}.")


def test_who_begins_anew_without_its_store_has_the_time_of_a_verdict_to_fetch_it() -> None:
    begins = [*FLEET, (1.0, promoted(A)), (2.0, state(None, None, instance=A, boot="2"))]
    others = [(40.0, promoted(B)), (40.0, promoted(C))]
    desk, _ = driven([*begins, (30.0, state(OURS, "1.1.0", instance=A)), *others], soak_seconds=5)
    assert desk.rollout.phase is Phase.COMPLETED
    desk, _ = driven(begins, soak_seconds=5)
    assert (desk.rollout.phase, desk.rollout.why) == (
        Phase.HALTED, f"1 of 1 failed, 0 may: {A}: has begun anew and serves nothing."
    )
    assert 100 <= desk.scene.now < 110
    desk, _ = driven([*begins, (3.0, report(ReportKind.STOPPED, instance=A)), *others], soak_seconds=5)
    assert desk.rollout.phase is Phase.COMPLETED


def test_who_reported_long_ago_is_in_no_wave_and_is_not_waited_for_when_somebody_goes_on() -> None:
    gone = [(0.0, here(f"gone-{number}")) for number in range(40)]
    plan = RolloutPlan(waves_of("50%,100%"), verdict_seconds=100)
    scene = Scene([*gone, (0.0, here(A)), *((9000.0, here(name)) for name in (A, B, C)), *((9001.0, promoted(name)) for name in (A, B, C))], now=9000.0)
    desk, seen = FakeDesk(Rollout(Begun("production", 7, OURS, "1.1.0", plan, 0), plan, driver="me"), scene), list[Happening]()
    Driver(desk, scene, Tally("fraud", "production", OURS, 7), seen.append, scene.heard, clock=lambda: scene.now).run()   # type: ignore[arg-type]
    assert [happening.instances for happening in seen if happening.what == "ordered"] == [(A, B), (A, B, C)]
    assert desk.rollout.phase is Phase.COMPLETED


def test_where_nobody_is_heard_any_more_no_wave_is_ordered_and_it_halts() -> None:
    leaves = [(2.0, report(ReportKind.STOPPED, instance=name)) for name in (A, B, C)]
    desk, _ = driven([*FLEET, (1.0, promoted(A)), *leaves], soak_seconds=5)
    assert (desk.orders, desk.rollout.accepted, desk.rollout.phase, desk.rollout.why) == ([0], 1, Phase.HALTED, "No instance is heard.")
    assert 100 <= desk.scene.now < 120
    back = [*((50.0, here(name)) for name in (B, C)), *((51.0, promoted(name)) for name in (B, C))]
    desk, _ = driven([*FLEET, (1.0, promoted(A)), *leaves, *back], soak_seconds=5)
    assert (desk.orders, desk.rollout.phase) == ([0, 1], Phase.COMPLETED)


def test_who_is_heard_is_asked_again_while_the_road_is_away_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene([*FLEET, *((1.0, promoted(name)) for name in (A, B, C))])
    desk, fails = FakeDesk(Rollout(Begun("production", 7, OURS, "1.1.0", PLAN, 0), PLAN, driver="me"), scene), [3]

    def heard() -> set[str]:
        if fails[0]:
            fails[0] -= 1
            raise BrokerUnreachable("away")
        return scene.heard()

    driver = Driver(desk, scene, Tally("fraud", "production", OURS, 7), lambda _h: None, heard, clock=lambda: scene.now)   # type: ignore[arg-type]
    assert driver.run().phase is Phase.COMPLETED
    monkeypatch.setattr(desk_module, "PATIENCE_SECONDS", 0.0)
    desk.rollout, fails[0] = Rollout(Begun("production", 7, OURS, "1.1.0", PLAN, 0), PLAN, driver="me"), 1
    with pytest.raises(BrokerUnreachable):
        driver.run()


def test_a_large_fleet_is_looked_at_now_and_then_and_not_for_each_report(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = [0]

    def counted(tally: Tally, *what: object) -> list[str]:
        looks[0] += 1
        return with_said(tally, *what)   # type: ignore[arg-type]

    with_said = Tally.with_said
    monkeypatch.setattr(module.Tally, "with_said", counted)
    many = [f"web-{number}" for number in range(1000)]
    reports = [*((0.0, here(name)) for name in many), *((1.0, promoted(name)) for name in many), *((2.0, here("x")) for _ in range(1000))]
    desk, _ = driven(reports, waves="100%")
    assert desk.rollout.phase is Phase.COMPLETED
    assert looks[0] < 100


def test_taken_over_by_others_it_ends_soon_and_orders_nothing_more() -> None:
    desk, seen = driven([*FLEET, (1.0, promoted(A))], soak_seconds=3600, ends_at=10.0)
    assert (desk.orders, seen[-1].what) == ([0], "left")
    assert desk.scene.now <= 10 + LOOK_SECONDS + 2 * POLL_SECONDS


def test_who_stops_is_not_waited_for() -> None:
    stopped = report(ReportKind.STOPPED, instance=B)
    desk, _ = driven([*FLEET, (1.0, promoted(A)), (3.0, stopped), (4.0, promoted(C))])
    assert desk.rollout.phase is Phase.COMPLETED


@pytest.mark.parametrize("accepted", [0, 1])
def test_going_on_a_wave_that_was_ordered_is_not_ordered_again(accepted: int) -> None:
    plan = RolloutPlan(waves_of("1,100%"), verdict_seconds=100)
    scene = Scene([*FLEET, (0.0, promoted(A)), (3.0, promoted(B)), (3.0, promoted(C))])
    rollout = Rollout(Begun("production", 7, OURS, "1.1.0", plan, 0), plan, driver="me", accepted=accepted, sent={0: Sent(7, turn_of(A), 0)})
    desk = FakeDesk(rollout, scene)
    Driver(desk, scene, Tally("fraud", "production", OURS, 7), lambda _h: None, scene.heard, clock=lambda: scene.now).run()   # type: ignore[arg-type]
    assert (rollout.phase, rollout.sent[0].up_to) == (Phase.COMPLETED, turn_of(A))
    assert desk.orders == ([0, 1] if accepted == 0 else [1])
