"""An object becomes a small stream and page-aligned buffers, and says which modules it needs."""

import multiprocessing
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from modelcast.consumer.pickles import load_pickled
from modelcast.publisher.pickling import PAGE_BYTES, pickle_object
from modelcast.publisher.sources import SourceFile
from modelcast.shared.errors import Unpicklable
from modelcast.shared.packing import unpack


def written(files: Sequence[SourceFile], folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for file in files:
        (folder / file.path).write_bytes(bytes(file.read(0, file.size)))
    return folder


def test_arrays_leave_the_stream_and_come_back_mapped_and_writable(tmp_path: Path) -> None:
    weights = {"a": np.arange(100_000, dtype=np.float32), "b": np.asfortranarray(np.ones((300, 200))), "small": np.zeros(3)}
    files, _ = pickle_object(weights)
    by_path = {file.path: file for file in files}
    assert by_path["model.pickle"].size < 2_000
    layout = unpack(bytes(by_path["model.layout"].read(0, by_path["model.layout"].size)), what="layout")
    assert [start % PAGE_BYTES for start, _ in layout["buffers"]] == [0, 0]
    loaded: Any = load_pickled(written(files, tmp_path / "model"))
    for name, array in weights.items():
        np.testing.assert_array_equal(loaded[name], array)
    loaded["a"][0] = 7   # copy-on-write: the file on disk stays as it was verified
    again: Any = load_pickled(tmp_path / "model")
    assert again["a"][0] == 0


def test_nothing_is_copied_before_it_is_sent() -> None:
    array = np.zeros(1_000_000)
    files, _ = pickle_object([array])
    view = next(file for file in files if file.path == "model.buffers").read(0, 8)
    array[0] = 1.0
    assert bytes(view) == array[:1].tobytes()


def test_a_fitted_model_names_the_libraries_it_needs_and_no_others() -> None:
    model = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    _, modules = pickle_object(model)
    assert {"sklearn", "numpy", "cloudpickle"} <= modules
    assert not modules & {"builtins", "sys", "copyreg", "__main__", "pytest"}


def test_imports_inside_a_function_are_seen() -> None:
    def predict(x: object) -> object:
        def inner() -> object:
            import packaging.version

            return packaging.version

        import semver

        return semver, inner, x

    predict.__module__ = "__main__"   # pickled by value, as in a training script
    _, modules = pickle_object(predict)
    assert {"semver", "packaging"} <= modules


class Refuses:
    """Says of itself that it does not want to be pickled, in words of its own."""

    def __reduce__(self) -> str:
        raise OSError("not me")


@pytest.mark.parametrize("make", [multiprocessing.Lock, Refuses, threading.Lock, lambda: (i for i in range(3)), lambda: {"deep": [threading.Event()]}])
def test_what_cannot_be_pickled_says_what_it_is_and_what_to_do(make: Any) -> None:
    with pytest.raises(Unpicklable, match="cannot be pickled") as caught:
        pickle_object(make())
    assert "path" in (caught.value.hint or "")


def test_what_a_library_imports_inside_its_own_functions_is_its_own_business() -> None:
    from sklearn.utils._optional_dependencies import check_matplotlib_support

    _, modules = pickle_object({"a function of an installed library": check_matplotlib_support})
    assert modules == {"cloudpickle", "sklearn"}
