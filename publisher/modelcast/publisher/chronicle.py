"""What happened to a model: its releases, the orders of a channel with their outcomes, and why an instance decided as it did.

Reads the register and the reports, and changes nothing. Decides how far back is read. Imports catalog, fleet and the road's protocols.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from modelcast.publisher.catalog import Catalog, Ordered, Withdrawal
from modelcast.publisher.fleet import Fleet, slowest_stage
from modelcast.publisher.rollout.records import Rollout
from modelcast.shared.errors import NotFound, OutOfTime, SenderFault
from modelcast.shared.names import check_name
from modelcast.shared.operating_road import OpenRoad, RecordRoad
from modelcast.shared.report import Report, ReportKind
from modelcast.shared.road import Road

HEARD_MINUTES = 3
"""Who reported later than this is heard; a state is reported every minute."""
KNOWN_MINUTES = 24 * 60
"""Who reported later than this is known."""
KEPT_MINUTES = 7 * 24 * 60
"""Reports are kept for a week."""
KNOWN_BEFORE_MINUTES = 60
"""Read before the first order as well: clocks differ."""
POLL_SECONDS = 0.2
PATIENCE_SECONDS = 120.0
"""Longest reading of what was reported."""


@dataclass(frozen=True, slots=True)
class OrderRecord:
    """An order and what came of it.

    Attributes:
        ordered: The order.
        version: Version of its release, or None where the register does not know it.
        outcome: How many instances decided how.
        withdrawal: Its withdrawal, if the channel was rolled back from it.
        slowest: Instance, stage and milliseconds of what took longest.
    """

    ordered: Ordered
    version: str | None
    outcome: Counter[str] = field(default_factory=Counter)
    withdrawal: Withdrawal | None = None
    slowest: tuple[str, str, float] | None = None

    def to_dict(self) -> dict[str, object]:
        """Return everything as plain values, for JSON."""
        order = self.ordered
        return {
            "sequence": order.sequence, "kind": order.kind, "version": self.version, "release": order.release, "order": order.order,
            "issued_ms": order.issued_ms, "key": order.key, "rollout": order.rollout, "wave": order.wave,
            "up_to": order.up_to, "took_ms": dict(order.took_ms), "outcome": dict(self.outcome),
            "withdrawn_ms": None if self.withdrawal is None else self.withdrawal.at_ms,
            "withdrawn_reason": None if self.withdrawal is None else self.withdrawal.reason,
            "slowest": None if self.slowest is None else dict(zip(("instance", "stage", "ms"), self.slowest, strict=True)),
        }


def read_catalog(road: RecordRoad, model: str) -> Catalog:
    """Return a model's register; raises NotFound when nothing of it was ever published."""
    catalog = Catalog(road.records(check_name("model", model)))
    if not catalog.releases and not catalog.orders:
        raise NotFound(f"Nothing of a model {model} was published here.", hint="Is this the right road? See --url.")
    return catalog


def read_fleet(road: OpenRoad, model: str, channel: str, *, known_minutes: int = KNOWN_MINUTES) -> Fleet:
    """Return the instances of a channel that reported within the last minutes.

    Args:
        road: Where they report.
        model: Name of the model.
        channel: Name of the channel.
        known_minutes: How far back.

    Raises:
        HostFault: The road broke.
    """
    catalog, check = Catalog(road.records(check_name("model", model))), check_name("channel", channel)
    last = catalog.last_order(check)
    known = None if last is None else catalog.by_id(last.release)
    fleet = Fleet(
        model, channel, last.sequence if last else None, last.release if last else None, known.manifest.version if known else None,
        last.issued_ms if last else None, tuple(_down_to_all(catalog.orders.get(check, []))), _under_way(catalog.rollouts.last(check)),
    )
    for minutes, is_recent in ((known_minutes, False), (min(known_minutes, HEARD_MINUTES), True)):
        for body in reports_of(road, minutes):
            fleet.add(body, is_recent=is_recent)
    for retired in catalog.retired(check).values():
        fleet.retire(retired)
    return fleet


