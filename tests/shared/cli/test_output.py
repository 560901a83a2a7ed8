"""What commands print: data on stdout, the rest on stderr, nothing raw from strangers."""

import json
import math
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelcast.shared.cli.output import Output, as_time, print_error, printable
from modelcast.shared.errors import InvalidName, SenderFault
from modelcast.shared.reasons import Reason

EVIL = "\x1b[2J\x1b]0;owned\x07\r\nline\u202etxt\u200b\x9b31m"


@given(st.text())
@example(EVIL)
def test_no_control_character_reaches_a_terminal(text: str) -> None:
    shown = printable(text)
    assert not [character for character in shown if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}]


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "S"])))
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert printable(text + " ü 模型") == text + " ü 模型"


@pytest.mark.parametrize(("time_ms", "text"), [(0, "1970-01-01 00:00:00"), (None, "?"), (2**62, "?"), (-(2**62), "?")])
def test_a_time_is_told_for_people_whatever_a_stranger_wrote(time_ms: int | None, text: str) -> None:
    assert as_time(time_ms) == text


def test_an_escape_shows_which_character_it_was() -> None:
    assert printable("a\x1bb\u202ec\n") == "a\\x1bb\\u202ec\\n"
    assert printable("\ud800") == "\\ud800"
    assert printable(None) == "None"


def test_bytes_in_a_document_are_hexadecimal_as_everywhere_else(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=True).document({"release": b"\x00\xff", "deep": [{"sha256": b"a"}]})
    assert json.loads(capsys.readouterr().out) == {"release": "00ff", "deep": [{"sha256": "61"}]}


@pytest.mark.parametrize(("as_json", "stream"), [(False, "out"), (True, "err")])
def test_data_for_people_stays_out_of_a_json_document(capsys: pytest.CaptureFixture[str], as_json: bool, stream: str) -> None:
    output = Output(as_json=as_json)
    output.data("data")
    output.note("note")
    captured = capsys.readouterr()
    assert "data" in getattr(captured, stream)
    assert "note" in captured.err
    assert "note" not in captured.out


def test_a_document_is_json_on_stdout_in_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=True).document({"name": EVIL, "reason": Reason.EXPIRED})
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"name": EVIL, "reason": "expired"}
    assert captured.out.isascii()
    assert captured.out.count("\n") == 1
    assert captured.err == ""


def test_a_table_shows_whole_cells_and_escapes_them(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=False).table(["name", "what"], [["x" * 50, "[red]no markup[/red]"], [EVIL, 3]], title="Title")
    shown = capsys.readouterr().out
    assert "x" * 50 in shown
    assert "[red]no markup[/red]" in shown
    assert "\x1b" not in shown
    assert "\\x1b[2J" in shown


def test_an_error_is_a_sentence_and_a_hint_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(InvalidName(f"Bad {EVIL}", hint=f"Try {EVIL}"), as_json=False)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert [line.partition(": ")[0] for line in captured.err.splitlines()] == ["Error", "Hint"]
    assert "\x1b" not in captured.err


def test_the_facts_of_an_error_are_json_as_in_every_other_document(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(SenderFault(Reason.EXPIRED, "Too late.", facts={"release": b"\x00\xff", "seconds": math.nan}), as_json=True)
    printed = capsys.readouterr().err
    assert json.loads(printed)["facts"] == {"release": "00ff", "seconds": None}
    assert printed.count("\n") == 1


def test_an_error_is_one_document_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(SenderFault(Reason.EXPIRED, "Too late.", facts={"when": {1}}), as_json=True)
    document = json.loads(capsys.readouterr().err)
    assert document == {"error": "SenderFault", "message": "Too late.", "hint": None, "facts": {"when": "{1}"}, "exit_code": 3}


def test_a_document_is_json_also_where_numbers_are_not_finite(capfd: pytest.CaptureFixture[str]) -> None:
    Output(as_json=True).document({"a": float("nan"), "b": [float("inf"), 1.5], "c": {"d": -math.inf}})
    assert json.loads(capfd.readouterr().out) == {"a": None, "b": [None, 1.5], "c": {"d": None}}
