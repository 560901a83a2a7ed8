"""msgpack, strict and bounded: the only module that packs and unpacks.

Decides that a message is one map with text keys and nothing behind it; refuses duplicate keys, extension types and deep nesting.
Total: any bytes give a map or a ``SenderFault``.
"""

from collections.abc import Mapping
from typing import Any

import msgpack

from modelcast.shared.errors import SenderFault
from modelcast.shared.limits import DEFAULT_LIMITS
from modelcast.shared.reasons import Reason


def pack(message: Mapping[str, object]) -> bytes:
    """Return the msgpack bytes of ``message``; equal maps in equal order give equal bytes."""
    packed = msgpack.packb(message, use_bin_type=True, strict_types=False)
    assert isinstance(packed, bytes)
    return packed


def unpack(body: bytes | memoryview, *, what: str, max_bytes: int = DEFAULT_LIMITS.order_bytes) -> dict[str, Any]:
    """Return the map that ``body`` holds.

    Args:
        body: The bytes of one message.
        what: What the message should be, for the error.
        max_bytes: Refuse longer bodies before looking into them.

    Raises:
        SenderFault: ``body`` is too long, not msgpack, not one map, too deeply nested, or holds duplicate keys or extension
            types.
    """
    if len(body) > max_bytes:
        raise SenderFault(Reason.TOO_LARGE, f"The {what} is {len(body)} bytes long; at most {max_bytes} are taken.")
    try:
        message: object = msgpack.unpackb(
            body, raw=False, strict_map_key=True, object_pairs_hook=_map, ext_hook=_refuse_extension, timestamp=0,
            max_str_len=max_bytes, max_bin_len=max_bytes,
            # By the body's length, because room is made for all the items that a message claims before one is seen.
            max_array_len=min(len(body), 1_000_000), max_map_len=min(len(body), 100_000),
        )
        _check_nesting(message)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise SenderFault(
            Reason.MALFORMED, f"These bytes are no {what}: {type(error).__name__}.", facts={"bytes": len(body)}
        ) from error
    if not isinstance(message, dict):
        raise SenderFault(Reason.MALFORMED, f"These bytes are no {what}: a {type(message).__name__} instead of a map.")
    return message


def _check_nesting(message: object) -> None:
    """Level by level: a recursion would fail on the very messages that it is to refuse."""
    level: list[Any] = [message] if isinstance(message, dict | list) else []
    for _ in range(DEFAULT_LIMITS.message_depth):
        inner = [item for box in level for item in (box.values() if isinstance(box, dict) else box)]
        if msgpack.Timestamp in set(map(type, inner)):
            raise ValueError("a timestamp")   # the one extension type that the library makes itself
        level = [item for item in inner if isinstance(item, dict | list)]
        if not level:
            return
    raise ValueError("nested too deeply")


def _map(pairs: list[tuple[str, object]]) -> dict[str, object]:
    keys = [key for key, _ in pairs]
    if not all(isinstance(key, str) for key in keys):
        raise ValueError("a key that is no text")
    if len(set(keys)) != len(keys):
        raise ValueError("a key that stands twice")   # two readers could read two different messages
    return dict(pairs)


def _refuse_extension(code: int, data: bytes) -> object:
    raise ValueError(f"extension type {code} ({len(data)} bytes)")


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``values`` with text keys and plain values; what is neither number, text, list nor map becomes its ``repr``."""
    return {_text(str(key)): _plain(value) for key, value in values.items()}


def _text(text: str) -> str:
    """Return text that UTF-8 has: names of files and errors may hold surrogates."""
    return text.encode("utf-8", "backslashreplace").decode()


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**64 else str(value)
    if isinstance(value, Mapping):
        return plain(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "ndim", None) == 0:
        return _plain(item())   # a NumPy scalar
    return repr(value)
