"""How the records of a register are made and taken apart. Pure; imports packing only."""

from typing import TypeVar

from modelcast.shared.packing import pack

RECORD_FORMAT = 1
END_OF_NUMBERS = 2**63
"""Offsets, times, sizes and sequences are below: what a signed 64-bit number holds, and an order lets through."""

Kind = TypeVar("Kind", bytes, str, bool, list[object])


def record(kind: str, /, **fields: object) -> bytes:
    """Return the bytes of a record of some kind."""
    return pack({"record": kind, "format": RECORD_FORMAT, **fields})


def of(kind: type[Kind], value: object) -> Kind:
    """Return a value that must be of a kind; raises ValueError when it is not."""
    if not isinstance(value, kind):
        raise ValueError(f"a {type(value).__name__} where {kind.__name__} belongs")   # noqa: TRY004 - of a record, not of a call
    return value


def number(value: object, *, below: int = END_OF_NUMBERS) -> int:
    """Return a value that must be a number from 0 up to and not including ``below``; raises ValueError when it is not."""
    if type(value) is not int or not 0 <= value < below:   # True is an int, and no offset
        raise ValueError("no number that can be")
    return value


def number_or_none(value: object, *, below: int = END_OF_NUMBERS) -> int | None:
    """Return a value that must be such a number, or None."""
    return None if value is None else number(value, below=below)


def text_or_none(value: object) -> str | None:
    """Return a value that must be text, or None."""
    return None if value is None else of(str, value)


def durations(value: object) -> dict[str, float]:
    """Return what is known of durations; for people, so that what is none costs no record."""
    fields: dict[object, object] = value if isinstance(value, dict) else {}
    found = {stage: fields.get(stage) for stage in ("published", "confirmed")}
    return {stage: float(took) for stage, took in found.items() if isinstance(took, int | float) and 0 <= took < END_OF_NUMBERS}
