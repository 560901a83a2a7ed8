"""Which orders an instance is done with. Pure.

Decides the record: a number up to which all are settled, and those beyond it, because orders are not settled in their order.
Imports packing and digest.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from modelcast.shared.digest import DIGEST_BYTES, digest, same
from modelcast.shared.errors import SenderFault
from modelcast.shared.packing import pack, unpack

HEADER = b"modelcast settled 1\n"
MAX_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Settled:
    """The orders that are settled.

    Attributes:
        up_to: All up to this number.
        beyond: Others, each above it.
    """

    up_to: int
    beyond: frozenset[int] = frozenset()

    def has(self, number: int) -> bool:
        """Whether an order is settled."""
        return number <= self.up_to or number in self.beyond

    def with_order(self, number: int) -> Self:
        """Return the record with one more order settled."""
        up_to, beyond = self.up_to, set(self.beyond) | ({number} if number > self.up_to else set())
        while up_to + 1 in beyond:
            up_to += 1
            beyond.remove(up_to)
        return type(self)(up_to, frozenset(beyond))

    def raised(self, numbers: Iterable[int]) -> Self:
        """Return the record for a channel where only these orders are left: what was pruned holds up nobody."""
        numbers = list(numbers)
        unsettled = [number for number in numbers if not self.has(number)]
        up_to = max(self.up_to, min(unsettled) - 1 if unsettled else max(numbers, default=0))
        return type(self)(up_to, frozenset(number for number in self.beyond if number > up_to))

    def to_bytes(self) -> bytes:
        """Return the record's bytes; they check themselves."""
        body = pack({"up_to": self.up_to, "beyond": sorted(self.beyond)})
        return HEADER + digest(body) + body

    @classmethod
    def from_bytes(cls, content: bytes) -> Self | None:
        """Return the record, or None if it is torn, altered or none at all."""
        start = len(HEADER) + DIGEST_BYTES
        identity, body = content[len(HEADER) : start], content[start:]
        if not content.startswith(HEADER) or not same(identity, digest(body)):
            return None
        try:
            fields = unpack(body, what="record of settled orders", max_bytes=MAX_BYTES)
            return cls(int(fields["up_to"]), frozenset(map(int, fields["beyond"])))
        except (SenderFault, KeyError, TypeError, ValueError):
            return None
