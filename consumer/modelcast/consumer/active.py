"""The slot that serving threads read: one reference to an immutable value, swapped whole. Imports releasing."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from threading import Event, Lock
from typing import TYPE_CHECKING, Any

from modelcast.consumer.releasing import Departed

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelcast.shared.manifest import Manifest


@dataclass(frozen=True, slots=True)
class ActiveModel:
    """A model in service. Whoever holds it keeps the model alive, also after the next one took its place.

    Attributes:
        model: The loaded model.
        version: Its version.
        release: Its release id, 64 hexadecimal digits.
        manifest: Its manifest.
        generation: Rises by one with every swap of this process.
        sequence: Sequence of the order that put it into service; 0 when it came back because a later one could not stay.
        order: Identity of that order, 64 hexadecimal digits, or None.
        since_ms: Since when it is in service in this process, milliseconds since 1970 UTC.
    """

    model: Any
    version: str
    release: str
    manifest: Manifest
    generation: int
    sequence: int = 0
    order: str | None = None
    since_ms: int = 0


class Slot:
    """The active slot. Reading is one attribute read; the worker swaps, and whoever reports the active model as bad steps back.

    Attributes:
        active: The model in service, or None.
        previous: The one before, if it is kept at hand: it may come back without a load.
        filled: Is set once there is one.
        departed: Models that left; the worker frees them, so that no serving thread has to.
        keeps: Says of a manifest whether its model is kept at hand when it leaves service.
    """

    __slots__ = ("_lock", "active", "departed", "filled", "keeps", "previous")

    def __init__(self, keeps: Callable[[Manifest], bool] = lambda _manifest: False) -> None:
        self.active: ActiveModel | None = None
        self.previous: ActiveModel | None = None
        self.filled = Event()
        self.departed = Departed()
        self.keeps = keeps
        self._lock = Lock()

    def swap(
        self, model: Any, manifest: Manifest, release: str, *, sequence: int = 0, order: str | None = None
    ) -> ActiveModel:
        """Put a model into service; the one before lives on for as long as somebody holds it, or is kept at hand."""
        with self._lock:
            before = self.active
            generation = 1 if before is None else before.generation + 1
            self.active = ActiveModel(model, manifest.version, release, manifest, generation, sequence, order, _now_ms())
            self.filled.set()
            left = [before, self.previous]
            if before is not None and before.release != release:   # of what is ordered once more nothing leaves
                self.previous = before if self.keeps(before.manifest) else None
            for gone in left:
                if gone is not None and gone is not self.previous and gone.model is not model:
                    self.departed.keep(gone)
            return self.active

    def attribute(self, active: ActiveModel, sequence: int, order: str | None) -> None:
        """Note which order put a model into service, which a process that follows is not told; it stays the same model."""
        with self._lock:
            if self.active is active:
                self.active = replace(active, sequence=sequence, order=order)

    def step_back(self, bad: ActiveModel) -> ActiveModel | None:
        """Put the model at hand into service in place of ``bad``; returns it, or None when that is not served, or none is at hand."""
        with self._lock:
            previous = self.previous
            if self.active is None or self.active.generation != bad.generation or previous is None:
                return None
            self.active = replace(previous, generation=bad.generation + 1, sequence=0, order=None, since_ms=_now_ms())
            self.previous = None
            self.departed.keep(bad)
            return self.active


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
