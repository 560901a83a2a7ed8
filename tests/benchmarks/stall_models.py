"""The models that are received beside a serving thread, and a request that each of them answers.

Decides how large and of what they are: arrays (layers of NumPy weights), a random forest, and the bad case, a dictionary of small
Python objects. Two versions of one kind differ in every chunk, so that all bytes are received.
"""

import json
import pickle
from collections.abc import Callable
from typing import Any

KINDS = ("arrays", "forest", "objects")
TITLES = {"arrays": "NumPy weights", "forest": "random forest", "objects": "dictionary of small objects"}
LAYER_BYTES = 8 * 2**20
FOREST_SAMPLES = 30_000
FITTED_TREES = 16
DOCUMENT = json.dumps([{"id": number, "values": [number, number + 1]} for number in range(800)])
"""What comes with a request: parsing it makes containers, as requests do, so that the cyclic collector runs as it does in service."""


def make(kind: str, *, size: int, entries: int, version: int) -> Any:
    """Return a model.

    Args:
        kind: One of ``KINDS``.
        size: Bytes of arrays and forest.
        entries: Entries of the dictionary.
        version: Makes it another one.
    """
    if kind == "arrays":
        return _arrays(size, version)
    if kind == "forest":
        return _forest(size, version)
    return {f"key-{number}": [number, number * 0.5 + version, f"value {number} of {version}"] for number in range(entries)}


def _arrays(size: int, version: int) -> Any:
    import numpy as np

    random = np.random.default_rng(version)
    return [random.standard_normal((LAYER_BYTES // 4 // 1024, 1024), dtype=np.float32) for _ in range(max(1, size // LAYER_BYTES))]


def _forest(size: int, version: int) -> Any:
    """Fit some trees, then copy them with other thresholds: fitting 512 MiB would take minutes."""
    import numpy as np
    from sklearn.ensemble import RandomForestClassifier

    random = np.random.default_rng(version)
    samples, classes = random.random((FOREST_SAMPLES, 10)), random.integers(0, 2, FOREST_SAMPLES)
    forest = RandomForestClassifier(FITTED_TREES, random_state=version, n_jobs=2).fit(samples, classes)
    fitted, total = [pickle.dumps(tree, protocol=5) for tree in forest.estimators_], 0
    forest.estimators_ = []
    while total < size:
        tree = pickle.loads(fitted[len(forest.estimators_) % len(fitted)])
        tree.tree_.threshold[:] += 1e-9 * (1 + len(forest.estimators_))
        forest.estimators_.append(tree)
        total += len(fitted[(len(forest.estimators_) - 1) % len(fitted)])
    forest.n_estimators = len(forest.estimators_)
    return forest


def import_libraries(kind: str) -> None:
    """Import what an application that serves this kind of model has imported."""
    import numpy as np  # noqa: F401

    if kind == "forest":
        import sklearn.ensemble  # noqa: F401


def request(kind: str) -> Callable[[Any, int], object]:
    """Return what a request does: parse what came, ask the model in another place each time. Under half a millisecond."""
    if kind == "arrays":
        return lambda model, number: (json.loads(DOCUMENT), float(model[number % len(model)][number % 1024].sum()))
    if kind == "forest":
        import numpy as np

        sample = np.random.default_rng(0).random((1, 10), dtype=np.float32)
        return lambda model, number: (
            json.loads(DOCUMENT), model.estimators_[number * 7 % len(model.estimators_)].tree_.predict(sample)
        )
    return lambda model, number: (json.loads(DOCUMENT), model[f"key-{number * 7919 % len(model)}"])
