"""What a run of ``scale`` says: its tables, what one more instance, order, report or GiB costs, and the arithmetic for large fleets.

Decides how unit costs follow from the measurements (slopes over the number of instances, medians of orders, reports above idling)
and what is multiplied with what. Imports documents and tables.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from tests.benchmarks.documents import facts_line, load
from tests.benchmarks.tables import markdown

MIB, GIB = 1024**2, 1024**3

CPU = ("broker_cpu_seconds", "instances_cpu_seconds")
ORDER_COLUMNS = ("Instances", "publish() s", "first verdict", "median", "last", "broker ms", "instance ms", "update service ms")
JOIN_COLUMNS = (
    "Instances", "added", "joins/s", "broker ms per join", "instance ms per join", "broker RSS MiB", "descriptors", "idle: broker CPU %",
    "idle: CPU % of all instances",
)
STORM_COLUMNS = ("Instances", "down s", "half are back after s", "all after s", "broker ms each", "instance ms each")
BULK_COLUMNS = ("Instances", "read by", "last verdict s", "MB/s in sum", "broker CPU s per GiB delivered", "instance CPU s per GiB")
UNIT_COLUMNS = ("", "Broker", "Client")
FLEET_COLUMNS = ("", "100 instances", "1,000", "10,000")
FLEETS = (100, 1_000, 10_000)
LINKS_GBIT = (1, 10, 25)
LINK_SHARE = 0.94
"""What TCP over Ethernet carries: 1,448 bytes of each 1,538 on the wire."""
HEARTBEAT_SECONDS = 60
DAY_SECONDS = 86_400
REPORTS_KEPT_BYTES = 2 * GIB
"""``topology.common_parts``."""


@dataclass(frozen=True)
class Units:
    """What one more costs. CPU in seconds of one core.

    Attributes:
        connections: Of an instance, at the broker.
        channels: The same.
        queues: The same.
        descriptors: The same.
        memory_bytes: The same, resident.
        erlang_bytes: The same, as Erlang counts.
        idle: CPU of the broker for an idle instance, per second.
        idle_own: The instance's own, per second.
        join: CPU of the broker for joining.
        join_own: The instance's own.
        order: CPU of the broker for an order with a tiny model, from publishing to verdict, per instance.
        order_own: The instance's own.
        report: CPU of the broker for a report of the state.
        report_own: The instance's own.
        report_bytes: What a report takes in the stream.
        past: CPU of the broker for each order in the history, whenever an instance joins.
        past_own: The instance's own.
        past_bytes: What an order takes in the history.
        gib: CPU of the broker for a GiB delivered to many, beside the order.
        gib_own: The instance's own.
        egress: Most bytes per second that the node sent, in sum.
    """

    connections: float
    channels: float
    queues: float
    descriptors: float
    memory_bytes: float
    erlang_bytes: float
    idle: float
    idle_own: float
    join: float
    join_own: float
    order: float
    order_own: float
    report: float
    report_own: float
    report_bytes: float
    past: float
    past_own: float
    past_bytes: float
    gib: float
    gib_own: float
    egress: float


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return how much the second grows with the first: least squares."""
    middle, level = sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)
    spread = sum((x - middle) ** 2 for x, _ in points)
    return sum((x - middle) * (y - level) for x, y in points) / spread if spread else 0.0


def rate(order: Mapping[str, Any]) -> float:
    """Return the MB/s of all instances together, from ``publish()`` called to the last verdict."""
    return float(order["size"] * order["instances"] / order["last_seconds"] / 1e6)


