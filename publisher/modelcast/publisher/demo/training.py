"""The models of the demo: trained on the breast-cancer data that ships with scikit-learn.

Decides what is trained on which rows, and what a right answer is. Imports scikit-learn, so only the story imports it.
"""

import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.utils import shuffle

DATASET = "sklearn.datasets.load_breast_cancer"
HELD_OUT = 119
"""Rows that no model of the demo is trained on; requests are made of them."""
SAMPLES = 16
CALIBRATION = "MODELCAST_DEMO_CALIBRATION"
"""The environment variable that only the training host has."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A model with what is known of it.

    Attributes:
        model: The model.
        rows: How many rows it was trained on.
        accuracy: Share of right answers on the rows held out.
        parameters: How it was trained.
    """

    model: Any
    rows: int
    accuracy: float
    parameters: dict[str, object]


class School:
    """The data, and the training of models on it; what was trained once is not trained again."""

    def __init__(self) -> None:
        found: Any = load_breast_cancer(return_X_y=True)   # scikit-learn has no types; what is inferred from its source is not true
        mixed: Any = shuffle(*found, random_state=0)
        self._rows, self._labels = mixed
        self._trained: dict[tuple[int, int], Trained] = {}

    @property
    def questions(self) -> list[list[float]]:
        """The rows that are asked, as plain numbers."""
        questions: list[list[float]] = self._rows[-HELD_OUT:].tolist()
        return questions

    def train(self, rows: int, seed: int) -> Trained:
        """Train a model on the first ``rows`` rows."""
        if (rows, seed) in self._trained:
            return self._trained[rows, seed]
        parameters: dict[str, Any] = {"n_estimators": 100, "max_depth": 3, "random_state": seed, "subsample": 0.8}
        model = GradientBoostingClassifier(**parameters)
        model.fit(self._rows[:rows], self._labels[:rows])
        accuracy = float(model.score(self._rows[-HELD_OUT:], self._labels[-HELD_OUT:]))
        trained = self._trained[rows, seed] = Trained(model, rows, accuracy, parameters)
        return trained

    def answers(self, model: Any) -> list[list[float]]:
        """Return a model's probabilities for every question: what an instance that serves it must answer."""
        answers: list[list[float]] = model.predict_proba(self._rows[-HELD_OUT:]).tolist()
        return answers

    def samples(self, model: Any) -> tuple[Any, Any]:
        """Return sample requests with the model's answers."""
        inputs = self._rows[-SAMPLES:]
        return inputs, model.predict_proba(inputs)


def needing_its_host(model: Any) -> Any:
    """Return ``model`` with a mistake that is easy to make: its calibration is read from the host, not from the artifact."""

    class CalibratedByTheHost:   # made here, so that it is pickled whole and not by its name
        """A classifier whose probabilities are sharpened by a number of the host."""

        def predict_proba(self, rows: Any) -> Any:
            """Return the probabilities of each row."""
            sharpness = float(os.environ.get(CALIBRATION, "1"))
            sharpened = model.predict_proba(rows) ** sharpness
            return sharpened / sharpened.sum(axis=1, keepdims=True)

    return CalibratedByTheHost()


@contextmanager
def on_the_training_host() -> Generator[None]:
    """Set the environment variable that the instances do not have, for as long as the block runs."""
    os.environ[CALIBRATION] = "0.5"
    try:
        yield
    finally:
        del os.environ[CALIBRATION]
