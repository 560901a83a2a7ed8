"""What the chapters that may be left out leave behind: values that judge themselves.

Decides what counts as going as it should in each of them. Imports nothing of the demo; reads nothing, waits for nothing.
"""

from dataclasses import asdict, dataclass
from typing import Any, Protocol

WITHDRAWN_EXIT_CODE = 30


class Told(Protocol):
    """What a chapter leaves in the record."""

    def problems(self) -> list[str]:
        """Return what did not go as it should, in words."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, for JSON."""
        ...


@dataclass(frozen=True, slots=True)
class Staged:
    """How a release came by way of staging.

    Attributes:
        version: Its version.
        staged: Instances of staging that promoted it.
        production_meanwhile: The versions that production answered with while it was in staging only.
        sent_bytes: Bytes that the promotion to production sent.
        promoted: Instances of production that promoted it then.
        expected: How many there are.
        seconds: From the call of ``promote`` to the last verdict.
    """

    version: str
    staged: tuple[str, ...]
    production_meanwhile: tuple[str, ...]
    sent_bytes: int
    promoted: tuple[str, ...]
    expected: int
    seconds: float

    def problems(self) -> list[str]:
        """Return what did not go as it should, in words."""
        found: list[str] = []
        if not self.staged:
            found.append(f"{self.version} was not promoted in staging")
        if self.version in self.production_meanwhile:
            found.append(f"production answered with {self.version} before it was ordered there")
        if self.sent_bytes:
            found.append(f"the promotion of {self.version} sent {self.sent_bytes} bytes again")
        if len(self.promoted) != self.expected:
            found.append(f"{self.version} was promoted by {len(self.promoted)} of {self.expected} instances of production")
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, for JSON."""
        return {**asdict(self), "seconds": round(self.seconds, 3)}


@dataclass(frozen=True, slots=True)
class RolledBack:
    """How a channel went back.

    Attributes:
        withdrawn: The version that it left.
        version: The version that it went back to.
        instances: Instances that went back.
        expected: How many there are.
        fetched_bytes: What they fetched for it, together.
        slowest_ms: The longest work of an instance on the order, in milliseconds.
        seconds: From the call of ``rollback`` to the last verdict.
        served: The versions that answered when it was done, and after the refusals.
        refusals: Exit codes of the attempts to order the withdrawn version again, by the command.
        again: Instances that promoted it when somebody insisted.
    """

    withdrawn: str
    version: str
    instances: tuple[str, ...]
    expected: int
    fetched_bytes: int
    slowest_ms: float
    seconds: float
    served: tuple[str, ...]
    refusals: dict[str, int | None]
    again: tuple[str, ...]

    def problems(self) -> list[str]:
        """Return what did not go as it should, in words."""
        found: list[str] = []
        if len(self.instances) != self.expected:
            found.append(f"{len(self.instances)} of {self.expected} instances went back to {self.version}")
        if self.fetched_bytes:
            found.append(f"going back fetched {self.fetched_bytes} bytes")
        if set(self.served) != {self.version}:
            found.append(f"after the rollback the instances served {', '.join(self.served)}")
        found += [
            f"{command} of the withdrawn {self.withdrawn} was not refused"
            for command, code in self.refusals.items() if code != WITHDRAWN_EXIT_CODE
        ]
        if len(self.again) != self.expected:
            found.append(f"{len(self.again)} of {self.expected} instances promoted {self.withdrawn} when somebody insisted")
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, for JSON."""
        return {**asdict(self), "slowest_ms": round(self.slowest_ms, 1), "seconds": round(self.seconds, 3)}


@dataclass(frozen=True, slots=True)
class Waved:
    """How a release was rolled out in waves, and a bad one after it.

    Attributes:
        version: The good one.
        reached: Instances that answered with it after each wave.
        expected: How many there are.
        bad: The bad one.
        refused: Instances that refused it.
        asked: Instances that had to decide on it at all.
        went_back_to: The version that the channel was ordered to go back to.
        served: The versions that answered in the end.
        seconds: How long the good one took, all waves.
    """

    version: str
    reached: tuple[tuple[str, ...], ...]
    expected: int
    bad: str
    refused: tuple[str, ...]
    asked: tuple[str, ...]
    went_back_to: str | None
    served: tuple[str, ...]
    seconds: float

    def problems(self) -> list[str]:
        """Return what did not go as it should, in words."""
        found: list[str] = []
        sizes = [len(names) for names in self.reached]
        if sizes != sorted(set(sizes)) or sizes[-1:] != [self.expected] or sizes[:1] != [1]:
            found.append(f"{self.version} was served by {', '.join(map(str, sizes)) or 'nobody'} instances, wave by wave")
        if len(self.refused) != 1 or self.asked != self.refused:
            found.append(f"{self.bad} was refused by {len(self.refused)} of {len(self.asked)} that were asked, not by the first alone")
        if self.went_back_to != self.version or set(self.served) != {self.version}:
            found.append(f"after {self.bad} the channel went back to {self.went_back_to} and served {', '.join(self.served)}")
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, for JSON."""
        return {**asdict(self), "seconds": round(self.seconds, 3)}
