"""One vocabulary of reasons, each explained."""

import re

import pytest

from modelcast.shared.reasons import EXPLANATIONS, Reason


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_explained_in_whole_sentences(reason: Reason) -> None:
    explanation = EXPLANATIONS[reason]
    for text in (explanation.happened, explanation.fault, explanation.remedy):
        assert text.endswith(".")
        assert text == text.strip()


def test_nothing_else_is_explained() -> None:
    assert list(EXPLANATIONS) == list(Reason)


def test_codes_are_words_with_hyphens_and_follow_from_the_names() -> None:
    for reason in Reason:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", reason.value)
        assert reason.name == reason.value.upper().replace("-", "_")


def test_codes_are_never_renamed() -> None:
    assert {reason.value for reason in Reason} >= {   # what has been written into reports and journals
        "malformed", "unknown-format", "signature-missing", "unknown-key", "signature-invalid", "key-not-allowed", "wrong-target",
        "manifest-mismatch", "expired", "sequence-conflict", "version-out-of-range", "version-downgrade", "version-conflict",
        "format-not-allowed", "incompatible-environment", "too-large", "chunks-missing", "chunk-damaged",
        "too-large-for-memory", "load-failed", "samples-not-reproduced", "validator-failed", "timed-out",
    }
