"""Samples travel without pickle, and answers are compared as numpy.isclose compares numbers."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelcast.shared.errors import MisuseError, SenderFault
from modelcast.shared.packing import pack
from modelcast.shared.reasons import Reason
from modelcast.shared.samples import count, describe, difference, pack_samples, unpack_samples

DTYPES = [
    "?", "i1", "u1", "<i2", ">i2", "<i4", "<u4", ">i8", "<i8", "<u8", "<f2", "<f4", ">f4", "<f8", ">f8", "<c8", "<c16",
]
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=15,
)
floats = st.floats(width=32) | st.sampled_from([0.0, -0.0, math.nan, math.inf, -math.inf, 1e308, -1e308])


def same(actual: object, expected: object, rtol: float = 0.0, atol: float = 0.0) -> bool:
    return difference(actual, expected, rtol=rtol, atol=atol) is None


def survives(value: object) -> object:
    inputs, answers = unpack_samples(pack_samples(value, value))
    assert same(inputs, answers)
    return inputs


# --------------------------------------------------------------------------- packing


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3,), (2, 3), (1, 2, 3), (0,), (0, 4), ()], ids=str)
def test_an_array_of_numbers_survives(dtype: str, shape: tuple[int, ...]) -> None:
    array = (np.arange(math.prod(shape)) % 2).reshape(shape).astype(dtype)
    again = survives(array)
    assert isinstance(again, np.ndarray)
    assert (again.dtype, again.shape) == (array.dtype, array.shape)
    assert np.array_equal(again, array)
    again[...] = 0   # a model may write to its input


def test_an_array_that_is_not_contiguous_survives() -> None:
    array = np.arange(24).reshape(4, 6)[::2, ::-2].T
    assert np.array_equal(survives(array), array)


@pytest.mark.parametrize("array", [np.array(["a", "bc", ""]), np.array([["a", "ü"]], dtype=object)], ids=["unicode", "objects"])
def test_an_array_of_texts_survives(array: np.ndarray) -> None:
    again = survives(array)
    assert isinstance(again, np.ndarray)
    assert (again.shape, again.tolist()) == (array.shape, array.tolist())


def test_a_frame_survives_with_names_types_and_order() -> None:
    frame = pd.DataFrame({"z": [1, 2], "a": [0.5, math.nan], "text": ["x", "y"], "flag": [True, False]})
    again = survives(frame)
    assert isinstance(again, pd.DataFrame)
    assert list(again.columns) == list(frame.columns)
    assert [str(kind) for kind in again.dtypes[["z", "a", "flag"]]] == ["int64", "float64", "bool"]
    assert again["text"].tolist() == ["x", "y"]
    assert math.isnan(again["a"][1])


@given(plain)
def test_plain_values_survive(value: object) -> None:
    assert same(survives(value), value)


@pytest.mark.parametrize(
    "value", [object(), {1: 2}, [object()], np.array([object()]), np.array([b"x"]), np.array(["2020"], dtype="datetime64"), {"a": {1}}],
    ids=["object", "number as a key", "list of an object", "array of an object", "array of bytes", "array of dates", "set in a map"],
)
def test_what_cannot_be_shipped_is_the_callers_mistake(value: object) -> None:
    with pytest.raises(MisuseError) as caught:
        pack_samples(value, [1])
    assert caught.value.hint


@given(st.binary(max_size=100))
def test_arbitrary_bytes_are_the_senders_fault(body: bytes) -> None:
    with pytest.raises(SenderFault):
        unpack_samples(body)


hostile = st.recursive(
    st.one_of(
        st.none(), st.integers(-(2**63), 2**64 - 1), st.binary(max_size=16), st.text(max_size=5),
        st.sampled_from(["plain", "array", "texts", "frame", "<f8", "|O", "V8", "f8,f8", "a", "M8[s]", "(2,f8"]),
        st.lists(st.sampled_from([0, 1, 2, -1, 2**40, 2**63, 2**64 - 1]), max_size=3),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.fixed_dictionaries({"kind": st.sampled_from(["plain", "array", "texts", "frame", "?"])}, optional=dict.fromkeys(("value", "dtype", "shape", "data", "items", "columns"), inner)),
    ),
    max_leaves=12,
)


@given(hostile)
@example({"kind": "array", "dtype": "|O", "shape": [1], "data": bytes(8)})
@example({"kind": "array", "dtype": "f8,", "shape": [1], "data": bytes(8)})
@example({"kind": "array", "dtype": "(2,f8", "shape": [1], "data": bytes(8)})
@example({"kind": "array", "dtype": "<f8", "shape": [2**63], "data": bytes(8)})
@example({"kind": "array", "dtype": "<f8", "shape": [-1, -1], "data": bytes(8)})
@example({"kind": "array", "dtype": "<f8", "shape": [1], "data": bytes(7)})
@example({"kind": "array", "dtype": "<f8", "shape": None, "data": bytes(8)})
@example({"kind": "array", "dtype": "<f8", "shape": [1], "data": "text"})
@example({"kind": "texts", "items": [1], "shape": [2**64 - 1]})
@example({"kind": "frame", "columns": [["a", {"kind": "plain", "value": [1, 2]}], ["b", {"kind": "plain", "value": [1]}]]})
@example({"kind": "frame", "columns": {"a": 1}})
@example([])
def test_hostile_samples_are_samples_or_the_senders_fault(value: object) -> None:
    body = pack({"format": 1, "inputs": value, "answers": {"kind": "plain", "value": 1}})
    try:
        assert unpack_samples(body)[1] == 1
    except SenderFault as fault:
        assert fault.reason is Reason.MALFORMED  # noqa: PT017 - either way is right


def test_samples_of_another_format_are_refused_as_such() -> None:
    with pytest.raises(SenderFault) as caught:
        unpack_samples(pack({"format": 2}))
    assert caught.value.reason is Reason.UNKNOWN_FORMAT


# --------------------------------------------------------------------------- comparing


@given(plain)
def test_everything_is_the_same_as_itself(value: object) -> None:
    assert same(value, value)


@given(floats, floats, st.sampled_from([0.0, 1e-9, 1e-3, 0.5]), st.sampled_from([0.0, 1e-6, 1.0]))
@example(1.0, math.inf, 1e-5, 0.0)
@example(-math.inf, math.inf, 0.5, 1.0)
@example(1.001, 1.0, 0.0, 0.001)
def test_numbers_are_compared_by_the_rule_of_numpy(actual: float, expected: float, rtol: float, atol: float) -> None:
    with np.errstate(all="ignore"):
        by_numpy = bool(np.isclose(actual, expected, rtol=rtol, atol=atol, equal_nan=True))
    assert same(actual, expected, rtol, atol) == by_numpy
    assert same(np.array([actual]), np.array([expected]), rtol, atol) == by_numpy


@given(plain, plain)
def test_without_tolerance_comparing_is_symmetric(left: object, right: object) -> None:
    assert same(left, right) == same(right, left)


@given(st.lists(floats, max_size=5), st.lists(floats, max_size=5))
def test_without_tolerance_comparing_arrays_is_symmetric(left: list[float], right: list[float]) -> None:
    assert same(np.array(left), np.array(right)) == same(np.array(right), np.array(left)) == same(left, right)


def test_a_tolerance_includes_its_edge() -> None:
    assert same(1.5, 1.0, atol=0.5)
    assert not same(math.nextafter(1.5, 2), 1.0, atol=0.5)
    assert same(3.0, 2.0, rtol=0.5)
    assert not same(2.0, 3.0, rtol=0.25)


def test_the_relative_tolerance_is_of_what_was_expected() -> None:
    assert same(1.0, 2.0, rtol=0.5)
    assert not same(2.0, 1.0, rtol=0.5)


@pytest.mark.parametrize(
    ("actual", "expected", "said"),
    [
        ([1, 2], [1, 3], "at 1: 2 instead of 3"), ([1], [1, 2], "list of 1"), ({"a": 1}, {"b": 1}, "keys"), (1, [1], "int"),
        ({"a": [1.0]}, {"a": [2.0]}, "at 'a': at 0: 1.0 instead of 2.0"), ("x", "y", "'x' instead of 'y'"), (None, 1.0, "None"),
        (np.zeros(2), np.zeros(3), "shape (2,) instead of (3,)"), (np.array([1.0, 2.0]), np.array([1.0, 4.0]), "1 of 2"),
        (np.array(["a"]), np.array(["b"]), "1 of 1"), (np.array([math.nan]), np.array([1.0]), "nan instead of 1.0"),
        (np.array([math.inf]), np.array([-math.inf]), "inf instead of -inf"), (np.zeros(1), [1.0], "1 of 1"),
        (np.zeros(2), [[1], [1, 2]], "instead of"), (10**400, 1.0, "instead of 1.0"), (math.nan, 10**400, "nan instead of"),
    ],
)
def test_a_difference_says_what_and_where(actual: object, expected: object, said: str) -> None:
    text = difference(actual, expected, rtol=0.0, atol=0.0)
    assert text is not None
    assert said in text
    assert len(text) < 1000


def test_answers_of_any_array_kind_are_compared_with_plain_ones() -> None:
    assert same(np.array([1, 2]), [1, 2])
    assert same([1.0, 2.0], np.array([1, 2]))
    assert same(np.array(["a"]), ["a"])
    assert same(pd.Series([1.0, math.nan]), np.array([1.0, math.nan]))
    assert same(np.array([True]), np.array([True]))


# --------------------------------------------------------------------------- describing


def test_a_description_leaves_the_first_axis_free() -> None:
    assert describe(np.zeros((5, 3), "f4")) == {"kind": "array", "dtype": "float32", "shape": [None, 3]}
    assert describe(pd.DataFrame({"a": [1], "b": ["x"]}))["columns"]["a"] == "int64"
    assert describe([1, 2]) == {"kind": "list"}


@pytest.mark.parametrize(("inputs", "rows"), [(np.zeros((5, 3)), 5), ([1, 2], 2), ("text", 1), ({"a": 1, "b": 2}, 1), (3.0, 1)])
def test_samples_are_counted_by_the_first_axis(inputs: object, rows: int) -> None:
    assert count(inputs) == rows
