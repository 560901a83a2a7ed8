"""Metrics of consumers for Prometheus, where the application asks for them: ``metrics.register(consumer)``.

Decides the names. Needs the extra ``modelcast[metrics]``, and imports its library when something is registered, never before. Nothing
is counted here: a scrape reads the status and the tallies, which are kept anyway, so that serving threads pay nothing.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal, Protocol

from modelcast.consumer.status import Status
from modelcast.consumer.tallies import Durations, Tallies
from modelcast.shared.errors import MisuseError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Metric

EXTRA = "modelcast[metrics]"
COMMON = ("model", "channel", "instance_id")
"""The labels of every sample. Not ``instance``: Prometheus itself calls so the address that it scrapes."""

Samples = Iterable[tuple[tuple[str, ...], "float | Durations"]]


class Counted(Protocol):
    """What metrics are read from: a ``ModelConsumer``."""

    def status(self) -> Status:
        """Return the status now."""
        ...

    @property
    def tallies(self) -> Tallies:
        """What was counted."""
        ...


@dataclass(frozen=True, slots=True)
class Family:
    """One metric.

    Attributes:
        name: Its name, with unit and ending.
        kind: What Prometheus calls its type.
        help: What it says, in a sentence.
        read: Returns the values of its own labels, with the number; nothing where nothing is known.
        labels: Its own labels, beside ``COMMON``.
    """

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    help: str
    read: Callable[[Status, Tallies], Samples]
    labels: tuple[str, ...] = ()

    @property
    def series(self) -> tuple[str, ...]:
        """The names of its samples, as queries use them."""
        return tuple(f"{self.name}{end}" for end in ("_bucket", "_sum", "_count")) if self.kind == "histogram" else (self.name,)


def _one(read: Callable[[Status, Tallies], float | None]) -> Callable[[Status, Tallies], Samples]:
    """Read one number; None is no sample, as a missing time is not the year 1970."""

    def samples(status: Status, tallies: Tallies) -> Samples:
        """Return the one sample, or none."""
        value = read(status, tallies)
        return [] if value is None else [((), value)]

    return samples


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _created(status: Status) -> float | None:
    try:
        found = None if status.created is None else datetime.fromisoformat(status.created)
    except ValueError:   # whoever signs may write there what they like
        return None
    return None if found is None or found.tzinfo is None else found.timestamp()


def _consumer(status: Status, _tallies: Tallies) -> Samples:
    return [((status.role or "stopped", version("modelcast")), 1)]


def _active(status: Status, _tallies: Tallies) -> Samples:
    return [] if status.version is None or status.release is None else [((status.version, status.release[:12]), 1)]


def _amount(name: str) -> Callable[[Status, Tallies], Samples]:
    return lambda _status, tallies: [((), tallies.amounts[name])]


FAMILIES = (
    Family(
        "modelcast_consumer_info", "gauge", "Always 1; the role of this process (receiver, follower, stopped), the library's version.",
        _consumer, ("role", "library"),
    ),
    Family("modelcast_live", "gauge", "Whether the threads run in this process and turned lately.", _one(lambda s, _: s.live)),
    Family("modelcast_ready", "gauge", "Whether a model is in service.", _one(lambda s, _: s.ready)),
    Family("modelcast_fresh", "gauge", "Whether newer orders would have been heard of.", _one(lambda s, _: s.fresh)),
    Family("modelcast_connected", "gauge", "Whether the instance is connected.", _one(lambda s, _: s.connected)),
    Family(
        "modelcast_active_release_info", "gauge", "Always 1; the version in service and the first 12 digits of its release id.",
        _active, ("version", "release"),
    ),
    Family(
        "modelcast_active_since_timestamp_seconds", "gauge", "Since when this process serves that release.",
        _one(lambda s, _: _seconds(s.active_since_ms)),
    ),
    Family(
        "modelcast_active_created_timestamp_seconds", "gauge", "When that release was made, as its manifest says.",
        _one(lambda s, _: _created(s)),
    ),
    Family(
        "modelcast_last_contact_timestamp_seconds", "gauge", "When it last knew that nothing newer was waiting.",
        _one(lambda s, _: _seconds(s.last_contact_ms)),
    ),
    Family(
        "modelcast_last_verdict_timestamp_seconds", "gauge", "When the latest verdict was given.",
        _one(lambda s, _: _seconds(s.last_verdict.at_ms if s.last_verdict else None)),
    ),
    Family(
        "modelcast_in_hand_seconds", "gauge", "How long the order in hand has been in hand; 0 without one.",
        _one(lambda s, _: s.in_hand_seconds),
    ),
    Family(
        "modelcast_verdicts_total", "counter", "Verdicts; the reason is empty but for a rejection.",
        lambda _, tallies: list(tallies.verdicts.copy().items()), ("verdict", "reason"),
    ),
    Family(
        "modelcast_retries_total", "counter", "Attempts that a fault of this host ended, so that they are made again.",
        _one(lambda _, t: t.retries),
    ),
    Family(
        "modelcast_consecutive_failures", "gauge", "Failures in a row, of the connection or of updates (rejected, or put off).",
        lambda status, _: [(("connection",), status.connection_failures), (("update",), status.update_failures)], ("of",),
    ),
    Family(
        "modelcast_stage_duration_seconds", "histogram", "How long the stages of attempts took.",
        lambda _, tallies: [((stage,), found) for stage, found in tallies.durations.copy().items()], ("stage",),
    ),
    Family(
        "modelcast_fetched_bytes_total", "counter", "Bytes of artifacts that came over a road, unpacked, by what they were read with.",
        lambda _, tallies: [((source,), number) for source, number in tallies.fetched_bytes.copy().items()], ("source",),
    ),
    Family("modelcast_wire_bytes_total", "counter", "Bytes of the messages that were read for them.", _amount("wire_bytes")),
    Family("modelcast_reused_bytes_total", "counter", "Bytes of artifacts that lay on this host already.", _amount("reused_bytes")),
    Family("modelcast_fetched_chunks_total", "counter", "Chunks that came over a road.", _amount("fetched_chunks")),
    Family("modelcast_reused_chunks_total", "counter", "Chunks that lay on this host already.", _amount("reused_chunks")),
    Family("modelcast_damaged_chunks_total", "counter", "Chunks whose bytes did not have their digest.", _amount("damaged_chunks")),
    Family("modelcast_reconnects_total", "counter", "Connections that were lost or failed.", _one(lambda s, _: s.reconnects)),
    Family("modelcast_foreign_messages_total", "counter", "Messages that were no modelcast messages.", _one(lambda s, _: s.foreign)),
    Family("modelcast_unsent_reports", "gauge", "Reports that wait for a connection.", _one(lambda s, _: s.unsent_reports)),
)
"""Everything that is exported."""


class ConsumerCollector:
    """Reads the metrics of one or more consumers of this process whenever it is scraped; waits for nothing.

    Args:
        consumers: Whose metrics; started or not.

    Raises:
        MisuseError: The extra ``modelcast[metrics]`` is not installed.
    """

    def __init__(self, *consumers: Counted) -> None:
        try:
            from prometheus_client import core  # noqa: PLC0415 - an optional library, for who registers only
        except ImportError as error:
            raise MisuseError("Metrics need prometheus_client.", hint=f"Install the extra: pip install '{EXTRA}'") from error
        self._consumers = consumers
        self._kinds: dict[str, Any] = {
            "gauge": core.GaugeMetricFamily, "counter": core.CounterMetricFamily, "histogram": core.HistogramMetricFamily,
        }

    def describe(self) -> "Iterator[Metric]":
        """Yield each metric without samples, so that a registry knows the names."""
        return self._filled([])

    def collect(self) -> "Iterator[Metric]":
        """Yield each metric with its samples as they are now."""
        return self._filled([(consumer.status(), consumer.tallies) for consumer in self._consumers])

    def _filled(self, told: list[tuple[Status, Tallies]]) -> "Iterator[Metric]":
        for family in FAMILIES:
            metric = self._kinds[family.kind](family.name, family.help, labels=(*COMMON, *family.labels))
            for status, tallies in told:
                for own, value in family.read(status, tallies):
                    labels = (status.model, status.channel, status.instance, *own)
                    if isinstance(value, Durations):
                        bounds = [("+Inf" if bound == math.inf else str(bound), count) for bound, count in value.up_to()]
                        metric.add_metric(labels, bounds, value.seconds)
                    else:
                        metric.add_metric(labels, value)
            yield metric


def register(*consumers: Counted, registry: "CollectorRegistry | None" = None) -> ConsumerCollector:
    """Add the metrics of these consumers to a registry, the default one of ``prometheus_client`` if none is named.

    Returns:
        What was registered; ``registry.unregister`` takes it.

    Raises:
        MisuseError: The extra ``modelcast[metrics]`` is not installed, or consumers were registered there before.
    """
    collector = ConsumerCollector(*consumers)
    from prometheus_client import REGISTRY  # noqa: PLC0415 - the collector ensured that it is there

    try:
        (REGISTRY if registry is None else registry).register(collector)
    except ValueError as error:
        raise MisuseError(
            "This registry has metrics of modelcast already.", hint="Register all consumers of a process by one call: register(a, b)."
        ) from error
    return collector
