"""Many instances on one broker node: what each costs, and where it bends. ``python -m tests.benchmarks.scale --help``.

Real consumers with real connections, queues and stores; one process simulates many. Decides what is measured at which number:
joining, an order with a tiny model, idling, reports of the state, a node that is restarted; then large models to some. Broker and
clients share the machine; their CPU time is told apart. Linux only. Imports scale_stage.
"""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
from tests.benchmarks import documents
from tests.benchmarks.contender import MIB
from tests.benchmarks.ground import GIB, Ground
from tests.benchmarks.scale_node import Node
from tests.benchmarks.scale_stage import Stage
from tests.benchmarks.scale_tables import fleet_tables, measured_tables, rate, unit_tables
from tests.benchmarks.tables import note, show

TINY_BYTES = 2048
PAST_JOINS = 10
INSTANCE_BYTES = 2 * MIB
"""A store with tiny models, generously."""
COPIES = 4
"""Of a large model in each store: two releases, one in the making; and the stream."""


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        counts: Numbers of instances, rising.
        processes: How many processes simulate them.
        repeats: Orders at each number.
        idle_seconds: How long nothing is done.
        beat_seconds: Between two reports of an instance while their cost is measured.
        storms: From this number of instances on the node is restarted.
        past: Orders in the history while its cost is measured.
        bulk_counts: Numbers of instances that get a large model, rising.
        bulk_bytes: Its size.
        options: Options for the URL.
        directory: Where files lie.
    """

    counts: Sequence[int]
    processes: int
    repeats: int
    idle_seconds: float
    beat_seconds: float
    storms: int
    past: int
    bulk_counts: Sequence[int]
    bulk_bytes: int
    options: str
    directory: Path | None

    @property
    def needed_bytes(self) -> int:
        """Room that the files take at most."""
        return GIB + max(self.counts) * INSTANCE_BYTES + max(self.bulk_counts, default=0) * COPIES * self.bulk_bytes


def run(plan: Plan) -> dict[str, Any]:
    """Measure, print, and return the document."""
    from modelcast.shared.keyfiles import generate

    with Ground(plan.directory, needed=plan.needed_bytes) as ground:
        key, public = generate(ground.path / "training")
        keys = {"key": str(key), "trust": str(public)}
        node = Node(ground.path / "node", plan.options)
        try:
            settings = keys | {"url": node.start()}
            with Stage(node, ground.path / "tiny", settings, plan.processes, "scale") as stage:
                found = _tiny(stage, plan)
            found["descriptor_limit"] = node.descriptor_limit()
            node.stop()
            node = Node(ground.path / "node-2", plan.options)
            settings = keys | {"url": node.start()}
            with Stage(node, ground.path / "past", settings, 1, "past") as stage:
                found["past"] = stage.past(plan.past, PAST_JOINS)
            if plan.bulk_counts:
                with Stage(node, ground.path / "bulk", settings, min(plan.processes, max(plan.bulk_counts)), "bulk") as stage:
                    found["bulk"] = _bulk(stage, plan)
        finally:
            node.stop()
        place = ground.kind
    facts = documents.machine_facts(
        file_system=place, command=" ".join(["python -m tests.benchmarks.scale", *sys.argv[1:]]),
        **{name: value for name, value in asdict(plan).items() if name != "directory"},
    )
    document = {"kind": "scale", "facts": facts, **found}
    for title, columns, lines in [*measured_tables(document), *unit_tables(document), *fleet_tables(document)]:
        show(title, columns, lines)
    return document


def _tiny(stage: Stage, plan: Plan) -> dict[str, Any]:
    found: dict[str, Any] = {"points": [], "storms": [], "empty": stage.sight(), "empty_idle": stage.idle(plan.idle_seconds)}
    for count in plan.counts:
        point: dict[str, Any] = {"instances": count, "join": stage.join(count)}
        stage.serve()
        point["orders"] = [stage.order(TINY_BYTES) for _ in range(plan.repeats)]
        point["idle"] = stage.idle(plan.idle_seconds)
        point["sight"] = stage.sight()
        found["points"].append(point)
        note(f"{count}: joined in {point['join']['seconds']:.1f} s; last verdict {[round(o['last_seconds'], 2) for o in point['orders']]}")
        if count >= plan.storms:
            found["storms"].append(stage.storm())
            note(f"{count}: all back {found['storms'][-1]['seconds']:.1f} s after the restart")
    found["beat"] = stage.beat(plan.beat_seconds, plan.idle_seconds)
    found["know"] = stage.know()
    found["history_bytes"] = stage.node.stream_bytes("modelcast.scale.production.history")
    found["history_orders"] = len(plan.counts) * plan.repeats
    return found


def _bulk(stage: Stage, plan: Plan) -> list[dict[str, Any]]:
    found = []
    for count in plan.bulk_counts:
        stage.join(count)
        stage.serve()
        found.append(stage.order(plan.bulk_bytes))
        note(f"{count} instances: {rate(found[-1]):,.0f} MB/s in sum, by {found[-1]['sources']}")
    return found


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",") if number]


@click.command()
@click.option("--instances", default="1,10,50,100,250,500", show_default=True, help="Rising, with commas.")
@click.option("--processes", default=10, show_default=True, type=click.IntRange(1), help="That simulate them.")
@click.option("--repeats", default=3, show_default=True, type=click.IntRange(1), help="Orders at each number.")
@click.option("--idle-seconds", default=30.0, show_default=True)
@click.option("--beat-seconds", default=5.0, show_default=True, help="Between two reports while their cost is measured.")
@click.option("--storms", default=50, show_default=True, help="From so many instances on the node is restarted.")
@click.option("--past", default=300, show_default=True, help="Orders in the history while its cost is measured.")
@click.option("--bulk", default="4,16,64", show_default=True, help="Instances that get a large model, with commas; may be empty.")
@click.option("--bulk-mib", default=16, show_default=True, type=click.IntRange(1))
@click.option("--options", default="", help="Options for the broker's URL, such as chunks=amqp.")
@click.option("--directory", type=click.Path(file_okay=False, path_type=Path), help="Where files lie; memory (/dev/shm) if left out.")
@click.option("--publish", is_flag=True, help="Keep the result as the one that the documentation shows.")
def main(
    *, instances: str, processes: int, repeats: int, idle_seconds: float, beat_seconds: float, storms: int, past: int, bulk: str, bulk_mib: int,
    options: str, directory: Path | None, publish: bool,
) -> None:
    """Many instances on one node."""
    plan = Plan(
        _numbers(instances), processes, repeats, idle_seconds, beat_seconds, storms, past, _numbers(bulk), bulk_mib * MIB, options, directory
    )
    click.echo(f"Written: {documents.save(run(plan), is_published=publish)}", err=True)


if __name__ == "__main__":
    main()
