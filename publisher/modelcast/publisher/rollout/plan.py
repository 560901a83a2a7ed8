"""What a rollout is to do: how many instances each wave reaches, and how many failures are too many. Pure.

Decides how amounts are written (``3`` instances, ``10%`` of them), and up to which turn a wave reaches. Imports the turns.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from modelcast.shared.errors import MisuseError
from modelcast.shared.turns import turn_of

AMOUNT = re.compile(r"(\d{1,6})|(\d{1,3}(?:\.\d{1,6})?)%")
MOST_WAVES = 32
DEFAULT_WAVES = "1,10%,100%"
MOST_SECONDS = 30 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Amount:
    """So many instances, or such a share of them.

    Attributes:
        count: The number, or None.
        percent: The share in percent, or None.
    """

    count: int | None = None
    percent: float | None = None

    @classmethod
    def parse(cls, text: str) -> "Amount":
        """Read ``3`` or ``10%``; raises MisuseError for anything else."""
        found = AMOUNT.fullmatch(text.strip())
        if found is None or (found[2] is not None and float(found[2]) > 100):
            raise MisuseError(f"{text!r} is no amount of instances.", hint="Give a number such as 3, or a share such as 10%.")
        return cls(int(found[1])) if found[1] is not None else cls(percent=float(found[2]))

    def of(self, total: int) -> int:
        """Return how many of ``total`` that is; a share is rounded up."""
        if self.count is not None:
            return min(self.count, total)
        return math.ceil(round((self.percent or 0.0) * total / 100, 6))   # 0.55 * 100 is a little over 55

    def allowed_of(self, total: int) -> int:
        """Return how many of ``total`` that is where it is the most that is allowed; a share is rounded down."""
        return self.of(total) if self.count is not None else math.floor(round((self.percent or 0.0) * total / 100, 6))

    @property
    def is_all(self) -> bool:
        """Whether it is all of them, however many there are."""
        return self.percent == 100

    def __str__(self) -> str:
        return str(self.count) if self.count is not None else f"{self.percent:g}%"


@dataclass(frozen=True, slots=True)
class RolloutPlan:
    """What a rollout is to do.

    Attributes:
        waves: How many instances each wave reaches, with those of the waves before; the last one is all.
        soak_seconds: How long each wave is watched once its verdicts are in; not the last one.
        verdict_seconds: Longest wait for the verdicts of a wave; who has not decided by then has failed.
        max_failures: So many of the instances that were reached may fail: reject it, leave it again, or not decide.
        max_vetoes: So many applications may report it as bad.
        rolls_back: Whether the channel goes back when there are more.
    """

    waves: tuple[Amount, ...]
    soak_seconds: float = 0.0
    verdict_seconds: float = 600.0
    max_failures: Amount = Amount(0)
    max_vetoes: int = 0
    rolls_back: bool = False

    @classmethod
    def of(
        cls, waves: str | Sequence[str] = DEFAULT_WAVES, *, soak_seconds: float = 0.0, verdict_seconds: float = 600.0,
        max_failures: str | int = 0, max_vetoes: int = 0, rolls_back: bool = False,
    ) -> "RolloutPlan":
        """Return a plan from amounts as they are written: ``1,10%,100%`` and ``5%``.

        Raises:
            MisuseError: It makes no sense.
        """
        return cls(waves_of(waves), soak_seconds, verdict_seconds, Amount.parse(str(max_failures)), max_vetoes, rolls_back)

    def __post_init__(self) -> None:
        _check_waves(self.waves)
        for what, seconds in (("soak", self.soak_seconds), ("wait for verdicts", self.verdict_seconds)):
            if not 0 <= seconds <= MOST_SECONDS:   # NaN neither
                raise MisuseError(f"A wave cannot {what} {seconds} seconds.", hint="Give 0 or more, up to 30 days.")
        check_vetoes(self.max_vetoes)


def check_vetoes(count: int) -> None:
    """Refuse a number of vetoes that cannot be allowed; raises MisuseError."""
    if count < 0:
        raise MisuseError(f"{count} vetoes cannot be allowed.", hint="Give 0 or more.")


def waves_of(text: str | Sequence[str]) -> tuple[Amount, ...]:
    """Return the waves that are written as ``1,10%,100%``, or one by one.

    Raises:
        MisuseError: Some of it is no amount.
    """
    return tuple(Amount.parse(part) for part in (text.split(",") if isinstance(text, str) else text))


def _check_waves(waves: Sequence[Amount]) -> None:
    if not 1 <= len(waves) <= MOST_WAVES:
        raise MisuseError(f"{len(waves)} waves are not possible.", hint=f"Give 1 to {MOST_WAVES}, such as {DEFAULT_WAVES}.")
    if not waves[-1].is_all:
        raise MisuseError("The last wave does not reach all instances.", hint="Let it be 100%, as in 1,10%,100%.")
    if any(wave.is_all or wave.of(10**6) == 0 for wave in waves[:-1]):
        raise MisuseError("Only the last wave reaches all instances, and each one somebody.", hint="Such as 1,10%,100%.")
    for kind in ([w.count for w in waves if w.count is not None], [w.percent for w in waves if w.percent is not None]):
        if kind != sorted(set(kind)):
            raise MisuseError("Each wave must reach more instances than the one before.", hint="Such as 1,10%,100%.")


def reach_of(wave: Amount, instances: Iterable[str], before: int | None) -> int | None:
    """Return up to which turn a wave reaches; None is all.

    Args:
        wave: How many.
        instances: Those that are known.
        before: Up to which turn the wave before reached; no wave reaches less.
    """
    if wave.is_all:
        return None
    turns = sorted(turn_of(instance) for instance in instances)
    count = wave.of(len(turns))
    return max(turns[count - 1] if count else 0, before or 0)


def reached(instances: Iterable[str], up_to: int | None) -> list[str]:
    """Return the instances whose turn has come, by their turns."""
    return sorted((each for each in instances if up_to is None or turn_of(each) <= up_to), key=turn_of)
