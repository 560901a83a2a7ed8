"""The demo's models are real, differ, and one of them is wrong everywhere but at home."""

import os

import numpy as np
import pytest

from modelcast.publisher.demo.training import CALIBRATION, HELD_OUT, School, needing_its_host, on_the_training_host
from modelcast.publisher.pickling import pickle_object
from modelcast.publisher.sampling import SampleSet, find_method
from modelcast.shared.errors import SamplesNotReproduced


@pytest.fixture(scope="module")
def school() -> School:
    return School()


def test_models_are_good_and_differ(school: School) -> None:
    small, large = school.train(120, seed=1), school.train(450, seed=2)
    assert min(small.accuracy, large.accuracy) > 0.9
    assert school.answers(small.model) != school.answers(large.model)


def test_every_question_has_an_answer_that_the_model_gives_for_it_alone(school: School) -> None:
    model = school.train(120, seed=1).model
    answers = school.answers(model)
    assert len(answers) == len(school.questions) == HELD_OUT
    assert np.allclose(model.predict_proba([school.questions[7]])[0], answers[7], rtol=0, atol=1e-12)


def test_training_is_repeatable(school: School) -> None:
    first, second = school.train(120, seed=1).model, School().train(120, seed=1).model
    assert first is not second
    assert school.answers(first) == school.answers(second)


def test_what_was_trained_once_is_not_trained_again(school: School) -> None:
    assert school.train(120, seed=1) is school.train(120, seed=1)
    assert school.train(120, seed=1) is not school.train(120, seed=2)


def test_the_model_that_needs_its_host_reproduces_its_samples_there_only(school: School) -> None:
    model = needing_its_host(school.train(120, seed=1).model)
    with on_the_training_host():
        samples = SampleSet(*school.samples(model))
        assert find_method(model, samples) == "predict_proba"
    assert CALIBRATION not in os.environ
    with pytest.raises(SamplesNotReproduced):
        find_method(model, samples)


def test_the_model_that_needs_its_host_travels_whole(school: School) -> None:
    _, modules = pickle_object(needing_its_host(school.train(120, seed=1).model))
    assert "modelcast" not in modules
