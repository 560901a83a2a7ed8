"""Which dead letters are meant, and how they are counted in groups. Pure.

Decides what a filter asks of a letter: most of them ask the message alone, the reason stands in the report. Imports the letter.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from modelcast.consumer.deadletters.letter import Letter
from modelcast.shared.errors import MisuseError

UNREPORTED = "unreported"
"""Stands for the reason of a letter whose report is not there (any more)."""
GROUPS = ("reason", "model", "version", "channel", "instance")
SINCE_HINT = "Write a span such as 90m, 2h or 7d, or a time such as 2026-01-31T12:00."
_SPAN = re.compile(r"(\d{1,6})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class Wish:
    """What letters are asked for; None asks nothing.

    Attributes:
        model: Name of the model.
        version: Version, as the message claims it.
        channel: Name of the channel.
        instance: Who refused.
        reason: Code of the reason, or ``UNREPORTED``.
        since_ms: Died at this time or later, milliseconds since 1970 UTC; a letter without a time does not fit.
    """

    model: str | None = None
    version: str | None = None
    channel: str | None = None
    instance: str | None = None
    reason: str | None = None
    since_ms: int | None = None

    @property
    def is_any(self) -> bool:
        """Whether every letter fits."""
        return self == Wish()

    def fits_message(self, letter: Letter) -> bool:
        """Whether a letter fits as far as can be said without its report."""
        asked = ((self.model, letter.model), (self.version, letter.claimed_version), (self.channel, letter.channel),
                 (self.instance, letter.instance))
        if any(wanted is not None and wanted != is_so for wanted, is_so in asked):
            return False
        return self.since_ms is None or (letter.died_ms is not None and letter.died_ms >= self.since_ms)

    def fits_reason(self, letter: Letter) -> bool:
        """Whether the reason of a letter, which has its report, is the one that is asked for."""
        return self.reason is None or self.reason == (letter.reason or UNREPORTED)


ANY = Wish()


def since_ms(text: str, now_ms: int) -> int:
    """Return the time that a person means: a span before now (``90m``, ``2h``, ``7d``) or a date or time of ISO 8601, in UTC.

    Raises:
        MisuseError: It is neither.
    """
    span = _SPAN.fullmatch(text)
    if span is not None:
        return now_ms - int(span[1]) * _SECONDS[span[2]] * 1000
    try:
        when = datetime.fromisoformat(text)
        return int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        raise MisuseError(f"{text!r} is no time.", hint=SINCE_HINT) from error


@dataclass(slots=True)
class Group:
    """Letters that have something in common.

    Attributes:
        name: What they have in common; None where the message does not say.
        letters: How many they are.
        models: Their models, each with the versions of it.
        instances: Who refused.
        first_ms: When the first of them died.
        last_ms: When the last of them died.
        fault: Whose fault it is, for a reason.
        remedy: What to do, for a reason.
    """

    name: str | None
    letters: int = 0
    models: set[str] = field(default_factory=set)
    instances: set[str] = field(default_factory=set)
    first_ms: int | None = None
    last_ms: int | None = None
    fault: str | None = None
    remedy: str | None = None

    def add(self, letter: Letter) -> None:
        """Count a letter."""
        self.letters += 1
        self.models.add(f"{letter.model or '?'} {letter.version or '?'}")
        self.instances.add(letter.instance or "?")
        if letter.died_ms is not None:
            self.first_ms = letter.died_ms if self.first_ms is None else min(self.first_ms, letter.died_ms)
            self.last_ms = letter.died_ms if self.last_ms is None else max(self.last_ms, letter.died_ms)

    def to_dict(self) -> dict[str, Any]:
        """Return the group as plain values, for JSON."""
        return {
            "name": self.name, "letters": self.letters, "models": sorted(self.models), "instances": sorted(self.instances),
            "first_ms": self.first_ms, "last_ms": self.last_ms, "fault": self.fault, "remedy": self.remedy,
        }


def grouped(letters: Iterable[Letter], by: str) -> list[Group]:
    """Return the letters in groups (``by`` is one of ``GROUPS``), the largest first."""
    groups: dict[str | None, Group] = {}
    for letter in letters:
        name = (letter.reason or UNREPORTED) if by == "reason" else getattr(letter, by)
        group = groups.setdefault(name, Group(name))
        if by == "reason":
            group.fault, group.remedy = letter.explanation.fault, letter.explanation.remedy
        group.add(letter)
    return sorted(groups.values(), key=lambda group: (-group.letters, group.name or ""))
