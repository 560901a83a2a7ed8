"""Trying a loaded model before it serves: its sample answers, then the application's own validators.

Decides whether a candidate has proved itself on this host. Runs in the worker; time limits come in as a function, because
only ``runtime`` starts threads. Imports samples and errors.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from modelcast.shared.errors import HostFault, SenderFault
from modelcast.shared.fs import host_fault
from modelcast.shared.limits import shortened
from modelcast.shared.manifest import Manifest, Samples
from modelcast.shared.reasons import Reason
from modelcast.shared.samples import difference, unpack_samples

Validator = Callable[[Any, Manifest], object]
"""Takes the candidate and its manifest; refuses by raising anything or by returning False."""

Bounded = Callable[[Callable[[], Any], float, str], Any]
"""Runs a function with a time limit in seconds and a name for the error."""


def check_samples(candidate: Any, manifest: Manifest, folder: Path) -> None:
    """Compare the candidate's answers with the recorded ones.

    Raises:
        SenderFault: They differ, or answering raised.
    """
    samples = manifest.samples
    if samples is None:
        return
    try:
        inputs, expected = unpack_samples((folder / samples.file).read_bytes())
    except ImportError as error:
        raise SenderFault(
            Reason.INCOMPATIBLE_ENVIRONMENT, f"Reading the samples needs a library that is not here: {error}.",
            facts={"missing": error.name},
        ) from error
    try:
        actual = getattr(candidate, samples.method)(inputs)
        gap = difference(actual, expected, rtol=samples.rtol, atol=samples.atol)
    except (MemoryError, OSError) as error:
        if (fault := host_fault("answering the samples", error)) is not None:
            raise fault from error
        raise _not_reproduced(samples, error) from error
    except BaseException as error:  # a model may raise SystemExit; it runs in a thread of its own
        raise _not_reproduced(samples, error) from error
    if gap is not None:
        raise SenderFault(
            Reason.SAMPLES_NOT_REPRODUCED, f"The sample answers are not reproduced here: {gap}.",
            facts={"method": samples.method, "difference": gap, "rtol": samples.rtol, "atol": samples.atol, "samples": samples.count},
        )


def _not_reproduced(samples: Samples, error: BaseException) -> SenderFault:
    return SenderFault(
        Reason.SAMPLES_NOT_REPRODUCED, f"Answering the samples raised {type(error).__name__}: {shortened(error, 300)}.",
        facts={"method": samples.method, "error": shortened(error)},
    )


def run_validators(candidate: Any, manifest: Manifest, validators: Sequence[Validator], bounded: Bounded, seconds: float) -> None:
    """Ask the application's validators, one after the other.

    Raises:
        SenderFault: One refuses, or takes too long.
    """
    for validator in validators:
        name = getattr(validator, "__name__", type(validator).__name__)
        try:
            answer = bounded(partial(validator, candidate, manifest), seconds, f"validator {name}")
        except (SenderFault, HostFault):
            raise
        except Exception as error:
            text = shortened(error, 300) or type(error).__name__
            raise SenderFault(
                Reason.VALIDATOR_FAILED, f"Validator {name} refused: {text}.",
                facts={"validator": name, "error": type(error).__name__, "message": text},
            ) from error
        if answer is False:
            raise SenderFault(Reason.VALIDATOR_FAILED, f"Validator {name} returned False.", facts={"validator": name})
