"""A dead letter is read without being believed, and joined with the report that explains it."""

import pickle
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import specimens

from modelcast.consumer.deadletters.letter import Letter, open_letter
from modelcast.shared.limits import DEFAULT_LIMITS
from modelcast.shared.order import order_id
from modelcast.shared.packing import pack
from modelcast.shared.reasons import EXPLANATIONS, Reason
from modelcast.shared.report import ReportKind, Verdict
from modelcast.shared.road import DeadLetter, Target
from modelcast.shared.signing import SigningKey

TARGET = Target("fraud", "production", "web-1")


def rejected(dead: DeadLetter, reason: str) -> Letter:
    report = specimens.report(
        kind=ReportKind.VERDICT, verdict=Verdict.REJECTED, instance="web-1", order=order_id(dead.body), reason=reason, version="2.1.0",
        message="because", facts={"a": 1},
    )
    return replace(open_letter(dead), report=report)


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_is_explained_in_words(signing_key: SigningKey, reason: Reason) -> None:
    body = specimens.order_message(signing_key).to_bytes()
    letter = rejected(DeadLetter(body, TARGET, 5, "rejected"), reason.value)
    described = letter.to_dict()
    assert letter.explanation == EXPLANATIONS[reason]
    assert (described["reason"], described["version"], described["instance"]) == (reason.value, "2.1.0", "web-1")
    assert all(described[field] for field in ("happened", "fault", "remedy"))


def test_without_a_report_it_says_that_it_does_not_know(signing_key: SigningKey) -> None:
    body = specimens.order_message(signing_key).to_bytes()
    letter = open_letter(DeadLetter(body, TARGET, None, "rejected"))
    assert (letter.reason, letter.cause, letter.version) == (None, "rejected", "2.1.0")
    assert "report is not there" in letter.explanation.happened


@pytest.mark.parametrize(("cause", "says"), [
    ("expired", "longer than a policy"), ("maxlen", "as many messages as a policy"), ("delivery_limit", "as often as its delivery limit"),
])
def test_what_the_broker_did_by_itself_is_told_as_its_doing(signing_key: SigningKey, cause: str, says: str) -> None:
    letter = open_letter(DeadLetter(specimens.order_message(signing_key).to_bytes(), TARGET, None, cause))
    assert says in letter.explanation.happened
    assert letter.to_dict()["cause"] == cause


def test_a_reason_of_a_newer_modelcast_is_shown_as_it_is(signing_key: SigningKey) -> None:
    body = specimens.order_message(signing_key).to_bytes()
    letter = rejected(DeadLetter(body, TARGET), "cosmic-rays")
    assert letter.reason == "cosmic-rays"
    assert "does not know" in letter.explanation.happened


def test_ids_tell_instances_apart_and_stay_the_same(signing_key: SigningKey) -> None:
    body = specimens.order_message(signing_key).to_bytes()
    one = open_letter(DeadLetter(body, TARGET))
    two = open_letter(DeadLetter(body, Target("fraud", "production", "web-2")))
    assert one.id != two.id
    assert one.id == open_letter(DeadLetter(body, TARGET)).id


@given(st.binary(max_size=300))
def test_any_bytes_make_a_letter(body: bytes) -> None:
    letter = open_letter(DeadLetter(body, None))
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
    letter = open_letter(DeadLetter(body, TARGET))
    assert letter.manifest is None
    assert not (tmp_path / "trace").exists()


def test_a_letter_in_brief_still_knows_its_version_and_holds_nothing_large(signing_key: SigningKey) -> None:
    letter = open_letter(DeadLetter(specimens.order_message(signing_key).to_bytes(), TARGET))
    brief = letter.in_brief()
    assert (brief.order, brief.manifest) == (None, None)
    assert brief.to_dict() == letter.to_dict()


def test_a_message_that_is_longer_than_any_order_is_not_read(signing_key: SigningKey) -> None:
    message = specimens.order_message(signing_key)
    long = pack({
        "modelcast": 1, "order": message.order, "manifest": message.manifest, "more": bytes(DEFAULT_LIMITS.order_bytes)
    })
    letter = open_letter(DeadLetter(long, TARGET))
    assert (letter.order, letter.manifest, letter.size_bytes) == (None, None, len(long))
