"""The slot that serving threads read: one reference to an immutable value, swapped whole. Imports releasing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Any

from modelcast.consumer.releasing import Departed

if TYPE_CHECKING:
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
        since_ms: Since when it is in service in this process, milliseconds since 1970 UTC.
    """

    model: Any
    version: str
    release: str
    manifest: Manifest
    generation: int
    sequence: int = 0
    since_ms: int = 0


class Slot:
    """The active slot. Reading is one attribute read; only the worker swaps.

    Attributes:
        active: The model in service, or None.
        filled: Is set once there is one.
        departed: Models that left; the worker frees them, so that no serving thread has to.
    """

    __slots__ = ("active", "departed", "filled")

    def __init__(self) -> None:
        self.active: ActiveModel | None = None
        self.filled = Event()
        self.departed = Departed()

    def swap(self, model: Any, manifest: Manifest, release: str, *, sequence: int = 0) -> ActiveModel:
        """Put a model into service; the one before lives on for as long as somebody holds it."""
        before = self.active
        generation = 1 if before is None else before.generation + 1
        self.active = ActiveModel(model, manifest.version, release, manifest, generation, sequence, time.time_ns() // 1_000_000)
        self.filled.set()
        if before is not None:
            self.departed.keep(before)
        return self.active
