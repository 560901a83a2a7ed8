"""What must be true of a world that has come to rest, whatever happened in it."""

from collections import Counter

from tests.simulation.world import Instance, Ordered, World

from modelcast.shared.names import Version
from modelcast.shared.order import order_id
from modelcast.shared.ranking import Standing, best_first
from modelcast.shared.report import Verdict
from modelcast.shared.topology import instance_queue_name

Verdicts = dict[tuple[str, str], set[str]]


def check(world: World) -> None:
    """Raise AssertionError when something was lost, done twice, or ended otherwise than it should."""
    reports = world.reports()
    verdicts: Verdicts = {}
    for report in reports:
        verdicts.setdefault((report.instance, str(report.order)), set()).add(str(report.verdict))
    letters = Counter((letter.target.instance, order_id(letter.body)) for letter in world.road.dead_letters(60_000) if letter.target)
    for instance in world.instances:
        _serves_the_best(world, instance)
        _sequence_rises(instance)
        _promoted_once_and_nothing_else(world, instance)
        assert world.broker.node.queue_for(instance_queue_name("fraud", "production", instance.name), None).depth == 0, instance.name
    for (name, order), said in verdicts.items():   # rejected and superseded: it crashed when the first report was written and no more
        assert not {Verdict.PROMOTED, Verdict.REJECTED} <= said, (name, order[:12], said)
        if said == {Verdict.REJECTED} and order in next(each for each in world.instances if each.name == name).addressed:
            assert letters[name, order], (name, order[:12], "has no dead letter")
    for name, order in letters:
        assert Verdict.REJECTED in verdicts.get((name, order), ()), (name, order[:12], "died without a reason")
    _every_addressed_order_has_a_verdict(world, verdicts)


def _serves_the_best(world: World, instance: Instance) -> None:
    """Every instance ends with the best of the orders that its host can carry out, however it came to hear of them."""
    able = [each for each in world.ordered if not instance.refuses(each.release.id)]
    best = best_first(able, lambda each: Standing(each.sequence, each.is_rollback, Version(each.release.version)))
    wanted = best[0].release.version if best else None
    active, pointer = instance.slot.active, instance.disk.pointer
    assert (active.version if active else None) == wanted, (instance.name, [_told(each, instance) for each in world.ordered])
    assert (active.release if active else None) == (pointer.release if pointer else None), instance.name


def _told(each: Ordered, instance: Instance) -> str:
    kind, fate = "rollback" if each.is_rollback else "promotion", " (refused)" if instance.refuses(each.release.id) else ""
    return f"{each.sequence}: {kind} {each.release.version}{fate}"


def _sequence_rises(instance: Instance) -> None:
    sequences = [sequence for _, _, sequence in instance.disk.promotions]
    assert sequences == sorted(sequences), (instance.name, sequences)


def _promoted_once_and_nothing_else(world: World, instance: Instance) -> None:
    known = {order_id(each.body): each.release.id for each in world.ordered}
    assert all(known.get(order) == release for order, release, _ in instance.disk.promotions), instance.name
    assert not any(instance.refuses(release) for _, release, _ in instance.disk.promotions), instance.name
    twice = [order for order, count in Counter(order for order, _, _ in instance.disk.promotions).items() if count > 1]
    assert not twice, (instance.name, twice)


def _every_addressed_order_has_a_verdict(world: World, verdicts: Verdicts) -> None:
    for instance in world.instances:
        for order in instance.addressed:
            assert verdicts.get((instance.name, order)), (instance.name, order[:12])
