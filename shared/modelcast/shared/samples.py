"""Sample requests with their answers: packed without pickle, and compared within a tolerance.

Decides which inputs can be shipped as samples and when two answers are the same. Imports numpy and pandas only when a
sample needs them, so that neither is a dependency. Imports packing and errors.
"""

import math
import re
import sys
from collections.abc import Mapping, Sized
from typing import Any

from modelcast.shared.errors import MisuseError, SenderFault
from modelcast.shared.packing import pack, unpack
from modelcast.shared.reasons import Reason

SAMPLES_FORMAT = 1
MAX_SAMPLES_BYTES = 64 * 1024 * 1024
"""Samples are a handful of requests; more would make every promotion slow."""

_NUMBER_KINDS = "biufc"
_NUMBER_TYPE = re.compile(r"[<>|][biufc][0-9]{1,2}")
"""How ``dtype.str`` writes them. Anything else is not shown to ``numpy.dtype``, which evaluates some texts."""


def pack_samples(inputs: object, answers: object) -> bytes:
    """Return inputs and expected answers as msgpack bytes.

    Args:
        inputs: A NumPy array, a pandas DataFrame, or lists, maps, texts and numbers.
        answers: What the model's method returns for them, of the same kinds.

    Raises:
        MisuseError: One of them is of another kind, or they are too many or too deeply nested to be read again.
    """
    body = pack({"format": SAMPLES_FORMAT, "inputs": _encode(inputs, "inputs"), "answers": _encode(answers, "answers")})
    try:
        unpack(body, what="samples", max_bytes=MAX_SAMPLES_BYTES)
    except SenderFault as error:
        raise MisuseError(f"No instance could read these samples: {error}", hint="Give a few simple requests.") from error
    return body


