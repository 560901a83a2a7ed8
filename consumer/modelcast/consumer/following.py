"""What a follower does next: prepare a release, serve it, or drop it. Pure: what was seen goes in, a step comes out.

Decides that the pointer alone says what is served, except that nobody waits for it to leave what was found to be bad; that a
candidate is prepared before the pointer names it, so that all processes switch together; and that a release which fails here is
tried again later, while the old model stays. Imports nothing.
"""

from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Seen:
    """What the store says at one moment.

    Attributes:
        active: Release that the pointer names, or None.
        previous: The one before, or None.
        candidate: Release that the receiver is about to try, or None.
        sequence: Sequence of the order after which the pointer names it.
        is_bad: Whether this process complained of it.
    """

    active: str | None = None
    previous: str | None = None
    candidate: str | None = None
    sequence: int = 0
    is_bad: bool = False


class Step(StrEnum):
    """What to do."""

    PREPARE = "prepare"
    SERVE = "serve"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class Failure:
    """A release that could not be prepared here.

    Attributes:
        text: Why, in a sentence.
        count: How often in a row.
        retry_at: When it may be tried again, on the clock that ``next`` is told.
    """

    text: str
    count: int
    retry_at: float


@dataclass(slots=True)
class Following:
    """One follower's bookkeeping; at most one step is in hand.

    Attributes:
        serving: Release in service in this process, or None.
        shadow: Release that is prepared and not in service, or None.
        in_hand: Release that is being prepared or put into service, or None.
    """

    serving: str | None = None
    shadow: str | None = None
    in_hand: str | None = None
    _failures: dict[str, Failure] = field(default_factory=dict)

    def next(self, seen: Seen, now: float) -> tuple[Step, str] | None:
        """Return the next step and its release, or None when there is nothing to do.

        Args:
            seen: What the store says.
            now: Seconds on any clock that does not go back.
        """
        if self._failures:
            named = {seen.active, seen.previous, seen.candidate}
            self._failures = {release: failure for release, failure in self._failures.items() if release in named}
        if self.in_hand is not None:
            return None
        wanted = self._wanted(seen)
        if self.shadow is not None:
            if self.shadow == wanted:
                return Step.SERVE, self.shadow
            if self.shadow not in {seen.active, seen.candidate}:
                return Step.DROP, self.shadow
        for release in (wanted, seen.candidate):
            if release is not None and release not in {self.serving, self.shadow} and not self._rests(release, now):
                return Step.PREPARE, release
        return None

    def _wanted(self, seen: Seen) -> str | None:
        """What should be served: what the pointer names; the one before where that is bad, and at the start rather than nothing."""
        if seen.is_bad:
            return seen.previous or self.serving
        if self.serving is None and seen.active in self._failures and seen.previous not in self._failures:
            return seen.previous
        return seen.active

    def _rests(self, release: str, now: float) -> bool:
        failure = self._failures.get(release)
        return failure is not None and now < failure.retry_at

    def is_ready_for(self, candidate: str | None) -> bool:
        """Whether the receiver need not wait for this process: the candidate is prepared here, or fails here."""
        return candidate is not None and (candidate in {self.serving, self.shadow} or candidate in self._failures)

    def failures_of(self, release: str) -> int:
        """Return how often a release failed here in a row."""
        return self._failures[release].count if release in self._failures else 0

    def failed(self, release: str, text: str, retry_at: float) -> None:
        """Note that a release could not be prepared."""
        self._failures[release] = Failure(text, self.failures_of(release) + 1, retry_at)
        self.in_hand = None

    def prepared(self, release: str) -> None:
        """Note that a release is prepared."""
        self._failures.pop(release, None)
        self.shadow, self.in_hand = release, None

    def served(self, release: str) -> None:
        """Note that a release is in service."""
        self.serving, self.in_hand = release, None

    def fault(self, seen: Seen) -> str | None:
        """Return why the release that the pointer names is not served here, or None when it is, or is on its way."""
        failure = self._failures.get(seen.active or "")
        return failure.text if failure is not None and self.serving != seen.active else None
