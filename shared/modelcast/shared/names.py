"""Names, versions and version ranges: parsed once where they enter, trusted afterwards.

Decides what a model, a channel, an instance and a version may be called, and which version satisfies a range. Refuses
everything else with an error that shows the rule. Imports the errors and the ``semver`` library.
"""

import re
import socket
from dataclasses import dataclass
from functools import lru_cache

import semver

from modelcast.shared.errors import InvalidName, InvalidVersion

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
RESERVED_CHANNELS = frozenset({"chunks", "releases"})
"""Channel names that would collide with the exchanges of a model (see ``topology``)."""

BUILT_IN_FORMATS = ("cloudpickle", "joblib", "safetensors", "onnx", "skops", "files")
"""Formats that every instance has a loader for, if the format's library is installed."""

MAX_VERSION_CHARACTERS = 64


def check_name(kind: str, name: str) -> str:
    """Return ``name`` if it may be the name of a model, channel or instance.

    Args:
        kind: What is named, for the message: ``model``, ``channel`` or ``instance``.
        name: The name as it was given.

    Raises:
        InvalidName: It is outside ``[a-z0-9][a-z0-9_-]{0,63}``, or reserved.
    """
    name = str(name)   # untyped callers hand in numbers and None
    if not _NAME.fullmatch(name):
        shown = name if len(name) <= 80 else name[:80] + "…"
        raise InvalidName(
            f"{shown!r} is no {kind} name.",
            hint="Use 1 to 64 of a-z, 0-9, '_' and '-', beginning with a letter or a digit, such as 'fraud-eu'.",
            facts={"kind": kind, "name": shown},
        )
    if kind == "channel" and name in RESERVED_CHANNELS:
        raise InvalidName(f"The channel name {name!r} is reserved.", hint="Use another, such as 'production'.")
    return name


def name_from_host() -> str:
    """Return a name derived from this host's name, for an instance that was not given one."""
    cleaned = re.sub(r"[^a-z0-9_-]+", "-", socket.gethostname().lower()).strip("-_")[:40]
    return cleaned if _NAME.fullmatch(cleaned) else "instance"


@lru_cache(maxsize=1024)
def _parsed(text: str) -> semver.Version | None:
    """Return a version as the library has it, or None when it is none; ranking asks for the same ones again and again."""
    return semver.Version.parse(text) if semver.Version.is_valid(text) else None


@dataclass(frozen=True, slots=True)
class Version:
    """A SemVer 2.0 version. Ordered by SemVer precedence; build metadata distinguishes but does not order.

    Attributes:
        text: The version as written, such as ``2.1.0-rc.1``.
    """

    text: str

    def __post_init__(self) -> None:
        text = str(self.text)   # untyped callers hand in numbers and None
        if len(text) > MAX_VERSION_CHARACTERS or _parsed(text) is None:
            raise InvalidVersion(
                f"{text[:80]!r} is no SemVer version.",
                hint="Write MAJOR.MINOR.PATCH with an optional -prerelease, such as 2.1.0 or 2.1.0-rc.1 (https://semver.org).",
                facts={"version": text[:80]},
            )

    @property
    def parsed(self) -> semver.Version:
        """The version as the ``semver`` library's value."""
        parsed = _parsed(self.text)
        assert parsed is not None   # it was looked at when this was made
        return parsed

    def precedes(self, other: "Version") -> bool:
        """Whether this version is lower than ``other`` by SemVer precedence (rule 11)."""
        return self.parsed.compare(other.parsed) < 0

    # All four by precedence: with equality as a part of `<=`, two builds of one version would each be above the other.
    def __lt__(self, other: "Version") -> bool:
        return self.precedes(other)

    def __le__(self, other: "Version") -> bool:
        return not other.precedes(self)

    def __gt__(self, other: "Version") -> bool:
        return other.precedes(self)

    def __ge__(self, other: "Version") -> bool:
        return not self.precedes(other)

    def __str__(self) -> str:
        return self.text


_COMPARATOR = re.compile(r"(>=|<=|==|!=|>|<|=)?\s*([0-9]{1,18})(?:\.([0-9]{1,18}))?(?:\.([0-9]{1,18}))?(-[0-9A-Za-z.-]+)?")
"""ASCII digits only, and fewer than make ``int`` raise."""


@dataclass(frozen=True, slots=True)
class VersionRange:
    """A comma-separated list of comparisons that must all hold, such as ``>=2,<3``; ``*`` accepts everything.

    Missing parts count as zero (``<3`` is ``<3.0.0``). A pre-release is accepted only if a comparison names a
    pre-release of the same MAJOR.MINOR.PATCH, so that ``<3`` does not let ``3.0.0-rc.1`` in (the rule of npm).

    Attributes:
        text: The range as written.
    """

    text: str

    def __post_init__(self) -> None:
        self._comparisons()

    def _comparisons(self) -> list[tuple[str, semver.Version]]:
        if self.text.strip() in {"", "*"}:
            return []
        comparisons: list[tuple[str, semver.Version]] = []
        for part in self.text.split(","):
            match = _COMPARATOR.fullmatch(part.strip())
            if match is None:
                raise InvalidVersion(
                    f"{self.text[:80]!r} is no version range.",
                    hint="Write comparisons joined by commas, such as '>=2,<3' or '>=1.4.2', or '*' for any version.",
                    facts={"range": self.text[:80]},
                )
            operator, major, minor, patch, pre = match.groups()
            version = Version(f"{int(major)}.{int(minor or 0)}.{int(patch or 0)}{pre or ''}").parsed
            comparisons.append(("==" if operator in {None, "="} else operator, version))
        return comparisons

    def allows(self, version: Version) -> bool:
        """Whether ``version`` satisfies every comparison."""
        candidate = version.parsed
        comparisons = self._comparisons()
        if candidate.prerelease and comparisons and not any(
            bound.prerelease and bound.finalize_version() == candidate.finalize_version() for _, bound in comparisons
        ):
            return False
        results = {
            "<": lambda order: order < 0, "<=": lambda order: order <= 0, ">": lambda order: order > 0,
            ">=": lambda order: order >= 0, "==": lambda order: order == 0, "!=": lambda order: order != 0,
        }
        return all(results[operator](candidate.compare(bound)) for operator, bound in comparisons)

    def __str__(self) -> str:
        return self.text
