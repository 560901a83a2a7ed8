"""Which of the orders that an instance knows comes next. Pure.

Decides so that every instance of a channel ends up the same, however many orders it saw at once: the best order is the highest
*version* among the last rollback and the promotions after it, then what came before. An instance that was quick promoted 1.2
and then refused 1.1 as a downgrade; one that was slow, or joins late, must not end up with 1.1. Imports trust.
"""

import semver

from modelcast.consumer.trust import TrustedOrder

MAX_PENDING = 64
"""Orders remembered at once; a flood of valid ones (only a trusted key can make it) drops the least."""


class Agenda:
    """The orders that are trusted, allowed and not yet decided."""

    def __init__(self) -> None:
        self._pending: dict[str, TrustedOrder] = {}

    def __contains__(self, order: str) -> bool:
        return order in self._pending

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, trusted: TrustedOrder) -> list[TrustedOrder]:
        """Add an order; returns those that were dropped for want of room."""
        self._pending[trusted.id] = trusted
        dropped = self.ranked()[MAX_PENDING:]
        for least in dropped:
            del self._pending[least.id]
        return dropped

    def remove(self, order: str) -> None:
        """Forget an order that is decided."""
        self._pending.pop(order, None)

    def ranked(self) -> list[TrustedOrder]:
        """Return all pending orders, the best one first."""
        rollbacks = sorted(t.order.sequence for t in self._pending.values() if t.is_rollback)

        def rank(trusted: TrustedOrder) -> tuple[int, semver.Version, int]:
            """Return what is compared: rollbacks before it, version, sequence."""
            era = sum(1 for sequence in rollbacks if sequence <= trusted.order.sequence)
            # by precedence alone: two builds of a version must tie, so that the later order decides
            return era, trusted.version.parsed, trusted.order.sequence

        return sorted(self._pending.values(), key=rank, reverse=True)

    def best(self) -> TrustedOrder | None:
        """Return the order to carry out next, or None."""
        ranked = self.ranked()
        return ranked[0] if ranked else None

    def lifts_floor_for(self, trusted: TrustedOrder) -> bool:
        """Whether a rollback is pending that was issued before an order.

        The floor must not count then: what was published right after a rollback would be refused wherever the rollback is
        still being loaded.
        """
        return any(t.is_rollback and t.order.sequence < trusted.order.sequence for t in self._pending.values())

    def below(self, sequence: int) -> list[TrustedOrder]:
        """Return the pending orders that an order with ``sequence`` leaves behind."""
        return [trusted for trusted in self._pending.values() if trusted.order.sequence < sequence]
