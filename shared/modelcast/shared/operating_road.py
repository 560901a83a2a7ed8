"""The seam to a road for those who operate it: what a command needs besides what publishers and instances do.

Imports the road's protocols.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

from modelcast.shared.road import DeadLetterRoad, Road


class RecordRoad(Protocol):
    """A road whose registers can be read by anybody who may."""

    def records(self, model: str) -> Sequence[bytes]:
        """Return all records of a model's register, oldest first, complete up to this call; nobody is kept from publishing."""
        ...


class OpenRoad(Road, RecordRoad, DeadLetterRoad, Protocol):
    """A road with all that a command needs of it."""

    def retire(self, model: str, channel: str, instances: Iterable[str]) -> None:
        """Remove all that a model has in one channel, its dead letters too; for demonstrations. Reports stay."""
        ...
