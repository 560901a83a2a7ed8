"""A bar: a figure that is to be reached, with what was measured. Decides how it is judged and worded; no test is timed by one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Bar:
    """One bar.

    Attributes:
        what: What is measured, in words.
        bound: The figure.
        value: What was measured, or None when it was not.
        unit: Unit of both.
        is_least: Whether the value must be at least the bound; otherwise at most.
        condition: Under which conditions it was measured, where they differ from those that the bar names.
    """

    what: str
    bound: float
    value: float | None
    unit: str = ""
    is_least: bool = False
    condition: str = ""

    @property
    def is_reached(self) -> bool | None:
        """Whether it is reached; None when nothing was measured."""
        if self.value is None:
            return None
        return self.value >= self.bound if self.is_least else self.value <= self.bound

    @property
    def word(self) -> str:
        """``reached``, ``missed`` or ``not measured``."""
        return {True: "reached", False: "missed", None: "not measured"}[self.is_reached]

    def cells(self) -> list[str]:
        """Return what, bound, value and word as text."""
        value = "" if self.value is None else f"{_shown(self.value)}{_spaced(self.unit)}"
        note = f" ({self.condition})" if self.condition else ""
        return [self.what + note, f"{'≥' if self.is_least else '≤'} {self.bound:g}{_spaced(self.unit)}", value, self.word]

    def to_plain(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Bar":
        """Read what ``to_plain`` wrote."""
        return cls(**plain)


HEADINGS: Sequence[str] = ("What", "Bar", "Measured", "")


def rows_of(bars: Iterable[Bar]) -> list[list[str]]:
    """Return the rows of a table of bars."""
    return [bar.cells() for bar in bars]


def _shown(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _spaced(unit: str) -> str:
    return f" {unit}" if unit else ""