def units(document: Mapping[str, Any]) -> Units:
    """Return the unit costs of a document."""
    points, beat, past = document["points"], document["beat"], document["past"]
    sights = [point["sight"] for point in points]   # not the empty node: what all share comes with the first instance

    def each(name: str) -> float:
        return slope([(sight["instances"], sight[name]) for sight in sights])

    def both(measure: Callable[[str], float]) -> tuple[float, float]:
        return measure(CPU[0]), measure(CPU[1])

    idles = [document["empty_idle"], *(point["idle"] for point in points)]
    large = [point for point in points if 4 * point["instances"] >= points[-1]["instances"]]
    quiet, reports, bulk = points[-1]["idle"], max(1, beat["reports"]), document["bulk"][-1]
    idle = both(lambda name: max(0.0, slope([(idle["instances"], idle[name] / idle["seconds"]) for idle in idles])))
    join = both(lambda name: sum(point["join"][name] for point in large) / sum(point["join"]["added"] for point in large))
    order = (
        median(_mid(point["orders"], CPU[0]) / point["instances"] for point in large),
        min(_mid(point["orders"], CPU[1]) / point["instances"] for point in points),   # many in one process wait for its lock
    )
    report = both(lambda name: (beat[name] - quiet[name] * beat["seconds"] / quiet["seconds"]) / reports)
    in_past = both(lambda name: (past["after"][name] - past["before"][name]) / past["joins"] / past["orders"])
    gib = [max(0.0, (bulk[name] / bulk["instances"] - order[side]) * GIB / bulk["size"]) for side, name in enumerate(CPU)]
    return Units(
        connections=each("connections"), channels=each("channels"), queues=each("queues"), descriptors=each("descriptors"),
        memory_bytes=each("resident_bytes"), erlang_bytes=each("erlang_bytes"), idle=idle[0], idle_own=idle[1], join=join[0],
        join_own=join[1], order=order[0], order_own=order[1], report=report[0], report_own=report[1],
        report_bytes=beat["stored_bytes"] / reports, past=in_past[0], past_own=in_past[1],
        past_bytes=document["history_bytes"] / document["history_orders"], gib=gib[0], gib_own=gib[1],
        egress=max(1e6 * rate(order) for order in document["bulk"]),
    )


Table = tuple[str, Sequence[str], list[list[str]]]


def measured_tables(document: Mapping[str, Any]) -> list[Table]:
    """Return title, columns and lines of what was measured."""
    points, size_mib = document["points"], document["bulk"][0]["size"] // MIB
    return [
        ("An order with a tiny model: seconds from publish() called, CPU in ms for each instance", ORDER_COLUMNS, [_order_line(p) for p in points]),
        ("Joining, and being there", JOIN_COLUMNS, [_join_line(point) for point in points]),
        ("The node is stopped and started again", STORM_COLUMNS, [_storm_line(storm) for storm in document["storms"]]),
        (f"{size_mib} MiB to each instance", BULK_COLUMNS, [_bulk_line(order) for order in document["bulk"]]),
    ]


def unit_tables(document: Mapping[str, Any]) -> list[Table]:
    """Return the table of unit costs."""
    return [("What one costs", UNIT_COLUMNS, unit_lines(document, units(document)))]


def fleet_tables(document: Mapping[str, Any]) -> list[Table]:
    """Return the table of the arithmetic."""
    return [("The same, multiplied", FLEET_COLUMNS, fleet_lines(units(document)))]


def part(kind: str) -> Callable[[], str]:
    """Return what writes the part ``scale-<kind>`` of the documentation: ``units``, ``fleets`` or ``measured``."""
    def write_part() -> str:
        document = load("scale")
        if document is None:
            return "*Not measured yet.*\n"
        found = {"units": unit_tables, "fleets": fleet_tables, "measured": measured_tables}[kind](document)
        source = f"{facts_line(document['facts'])} `{document['facts']['command']}`\n\n" if kind == "measured" else ""
        return source + "\n".join(f"**{title}**\n\n{markdown(columns, lines)}" for title, columns, lines in found)

    return write_part


def _mid(orders: Sequence[Mapping[str, Any]], name: str) -> float:
    return float(median(order[name] for order in orders))


def _order_line(point: Mapping[str, Any]) -> list[str]:
    count, orders = point["instances"], point["orders"]
    times = [f"{_mid(orders, name):.2f}" for name in ("publish_seconds", "first_seconds", "median_seconds", "last_seconds")]
    cpu = [f"{1e3 * _mid(orders, name) / count:.1f}" for name in (*CPU, "update_cpu_seconds")]
    return [f"{count:,}", *times, *cpu]


def _join_line(point: Mapping[str, Any]) -> list[str]:
    join, sight, idle = point["join"], point["sight"], point["idle"]
    return [
        f"{point['instances']:,}", f"{join['added']:,}", f"{join['added'] / join['seconds']:.0f}",
        *(f"{1e3 * join[name] / join['added']:.1f}" for name in CPU),
        f"{sight['resident_bytes'] / MIB:,.0f}", f"{sight['descriptors']:,}",
        *(f"{100 * idle[name] / idle['seconds']:.1f}" for name in CPU),
    ]


def _storm_line(storm: Mapping[str, Any]) -> list[str]:
    times = [f"{storm[name]:.1f}" for name in ("down_seconds", "median_seconds", "seconds")]
    return [f"{storm['instances']:,}", *times, *(f"{1e3 * storm[name] / storm['instances']:.1f}" for name in CPU)]


