"""Which of the orders that an instance knows comes next, and from where on the history matters to it. Pure.

Decides by ``ranking``, so that every instance of a channel ends up the same, however many orders it saw at once. An instance that
was quick promoted 1.2 and then refused 1.1 as a downgrade; one that was slow, or joins late, must not end up with 1.1. What stands
in the history before a bookmark is decided or was left behind for good. Imports trust, the ranking and the road's values.
"""

from modelcast.consumer.trust import TrustedOrder
from modelcast.shared.ranking import Standing, best_first
from modelcast.shared.road import Bookmark

MAX_PENDING = 64
"""Orders remembered at once; a flood of valid ones (only a trusted key can make it) drops the least."""


class Agenda:
    """The orders that are trusted, allowed and not yet decided."""

    def __init__(self) -> None:
        self._pending: dict[str, TrustedOrder] = {}
        self._ranked: list[TrustedOrder] | None = None   # asked for in every turn; None when it must be made anew
        self._places: dict[str, Bookmark] = {}
        self._read_to: Bookmark | None = None
        self._misses_some = False

    def __contains__(self, order: str) -> bool:
        return order in self._pending

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, trusted: TrustedOrder) -> list[TrustedOrder]:
        """Add an order; returns those that were dropped for want of room."""
        self._pending[trusted.id], self._ranked = trusted, None
        dropped = self.ranked()[MAX_PENDING:]
        for least in dropped:
            del self._pending[least.id]
            self._ranked = None
        if dropped:   # it may be needed yet: the next connection reads again what this start has read; until then nothing is marked
            self._places.clear()
            self._read_to, self._misses_some = None, True
        return dropped

    def remove(self, order: str) -> None:
        """Forget an order that is decided."""
        if self._pending.pop(order, None) is not None:
            self._ranked = None
        self._places.pop(order, None)

    def ranked(self) -> list[TrustedOrder]:
        """Return all pending orders, the best one first."""
        if self._ranked is None:
            self._ranked = best_first(
                self._pending.values(), lambda trusted: Standing(trusted.order.sequence, trusted.is_rollback, trusted.version)
            )
        return self._ranked.copy()

    def best(self) -> TrustedOrder | None:
        """Return the order to carry out next, or None."""
        return self.ranked()[0] if self._pending else None

    def lifts_floor_for(self, trusted: TrustedOrder) -> bool:
        """Whether a rollback is pending that was issued before an order.

        The floor must not count then: what was published right after a rollback would be refused wherever the rollback is
        still being loaded.
        """
        return any(t.is_rollback and t.order.sequence < trusted.order.sequence for t in self._pending.values())

    def below(self, sequence: int) -> list[TrustedOrder]:
        """Return the pending orders that an order with ``sequence`` leaves behind."""
        return [trusted for trusted in self._pending.values() if trusted.order.sequence < sequence]

    def passed(self, place: Bookmark) -> None:
        """Note that the history was read up to an order, which is judged now: pending here, decided, or of no concern."""
        if self._misses_some:
            return
        self._read_to = place
        if place.order in self._pending:
            self._places[place.order] = place

    def go_on_from(self, kept: Bookmark | None = None) -> Bookmark | None:
        """Return where a new connection begins to read the history; None is at its beginning.

        Args:
            kept: What the store remembers of the time before this start; whatever is missed now stands behind it.
        """
        self._misses_some = False
        return self._read_to or kept

    def bookmark_after(self, trusted: TrustedOrder) -> Bookmark | None:
        """Return from where on the history matters when ``trusted`` is carried out, or None when that is not known.

        What stands before was judged by this instance, and is decided or has a lower sequence, so that it does nothing any more.
        The order itself is read again: when its release is lost to damage, or ends the process, it is needed or rejected.
        """
        if trusted.id not in self._places:
            return None   # it came through the queue, and the history is not read up to it
        open_places = [
            place for order, place in self._places.items() if self._pending[order].order.sequence >= trusted.order.sequence
        ]
        return min(open_places, key=lambda place: place.offset)
