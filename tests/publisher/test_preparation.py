"""A wish becomes a manifest, with what was left out filled in."""

from pathlib import Path

import pytest
from sklearn.linear_model import LogisticRegression

from modelcast.publisher.preparation import Wish, prepare
from modelcast.publisher.progress import unwatched
from modelcast.publisher.sampling import SAMPLES_PATH
from modelcast.shared.errors import MisuseError
from modelcast.shared.limits import MIB

X = [[0.0], [1.0], [2.0], [3.0]]
MODEL = LogisticRegression().fit(X, [0, 0, 1, 1])


def test_an_object_brings_its_format_its_libraries_and_the_method_of_its_samples() -> None:
    wish = Wish("fraud", "1.0.0", "production", samples=(X, MODEL.predict(X)), lineage={"dataset": "toy"})
    manifest, files = prepare(MODEL, wish, chunk_bytes=MIB, watch=unwatched)
    assert (manifest.artifact.format, manifest.artifact.loader) == ("cloudpickle", "cloudpickle")
    assert "scikit-learn" in manifest.environment.dependencies
    assert manifest.samples is not None
    assert manifest.samples.method == "predict"
    assert manifest.lineage.dataset == "toy"
    assert [file.path for file in files] == [entry.path for entry in manifest.artifact.files]


def test_a_path_keeps_its_format_and_takes_dependencies_as_given(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"onnx")
    wish = Wish("fraud", "1.0.0", "production", format="onnx", loader="mine", dependencies={"onnxruntime": "1.32.0"}, samples=([1], [2]))
    manifest, _ = prepare(tmp_path / "model.onnx", wish, chunk_bytes=MIB, watch=unwatched)
    assert (manifest.artifact.format, manifest.artifact.loader) == ("onnx", "mine")
    assert manifest.environment.dependencies == {"onnxruntime": "1.32.0"}
    assert SAMPLES_PATH in {entry.path for entry in manifest.artifact.files}


def test_an_object_in_a_files_format_is_refused() -> None:
    with pytest.raises(MisuseError, match="published as cloudpickle"):
        prepare(MODEL, Wish("fraud", "1.0.0", "production", format="joblib"), chunk_bytes=MIB, watch=unwatched)
