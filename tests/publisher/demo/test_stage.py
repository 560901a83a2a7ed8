"""The narrator's sentences."""

import pytest

from modelcast.publisher.demo.stage import Narrator, published, told
from modelcast.publisher.publication import Publication
from modelcast.shared.cli.output import Output
from modelcast.shared.report import Report, ReportKind, Verdict


def a_publication(*, sent: int, reused: int) -> Publication:
    return Publication("m", "1.2.0", "production", "r", "o", 3, 0, sent + reused, sent, reused, sent, was_current=False)


def a_report(verdict: Verdict, **fields: object) -> Report:
    return Report.model_validate({
        "kind": ReportKind.VERDICT, "instance": "instance-1", "boot": "b", "model": "m", "channel": "production", "time_ms": 0,
        "version": "1.2.0", "verdict": verdict, **fields,
    })


def test_a_publication_says_what_was_sent_and_what_was_there() -> None:
    assert "1.2.0: 12.5 kB sent;" in published(a_publication(sent=12_500, reused=0), 0.1)
    assert "12.5 kB sent, 500 B were there already;" in published(a_publication(sent=12_500, reused=500), 0.1)


def test_each_verdict_has_its_sentence() -> None:
    assert told(a_report(Verdict.PROMOTED, stages_ms={"loaded": 12.4})) == "instance-1 promoted 1.2.0 (loaded 12 ms)."
    assert told(a_report(Verdict.REJECTED, reason="expired", message="Too late.")) == "instance-1 rejected it: expired. Too late."
    assert told(a_report(Verdict.SUPERSEDED)) == "instance-1: superseded."


def test_the_story_has_chapters_and_times_and_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    narrator = Narrator(Output(as_json=False))
    narrator.number = 7
    narrator.chapter("Dawn")
    narrator.say("a \x1b[31mred\x1b[0m sky")
    printed = capsys.readouterr().out
    assert printed.startswith("\n7  Dawn\n")
    assert "\x1b" not in printed
    assert " 0.0 s  a \\x1b[31mred" in printed
