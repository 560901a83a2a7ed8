"""The narrator's sentences."""

import pytest

from modelcast.publisher.demo.stage import Narrator, Verdicts, ordered, told
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
    assert "1.2.0: 12.5 kB sent;" in ordered(a_publication(sent=12_500, reused=0), 0.1)
    assert "12.5 kB sent, 500 B were there already;" in ordered(a_publication(sent=12_500, reused=500), 0.1)


def test_an_order_that_sends_nothing_says_so_and_where_to() -> None:
    text = ordered(a_publication(sent=0, reused=500), 0.1)
    assert text == "Ordered 1.2.0 for production: no byte of it was sent again; 100 ms."


def test_verdicts_are_a_line_of_the_table() -> None:
    refusal = a_report(Verdict.REJECTED, reason="expired", message="Too late.")
    verdicts = Verdicts(a_publication(sent=1, reused=0), {"instance-2": a_report(Verdict.PROMOTED)}, {"instance-1": refusal}, 0.5)
    trial = verdicts.trial("a try", {"instance-1": "1.1.0"})
    assert (trial.version, trial.what, trial.promoted, trial.seconds) == ("1.2.0", "a try", ("instance-2",), 0.5)
    assert (trial.rejected, trial.messages) == ({"instance-1": "expired"}, {"instance-1": "Too late."})


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
