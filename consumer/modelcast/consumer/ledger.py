"""What was decided and what is still owed to the road: verdicts, receipts, reports. Sans I/O.

Decides when an order may be settled: a promotion at once, a rejection only after its report is confirmed, because a nack
carries no reason. A receipt that arrives after the verdict is settled by it; nothing is settled twice. Imports the road's
values.
"""

from collections import OrderedDict
from dataclasses import dataclass

from modelcast.shared.report import Verdict
from modelcast.shared.road import ArrivedOrder

MAX_DECIDED = 1024
"""Verdicts remembered in memory; a redelivery comes within seconds or after a restart, when the disk remembers."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """An order to be settled now: acknowledged (``accept``) or passed on to the dead letters."""

    arrived: ArrivedOrder
    accept: bool


class Ledger:
    """Verdicts, receipts and unsent reports of one instance."""

    def __init__(self) -> None:
        self._verdicts: OrderedDict[str, tuple[Verdict, str | None]] = OrderedDict()
        self._receipts: dict[str, list[ArrivedOrder]] = {}
        self._unsent: OrderedDict[str, bytes] = OrderedDict()
        self._expected: set[str] = set()

    @property
    def unsent(self) -> dict[str, bytes]:
        """Reports that are not confirmed, oldest first, by name."""
        return dict(self._unsent)

    def knows(self, order: str) -> bool:
        """Whether an order is decided, or its verdict is being written down."""
        return order in self._verdicts or order in self._expected

    def expect(self, order: str) -> None:
        """Note that an order's verdict is being written down, so that a second copy of it is not judged again."""
        self._expected.add(order)

    def hold(self, order: str, arrived: ArrivedOrder) -> None:
        """Keep the receipt of an order until it is settled: each of them, or copies of one order would use up the prefetch."""
        if arrived.receipt is not None:
            self._receipts.setdefault(order, []).append(arrived)

    def holds(self, order: str) -> bool:
        """Whether an order came to this instance's own queue and is not settled."""
        return order in self._receipts

    def decide(self, order: str, verdict: Verdict, report: tuple[str, bytes] | None) -> None:
        """Note a verdict, with the name and bytes of its journaled report (None: it was confirmed before)."""
        self._expected.discard(order)
        self._verdicts[order] = (verdict, report[0] if report else None)
        self._verdicts.move_to_end(order)
        if report is not None:
            self._unsent[report[0]] = report[1]
        while len(self._verdicts) > MAX_DECIDED:
            self._verdicts.popitem(last=False)

    def reopen(self, order: str) -> bool:
        """Forget that an order was refused, so that it is judged anew; returns False when it was not, or is not told yet."""
        verdict, name = self._verdicts.get(order, (None, None))
        if verdict is not Verdict.REJECTED or name in self._unsent or order in self._expected:
            return False
        del self._verdicts[order]
        return True

    def owe(self, name: str, body: bytes) -> None:
        """Note a report left over from an earlier start."""
        self._unsent[name] = body

    def confirmed(self, name: str) -> None:
        """Note that the road has a report for good."""
        self._unsent.pop(name, None)

    def lost_connection(self) -> None:
        """Note that all receipts died; the road gives the orders out again."""
        self._receipts.clear()

    def settlements(self) -> list[Settlement]:
        """Return what may be settled now, and forget it."""
        due: list[Settlement] = []
        for order in list(self._receipts):
            found = self._verdicts.get(order)
            if found is None or (found[0] is Verdict.REJECTED and found[1] in self._unsent):
                continue
            due += [Settlement(arrived, accept=found[0] is not Verdict.REJECTED) for arrived in self._receipts.pop(order)]
        return due
