"""What instances say of a release that is rolled out."""

from typing import Any

import pytest

from modelcast.publisher.rollout.tally import Said, Tally
from modelcast.shared.report import Report, ReportKind, Verdict

OURS, OTHER = "ab" * 32, "cd" * 32


def report(kind: ReportKind = ReportKind.VERDICT, **fields: Any) -> bytes:
    standard: dict[str, Any] = {
        "instance": "a", "boot": "1", "model": "fraud", "channel": "production", "time_ms": 1, "sequence": 7, "release": OURS, "version": "1.1.0",
    }
    return Report(kind=kind, **(standard | fields)).to_bytes()


def state(release: str | None, version: str | None = "1.0.0", **fields: Any) -> bytes:
    return report(ReportKind.STATE, active_release=release, active_version=version, release=None, version=None, **fields)


def rejected(reason: str = "load-failed") -> bytes:
    return report(verdict=Verdict.REJECTED, reason=reason, message="no")


def said(*bodies: bytes) -> Said | None:
    tally = Tally("fraud", "production", OURS, 7)
    for body in bodies:
        tally.add(body)
    return tally.said.get("a")


PROMOTED = report(verdict=Verdict.PROMOTED)
TOOK_OTHER = report(verdict=Verdict.PROMOTED, release=OTHER, sequence=9, active_release=OTHER, active_version="1.0.0")
SERVES, SERVES_OTHER, EMPTY = state(OURS, "1.1.0"), state(OTHER, sequence=6), state(None, None, sequence=None)


@pytest.mark.parametrize(("bodies", "expected"), [
    ([PROMOTED], Said.PROMOTED), ([rejected()], Said.REJECTED), ([rejected("reported-bad")], Said.VETOED), ([SERVES], Said.PROMOTED),
    ([PROMOTED, TOOK_OTHER], Said.LEFT), ([TOOK_OTHER], None), ([rejected(), TOOK_OTHER], Said.REJECTED), ([SERVES_OTHER], None), ([EMPTY], None), ([PROMOTED, EMPTY], Said.EMPTY), ([PROMOTED, EMPTY, SERVES], Said.PROMOTED),
    ([PROMOTED, EMPTY, SERVES_OTHER], Said.LEFT), ([rejected(), EMPTY], Said.REJECTED), ([rejected("reported-bad"), EMPTY], Said.VETOED),
    ([PROMOTED, SERVES_OTHER], Said.LEFT), ([PROMOTED, SERVES_OTHER, SERVES], Said.PROMOTED),
    ([PROMOTED, SERVES_OTHER, rejected("reported-bad")], Said.VETOED), ([PROMOTED, rejected("reported-bad"), rejected()], Said.VETOED),
    ([rejected("reported-bad"), PROMOTED], Said.VETOED), ([rejected("reported-bad"), SERVES], Said.VETOED),
    ([rejected(), SERVES], Said.PROMOTED), ([rejected(), SERVES_OTHER], Said.REJECTED), ([state(OURS, "1.1.0", sequence=6)], None),
    ([report(verdict=Verdict.DEFERRED)], None), ([report(verdict=Verdict.SUPERSEDED)], None), ([report(verdict=Verdict.PROMOTED, sequence=6)], None),
    ([report(verdict=Verdict.PROMOTED, release=OTHER)], None), ([report(verdict=Verdict.PROMOTED, channel="staging")], None),
    ([report(verdict=Verdict.PROMOTED, model="other")], None), ([report(ReportKind.ANSWER, verdict=Verdict.PROMOTED)], None), ([b"noise"], None),
])
def test_what_counts_as_said(bodies: list[bytes], expected: Said | None) -> None:
    assert said(*bodies) is expected


def test_only_what_is_new_is_told_and_why_is_kept_with_it() -> None:
    tally = Tally("fraud", "production", OURS, 7)
    assert tally.add(rejected()) is not None
    assert tally.add(rejected()) is None
    assert tally.why == {"a": "load-failed: no"}
    assert tally.add(PROMOTED) is not None
    assert tally.why == {}
    assert tally.add(SERVES_OTHER) is not None
    assert (tally.why, tally.failed, tally.vetoed) == ({"a": "serves 1.0.0 again"}, ["a"], [])


def test_who_stopped_is_waited_for_no_more() -> None:
    tally = Tally("fraud", "production", OURS, 7)
    for name in ("a", "b", "c"):
        tally.add(state(OTHER, instance=name, sequence=6))
    tally.add(report(verdict=Verdict.PROMOTED, instance="b"))
    assert tally.undecided(["a", "b", "c", "stranger"]) == ["a", "c"]
    tally.add(report(ReportKind.STOPPED, instance="c"))
    assert (tally.undecided(["a", "b", "c"]), tally.known) == (["a"], {"a", "b"})
