"""A wish becomes a manifest, with what was left out filled in."""

from pathlib import Path
from typing import Any

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


@pytest.mark.parametrize("metrics", [{"auc": "high"}, {"auc": float("nan")}, {"auc": None}])
def test_a_metric_is_a_number(metrics: Any) -> None:
    with pytest.raises(MisuseError, match="The metric 'auc'"):
        prepare(MODEL, Wish("fraud", "1.0.0", "production", metrics=metrics), chunk_bytes=MIB, watch=unwatched)


def test_a_format_that_no_instance_knows_needs_its_loader(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"x")
    with pytest.raises(MisuseError, match="no format that instances know"):
        prepare(tmp_path / "m", Wish("fraud", "1.0.0", "production", format="jobilb"), chunk_bytes=MIB, watch=unwatched)
    wish = Wish("fraud", "1.0.0", "production", format="gguf", loader="llama")
    manifest, _ = prepare(tmp_path / "m", wish, chunk_bytes=MIB, watch=unwatched)
    assert (manifest.artifact.format, manifest.artifact.loader) == ("gguf", "llama")
