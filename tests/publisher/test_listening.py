"""Reports are listened to across lost connections: nothing is missed, nothing is counted twice, and what is away is said."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes import specimens

from modelcast.publisher.listening import MOST_MINUTES, LastingReports, minutes_to_read
from modelcast.publisher.publication import Publication
from modelcast.publisher.waiting import Outcome, Tally, await_verdicts
from modelcast.shared.errors import BrokerUnreachable, HostFault, PermissionRefused
from modelcast.shared.report import Report, ReportKind, Verdict

ORDER = "ab" * 32
MINUTE = 60_000
PUBLICATION = Publication("fraud", "2.1.0", "production", "cd" * 32, ORDER, 1, 0, 1, 1, 0, 1, was_current=False)


def report(instance: str, verdict: Verdict, number: int = 0) -> bytes:
    return specimens.report(
        kind=ReportKind.VERDICT, instance=instance, model="fraud", channel="production", verdict=verdict, order=ORDER, time_ms=number
    ).to_bytes()


class Stream:
    """Reports kept with their times, a clock, and a connection that is lost when the script says so.

    Args:
        reports: Seconds and bodies, by time.
        away: From when to when, in seconds, the road is away.
        refusal: What opening raises while it is away.
    """

    def __init__(
        self, reports: Sequence[tuple[float, bytes]], away: Sequence[tuple[float, float]] = (), refusal: type[HostFault] = BrokerUnreachable
    ) -> None:
        self.reports, self.away, self.refusal = reports, away, refusal
        self.now, self.opened, self.open_now = 0.0, list[tuple[float, int]](), 0

    def is_away(self) -> bool:
        return any(begin <= self.now < end for begin, end in self.away)

    def check(self) -> None:
        if self.is_away():
            raise self.refusal("No RabbitMQ answers.")

    def rest(self, seconds: float) -> None:
        self.now += seconds

    def open_source(self, since_minutes: int) -> "Connection":
        self.check()
        self.opened.append((self.now, since_minutes))
        return Connection(self, since_minutes)

    def listen(self, since_minutes: int = 5) -> LastingReports:
        return LastingReports(self.open_source, since_minutes, clock=lambda: self.now, rest=self.rest)

    def wait(self, *, timeout_seconds: float, instances: int | None = None, share: float | None = None) -> tuple[Outcome, list[str]]:
        seen: list[Report] = []
        outcome = await_verdicts(
            self.listen(), Tally(PUBLICATION, instances, share), timeout_seconds=timeout_seconds, clock=lambda: self.now,
            on_verdict=seen.append,
        )
        return outcome, [f"{each.instance} {each.verdict}" for each in seen]


class Connection:
    """See ``road.ReportSource``; lost for good once the road was away."""

    def __init__(self, stream: Stream, since_minutes: int) -> None:
        self._stream, self._opened = stream, stream.now
        self._left = [(at, body) for at, body in stream.reports if at >= stream.now - since_minutes * 60]
        stream.open_now += 1

    @property
    def is_caught_up(self) -> bool:
        return not self._left or self._left[0][0] > self._opened

    def receive(self, seconds: float) -> bytes | None:
        stream = self._stream
        if any(self._opened <= begin <= stream.now for begin, _ in stream.away):
            raise BrokerUnreachable("The connection broke.")
        if self._left and self._left[0][0] <= stream.now:
            return self._left.pop(0)[1]
        stream.now += min(seconds, max(0.001, self._left[0][0] - stream.now)) if self._left else seconds
        return None

    def close(self) -> None:
        self._stream.open_now -= 1


def test_what_was_reported_while_the_road_was_away_is_counted_when_it_is_back() -> None:
    stream = Stream([(1, report("a", Verdict.PROMOTED)), (30, report("b", Verdict.PROMOTED))], away=[(20, 50)])
    outcome, seen = stream.wait(instances=2, timeout_seconds=600)
    assert (outcome.exit_code, seen) == (0, ["a promoted", "b promoted"])
    assert 50 <= stream.now < 53
    assert [minutes for _, minutes in stream.opened] == [5, 2]
    assert stream.open_now == 1


def test_a_long_absence_is_read_from_where_it_began() -> None:
    stream = Stream([(700, report("a", Verdict.PROMOTED))], away=[(600, 3000)])
    outcome, _ = stream.wait(instances=1, timeout_seconds=6000)
    assert outcome.exit_code == 0
    assert stream.opened[-1][1] == 1 + 41   # from where the last look began


def test_a_process_that_was_held_up_reads_back_to_where_it_stopped() -> None:
    """A laptop that slept: what came meanwhile waits in the connection, which is lost before all of it was read."""
    stream = Stream([(1.0, report("a", Verdict.PROMOTED)), (700.0, report("b", Verdict.PROMOTED)), (701.0, report("c", Verdict.PROMOTED))])
    source = stream.listen()
    stream.now = 2.0
    assert source.receive(0.0) is not None
    assert source.receive(0.0) is None
    stream.now = 1300.0
    assert source.receive(0.0) is not None   # b; c is still to be read
    stream.away = [(1300.0, 1301.0)]
    assert source.receive(0.0) is None
    stream.now = 1310.0
    assert source.receive(0.0) is not None
    assert stream.opened[-1][1] >= (1310 - 2) / 60


class Busy(Connection):
    """One on which something comes before any wait is over."""

    def receive(self, seconds: float) -> bytes | None:
        body = super().receive(seconds)
        return super().receive(0.0) if body is None and seconds else body


def test_where_reports_never_pause_a_loss_after_hours_does_not_read_all_of_them_again() -> None:
    stream = Stream([(at / 10, report("a", Verdict.PROMOTED, at)) for at in range(20_000)])   # ten a second
    source = LastingReports(
        lambda minutes: Busy(stream, minutes) if stream.open_source(minutes) else None, 5, clock=lambda: stream.now, rest=stream.rest   # type: ignore[arg-type,return-value]
    )
    while stream.now < 1000:
        source.receive(0.5)
    stream.away = [(1000.0, 1001.0)]
    while len(stream.opened) == 1:
        source.receive(0.5)
    assert stream.opened[-1][1] <= 3


def test_a_loss_before_the_past_was_read_begins_again_where_it_began() -> None:
    many = [(float(at), report(f"i{at}", Verdict.PROMOTED)) for at in range(-250, 0)]
    stream = Stream(many)
    listening, got = stream.listen(), list[bytes]()
    for _ in range(100):
        got.append(listening.receive(0.5) or b"")
    stream.away, stream.now = [(0, 120)], 1.0
    while not listening.is_caught_up:
        body = listening.receive(0.5)
        got += [] if body is None else [body]
    assert [minutes for _, minutes in stream.opened] == [5, 5 + 2]
    assert set(got) == {body for _, body in many}


def test_a_road_that_stays_away_ends_with_what_was_counted_and_why() -> None:
    stream = Stream([(1, report("a", Verdict.PROMOTED))], away=[(20, 5000)])
    listening = stream.listen()
    outcome = await_verdicts(
        listening, Tally(PUBLICATION, 2, None), timeout_seconds=60, clock=lambda: stream.now, on_verdict=lambda _report: None
    )
    assert (outcome.timed_out, sorted(outcome.promoted)) == (True, ["a"])
    assert listening.fault == "No RabbitMQ answers."
    assert not listening.is_caught_up
    listening.close()
    assert stream.open_now == 0


def test_a_road_that_is_away_at_first_is_waited_for_and_one_that_refuses_is_not() -> None:
    stream = Stream([(1, report("a", Verdict.PROMOTED))], away=[(0, 30)])
    assert stream.wait(instances=1, timeout_seconds=60)[0].exit_code == 0
    with pytest.raises(PermissionRefused):
        Stream([], away=[(0, 30)], refusal=PermissionRefused).listen()


def test_a_refusal_after_it_was_let_in_counts_as_away() -> None:
    stream = Stream([(30, report("a", Verdict.PROMOTED))], away=[(20, 50)], refusal=PermissionRefused)
    assert stream.wait(instances=1, timeout_seconds=600)[0].exit_code == 0


@pytest.mark.parametrize(("age_minutes", "minutes"), [(-3, 5), (0, 5), (4, 9), (90, 95), (30 * 24 * 60, MOST_MINUTES)])
def test_it_reads_back_to_the_order_and_a_little_farther_but_not_for_ever(age_minutes: int, minutes: int) -> None:
    assert minutes_to_read(10**12, 10**12 + age_minutes * MINUTE) == minutes


@settings(max_examples=200)
@given(
    reports=st.lists(st.tuples(st.floats(-290, 900), st.sampled_from("abc"), st.sampled_from(list(Verdict))), max_size=30),
    losses=st.lists(st.tuples(st.floats(0, 900), st.floats(0.001, 200)), max_size=5),
)
def test_wherever_the_connection_is_lost_the_count_is_that_of_one_that_never_was(
    reports: list[tuple[float, str, Verdict]], losses: list[tuple[float, float]]
) -> None:
    told = [(at, report(name, verdict, number)) for number, (at, name, verdict) in enumerate(sorted(reports))]
    whole, cut = Stream(told), Stream(told, away=[(at, at + seconds) for at, seconds in losses])
    assert cut.wait(instances=9, timeout_seconds=1500) == whole.wait(instances=9, timeout_seconds=1500)