def unpack_samples(body: bytes) -> tuple[Any, Any]:
    """Return the inputs and the expected answers.

    Raises:
        SenderFault: The bytes are no samples of this format.
    """
    message = unpack(body, what="samples file", max_bytes=MAX_SAMPLES_BYTES)
    if message.get("format") != SAMPLES_FORMAT:
        raise SenderFault(Reason.UNKNOWN_FORMAT, f"The samples have format {message.get('format')!r}.")
    try:
        return _decode(message["inputs"]), _decode(message["answers"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise SenderFault(Reason.MALFORMED, f"The samples cannot be read: {error}.") from error


def difference(actual: object, expected: object, *, rtol: float, atol: float) -> str | None:
    """Return what differs between two answers in a sentence, or None when they are the same.

    Numbers are the same when ``|actual - expected| <= atol + rtol * |expected|`` (the rule of ``numpy.isclose``); NaN
    equals NaN; everything else must be equal.
    """
    if _is_array(actual) or _is_array(expected):
        return _array_difference(actual, expected, rtol, atol)
    if isinstance(expected, Mapping):
        if not isinstance(actual, Mapping) or set(actual) != set(expected):
            return f"the keys are {_keys(actual)} instead of {_keys(expected)}"
        parts = ((f"at {key!r}: ", difference(actual[key], expected[key], rtol=rtol, atol=atol)) for key in expected)
        return next((place + text for place, text in parts if text), None)
    if isinstance(expected, list | tuple):
        if not isinstance(actual, list | tuple) or len(actual) != len(expected):
            return f"{_describe(actual)} instead of {_describe(expected)}"
        pairs = enumerate(zip(actual, expected, strict=True))
        found = ((f"at {index}: ", difference(a, e, rtol=rtol, atol=atol)) for index, (a, e) in pairs)
        return next((place + text for place, text in found if text), None)
    if isinstance(expected, float | int) and isinstance(actual, float | int) and not isinstance(expected, bool):
        return None if _is_close(actual, expected, rtol, atol) else f"{actual!r:.80} instead of {expected!r:.80}"
    return None if actual == expected else f"{actual!r:.80} instead of {expected!r:.80}"


def describe(value: object) -> dict[str, Any]:
    """Return the shape and types of a batch of samples, for the manifest's schema; the first axis is free."""
    if _is_frame(value):
        frame: Any = value
        return {"kind": "frame", "columns": {str(name): str(frame[name].dtype) for name in frame.columns}}
    if _is_array(value):
        import numpy as np  # noqa: PLC0415 - only where the caller has it already

        array = np.asarray(value)
        return {"kind": "array", "dtype": str(array.dtype), "shape": [None, *map(int, array.shape[1:])]}
    return {"kind": type(value).__name__}


def count(inputs: object) -> int:
    """Return the number of samples: the length of the first axis, or 1."""
    return len(inputs) if isinstance(inputs, Sized) and not isinstance(inputs, str | bytes | Mapping) else 1


def _is_frame(value: object) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.DataFrame)


def _is_array(value: object) -> bool:
    return hasattr(value, "__array__")


def _encode(value: object, what: str) -> dict[str, Any]:
    if _is_frame(value):
        frame: Any = value
        columns = [[str(name), _encode(frame[name].to_numpy(), f"column {name}")] for name in frame.columns]
        return {"kind": "frame", "columns": columns}
    if _is_array(value):
        import numpy as np  # noqa: PLC0415 - only where the caller has it already

        array = np.asarray(value)
        if array.dtype.kind in _NUMBER_KINDS:
            data = np.ascontiguousarray(array).tobytes()
            return {"kind": "array", "dtype": array.dtype.str, "shape": list(array.shape), "data": data}
        if all(isinstance(item, str) for item in array.ravel().tolist()):
            return {"kind": "texts", "shape": list(array.shape), "items": array.ravel().tolist()}
    elif _is_plain(value):
        return {"kind": "plain", "value": value}
    raise MisuseError(
        f"The sample {what} are a {type(value).__name__} that cannot be shipped.",
        hint="Give NumPy arrays of numbers or texts, a pandas DataFrame of such columns, or lists, maps, texts and numbers.",
    )


def _decode(value: Mapping[str, Any]) -> Any:
    kind = value["kind"]
    if kind == "plain":
        return value["value"]
    if kind == "frame":
        import pandas as pd  # noqa: PLC0415 - the model that needs it brings it

        return pd.DataFrame({name: _decode(column) for name, column in value["columns"]})
    import numpy as np  # noqa: PLC0415 - the model that needs it brings it

    if kind == "texts":
        return np.array(value["items"], dtype=object).reshape(value["shape"])
    if kind != "array" or not _NUMBER_TYPE.fullmatch(value["dtype"]):
        raise ValueError(f"unknown kind {kind!r} or type {value.get('dtype')!r}")
    dtype = np.dtype(value["dtype"])
    return np.frombuffer(value["data"], dtype=dtype).reshape(value["shape"]).copy()


def _is_plain(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | int | float | bool)


def _is_close(actual: float, expected: float, rtol: float, atol: float) -> bool:
    if actual == expected:
        return True
    try:
        if not math.isfinite(actual) or not math.isfinite(expected):
            return math.isnan(actual) and math.isnan(expected)   # any number is within an infinite tolerance of infinity
        return abs(actual - expected) <= atol + rtol * abs(expected)
    except OverflowError:
        return False   # an integer beyond all floats


def _array_difference(actual: object, expected: object, rtol: float, atol: float) -> str | None:
    import numpy as np  # noqa: PLC0415 - one of the two is an array, so it is there

    try:
        left, right = np.asarray(actual), np.asarray(expected)
    except ValueError:   # lists of unequal lengths
        return f"{_describe(actual)} instead of {_describe(expected)}"
    if left.shape != right.shape:
        return f"shape {left.shape} instead of {right.shape}"
    if "O" in {left.dtype.kind, right.dtype.kind}:
        return difference(left.tolist(), right.tolist(), rtol=rtol, atol=atol)   # a column of numbers and gaps, for example
    if left.dtype.kind not in _NUMBER_KINDS or right.dtype.kind not in _NUMBER_KINDS:
        unequal = int((left != right).sum())
        return None if unequal == 0 else f"{unequal} of {right.size} answers differ"
    with np.errstate(all="ignore"):   # overflow and infinities give a difference, not a warning
        close = np.isclose(left, right, rtol=rtol, atol=atol, equal_nan=True)
        if bool(close.all()):
            return None
        gaps = np.abs(left[~close].astype(complex) - right[~close].astype(complex))
    where = tuple(int(i) for i in np.argwhere(~close)[0])
    gap = f", by up to {gaps[np.isfinite(gaps)].max():.3g}" if np.isfinite(gaps).any() else ""
    place = f"; the first at {where}: {left[where]!s} instead of {right[where]!s}"
    return f"{int((~close).sum())} of {right.size} answers differ{gap}{place}"


def _keys(value: object) -> str:
    return str(sorted(map(str, value)))[:80] if isinstance(value, Mapping) else _describe(value)


def _describe(value: object) -> str:
    return f"a {type(value).__name__}" + (f" of {len(value)}" if isinstance(value, list | tuple) else "")
