"""Trying a candidate: its sample answers and the application's validators, each with a time limit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.bench import Hang
from tests.fakes.specimens import CONTENT, file_entry, manifest

from modelcast.consumer.probing import check_samples, run_validators
from modelcast.consumer.runtime import bounded
from modelcast.shared.errors import HostFault, SenderFault, StorageFault
from modelcast.shared.manifest import Artifact, Manifest, Samples
from modelcast.shared.reasons import Reason
from modelcast.shared.samples import pack_samples

SAMPLES = ".modelcast/samples.msgpack"


class Model:
    """Answers as it is told."""

    def __init__(self, answer: Callable[[Any], Any]) -> None:
        self._answer = answer

    def predict(self, inputs: Any) -> Any:
        return self._answer(inputs)


def raising(error: BaseException) -> Callable[..., Any]:
    def call(*_: object) -> object:
        raise error

    return call


@pytest.fixture
def described(tmp_path: Path) -> Manifest:
    """A manifest whose samples say that ``predict([1, 2])`` is ``[2.0, 4.0]``."""
    body = pack_samples([1, 2], [2.0, 4.0])
    (tmp_path / ".modelcast").mkdir()
    (tmp_path / SAMPLES).write_bytes(body)
    files = (file_entry(SAMPLES, body), file_entry("model.bin", CONTENT))
    return manifest(
        artifact=Artifact(format="files", loader="files", files=files),
        samples=Samples(file=SAMPLES, method="predict", count=2, rtol=1e-5, atol=1e-8),
    )


def refusal(call: Callable[[], None]) -> SenderFault:
    with pytest.raises(SenderFault) as raised:
        call()
    return raised.value


def test_a_candidate_that_gives_the_recorded_answers_passes(described: Manifest, tmp_path: Path) -> None:
    check_samples(Model(lambda inputs: [2.0 * x for x in inputs]), described, tmp_path)


def test_answers_within_the_tolerance_pass_and_beyond_it_do_not(described: Manifest, tmp_path: Path) -> None:
    check_samples(Model(lambda _: [2.0, 4.00001]), described, tmp_path)
    fault = refusal(lambda: check_samples(Model(lambda _: [2.0, 4.001]), described, tmp_path))
    assert fault.reason is Reason.SAMPLES_NOT_REPRODUCED
    assert fault.facts == {
        "method": "predict", "difference": "at 1: 4.001 instead of 4.0", "rtol": 1e-5, "atol": 1e-8, "samples": 2,
    }


def test_a_release_without_samples_passes() -> None:
    check_samples(object(), manifest(), Path("/nowhere"))


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1), RecursionError()], ids=lambda error: type(error).__name__)
def test_a_candidate_that_raises_while_it_answers_is_refused(described: Manifest, tmp_path: Path, error: BaseException) -> None:
    fault = refusal(lambda: bounded(lambda: check_samples(Model(raising(error)), described, tmp_path), 20, "the samples"))
    assert fault.reason is Reason.SAMPLES_NOT_REPRODUCED
    assert type(error).__name__ in str(fault)


def test_a_candidate_without_the_method_is_refused(described: Manifest, tmp_path: Path) -> None:
    assert "AttributeError" in str(refusal(lambda: check_samples(object(), described, tmp_path)))


def test_samples_that_are_no_samples_are_the_senders_fault(described: Manifest, tmp_path: Path) -> None:
    (tmp_path / SAMPLES).write_bytes(b"garbage")
    assert refusal(lambda: check_samples(Model(list), described, tmp_path)).reason is Reason.MALFORMED


# --------------------------------------------------------------------------- validators


def validated(*validators: Callable[..., object], seconds: float = 20) -> None:
    run_validators("candidate", manifest(), validators, bounded, seconds)


def test_validators_see_candidate_and_manifest_one_after_the_other() -> None:
    seen: list[object] = []

    def first(candidate: object, described: Manifest) -> None:
        seen.append(("first", candidate, described.version))

    def second(candidate: object, described: Manifest) -> bool:
        seen.append("second")
        return True

    validated(first, second)
    assert seen == [("first", "candidate", "2.1.0"), "second"]


@pytest.mark.parametrize("answer", [None, True, 0, "", [], 0.0])
def test_only_false_itself_is_a_no(answer: object) -> None:
    """A validator that returns 0 errors, or nothing, says nothing against the candidate."""
    validated(lambda *_: answer)


def test_a_validator_that_returns_false_is_named() -> None:
    def strict(*_: object) -> bool:
        return False

    fault = refusal(lambda: validated(strict))
    assert (fault.reason, str(fault), fault.facts) == (
        Reason.VALIDATOR_FAILED, "Validator strict returned False.", {"validator": "strict"},
    )


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (AssertionError("too low"), "too low"), (AssertionError(), "AssertionError"), (OSError("disk"), "disk"),
        (SystemExit(3), "SystemExit: 3"), (UnicodeError("caf\udce9"), "caf\\udce9"),
    ],
    ids=["assertion", "bare assertion", "OSError", "SystemExit", "surrogate"],
)
def test_a_validator_that_raises_refuses_in_its_own_words(error: BaseException, text: str) -> None:
    fault = refusal(lambda: validated(raising(error)))
    assert fault.reason is Reason.VALIDATOR_FAILED
    assert fault.facts["message"] == text
    assert str(fault).endswith(f"refused: {text}.")


def test_what_comes_after_a_validator_that_refuses_is_not_asked() -> None:
    asked: list[int] = []
    refusal(lambda: validated(lambda *_: False, lambda *_: asked.append(1)))
    assert asked == []


def test_a_validator_that_hangs_is_refused_in_time() -> None:
    hang = Hang()
    fault = refusal(lambda: validated(hang, seconds=0.05))
    hang.let_go()
    assert (fault.reason, fault.facts) == (Reason.TIMED_OUT, {"what": "validator Hang", "limit_seconds": 0.05})


def test_a_validator_may_say_itself_whose_fault_it_is() -> None:
    assert refusal(lambda: validated(raising(SenderFault(Reason.TOO_LARGE, "too large for us")))).reason is Reason.TOO_LARGE
    with pytest.raises(HostFault):
        validated(raising(StorageFault("our reference data is not here yet")))
