"""Letting go of models that left service, without a serving thread that has to free them.

Whoever drops the last reference to an object frees it, in one go and with the interpreter's lock held: 70 to 90 ms for a
dictionary of a million small lists. Decides who that is (the worker, which keeps the model until nobody else has it) and how it
is done (large built-in containers are emptied in pieces). Used by the worker thread only. Imports breathing.
"""

import time
import weakref
from collections import deque
from contextlib import suppress
from sys import getrefcount
from typing import Any

from modelcast.consumer.breathing import Breather

FIRST_PAUSE_SECONDS = 0.01
LONGEST_PAUSE_SECONDS = 1.0
"""Between two looks whether somebody still has the model: what it takes after the last request is kept so much longer."""
PATIENCE_SECONDS = 60.0
"""Whoever has a model longer than that frees it: a request that hangs, or the model itself, which is part of a cycle."""
MOST_KEPT = 2
"""Models that wait at once; when more leave service in a row, the oldest is let go without waiting."""
MANY = 10_000
"""Entries from which on only the large ones among a container's entries are looked into: small ones are freed in microseconds."""
LARGE = 256
"""Entries of a container that counts as large."""
BATCH = 256
"""Entries between two looks at the clock: about 50 microseconds."""

_SAMPLE: list[object] = [object()]
_ALONE = getrefcount(_SAMPLE[0])
"""What Python counts for an object that only one list has, seen as it is looked at below; versions count differently."""


class Departed:
    """Models that left service and that somebody may still use.

    Args:
        patience_seconds: How long a model is kept that somebody else has.

    Attributes:
        is_waiting: Whether something is kept, or being freed at this moment; any thread may look.
    """

    def __init__(self, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._patience = patience_seconds
        self._kept: deque[tuple[list[Any], float]] = deque()
        self._pause = FIRST_PAUSE_SECONDS
        self.is_waiting = False

    def keep(self, handle: Any) -> None:
        """Keep what left service, an object with an attribute ``model``, until nobody else has either."""
        self._kept.append(([handle], time.monotonic() + self._patience))
        self._pause, self.is_waiting = FIRST_PAUSE_SECONDS, True
        while len(self._kept) > MOST_KEPT:
            self._kept.popleft()

    def tend(self) -> float | None:
        """Let go of what nobody else has.

        Returns:
            Seconds after which to look again, or None when nothing waits.
        """
        for _ in range(len(self._kept)):
            holder, until = self._kept.popleft()
            if _only_in(holder) and _model_is_alone(holder):
                take_apart([holder.pop().model])
            elif time.monotonic() < until:
                self._kept.append((holder, until))
        self.is_waiting = bool(self._kept)
        if not self._kept:
            return None
        pause, self._pause = self._pause, min(LONGEST_PAUSE_SECONDS, self._pause * 2)
        return pause

    def forget(self) -> None:
        """Let go of everything: nobody will look any more."""
        self._kept.clear()
        self.is_waiting = False


def take_apart(pile: list[Any]) -> None:
    """Free objects that only ``pile`` has, with rests; whatever somebody else has, too, stays whole.

    Only built-in containers are emptied. An object of a class is freed as ever, finalizer and all, but its attributes outlive it
    here for as long as it takes to free them one by one.
    """
    breather = Breather()
    while pile:
        breather.breathe()
        if _only_in(pile):
            _open_last(pile)
        else:
            pile.pop()


def _only_in(pile: list[Any]) -> bool:
    return getrefcount(pile[-1]) <= _ALONE


def _model_is_alone(holder: list[Any]) -> bool:
    return getrefcount(holder[-1].model) <= _ALONE


def _open_last(pile: list[Any]) -> None:
    """Replace the last of the pile by what is in it, or a large one by the rest of it and some of what is in it."""
    thing = pile[-1]
    kind = type(thing)
    if kind not in _EMPTIED or (kind is set and weakref.getweakrefcount(thing)):
        pile.pop()
        inner = list(thing) if kind is tuple else [_attributes(thing)]
        del thing   # the last reference: from here on only its parts are left
        pile.extend(part for part in inner if _has_parts(part))
        return
    is_many = len(thing) >= MANY
    taken = [_EMPTIED[kind](thing) for _ in range(min(BATCH, len(thing)))]
    if not thing:
        pile.pop()
    pile.extend(part for part in taken if (_is_large(part) if is_many else _has_parts(part)))


_EMPTIED: dict[type, Any] = {dict: lambda thing: thing.popitem()[1], list: list.pop, set: set.pop}


def _is_large(part: Any) -> bool:
    return type(part) in _EMPTIED and len(part) >= LARGE


def _has_parts(part: Any) -> bool:
    kind = type(part)
    return kind in _EMPTIED or kind is tuple or kind.__dictoffset__ != 0


def _attributes(thing: Any) -> dict[str, Any] | None:
    with suppress(Exception):   # a class may answer for its attributes itself
        found = thing.__dict__
        return found if type(found) is dict else None   # a class has another kind
    return None
