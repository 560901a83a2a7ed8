"""The publisher's own check of the sample answers: which method gives them, and that it does so here.

Decides the method that instances will call. A model that does not reproduce its samples where it was trained is refused
before a byte is sent. Imports samples and errors.
"""

from dataclasses import dataclass

from modelcast.shared.errors import MisuseError, SamplesNotReproduced
from modelcast.shared.samples import count, describe, difference, pack_samples

SAMPLES_PATH = ".modelcast/samples.msgpack"
METHODS = ("predict_proba", "predict", "decision_function", "transform", "__call__")
"""Tried in this order when the caller names no method."""


@dataclass(frozen=True, slots=True, eq=False)   # arrays have no single answer to whether they are equal
class SampleSet:
    """Sample requests with their answers.

    Attributes:
        inputs: A batch of requests: NumPy array, DataFrame, or lists, maps, texts and numbers.
        answers: What the model answers.
        method: The method that gives them; found by trying when None.
        rtol: Relative tolerance of numbers.
        atol: Absolute tolerance of numbers.
    """

    inputs: object
    answers: object
    method: str | None = None
    rtol: float = 1e-5
    atol: float = 1e-8

    @property
    def count(self) -> int:
        """Number of samples."""
        return count(self.inputs)

    def to_bytes(self) -> bytes:
        """Return the samples file's bytes."""
        return pack_samples(self.inputs, self.answers)

    def schemas(self) -> tuple[dict[str, object], dict[str, object]]:
        """Return the schemas of input and answers as the samples show them."""
        return describe(self.inputs), describe(self.answers)


def as_sample_set(samples: "SampleSet | tuple[object, object] | None") -> SampleSet | None:
    """Accept a pair of inputs and answers as a sample set.

    Raises:
        MisuseError: It is neither.
    """
    if samples is None or isinstance(samples, SampleSet):
        return samples
    if len(samples) == 2:
        return SampleSet(*samples)
    raise MisuseError(
        "Samples are a pair (inputs, answers) or a SampleSet.", hint="samples=(X[:32], model.predict_proba(X[:32]))"
    )


def find_method(model: object, samples: SampleSet) -> str:
    """Return the method of ``model`` that reproduces the samples.

    Raises:
        SamplesNotReproduced: None does, or the named one does not.
    """
    tried: dict[str, str] = {}
    for method in [samples.method] if samples.method else METHODS:
        call = getattr(model, method, None)
        if not callable(call):
            continue
        try:
            gap = difference(call(samples.inputs), samples.answers, rtol=samples.rtol, atol=samples.atol)
        except Exception as error:  # noqa: BLE001 - the user's model may raise anything
            gap = f"{type(error).__name__}: {error}"
        if gap is None:
            return method
        tried[method] = gap
    wanted = samples.method or "any of " + ", ".join(METHODS)
    listed = "; ".join(f"{method}: {gap}" for method, gap in tried.items()) or f"it has no method {wanted}"
    raise SamplesNotReproduced(
        f"This {type(model).__name__} does not reproduce its own samples ({listed}).",
        hint="Compute the answers with the very model that is published, and name its method: SampleSet(..., method='predict').",
        facts=tried,
    )