def _bulk_line(order: Mapping[str, Any]) -> list[str]:
    delivered = order["size"] * order["instances"] / GIB
    return [
        f"{order['instances']}", ", ".join(order["sources"]), f"{order['last_seconds']:.2f}", f"{rate(order):,.0f}",
        *(f"{order[name] / delivered:.2f}" for name in CPU),
    ]


def unit_lines(document: Mapping[str, Any], cost: Units) -> list[list[str]]:
    """Return the lines of the table of unit costs."""
    sights = [point["sight"] for point in document["points"]]
    own = {
        name: slope([(sight["instances"], sight[name]) for sight in sights])
        for name in ("processes", "crowd_bytes", "client_threads", "client_descriptors")
    }
    know, beat = document["know"], document["beat"]
    return [
        ["an instance: connections / channels / queues", f"{cost.connections:.0f} / {cost.channels:.0f} / {cost.queues:.0f}", ""],
        ["an instance: file descriptors", f"{cost.descriptors:.0f}", f"{own['client_descriptors']:.0f}"],
        ["an instance: Erlang processes; threads", f"{own['processes']:.0f}", f"{own['client_threads']:.0f}"],
        ["an instance: memory", f"{cost.memory_bytes / 1024:.0f} KiB ({cost.erlang_bytes / 1024:.0f} as Erlang counts)", f"{own['crowd_bytes'] / 1024:.0f} KiB"],
        ["an idle instance: CPU per second", f"{1e6 * cost.idle:.0f} µs", f"{1e6 * cost.idle_own:.0f} µs"],
        ["joining: CPU", f"{1e3 * cost.join:.1f} ms", f"{1e3 * cost.join_own:.1f} ms"],
        ["joining, for each order in the history: CPU", f"{1e6 * cost.past:.0f} µs", f"{1e6 * cost.past_own:.0f} µs"],
        ["an order in the history: bytes", f"{cost.past_bytes:,.0f}", ""],
        ["an order with a tiny model, to one instance: CPU", f"{1e3 * cost.order:.1f} ms", f"{1e3 * cost.order_own:.1f} ms"],
        ["a report of the state: CPU", f"{1e6 * cost.report:.0f} µs", f"{1e6 * cost.report_own:.0f} µs"],
        ["a report of the state: bytes in the stream; in the message", f"{cost.report_bytes:.0f}", f"{beat['report_bytes']}"],
        [f"waiting for a share: reading {know['reports_in_stream']:,} reports of the last minutes", f"{know['seconds']:.2f} s",
         f"{know['update_cpu_seconds']:.2f} s of CPU"],
        ["a GiB delivered to many, beside the order: CPU", f"{cost.gib:.2f} s", f"{cost.gib_own:.2f} s"],
    ]


def fleet_lines(cost: Units) -> list[list[str]]:
    """Return the lines of the table that multiplies the unit costs."""
    reports_per_second = 1 / HEARTBEAT_SECONDS
    day_bytes = cost.report_bytes * DAY_SECONDS * reports_per_second

    def line(what: str, text: Any) -> list[str]:
        return [what, *(text(count) for count in FLEETS)]

    return [
        line("connections", lambda n: f"{n * cost.connections:,.0f}"),
        line("file descriptors of the broker", lambda n: f"{n * cost.descriptors:,.0f}"),
        line("memory of the broker for them", lambda n: f"{n * cost.memory_bytes / GIB:.2f} GiB"),
        line("idle: cores of the broker", lambda n: f"{n * cost.idle:.2f}"),
        line(f"reports every {HEARTBEAT_SECONDS} s: cores of the broker", lambda n: f"{n * cost.report * reports_per_second:.2f}"),
        line("reports: GiB a day", lambda n: f"{n * day_bytes / GIB:.2f}"),
        line("reports: days until the stream is full", lambda n: f"{REPORTS_KEPT_BYTES / (n * day_bytes):.1f}"),
        line("all join after a restart: seconds of one broker core", lambda n: f"{n * cost.join:,.0f}"),
        line("an order with a tiny model: seconds of one broker core", lambda n: f"{n * cost.order:,.1f}"),
        line("1 GiB to all: seconds of broker CPU", lambda n: f"{n * cost.gib:,.0f}"),
        *(
            line(f"1 GiB to all through one link of {gbit} Gbit/s", lambda n, gbit=gbit: _time(n * GIB * 8 / (gbit * 1e9 * LINK_SHARE)))
            for gbit in LINKS_GBIT
        ),
    ]


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
