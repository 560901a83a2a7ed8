"""What an examination found, and what is to be examined. Pure.

Decides the three levels, the shape of a finding and how a command ends. Imports the errors and the roles.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from modelcast.shared.errors import ModelcastError
from modelcast.shared.permissions import Role

PROBLEM_FOUND = 33
"""Exit code of ``doctor`` when something is worse than a warning."""


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    """It works, but not as well, as safely or as long as it could."""
    PROBLEM = "problem"
    """Something will not work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        level: How bad it is.
        subject: What was looked at, one or two words.
        text: What was found, a sentence.
        remedy: What to do; None where nothing is to be done.
        facts: The values behind the sentence, for programs.
    """

    level: Level
    subject: str
    text: str
    remedy: str | None = None
    facts: Mapping[str, object] = field(default_factory=dict[str, object])

    def __post_init__(self) -> None:
        if self.level is not Level.OK and not self.remedy:
            raise ValueError(f"A {self.level} needs a remedy: {self.text}")

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON has it."""
        return {
            "level": self.level.value, "subject": self.subject, "text": self.text, "remedy": self.remedy, "facts": dict(self.facts),
        }


def fine(subject: str, text: str, **facts: object) -> Finding:
    """Return a finding that needs nothing to be done."""
    return Finding(Level.OK, subject, text, None, facts)


def warning(subject: str, text: str, remedy: str, **facts: object) -> Finding:
    """Return a finding of something that works, but not well."""
    return Finding(Level.WARNING, subject, text, remedy, facts)


def problem(subject: str, text: str, remedy: str, **facts: object) -> Finding:
    """Return a finding of something that does not work."""
    return Finding(Level.PROBLEM, subject, text, remedy, facts)


def finding_of(subject: str, error: ModelcastError, remedy: str = "See the message; nothing else of this was looked at.") -> Finding:
    """Return the problem that an error tells of, with the error's own hint if it has one."""
    return Finding(Level.PROBLEM, subject, str(error), error.hint or remedy, {"error": type(error).__name__, **error.facts})


@dataclass(frozen=True, slots=True)
class Case:
    """What is to be examined.

    Attributes:
        url: Address of the road.
        model: Name of the model, or None: then nothing of a model is looked at.
        channel: Name of the channel.
        role: What this user is to be, or None: then permissions are not looked at.
        instance: Id of the instance, or None.
        keys: Files of private keys.
        trust: Files of public keys and key rings.
        store: The application's folder, or None.
        known: What an earlier check learned and a later one needs.
    """

    url: str
    model: str | None = None
    channel: str = "production"
    role: Role | None = None
    instance: str | None = None
    keys: tuple[str, ...] = ()
    trust: tuple[str, ...] = ()
    store: str | None = None
    known: dict[str, object] = field(default_factory=dict[str, object])


Check = Callable[[Case], Iterable[Finding]]


def carried_out(subject: str, check: Check, case: Case) -> Iterator[Finding]:
    """Yield what a check finds; what ends it is one of its findings, so that the other checks still run."""
    try:
        yield from check(case)
    except ModelcastError as error:
        yield finding_of(subject, error)
    except Exception as error:  # noqa: BLE001 - a defect of one check must not hide what the others find
        yield problem(
            subject, f"This could not be looked at: {type(error).__name__}: {error}",
            "Look at it by hand, and tell the makers of modelcast.", error=type(error).__name__,
        )


def exit_code(findings: Iterable[Finding]) -> int:
    """Return 0 when nothing is worse than a warning, and ``PROBLEM_FOUND`` otherwise."""
    return PROBLEM_FOUND if any(finding.level is Level.PROBLEM for finding in findings) else 0


def clock_finding(subject: str, seconds: float, other: str, *, accuracy: float = 1.0) -> Finding:
    """Return what is to be said of two clocks; ``seconds`` is how much the other one is ahead of this host's."""
    if abs(seconds) <= MOST_SKEW_SECONDS:
        return fine(subject, f"The clock of {other} and this host's differ by less than {max(accuracy, abs(seconds)):.0f} s.",
                    ahead_seconds=round(seconds, 3))
    ahead = "ahead of" if seconds > 0 else "behind"
    return warning(
        subject, f"The clock of {other} is {abs(seconds):.0f} s {ahead} this host's: orders that expire would be judged wrongly, and "
        "times in reports would mislead.", "Let NTP set both clocks: timedatectl set-ntp true", ahead_seconds=round(seconds, 3),
    )


MOST_SKEW_SECONDS = 5.0
