"""From rounds to rows: medians, spread, and ratios that are taken within one round, so that a slow minute hurts both sides.

Pure. Imports rounds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from tests.benchmarks.rounds import GIB, Measurement


@dataclass(frozen=True)
class Row:
    """The rounds of one contender with one size and number of instances.

    Attributes:
        contender: Name of the contender.
        size: Bytes of the artifact.
        instances: How many.
        rounds: The measurements.
        limit: Those of the limit in the same rounds.
    """

    contender: str
    size: int
    instances: int
    rounds: Sequence[Measurement]
    limit: Sequence[Measurement]

    def median(self, field: str) -> float | None:
        """Return the median of a field, or None when it was not measured."""
        values = [value for measured in self.rounds if (value := getattr(measured, field)) is not None]
        return median(values) if values else None

    @property
    def rate(self) -> float:
        """Median MB/s of all instances together."""
        return median(measured.sum_rate for measured in self.rounds)

    @property
    def spread(self) -> tuple[float, float]:
        """Lowest and highest MB/s."""
        rates = [measured.sum_rate for measured in self.rounds]
        return min(rates), max(rates)

    def per_gib(self, field: str) -> float:
        """Return the median of a field per GiB delivered."""
        return float(median(getattr(measured, field) / (measured.delivered_bytes / GIB) for measured in self.rounds))

    @property
    def of_limit(self) -> float | None:
        """The median of the ratios to the limit."""
        return ratio(self.rounds, self.limit)


def ratio(ours: Iterable[Measurement], theirs: Iterable[Measurement]) -> float | None:
    """Return the median of the ratios of rates within each round that both played."""
    rates = {measured.round: measured.sum_rate for measured in theirs}
    ratios = [measured.sum_rate / rates[measured.round] for measured in ours if measured.round in rates]
    return median(ratios) if ratios else None


def rows(measurements: Sequence[Measurement], *, limit: str) -> list[Row]:
    """Return one row for each contender, size and number, in the order of their first measurement."""
    groups: dict[tuple[int, int, str], list[Measurement]] = {}
    for measured in measurements:
        groups.setdefault((measured.size, measured.instances, measured.contender), []).append(measured)
    return [
        Row(contender, size, instances, found, groups.get((size, instances, limit), []))
        for (size, instances, contender), found in groups.items()
    ]


def find(found: Iterable[Row], contender: str, instances: int, size: int) -> Row | None:
    """Return the row of a contender nearest to a size, or None."""
    fitting = [row for row in found if row.contender == contender and row.instances == instances]
    return min(fitting, key=lambda row: abs(row.size - size)) if fitting else None
