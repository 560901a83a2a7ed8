"""Verdicts are counted once each, and waiting ends when nothing more can change."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import specimens

from modelcast.publisher.publication import Publication
from modelcast.publisher.waiting import Tally, await_verdicts, check_wish
from modelcast.shared.errors import MisuseError
from modelcast.shared.report import Report, ReportKind, Verdict

ORDER = "ab" * 32
PUBLICATION = Publication("fraud", "2.1.0", "production", "cd" * 32, ORDER, 1, 0, 1, 1, 0, 1, was_current=False)


def report(instance: str, verdict: Verdict | None = None, **changes: object) -> bytes:
    kind = ReportKind.VERDICT if verdict else ReportKind.STATE
    fields = {
        "kind": kind, "instance": instance, "model": "fraud", "channel": "production", "verdict": verdict,
        "order": ORDER if verdict else None,
    }
    return specimens.report(**(fields | changes)).to_bytes()


class Source:
    """Reports that come one after the other, then silence or heartbeats of another channel; time passes with both."""

    def __init__(self, bodies: list[bytes], then: bytes | None = None) -> None:
        self.now = 0.0
        self.is_caught_up = False
        self._bodies: Iterator[bytes] = iter(bodies)
        self._then = then

    def receive(self, seconds: float) -> bytes | None:
        body = next(self._bodies, None)
        if body is not None:
            return body
        self.is_caught_up = True
        self.now += seconds if self._then is None else 0.01
        return self._then

    def close(self) -> None: ...

    def outcome(self, *, instances: int | None = None, share: float | None = None) -> tuple[object, list[Report]]:
        seen: list[Report] = []
        tally = Tally(PUBLICATION, instances, share)
        return await_verdicts(self, tally, timeout_seconds=30, clock=lambda: self.now, on_verdict=seen.append), seen


def test_enough_promotions_end_the_waiting_at_once() -> None:
    source = Source([report("a", Verdict.PROMOTED), report("b", Verdict.PROMOTED), report("c", Verdict.PROMOTED)])
    outcome, seen = source.outcome(instances=2)
    assert (outcome.exit_code, source.now, [r.instance for r in seen]) == (0, 0.0, ["a", "b"])  # type: ignore[attr-defined]


def test_a_rejection_among_those_waited_for_is_exit_code_3() -> None:
    outcome, _ = Source([report("a", Verdict.PROMOTED), report("b", Verdict.REJECTED, reason="too-large")]).outcome(instances=2)
    assert outcome.exit_code == 3  # type: ignore[attr-defined]
    assert outcome.rejected["b"].reason == "too-large"  # type: ignore[attr-defined]


def test_silence_is_exit_code_10_and_names_the_silent() -> None:
    outcome, _ = Source([report("a", Verdict.PROMOTED), report("b")]).outcome(instances=2)
    assert (outcome.exit_code, outcome.timed_out, outcome.silent) == (10, True, ("b",))  # type: ignore[attr-defined]


def test_a_share_is_of_the_known_instances_of_this_channel() -> None:
    others = [report("x", channel="staging"), report("y", model="other"), report("z", kind=ReportKind.STOPPED)]
    known = [report(name) for name in "abcd"]
    outcome, _ = Source([*known, *others, *(report(name, Verdict.PROMOTED) for name in "abc")]).outcome(share=0.75)
    assert (outcome.needed, outcome.exit_code) == (3, 0)  # type: ignore[attr-defined]


def test_waiting_for_a_share_ends_though_a_large_fleet_never_pauses() -> None:
    source = Source([report("a"), report("a", Verdict.PROMOTED)], then=report("x", channel="staging"))
    outcome, _ = source.outcome(share=1.0)
    assert (outcome.exit_code, outcome.needed) == (0, 1)  # type: ignore[attr-defined]
    assert source.now < 1.0


def test_a_share_is_not_counted_before_all_that_are_known_are_read() -> None:
    source = Source([report("a", Verdict.PROMOTED), report("b"), report("b", Verdict.REJECTED, reason="too-large")])
    outcome, _ = source.outcome(share=1.0)
    assert (outcome.exit_code, outcome.needed) == (3, 2)  # type: ignore[attr-defined]


SERVED, OTHER = PUBLICATION.release, "ef" * 32


def test_an_instance_that_says_that_it_serves_the_release_is_waited_for_no_longer() -> None:
    bodies = [report("a", active_release=SERVED), report("b", active_release=SERVED), report("x", active_release=OTHER)]
    outcome, seen = Source(bodies).outcome(instances=2)
    assert (outcome.exit_code, sorted(outcome.promoted), outcome.silent) == (0, ["a", "b"], ("x",))  # type: ignore[attr-defined]
    assert seen == []
    assert Source(bodies).outcome(share=0.6)[0].exit_code == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize("later", [
    report("a", active_release=OTHER), report("a"), report("a", kind=ReportKind.STOPPED),
    report("a", Verdict.REJECTED, reason="too-large"),
])
def test_what_an_instance_served_once_does_not_count_as_promoted(later: bytes) -> None:
    outcome, _ = Source([report("a", active_release=SERVED), later]).outcome(instances=1)
    assert (outcome.exit_code == 0, outcome.promoted) == (False, {})  # type: ignore[attr-defined]


@pytest.mark.parametrize(("share", "known", "needed"), [(0.55, 100, 55), (0.56, 100, 56), (0.551, 100, 56), (0.1, 3, 1), (1.0, 7, 7)])
def test_a_share_is_rounded_up_from_what_it_says_and_not_from_its_binary_digits(share: float, known: int, needed: int) -> None:
    tally = Tally(PUBLICATION, None, share)
    for number in range(known):
        tally.add(report(f"i{number}"))
    assert tally.needed == needed


@pytest.mark.parametrize("timeout_seconds", [-1.0, float("nan")])
def test_a_time_that_never_passes_is_refused(timeout_seconds: float) -> None:
    with pytest.raises(MisuseError, match="cannot be waited"):
        check_wish(1, None, timeout_seconds)


def test_an_instance_that_stopped_is_no_longer_waited_for() -> None:
    bodies = [report("a"), report("b"), report("b", kind=ReportKind.STOPPED), report("a", Verdict.PROMOTED)]
    outcome, _ = Source(bodies).outcome(share=1.0)
    assert (outcome.exit_code, outcome.needed) == (0, 1)  # type: ignore[attr-defined]


def test_a_verdict_that_is_told_again_changes_nothing() -> None:
    first, then = report("a", Verdict.SUPERSEDED), report("a", Verdict.PROMOTED)
    outcome, seen = Source([first, then, first, then]).outcome(instances=2)
    assert [r.verdict for r in seen] == [Verdict.SUPERSEDED, Verdict.PROMOTED]
    assert list(outcome.promoted) == ["a"]  # type: ignore[attr-defined]
    twice = [report("a", Verdict.PROMOTED), report("a", Verdict.PROMOTED, version="2.1.0+b"), report("a", Verdict.REJECTED, reason="x")]
    outcome, seen = Source([*twice, *twice]).outcome(instances=2)
    assert [r.verdict for r in seen] == [Verdict.PROMOTED, Verdict.REJECTED]


def test_superseded_and_then_promoted_counts_as_promoted() -> None:
    outcome, seen = Source([report("a", Verdict.SUPERSEDED), report("a", Verdict.PROMOTED)]).outcome(instances=1)
    assert [r.verdict for r in seen][:1] == [Verdict.SUPERSEDED]
    assert outcome.needed == 1  # type: ignore[attr-defined]


@given(
    reports=st.lists(st.tuples(
        st.sampled_from("abc"), st.sampled_from([*Verdict, "serves it", "serves another", "stopped"]), st.booleans(),
    )),
    wish=st.sampled_from([(1, None), (3, None), (None, 0.5), (None, 1.0)]),
)
def test_whether_all_is_settled_is_found_without_looking_at_every_instance(
    reports: list[tuple[str, str, bool]], wish: tuple[int | None, float | None]
) -> None:
    tally = Tally(PUBLICATION, *wish)
    for name, what, is_past_read in reports:
        if what == "stopped":
            tally.add(report(name, kind=ReportKind.STOPPED))
        elif what in set(Verdict):
            tally.add(report(name, Verdict(what)))
        else:
            tally.add(report(name, active_release=SERVED if what == "serves it" else OTHER))
        tally.is_past_read = tally.is_past_read or is_past_read
        assert not set(tally.serving) & set(tally.decided)
        expected = max(tally.needed, len(tally.known)) if tally.instances is None else tally.needed
        enough = len(tally.promoted) >= tally.needed or len({*tally.decided, *tally.promoted}) >= expected
        assert tally.is_settled == (enough and (tally.instances is not None or tally.is_past_read))


@given(st.lists(st.binary(max_size=80)))
def test_strangers_in_the_reports_change_nothing(bodies: list[bytes]) -> None:
    outcome, _ = Source([*bodies, report("a", Verdict.PROMOTED)]).outcome(instances=1)
    assert outcome.exit_code == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize(("instances", "share"), [(None, None), (1, 0.5), (0, None), (None, 0.0), (None, 1.1)])
def test_a_wish_that_cannot_be_fulfilled_is_refused(instances: int | None, share: float | None) -> None:
    with pytest.raises(MisuseError):
        check_wish(instances, share)


def test_who_served_the_release_by_an_earlier_order_has_not_gone_back_to_it_yet() -> None:
    """A rollback orders what was in service before: a report of that time tells nothing."""
    tally = Tally(replace(PUBLICATION, sequence=9), instances=1, share=None)
    tally.is_past_read = True
    tally.add(report("a", active_release=SERVED, sequence=8))
    assert tally.promoted == {}
    tally.add(report("a", active_release=SERVED, sequence=9))
    assert list(tally.promoted) == ["a"]
