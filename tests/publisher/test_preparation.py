"""A wish becomes a manifest, with what was left out filled in."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from sklearn.linear_model import LogisticRegression

from modelcast.publisher.build import describe
from modelcast.publisher.environment import git_lineage
from modelcast.publisher.preparation import Wish, prepare
from modelcast.publisher.progress import unwatched
from modelcast.publisher.sampling import SAMPLES_PATH
from modelcast.shared.errors import MisuseError
from modelcast.shared.limits import MIB
from modelcast.shared.manifest import Lineage

X = [[0.0], [1.0], [2.0], [3.0]]
MODEL = LogisticRegression().fit(X, [0, 0, 1, 1])


def test_an_object_brings_its_format_its_libraries_and_the_method_of_its_samples() -> None:
    wish = Wish("fraud", "1.0.0", "production", samples=(X, MODEL.predict(X)), lineage={"dataset": "toy"})
    drafted = prepare(MODEL, wish, chunk_bytes=MIB)
    manifest, files = describe(drafted, unwatched), drafted.files
    assert (manifest.artifact.format, manifest.artifact.loader) == ("cloudpickle", "cloudpickle")
    assert "scikit-learn" in manifest.environment.dependencies
    assert manifest.samples is not None
    assert manifest.samples.method == "predict"
    assert manifest.lineage.dataset == "toy"
    assert [file.path for file in files] == [entry.path for entry in manifest.artifact.files]


def test_a_path_keeps_its_format_and_takes_dependencies_as_given(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"onnx")
    wish = Wish("fraud", "1.0.0", "production", format="onnx", loader="mine", dependencies={"onnxruntime": "1.32.0"}, samples=([1], [2]))
    manifest = describe(prepare(tmp_path / "model.onnx", wish, chunk_bytes=MIB), unwatched)
    assert (manifest.artifact.format, manifest.artifact.loader) == ("onnx", "mine")
    assert manifest.environment.dependencies == {"onnxruntime": "1.32.0"}
    assert SAMPLES_PATH in {entry.path for entry in manifest.artifact.files}


@pytest.mark.parametrize("text", ["model.joblib", b"model", bytearray(b"model")])
def test_a_text_is_no_model_and_the_hint_says_how_a_path_is_written(text: object) -> None:
    with pytest.raises(MisuseError, match="no model") as caught:
        prepare(text, Wish("fraud", "1.0.0", "production", format="joblib"), chunk_bytes=MIB)
    assert "pathlib.Path" in (caught.value.hint or "")
    with pytest.raises(MisuseError, match="no model"):
        prepare(text, Wish("fraud", "1.0.0", "production"), chunk_bytes=MIB)


@pytest.fixture
def commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A work tree with one commit, as the current folder."""
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["init", "-q"], [*identity, "commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    monkeypatch.chdir(tmp_path)
    return git_lineage(tmp_path).commit or ""


def lineage_of(given: object) -> Lineage:
    wish = Wish("fraud", "1.0.0", "production", lineage=given)  # type: ignore[arg-type]
    return prepare({"a": 1}, wish, chunk_bytes=MIB).facts.lineage


def test_what_a_lineage_leaves_out_is_filled_in_from_the_work_tree(commit: str) -> None:
    assert lineage_of(None) == Lineage(commit=commit, dirty=False)
    assert lineage_of({"dataset": "toy"}) == Lineage(commit=commit, dirty=False, dataset="toy")
    assert lineage_of({"dirty": True}) == Lineage(commit=commit, dirty=True)
    assert lineage_of({"commit": "abc"}) == Lineage(commit="abc")   # whether that one was clean, nobody here knows
    assert lineage_of(Lineage(dataset="toy")) == Lineage(dataset="toy")


def test_what_was_not_looked_at_is_not_called_captured(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"weights")
    path = prepare(tmp_path / "model.bin", Wish("fraud", "1.0.0", "production", format="files"), chunk_bytes=MIB).facts.environment
    assert (path.captured, path.dependencies) == (False, {})
    assert prepare({"a": 1}, Wish("fraud", "1.0.0", "production"), chunk_bytes=MIB).facts.environment.captured


def test_an_object_in_a_files_format_is_refused() -> None:
    with pytest.raises(MisuseError, match="published as cloudpickle"):
        prepare(MODEL, Wish("fraud", "1.0.0", "production", format="joblib"), chunk_bytes=MIB)


@pytest.mark.parametrize("metrics", [{"auc": "high"}, {"auc": float("nan")}, {"auc": None}])
def test_a_metric_is_a_number(metrics: Any) -> None:
    with pytest.raises(MisuseError, match="The metric 'auc'"):
        prepare(MODEL, Wish("fraud", "1.0.0", "production", metrics=metrics), chunk_bytes=MIB)


def test_a_format_that_no_instance_knows_needs_its_loader(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"x")
    with pytest.raises(MisuseError, match="no format that instances know"):
        prepare(tmp_path / "m", Wish("fraud", "1.0.0", "production", format="jobilb"), chunk_bytes=MIB)
    wish = Wish("fraud", "1.0.0", "production", format="gguf", loader="llama")
    drafted = prepare(tmp_path / "m", wish, chunk_bytes=MIB)
    assert (drafted.format, drafted.loader) == ("gguf", "llama")
