"""A disk in memory for the simulation: what of an instance outlives its process, and a workshop whose steps take no time.

The steps do what the real ones do to the pointer, the journal and the slot, and nothing to bytes: those have tests of their own.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from modelcast.consumer.active import Slot
from modelcast.consumer.journal import Journal, Rejection
from modelcast.consumer.pointer import KeptBookmark, Pointer
from modelcast.consumer.rules import Standing
from modelcast.consumer.succession import pointer_after, standing_of
from modelcast.consumer.trial import Trial
from modelcast.consumer.trust import reader_of
from modelcast.shared.errors import SenderFault, StorageFault
from modelcast.shared.manifest import Manifest
from modelcast.shared.reasons import Reason
from modelcast.shared.signing import KeyRing


class Crash(BaseException):
    """The process ended here."""


class MemoryFs:
    """The four operations that a journal needs."""

    def __init__(self) -> None:
        self.files: dict[Path, bytes] = {}

    def names(self, folder: Path) -> list[str]:
        return sorted(path.name for path in self.files if path.parent == folder)

    def write_whole(self, path: Path, content: bytes) -> None:
        self.files[path] = content

    def read_whole(self, path: Path, max_bytes: int) -> bytes:
        assert len(self.files[path]) <= max_bytes
        return self.files[path]

    def remove(self, path: Path) -> None:
        self.files.pop(path, None)


@dataclass
class Disk:
    """What outlives a process, and the history of what was done to it, for the checker."""

    fs: MemoryFs = field(default_factory=MemoryFs)
    pointer: Pointer | None = None
    releases: dict[str, Manifest] = field(default_factory=dict)
    promotions: list[tuple[str, str, int]] = field(default_factory=list)
    """Order, release and sequence of each promotion that was written."""

    def journal(self) -> Journal:
        return Journal(Path("/journal"), self.fs)   # type: ignore[arg-type]


@dataclass
class Hazards:
    """How often a step goes wrong, from 0 to 1."""

    random: random.Random
    fault: float = 0.0
    crash: float = 0.0

    def strikes(self, chance: float) -> bool:
        return self.random.random() < chance


class SimWorkshop:
    """See ``workshop.Workshop``.

    Args:
        disk: What outlives the process.
        slot: The active slot.
        ring: Trusted keys.
        hazards: What goes wrong.
        refuses: Whether this host cannot load a release.
    """

    def __init__(self, disk: Disk, slot: Slot, ring: KeyRing, hazards: Hazards, refuses: Callable[[str], bool]) -> None:
        self._disk, self._slot, self._ring, self._hazards, self._refuses = disk, slot, ring, hazards, refuses
        self.journal = disk.journal()

    def _step(self, trial: Trial) -> None:
        trial.check()
        if self._hazards.strikes(self._hazards.fault):
            raise StorageFault("The disk is full for the moment.")

    def receive(self, trial: Trial) -> None:
        self._step(trial)

    def verify(self, trial: Trial) -> None:
        self._step(trial)
        self._disk.releases[trial.trusted.release] = trial.trusted.manifest

    def load(self, trial: Trial) -> None:
        self._step(trial)
        if self._refuses(trial.trusted.release):
            raise SenderFault(Reason.LOAD_FAILED, "It does not load here.")
        trial.model = trial.trusted.release

    def probe(self, trial: Trial) -> None:
        self._step(trial)

    def promote(self, trial: Trial) -> Standing:
        if self._hazards.strikes(self._hazards.fault):
            raise StorageFault("The pointer could not be written.")
        trusted, before = trial.trusted, self._disk.pointer
        kept = None if trial.bookmark is None else KeptBookmark(trial.bookmark, reader_of(self._ring))
        pointer = pointer_after(trusted, before, floor_lifted=trial.floor_lifted, bookmark=kept)
        self._disk.pointer = pointer
        self._disk.promotions.append((trusted.id, trusted.release, trusted.order.sequence))
        self._crash_perhaps()   # F10: durable, and not yet in service
        self._slot.swap(trial.model, trusted.manifest, trusted.release, sequence=trusted.order.sequence)
        keeps = {pointer.release, pointer.previous}
        self._disk.releases = {name: manifest for name, manifest in self._disk.releases.items() if name in keeps}
        return self.standing()

    def reject(self, trial: Trial | None, rejection: Rejection, report: bytes) -> str:
        if trial is not None:
            pointer = self._disk.pointer
            if pointer is None or trial.trusted.release not in {pointer.release, pointer.previous}:
                self._disk.releases.pop(trial.trusted.release, None)
        name = self.journal.add_report(report)
        self._crash_perhaps()   # F13: written down, and not yet remembered
        self.journal.remember(rejection)
        return name

    def _crash_perhaps(self) -> None:
        if self._hazards.strikes(self._hazards.crash):
            raise Crash

    def standing(self) -> Standing:
        active = self._slot.active
        identities = [(manifest.version, manifest.artifact.identity) for manifest in self._disk.releases.values()]
        return standing_of(self._disk.pointer, active.release if active else None, identities)

    def restore(self) -> None:
        pointer = self._disk.pointer
        if pointer is not None and pointer.release is not None:
            self._slot.swap(pointer.release, self._disk.releases[pointer.release], pointer.release, sequence=pointer.sequence)

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the simulation has no {name}")   # announcements are not part of it


def _unexpected(text: str, **facts: object) -> None:
    raise AssertionError(f"{text} {facts}")


QUIET = SimpleNamespace(**{name: lambda *_args, **_facts: None for name in ("debug", "info", "warning")}, error=_unexpected, exception=_unexpected)
"""A logger that says nothing; what the product did not expect ends the run."""
