"""The publisher finds the method that gives the sample answers, or refuses to publish."""

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from modelcast.publisher.sampling import SampleSet, as_sample_set, find_method
from modelcast.shared.errors import MisuseError, SamplesNotReproduced

X = np.array([[0.0], [1.0], [2.0], [3.0]])
MODEL = LogisticRegression().fit(X, [0, 0, 1, 1])


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
def test_the_method_is_the_one_that_gives_these_answers(method: str) -> None:
    assert find_method(MODEL, SampleSet(X, getattr(MODEL, method)(X))) == method


def test_a_plain_function_is_called() -> None:
    assert find_method(lambda rows: [len(row) for row in rows], SampleSet(["a", "bb"], [1, 2])) == "__call__"


def test_answers_of_another_model_are_refused_with_the_difference() -> None:
    with pytest.raises(SamplesNotReproduced, match=r"predict_proba: .*differ") as caught:
        find_method(MODEL, SampleSet(X, MODEL.predict_proba(X) / 2))
    assert caught.value.exit_code == 21


def test_a_model_that_raises_on_its_samples_is_refused_with_its_error() -> None:
    def broken(_rows: Any) -> None:
        raise KeyError("missing column")

    with pytest.raises(SamplesNotReproduced, match="missing column"):
        find_method(broken, SampleSet([1], [1]))


def test_a_named_method_is_the_only_one_that_is_tried() -> None:
    with pytest.raises(SamplesNotReproduced, match="transform"):
        find_method(MODEL, SampleSet(X, MODEL.predict(X), method="transform"))


def test_samples_are_a_pair_or_a_sample_set() -> None:
    made = as_sample_set((X, [1]))
    assert made is not None
    assert (made.inputs is X, made.answers) == (True, [1])
    assert as_sample_set(made) is made
    wrong: Any = [X]
    with pytest.raises(MisuseError, match="pair"):
        as_sample_set(wrong)
