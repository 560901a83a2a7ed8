"""Which order of a channel is the best one, for instances that carry it out and for operators who make room. Pure.

Decides so that every instance of a channel ends up the same, however many orders it saw at once: the best order is the highest
*version* among the last rollback and the promotions after it, then what came before. Imports the orders and the versions.
"""

from collections.abc import Callable, Iterable
from typing import TypeVar

import semver

from modelcast.shared.names import Version
from modelcast.shared.order import Kind, Order

Item = TypeVar("Item")


def best_first(items: Iterable[Item], of: Callable[[Item], tuple[Order, Version]]) -> list[Item]:
    """Return what stands for orders of one channel, the best order first.

    Args:
        items: What is ranked.
        of: Returns the order of an item, and the version of the release that it names.
    """
    known = [(item, *of(item)) for item in items]
    rollbacks = [order.sequence for _, order, _ in known if order.kind == Kind.ROLLBACK]

    def rank(each: tuple[Item, Order, Version]) -> tuple[int, semver.Version, int]:
        """Return what is compared: rollbacks before it, version, sequence."""
        _, order, version = each
        era = sum(1 for sequence in rollbacks if sequence <= order.sequence)
        # by precedence alone: two builds of a version must tie, so that the later order decides
        return era, version.parsed, order.sequence

    return [item for item, *_ in sorted(known, key=rank, reverse=True)]
