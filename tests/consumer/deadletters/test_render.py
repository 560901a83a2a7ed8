"""Letters as text: sentences, both sides, and no control character of a stranger."""

from dataclasses import replace

from tests.fakes import specimens

from modelcast.consumer.deadletters.letter import open_letter
from modelcast.consumer.deadletters.render import COLUMNS, explained, row, shown
from modelcast.shared.order import order_id
from modelcast.shared.report import ReportKind, Verdict
from modelcast.shared.road import DeadLetter, Target
from modelcast.shared.signing import SigningKey

EVIL = "\x1b[2J\x1b]0;owned\x07 evil\r\n"


def letter(key: SigningKey) -> object:
    body = specimens.order_message(key).to_bytes()
    report = specimens.report(
        kind=ReportKind.VERDICT, verdict=Verdict.REJECTED, instance="web-1", order=order_id(body), reason="version-out-of-range",
        message=EVIL, facts={"version": "2.1.0", "accept": ">=1,<2", EVIL: {"deep": [EVIL]}}, version="2.1.0",
    )
    dead = DeadLetter(body, Target("fraud", "production", "web-1"), 1_735_689_600_000, "rejected")
    return replace(open_letter(dead), report=report)


def test_an_explanation_says_what_happened_whose_fault_and_what_to_do(signing_key: SigningKey) -> None:
    text = "\n".join(explained(letter(signing_key)))  # type: ignore[arg-type]
    for part in ("web-1 refused fraud 2.1.0 for production at 2025-01-01 00:00:00", "What happened", "Whose fault", "What to do"):
        assert part in text


def test_showing_prints_both_sides_and_the_manifest(signing_key: SigningKey) -> None:
    text = "\n".join(shown(letter(signing_key)))  # type: ignore[arg-type]
    for part in ("accept  >=1,<2", "version  2.1.0", "Manifest:", "sha256", signing_key.key_id, "not verified here"):
        assert part in text


def test_a_stranger_s_control_characters_never_reach_the_terminal(signing_key: SigningKey) -> None:
    evil = letter(signing_key)
    for line in [*shown(evil), *explained(evil)]:  # type: ignore[arg-type]
        assert line.isprintable() or line == ""


def test_a_row_has_a_cell_for_every_column_also_when_nothing_is_known() -> None:
    nothing = open_letter(DeadLetter(b"x", None))
    assert len(row(nothing)) == len(COLUMNS)
    assert "unknown" in "\n".join(shown(nothing))