def _under_way(rollout: Rollout | None) -> dict[str, str | int] | None:
    """Return what there is to know of a rollout that somebody carries on, or may."""
    if rollout is None or rollout.is_over or rollout.left_by is not None:
        return None
    return {
        "version": rollout.begun.version, "phase": rollout.phase.value, "accepted": rollout.accepted, "waves": len(rollout.plan.waves),
        "driver": rollout.driver, "changed_ms": rollout.changed_ms,
    }


def _down_to_all(orders: Sequence[Ordered]) -> Iterator[tuple[int | None, str]]:
    """Yield up to which turn an order is for, and its release, the latest first, as far as the first one that is for all."""
    for order in reversed(orders):
        if order.order is not None:
            yield order.up_to, order.release
            if order.up_to is None:
                return


def history(road: OpenRoad, model: str, channel: str, *, limit: int = 20) -> list[OrderRecord]:
    """Return the newest orders of a channel, oldest first, each with what its instances decided as far as that is still kept.

    Reports are read from the first of them on: in a large fleet a week of them is more than anybody waits for.
    """
    catalog = read_catalog(road, model)
    orders = catalog.orders.get(channel, [])[-limit:]
    said: dict[str, dict[str, Report]] = defaultdict(dict)
    for report in verdicts(road, _minutes_since(orders)) if orders else ():
        if report.model == model and report.channel == channel and report.order is not None:
            said[report.order][report.instance] = report
    found: list[OrderRecord] = []
    for ordered in orders:
        known, reports = catalog.by_id(ordered.release), said.get(ordered.order or "", {})
        found.append(OrderRecord(
            ordered, known.manifest.version if known else None, Counter(str(report.verdict) for report in reports.values()),
            catalog.withdrawn(channel, ordered.release), slowest_stage(reports.values()),
        ))
    return found


def _minutes_since(orders: Sequence[Ordered]) -> int:
    """Return how many minutes of reports matter for orders, by the clocks that issued them, with some to spare."""
    earliest_ms = min(order.issued_ms for order in orders)
    return min(max(0, time.time_ns() // 1_000_000 - earliest_ms) // 60_000 + KNOWN_BEFORE_MINUTES, KEPT_MINUTES)


def decisions(
    road: OpenRoad, model: str, version: str, *, channel: str | None = None, instance: str | None = None
) -> list[tuple[Report, Ordered | None]]:
    """Return the latest verdict of each instance on a version with the order that it is about, by channel and instance.

    Raises:
        NotFound: No instance has said anything of it within the week that reports are kept.
    """
    found: dict[tuple[str, str], Report] = {}
    catalog = Catalog(road.records(check_name("model", model)))
    ids = {known.release for known in catalog.releases if known.manifest.version == version}
    orders = [order for each in catalog.orders.values() for order in each if order.release in ids]
    for report in verdicts(road, _minutes_since(orders) if orders else KEPT_MINUTES):   # of a stranger's order no record is there
        is_there = channel in {None, report.channel} and instance in {None, report.instance}
        if is_there and (report.model, report.version) == (model, version):
            found[report.channel, report.instance] = report
    if not found:
        at = f" at {instance}" if instance else ""
        raise NotFound(
            f"No verdict on {model} {version}{at} is kept.",
            hint="Reports are kept for a week; see: modelcast history, modelcast fleet.",
        )
    known = {order.order: order for order in orders}
    return [(report, known.get(report.order) if report.order else None) for _, report in sorted(found.items())]


def verdicts(road: Road, minutes: int) -> Iterator[Report]:
    """Yield the verdicts of the last minutes, oldest first."""
    for body in reports_of(road, minutes):
        try:
            report = Report.parse(body)
        except SenderFault:
            continue
        if report.kind is ReportKind.VERDICT and report.verdict is not None:
            yield report


def reports_of(road: Road, minutes: int, clock: Callable[[], float] = time.monotonic) -> Iterator[bytes]:
    """Yield what was reported within the last minutes, up to now.

    Raises:
        OutOfTime: It takes too long.
    """
    source, deadline = road.reports(since_minutes=minutes), clock() + PATIENCE_SECONDS
    try:
        while not source.is_caught_up:
            body = source.receive(POLL_SECONDS)
            if body is not None:
                yield body
            if clock() > deadline:
                raise OutOfTime(f"The reports of {minutes} minutes were not read within {PATIENCE_SECONDS:.0f} s.")
    finally:
        source.close()
