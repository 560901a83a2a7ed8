"""Thousands of lives of a channel, each decided by a seed: whatever happens, all end with the best release and nothing is lost.

``MODELCAST_SEEDS=20000`` plays more of them (``make torture``), ``MODELCAST_SEED=17`` one again. A seed that failed stays in ``KEPT``.
"""

import os
from collections.abc import Iterator

import coverage
import pytest
from tests.simulation.checker import check
from tests.simulation.surroundings import Clock
from tests.simulation.world import World

from modelcast.consumer import courier, updater
from modelcast.shared import amqp_road

COUNT = int(os.environ.get("MODELCAST_SEEDS", "2500"))
ONE = os.environ.get("MODELCAST_SEED")
SHARES = 8
KEPT: list[int] = []
"""Seeds that found something once."""


def live(seed: int, signing_key, monkeypatch: pytest.MonkeyPatch) -> World:
    clock = Clock()
    for module in (courier, updater, amqp_road):
        monkeypatch.setattr(module, "time", clock)
    world = World(seed, signing_key, clock)
    for _ in range(world.random.randrange(50, 300)):
        world.happen()
    world.heal_and_drain()
    return world


@pytest.fixture
def unmeasured() -> Iterator[None]:
    """Play without noting which lines ran, which takes as long again as the playing; the other tests here are measured."""
    measuring = coverage.Coverage.current()
    if measuring is not None:
        measuring.stop()
    yield
    if measuring is not None:
        measuring.start()


@pytest.mark.parametrize("share", range(SHARES) if ONE is None else [])
@pytest.mark.usefixtures("unmeasured")
def test_whatever_happens_every_instance_ends_with_the_best_release_and_nothing_is_lost(share: int, signing_key, monkeypatch) -> None:
    for seed in range(share, COUNT, SHARES):
        _play(seed, signing_key, monkeypatch)


@pytest.mark.parametrize("seed", [*KEPT, *([int(ONE)] if ONE else [])])
def test_a_seed_that_found_something_once(seed: int, signing_key, monkeypatch) -> None:
    _play(seed, signing_key, monkeypatch)


def _play(seed: int, signing_key, monkeypatch) -> None:
    try:
        check(live(seed, signing_key, monkeypatch))
    except BaseException as error:
        error.add_note(f"Again: MODELCAST_SEED={seed} python -m pytest tests/simulation")
        raise


def test_the_same_seed_is_the_same_life(signing_key, monkeypatch) -> None:
    first, second = (live(7, signing_key, monkeypatch) for _ in range(2))
    assert [each.body for each in first.ordered] == [each.body for each in second.ordered]
    assert [instance.disk.promotions for instance in first.instances] == [instance.disk.promotions for instance in second.instances]
    assert first.random.random() == second.random.random()


def test_the_worlds_are_worth_playing(signing_key, monkeypatch) -> None:
    """Chance brings what it should: otherwise the checker looks at nothing."""
    worlds = [live(seed, signing_key, monkeypatch) for seed in range(20)]
    reports = [report for world in worlds for report in world.reports()]
    assert {str(report.verdict) for report in reports} == {"promoted", "rejected", "superseded"}
    assert sum(instance.starts for world in worlds for instance in world.instances) > 2 * sum(len(world.instances) for world in worlds)
    assert sum(each.is_rollback for world in worlds for each in world.ordered) > 20
