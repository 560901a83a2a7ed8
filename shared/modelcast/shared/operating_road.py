"""The seam to a road for those who operate it: what a command needs besides what publishers and instances do.

Imports the road's protocols.
"""

from collections.abc import Generator, Iterable, Sequence
from typing import Protocol

from modelcast.shared.road import DeadLetter, DeadLetterRoad, Road


class RecordRoad(Protocol):
    """A road whose registers can be read by anybody who may."""

    def records(self, model: str) -> Sequence[bytes]:
        """Return all records of a model's register, oldest first, complete up to this call; nobody is kept from publishing."""
        ...


class LetterDesk(Protocol):
    """Dead letters in the hands of one who may take them away; what is not removed stays. Owned by one thread.

    Several may work at once: a letter that one removes is gone for the others. Sent back again after a crash it is the same replay.
    """

    def read(self, limit: int) -> Generator[DeadLetter]:
        """Yield up to ``limit`` dead letters that were there at this call, oldest first, with their receipts."""
        ...

    def send_back(self, letter: DeadLetter) -> None:
        """Give the very order to the instance that refused it, and to no other, marked as a replay; it is kept for good then.

        The letter stays until ``remove``: a crash between the two leaves both.

        Raises:
            NotFound: The letter does not say who refused it, or that instance has no place on this road (any more).
            HostFault: The road broke.
        """
        ...

    def remove(self, letter: DeadLetter) -> None:
        """Take a letter away; one that somebody else took away already is gone, too."""
        ...

    def close(self) -> None:
        """Leave; what was read and not removed is there for others. Never raises."""
        ...


class LetterRoad(DeadLetterRoad, Protocol):
    """A road whose dead letters can be sent back and taken away."""

    def letters(self) -> LetterDesk:
        """Open a desk."""
        ...


class OpenRoad(Road, RecordRoad, LetterRoad, Protocol):
    """A road with all that a command needs of it."""

    def retire(self, model: str, channel: str, instances: Iterable[str]) -> None:
        """Remove all that a model has in one channel, its dead letters too; for demonstrations. Reports stay."""
        ...
