"""A dead letter is read without being believed, and joined with the report that explains it."""

import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import specimens

from modelcast.consumer.deadletters.letter import open_letter
from modelcast.shared.order import order_id
from modelcast.shared.reasons import EXPLANATIONS, Reason
from modelcast.shared.report import ReportKind, Verdict
from modelcast.shared.road import DeadLetter, Target
from modelcast.shared.signing import SigningKey

TARGET = Target("fraud", "production", "web-1")


def rejection(body: bytes, reason: str) -> dict[tuple[str, str], object]:
    report = specimens.report(
        kind=ReportKind.VERDICT, verdict=Verdict.REJECTED, instance="web-1", order=order_id(body), reason=reason, version="2.1.0",
        message="because", facts={"a": 1},
    )
    return {(order_id(body), "web-1"): report}


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_is_explained_in_words(signing_key: SigningKey, reason: Reason) -> None:
    body = specimens.order_message(signing_key).to_bytes()
    letter = open_letter(DeadLetter(body, TARGET, 5, "rejected"), rejection(body, reason.value))  # type: ignore[arg-type]
    described = letter.to_dict()
    assert letter.explanation == EXPLANATIONS[reason]
    assert (described["reason"], described["version"], described["instance"]) == (reason.value, "2.1.0", "web-1")
    assert all(described[field] for field in ("happened", "fault", "remedy"))


def test_without_a_report_it_says_that_it_does_not_know(signing_key: SigningKey) -> None:
    body = specimens.order_message(signing_key).to_bytes()
    letter = open_letter(DeadLetter(body, TARGET, None, "expired"), {})
    assert (letter.reason, letter.cause, letter.version) == (None, "expired", "2.1.0")
    assert "report is not there" in letter.explanation.happened


def test_a_reason_of_a_newer_modelcast_is_shown_as_it_is(signing_key: SigningKey) -> None:
    body = specimens.order_message(signing_key).to_bytes()
    letter = open_letter(DeadLetter(body, TARGET), rejection(body, "cosmic-rays"))  # type: ignore[arg-type]
    assert letter.reason == "cosmic-rays"
    assert "does not know" in letter.explanation.happened


def test_ids_tell_instances_apart_and_stay_the_same(signing_key: SigningKey) -> None:
    body = specimens.order_message(signing_key).to_bytes()
    one = open_letter(DeadLetter(body, TARGET), {})
    two = open_letter(DeadLetter(body, Target("fraud", "production", "web-2")), {})
    assert one.id != two.id
    assert one.id == open_letter(DeadLetter(body, TARGET), {}).id


@given(st.binary(max_size=300))
def test_any_bytes_make_a_letter(body: bytes) -> None:
    letter = open_letter(DeadLetter(body, None), {})
    assert letter.size_bytes == len(body)
    assert letter.to_dict()["model"] is None


class Bomb:
    """Leaves a trace when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.path, "w")


def test_nothing_in_a_letter_is_ever_unpickled(tmp_path: Path) -> None:
    body = pickle.dumps(Bomb(str(tmp_path / "trace")))
    letter = open_letter(DeadLetter(body, TARGET), {})
    assert letter.manifest is None
    assert not (tmp_path / "trace").exists()
