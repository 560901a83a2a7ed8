"""How far a publication is: values handed to whoever wants to show them. Prints nothing itself."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """One step forward.

    Attributes:
        stage: ``hashing``, ``checking`` (what an interrupted attempt left) or ``sending``.
        done_bytes: Bytes done in this stage.
        total_bytes: Bytes of this stage in all.
    """

    stage: str
    done_bytes: int
    total_bytes: int


Watcher = Callable[[Progress], None]
"""Is called from the publishing thread after each chunk; must return quickly."""


def unwatched(_progress: Progress) -> None:
    """Ignore progress."""
