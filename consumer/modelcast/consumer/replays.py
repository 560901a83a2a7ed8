"""Orders that an operator sent back to the instance that had refused them. Pure.

Decides whether such an order is judged anew: once for each time that it was sent back, however often a crash brings it again, and
not more often than ``MOST_REPLAYS`` in all. The mark is no order and no proof: whoever may write to an instance's queue can make one.
All that it can do is have a signed order judged again by all the checks, so the count is kept across restarts: a model that ends the
process cannot be made to do so for ever. Imports the journal's values.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace

from modelcast.consumer.journal import MAX_REJECTIONS, Rejection

MOST_REPLAYS = 16
"""How often one order is judged anew at one instance; after that a new order is the way."""


class Replays:
    """What is remembered of replays, by order."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[str | None, int]] = OrderedDict()

    def recall(self, rejections: Mapping[str, Rejection]) -> dict[str, Rejection]:
        """Take over what the disk remembers; returns the rejections that count, not those whose orders are being judged anew."""
        for rejection in rejections.values():
            self._note(rejection.order, rejection.replay, rejection.replays)
        return {order: rejection for order, rejection in rejections.items() if not rejection.is_open}

    def is_new(self, order: str, replay: str) -> bool:
        """Whether an order that was refused is to be judged anew."""
        last, count = self._known.get(order, (None, 0))
        return replay != last and count < MOST_REPLAYS

    def begin(self, order: str, replay: str) -> Rejection:
        """Note that it is judged anew; returns what the disk is to remember meanwhile."""
        self._note(order, replay, self._known.get(order, (None, 0))[1] + 1)
        return self.marked(Rejection(order, "", "", None, is_open=True))

    def marked(self, rejection: Rejection) -> Rejection:
        """Return a rejection with what is known of the replays of its order."""
        replay, count = self._known.get(rejection.order, (None, 0))
        return replace(rejection, replay=replay, replays=count)

    def _note(self, order: str, replay: str | None, count: int) -> None:
        if replay is None:
            return
        self._known[order] = (replay, count)
        self._known.move_to_end(order)
        while len(self._known) > MAX_REJECTIONS:
            self._known.popitem(last=False)
