"""What a consumer counts for metrics: verdicts by reason, bytes, chunks, and how long the stages took. Pure: numbers and no clock.

Decides what is counted, and that reading needs no lock: one thread writes, and whatever belongs together is replaced as one value.
All that can be counted stands there from the beginning, with 0, so that the first time is seen as a rise.
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field

from modelcast.shared.reasons import Reason
from modelcast.shared.report import Verdict

STAGES = ("received", "verified", "loaded", "probed", "awaited", "promoted")
SOURCES = ("amqp", "file", "http", "stream")
"""What our own roads call themselves; another road's name is added when it comes."""
BUCKETS = (0.01, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0)
"""Upper bounds in seconds: from a small model that is mapped to one that takes the longest time that loading may."""
AMOUNTS = ("wire_bytes", "reused_bytes", "fetched_chunks", "reused_chunks", "damaged_chunks")
"""Those of a report's ``transfer`` that are summed up."""


@dataclass(frozen=True, slots=True)
class Durations:
    """How long one stage took, over all attempts.

    Attributes:
        counts: How many took at most as long as the bound in ``BUCKETS`` and longer than the one before; at the end, longer than all.
        seconds: Their sum.
    """

    counts: tuple[int, ...] = (0,) * (len(BUCKETS) + 1)
    seconds: float = 0.0

    def and_one_of(self, seconds: float) -> "Durations":
        """Return these and one more."""
        index = bisect_left(BUCKETS, seconds)
        return Durations((*self.counts[:index], self.counts[index] + 1, *self.counts[index + 1 :]), self.seconds + seconds)

    def up_to(self) -> list[tuple[float, int]]:
        """Return each bound with how many took at most so long; the last one, infinity, with all."""
        total, found = 0, list[tuple[float, int]]()
        for bound, count in zip((*BUCKETS, float("inf")), self.counts, strict=True):
            total += count
            found.append((bound, total))
        return found


@dataclass(slots=True)
class Tallies:
    """What one consumer counted since it was built. The I/O thread writes; anybody may read.

    Attributes:
        verdicts: How often each verdict was given, by verdict and reason (empty but for a rejection).
        durations: By stage.
        fetched_bytes: Bytes of artifacts that came over a road, by its name.
        amounts: The other sums of what was transferred; see ``AMOUNTS``.
        retries: Attempts that a fault of this host ended, so that they are made again.
        failures: Rejections and such faults in a row: 0 after a promotion.
    """

    verdicts: dict[tuple[str, str], int] = field(default_factory=lambda: {
        (Verdict.PROMOTED.value, ""): 0, (Verdict.SUPERSEDED.value, ""): 0, (Verdict.DEFERRED.value, ""): 0,
        **{(Verdict.REJECTED.value, reason.value): 0 for reason in Reason},
    })
    durations: dict[str, Durations] = field(default_factory=lambda: dict.fromkeys(STAGES, Durations()))
    fetched_bytes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SOURCES, 0))
    amounts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(AMOUNTS, 0))
    retries: int = 0
    failures: int = 0

    def decided(self, verdict: str, reason: str | None) -> None:
        """Count a verdict."""
        self.verdicts[verdict, reason or ""] = self.verdicts.get((verdict, reason or ""), 0) + 1
        if verdict == Verdict.PROMOTED:
            self.failures = 0
        self.failures += verdict == Verdict.REJECTED

    def put_off(self) -> None:
        """Count an attempt that will be made again."""
        self.retries += 1
        self.failures += 1

    def worked(self, stages_ms: Mapping[str, float], transfer: Mapping[str, int | str]) -> None:
        """Count the work of one attempt, however it ended."""
        for stage, milliseconds in stages_ms.items():
            self.durations[stage] = self.durations.get(stage, Durations()).and_one_of(milliseconds / 1000)
        for name in AMOUNTS:
            self.amounts[name] += int(transfer.get(name, 0))
        if fetched := int(transfer.get("fetched_bytes", 0)):
            source = str(transfer.get("source", ""))
            self.fetched_bytes[source] = self.fetched_bytes.get(source, 0) + fetched
