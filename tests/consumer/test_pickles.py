"""Unpickling what the publisher pickled: equal, with its large buffers mapped, and nothing beyond the files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelcast.consumer.pickles import load_pickled
from modelcast.publisher.pickling import pickle_object
from modelcast.shared.errors import SenderFault
from modelcast.shared.packing import pack
from modelcast.shared.reasons import Reason


def lay_out(model: object, folder: Path) -> None:
    files, _ = pickle_object(model)
    for file in files:
        (folder / file.path).write_bytes(file.read(0, file.size) if file.size else b"")


@given(st.recursive(st.none() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_what_was_pickled_comes_back_equal(tmp_path: Path, model: object) -> None:
    lay_out(model, tmp_path)
    assert load_pickled(tmp_path) == model


def test_a_model_without_large_buffers_needs_no_file_for_them(tmp_path: Path) -> None:
    lay_out({"small": np.arange(3)}, tmp_path)
    assert not (tmp_path / "model.buffers").exists()
    assert load_pickled(tmp_path)["small"].tolist() == [0, 1, 2]


def test_large_arrays_are_mapped_writable_and_the_file_stays_as_it_was(tmp_path: Path) -> None:
    lay_out([np.arange(5000.0), np.ones((100, 100), dtype="float32")], tmp_path)
    before = (tmp_path / "model.buffers").read_bytes()
    first, second = load_pickled(tmp_path)
    assert (first.sum(), second.shape) == (5000 * 4999 / 2, (100, 100))
    assert not first.flags.owndata
    first[:] = -1
    again, _ = load_pickled(tmp_path)
    assert again[0] == 0
    assert (tmp_path / "model.buffers").read_bytes() == before


def test_a_model_outlives_its_files(tmp_path: Path) -> None:
    lay_out(np.arange(5000.0), tmp_path)
    model = load_pickled(tmp_path)
    for path in tmp_path.iterdir():
        path.unlink()
    assert model[4999] == 4999


def test_a_function_defined_on_the_spot_comes_back(tmp_path: Path) -> None:
    factor = 3
    lay_out(lambda x: x * factor, tmp_path)
    assert load_pickled(tmp_path)(5) == 15


@pytest.mark.parametrize(
    "layout",
    [{"format": 2, "buffers": []}, {"buffers": []}, {"format": 1}, {"format": 1, "buffers": {}},
     {"format": 1, "buffers": [[0, 40_961]]}, {"format": 1, "buffers": [[-4096, 4096]]}, {"format": 1, "buffers": [[4096, -1]]},
     {"format": 1, "buffers": [[2**40, 1]]}],
)
def test_a_layout_that_contradicts_the_files_is_refused(tmp_path: Path, layout: dict[str, Any]) -> None:
    lay_out(np.arange(5000.0), tmp_path)
    (tmp_path / "model.layout").write_bytes(pack(layout))
    with pytest.raises(SenderFault) as raised:
        load_pickled(tmp_path)
    assert raised.value.reason is Reason.LOAD_FAILED


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "model.pickle").write_bytes(b""),
        lambda folder: (folder / "model.pickle").write_bytes(b"garbage"),
        lambda folder: (folder / "model.layout").write_bytes(b"garbage"),
        lambda folder: (folder / "model.layout").write_bytes(pack({"format": 1, "buffers": []})),
        lambda folder: (folder / "model.layout").write_bytes(pack({"format": 1, "buffers": ["x"]})),
        lambda folder: (folder / "model.buffers").unlink(),
        lambda folder: (folder / "model.buffers").write_bytes(b""),
    ],
)
def test_files_that_are_not_what_they_should_be_raise(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    lay_out(np.arange(5000.0), tmp_path)
    damage(tmp_path)
    with pytest.raises(Exception):  # noqa: B017 - whatever it is, the workshop makes it the sender's fault
        load_pickled(tmp_path)
