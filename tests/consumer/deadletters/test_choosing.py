"""Filters ask the message first and the report last; groups count."""

from dataclasses import replace

import pytest
from tests.fakes import specimens

from modelcast.consumer.deadletters.choosing import ANY, GROUPS, Wish, grouped, since_ms
from modelcast.consumer.deadletters.commands import GROUPS as OFFERED
from modelcast.consumer.deadletters.letter import Letter, open_letter
from modelcast.shared.errors import MisuseError
from modelcast.shared.report import ReportKind, Verdict
from modelcast.shared.road import DeadLetter, Target

NOW = 1_767_225_600_000   # 2026-01-01 00:00 UTC


def letter(instance: str = "web-1", died_ms: int | None = NOW, reason: str | None = None) -> Letter:
    found = open_letter(DeadLetter(b"bytes", Target("fraud", "production", instance), died_ms))
    report = specimens.report(kind=ReportKind.VERDICT, verdict=Verdict.REJECTED, reason=reason, version=None)
    return replace(found, report=report if reason else None, claimed_version="2.1.0")


@pytest.mark.parametrize(("text", "expected"), [
    ("90m", NOW - 5_400_000), ("2h", NOW - 7_200_000), ("7d", NOW - 604_800_000), ("10s", NOW - 10_000),
    ("2026-01-01", NOW), ("2026-01-01T00:00", NOW), ("2026-01-01T01:00+01:00", NOW),
])
def test_a_time_is_a_span_before_now_or_a_moment(text: str, expected: int) -> None:
    assert since_ms(text, NOW) == expected


@pytest.mark.parametrize("text", ["", "h", "2", "-2h", "2 h", "soon", "9999999d", "2026-13-01"])
def test_what_is_no_time_is_said_to_be_none(text: str) -> None:
    with pytest.raises(MisuseError, match="is no time"):
        since_ms(text, NOW)


def test_a_letter_without_a_time_was_not_refused_since_any() -> None:
    assert Wish(since_ms=NOW).fits_message(letter())
    assert not Wish(since_ms=NOW + 1).fits_message(letter())
    assert not Wish(since_ms=0).fits_message(letter(died_ms=None))
    assert ANY.fits_message(letter(died_ms=None))


def test_all_filters_must_fit() -> None:
    assert Wish("fraud", "2.1.0", "production", "web-1").fits_message(letter())
    for other in (Wish("churn"), Wish(version="2.1.1"), Wish(channel="staging"), Wish("fraud", instance="web-2")):
        assert not other.fits_message(letter())
    assert Wish(reason="unreported").fits_reason(letter())
    assert not Wish(reason="unreported").fits_reason(letter(reason="too-large"))
    assert (ANY.is_any, Wish(reason="too-large").is_any) == (True, False)


def test_groups_are_counted_with_their_times_and_the_largest_stands_first() -> None:
    letters = [letter("b", NOW, "too-large"), letter("a", NOW + 5), letter("c", NOW - 5, "too-large"), letter("c", None, "too-large")]
    largest, other = grouped(letters, "reason")
    assert (largest.name, largest.letters, largest.first_ms, largest.last_ms) == ("too-large", 3, NOW - 5, NOW)
    assert largest.to_dict()["instances"] == ["b", "c"]
    assert "raise the limit" in (largest.remedy or "")
    assert (other.name, other.letters) == ("unreported", 1)
    assert [(group.name, group.letters) for group in grouped(letters, "instance")] == [("c", 2), ("a", 1), ("b", 1)]


def test_the_command_offers_the_groups_that_there_are() -> None:
    assert OFFERED == GROUPS
    for by in GROUPS:
        assert sum(group.letters for group in grouped([letter(), letter("x")], by)) == 2
