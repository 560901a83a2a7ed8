"""Findings: three levels, a remedy wherever one is needed, and an exit code that a script can act on."""

import pytest

from modelcast.shared.doctor.findings import (
    PROBLEM_FOUND,
    Case,
    Finding,
    Level,
    carried_out,
    clock_finding,
    exit_code,
    finding_of,
    fine,
    problem,
    warning,
)
from modelcast.shared.errors import BrokerUnreachable

CASE = Case("amqp://here/")


def test_nothing_worse_than_a_warning_ends_with_0() -> None:
    assert exit_code([]) == 0
    assert exit_code([fine("a", "b"), warning("a", "b", "c")]) == 0
    assert exit_code([fine("a", "b"), problem("a", "b", "c"), warning("a", "b", "c")]) == PROBLEM_FOUND == 33


@pytest.mark.parametrize("level", [Level.WARNING, Level.PROBLEM])
@pytest.mark.parametrize("remedy", [None, ""])
def test_whatever_is_wrong_says_what_to_do(level: Level, remedy: str | None) -> None:
    with pytest.raises(ValueError, match="needs a remedy"):
        Finding(level, "broker", "It is down.", remedy)


def test_an_error_is_a_problem_with_its_own_hint_and_facts() -> None:
    found = finding_of("broker", BrokerUnreachable("Nobody answers.", hint="Start it.", facts={"url": "amqp://x"}))
    assert (found.level, found.text, found.remedy) == (Level.PROBLEM, "Nobody answers.", "Start it.")
    assert found.to_dict()["facts"] == {"error": "BrokerUnreachable", "url": "amqp://x"}
    assert finding_of("broker", BrokerUnreachable("Nobody answers.")).remedy


def test_a_check_that_breaks_is_a_finding_and_what_it_found_before_stays() -> None:
    def breaks(_: Case):
        yield fine("a", "found before")
        raise ZeroDivisionError("so")

    def refuses(_: Case):
        yield fine("a", "found before")
        raise BrokerUnreachable("It went away.")

    broken, refused = list(carried_out("a", breaks, CASE)), list(carried_out("a", refuses, CASE))
    assert [(one.level, two.level) for one, two in zip(broken, refused, strict=True)] == [("ok", "ok"), ("problem", "problem")]
    assert "ZeroDivisionError" in broken[1].text
    assert refused[1].text == "It went away."


@pytest.mark.parametrize(("ahead", "level", "words"), [
    (0.2, "ok", "differ by less than 1 s"), (-4.9, "ok", "differ by less than 5 s"),
    (5.1, "warning", "is 5 s ahead of"), (-3600.0, "warning", "is 3600 s behind"),
])
def test_a_clock_counts_as_wrong_from_some_seconds_on(ahead: float, level: str, words: str) -> None:
    found = clock_finding("clock", ahead, "the server")
    assert found.level == level
    assert words in found.text
    assert found.facts == {"ahead_seconds": round(ahead, 3)}
