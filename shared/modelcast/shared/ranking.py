"""Which order of a channel is the best one, for instances that carry it out and for operators who make room. Pure.

Decides so that every instance of a channel ends up the same, however many orders it saw at once: the best order is the highest
*version* among the last rollback and the promotions after it, then what came before. Imports the versions.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

import semver

from modelcast.shared.names import Version

Item = TypeVar("Item")


class Standing(NamedTuple):
    """What of an order decides its rank.

    Attributes:
        sequence: Its sequence in the channel.
        is_rollback: Whether it goes back on purpose.
        version: The version of the release that it names.
    """

    sequence: int
    is_rollback: bool
    version: Version


def best_first(items: Iterable[Item], of: Callable[[Item], Standing]) -> list[Item]:
    """Return what stands for orders of one channel, the best order first.

    Args:
        items: What is ranked.
        of: Returns what decides the rank of an item.
    """
    known = [(of(item), item) for item in items]
    rollbacks = [standing.sequence for standing, _ in known if standing.is_rollback]

    def rank(each: tuple[Standing, Item]) -> tuple[int, semver.Version, int]:
        """Return what is compared: rollbacks before it, version, sequence."""
        standing = each[0]
        era = sum(1 for sequence in rollbacks if sequence <= standing.sequence)
        # by precedence alone: two builds of a version must tie, so that the later order decides
        return era, standing.version.parsed, standing.sequence

    return [item for _, item in sorted(known, key=rank, reverse=True)]
