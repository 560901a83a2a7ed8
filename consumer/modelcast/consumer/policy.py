"""What an application accepts: frozen values, built once at the edge and handed down. Imports names, limits and errors."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from modelcast.shared.errors import MisuseError
from modelcast.shared.limits import DEFAULT_LIMITS
from modelcast.shared.names import BUILT_IN_FORMATS, VersionRange

if TYPE_CHECKING:
    from modelcast.shared.manifest import Manifest

MAPPED_SHARE = 0.9
"""So much of an artifact must be buffers for its model to count as mapped."""
BUFFERS = "model.buffers"


class Dependencies(StrEnum):
    """How like the training host's libraries this host's must be."""

    EXACT = "exact"
    MINOR = "minor"
    INSTALLED = "installed"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules of one application.

    Attributes:
        accept: Versions that it was written for.
        formats: Formats that it allows.
        dependencies: ``exact`` versions; same major and ``minor`` version (the default: scikit-learn promises no more);
            ``installed`` in any version; or ``ignore``.
        max_artifact_bytes: Largest artifact that it takes.
    """

    accept: VersionRange = field(default_factory=lambda: VersionRange("*"))
    formats: tuple[str, ...] = BUILT_IN_FORMATS
    dependencies: Dependencies = Dependencies.MINOR
    max_artifact_bytes: int = DEFAULT_LIMITS.artifact_bytes


class Collector(StrEnum):
    """What Python's cyclic garbage collector does about a model that is loaded; it stops every thread while it runs."""

    LEAVE = "leave"
    PAUSE = "pause"
    FREEZE = "freeze"


class KeepPrevious(StrEnum):
    """Which model is kept at hand when it leaves service."""

    MAPPED = "mapped"
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Loading:
    """How a model is loaded beside serving threads.

    Attributes:
        collector: ``leave`` the cyclic collector alone; ``pause`` its full passes for the length of a load (the default); or pause
            and then ``freeze``: nothing that is alive in the process after a load is looked at by the collector again
            (``gc.freeze``), so that no pass over a model of many objects ever stops the serving threads. Reference counting goes
            on; garbage in cycles that was frozen stays until the application calls ``gc.unfreeze()``.
        check_memory: Whether a model that is expected not to fit into memory is held back instead of loaded: rejected at once if it is
            larger than a limit is in all, otherwise tried again for as long as
        shortage_seconds: a shortage may last. After that it is rejected.
        keep_previous: Which model is kept at hand when the next one takes its place, so that a rollback or ``report_bad`` is a swap:
            one whose weights are ``mapped`` (it costs pages of memory), ``always``, or ``never`` (the default). Without it a model
            whose weights are mapped is loaded again in milliseconds: large buffers that this process read before are not read again.
    """

    collector: str = "pause"
    check_memory: bool = True
    shortage_seconds: float = 600.0
    keep_previous: str = "never"

    def __post_init__(self) -> None:
        if not self.shortage_seconds >= 0:   # NaN neither: it never passes
            raise MisuseError(f"A shortage of {self.shortage_seconds} seconds is not possible.", hint="Give 0 or more.")
        if self.keep_previous not in set(KeepPrevious):
            raise MisuseError(
                f"{self.keep_previous!r} is no rule for the model before.", hint=f"Use one of {', '.join(KeepPrevious)}."
            )
        if self.collector not in set(Collector):
            raise MisuseError(f"{self.collector!r} is no rule for the collector.", hint=f"Use one of {', '.join(Collector)}.")

    def keeps(self, manifest: Manifest) -> bool:
        """Whether a model is kept at hand when it leaves service."""
        if self.keep_previous != KeepPrevious.MAPPED:
            return self.keep_previous == KeepPrevious.ALWAYS
        artifact = manifest.artifact
        if artifact.loader == "files":
            return True   # it is a path
        mapped = sum(entry.size for entry in artifact.files if artifact.loader == "cloudpickle" and entry.path == BUFFERS)
        return mapped >= MAPPED_SHARE * artifact.size


@dataclass(frozen=True, slots=True)
class Timing:
    """How long things may take, in seconds.

    Attributes:
        load_seconds: Loading a model.
        probe_seconds: All sample answers, and each validator.
        chunk_idle_seconds: Silence of the chunk stream after which it counts as read to its end.
        heartbeat_seconds: Between two reports of the state.
        retry_first_seconds: First pause after a fault of the host; doubles up to
        retry_most_seconds: the longest pause. Each is drawn at random below its bound, so that a fleet does not stampede.
        fresh_seconds: How old the last contact may be for the knowledge to count as fresh.
    """

    load_seconds: float = 600.0
    probe_seconds: float = 120.0
    chunk_idle_seconds: float = 10.0
    heartbeat_seconds: float = 60.0
    retry_first_seconds: float = 0.5
    retry_most_seconds: float = 30.0
    fresh_seconds: float = 90.0


def pause_seconds(timing: Timing, count: int) -> float:
    """Return how long to rest after the ``count``-th fault in a row: doubling, bounded, drawn at random (full jitter)."""
    bound = min(timing.retry_most_seconds, timing.retry_first_seconds * 2 ** min(count - 1, 16))
    return random.uniform(bound / 4, bound)  # noqa: S311 - spreads a fleet, protects nothing
