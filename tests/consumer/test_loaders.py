"""Loaders: named by the manifest, never guessed; those of the application win."""

import subprocess
import sys
from pathlib import Path

import joblib
import pytest

from modelcast.consumer.loaders import available_loaders, only_file
from modelcast.consumer.pickles import load_pickled
from modelcast.shared.errors import SenderFault
from modelcast.shared.reasons import Reason


def test_the_built_in_loaders_are_those_whose_library_is_here() -> None:
    found = available_loaders({})
    assert {"cloudpickle", "files", "joblib"} <= set(found)
    assert found["cloudpickle"]() is load_pickled
    for name, library in [("safetensors", "safetensors"), ("onnx", "onnxruntime"), ("skops", "skops")]:
        from importlib.util import find_spec

        assert (name in found) == (find_spec(library) is not None)


def test_the_applications_own_loader_wins() -> None:
    found = available_loaders({"joblib": str, "mine": repr})
    assert (found["joblib"](), found["mine"]()) == (str, repr)


def test_files_are_handed_over_as_the_folder_that_holds_them(tmp_path: Path) -> None:
    assert available_loaders({})["files"]()(tmp_path) == tmp_path


def test_a_joblib_file_is_loaded_whatever_its_name(tmp_path: Path) -> None:
    joblib.dump({"weights": [1, 2]}, tmp_path / "any.name")
    assert available_loaders({})["joblib"]()(tmp_path) == {"weights": [1, 2]}


def test_modelcasts_own_files_are_not_the_model(tmp_path: Path) -> None:
    (tmp_path / ".modelcast").mkdir()
    (tmp_path / ".modelcast" / "samples.msgpack").write_bytes(b"samples")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "model").write_bytes(b"model")
    assert only_file(tmp_path) == tmp_path / "deep" / "model"


@pytest.mark.parametrize("names", [[], ["a", "b"]])
def test_a_format_of_one_file_needs_exactly_one(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(SenderFault) as raised:
        only_file(tmp_path)
    assert (raised.value.reason, raised.value.facts) == (Reason.LOAD_FAILED, {"files": names})


def test_a_library_is_imported_only_when_its_format_is_loaded() -> None:
    program = (
        "import sys\nfrom modelcast.consumer.loaders import available_loaders\navailable_loaders({})\n"
        "print(sorted({'joblib', 'safetensors', 'onnxruntime', 'skops', 'numpy', 'sklearn'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"
