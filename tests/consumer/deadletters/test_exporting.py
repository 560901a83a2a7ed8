"""An export is complete, the same each time, and readable without modelcast."""

import hashlib
import io
import json
import math
import zipfile
from dataclasses import replace

from tests.fakes import specimens

from modelcast.consumer.deadletters.exporting import SUMS, files_of, zipped
from modelcast.consumer.deadletters.letter import Letter, open_letter
from modelcast.shared.report import Report, ReportKind, Verdict
from modelcast.shared.road import DeadLetter, Target
from modelcast.shared.signing import SigningKey

HERE = Target("fraud", "production", "web-1")


def refused(body: bytes, **changes: object) -> tuple[Letter, list[Report]]:
    report = specimens.report(
        kind=ReportKind.VERDICT, verdict=Verdict.REJECTED, reason="samples-not-reproduced", message="Other answers.",
        facts={"expected": b"\x01\xff", "got": math.nan, "\x1b[2J": ["\u2028"]}, **changes,
    )
    return replace(open_letter(DeadLetter(body, HERE, 1_735_689_600_000, "rejected")), report=report), [report]


def test_an_export_holds_the_message_and_all_that_is_known_of_it(signing_key: SigningKey) -> None:
    body = specimens.order_message(signing_key).to_bytes()
    letter, reports = refused(body)
    files = files_of(letter, body, reports)
    assert list(files) == ["README", "order.bin", "letter.json", "order.json", "manifest.json", "reports.json", SUMS]
    assert files["order.bin"] == body
    assert json.loads(files["manifest.json"])["version"] == "2.1.0"
    assert json.loads(files["order.json"])["channel"] == "production"
    (report,) = json.loads(files["reports.json"])
    assert (report["reason"], report["facts"]["expected"], report["facts"]["got"]) == ("samples-not-reproduced", "01ff", None)
    assert json.loads(files["letter.json"])["remedy"] in files["README"].decode()
    for line in files[SUMS].decode().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256(files[name]).hexdigest() == digest
    assert len(files[SUMS].splitlines()) == len(files) - 1


def test_the_same_letter_makes_the_same_bytes(signing_key: SigningKey) -> None:
    body = specimens.order_message(signing_key).to_bytes()
    made = [refused(body) for _ in range(2)]
    one, other = (zipped(files_of(letter, body, reports), "letter") for letter, reports in made)
    assert one == other


def test_a_zip_opens_with_any_tool_and_says_nothing_of_when_or_where_it_was_made() -> None:
    with zipfile.ZipFile(io.BytesIO(zipped({"README": b"text", "order.bin": b"\x00"}, "letter"))) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["letter/README", "letter/order.bin"]
        assert {(entry.date_time, entry.create_system, entry.external_attr >> 16) for entry in archive.infolist()} == {
            ((1980, 1, 1, 0, 0, 0), 3, 0o100644),
        }


def test_a_letter_that_cannot_be_read_is_exported_all_the_same() -> None:
    letter = open_letter(DeadLetter(b"\x80\x04no order", None, None, "maxlen"))
    files = files_of(letter, b"\x80\x04no order", [])
    assert (files["manifest.json"], files["order.json"], files["reports.json"]) == (b"null\n", b"null\n", b"[]\n")
    assert b"not known: the report is not there" in files["README"]


def test_nothing_of_the_text_is_a_control_character(signing_key: SigningKey) -> None:
    body = specimens.order_message(signing_key).to_bytes()
    letter, reports = refused(body, instance="web-1")
    for name, content in files_of(letter, body, reports).items():
        if name != "order.bin":
            assert all(character == "\n" or " " <= character <= "~" for character in content.decode("ascii")), name
