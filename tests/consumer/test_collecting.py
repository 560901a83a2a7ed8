"""The cyclic collector during a load: full passes pause, everything is as before afterwards, freezing only when asked for."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from modelcast.consumer.collecting import sparing
from modelcast.consumer.policy import Collector


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


def full_passes() -> int:
    return gc.get_stats()[2]["collections"]


def make_many_containers() -> list[list[int]]:
    return [[number] for number in range(400_000)]


@pytest.mark.parametrize("collector", [Collector.PAUSE, Collector.FREEZE])
def test_no_full_pass_runs_while_many_objects_are_made(collector: Collector) -> None:
    with sparing(collector):
        before = full_passes()
        kept = make_many_containers()
        assert full_passes() == before
    assert len(kept) == 400_000


def test_garbage_of_requests_is_collected_meanwhile() -> None:
    class Node:
        pass

    with sparing(Collector.PAUSE):
        node = Node()
        node.itself = node   # type: ignore[attr-defined]
        gone = weakref.ref(node)
        del node
        kept = make_many_containers()
        assert gone() is None
    del kept


@pytest.mark.parametrize("collector", Collector)
def test_the_thresholds_are_as_before_afterwards_also_after_an_error(collector: Collector) -> None:
    gc.set_threshold(650, 9, 8)
    with sparing(collector):
        pass
    assert gc.get_threshold() == (650, 9, 8)
    with pytest.raises(ValueError, match="broken"), sparing(collector):
        raise ValueError("broken")
    assert gc.get_threshold() == (650, 9, 8)


def test_what_the_application_sets_meanwhile_stays() -> None:
    with sparing(Collector.PAUSE):
        gc.set_threshold(500, 5, 4)
    assert gc.get_threshold() == (500, 5, 4)


def test_a_collector_that_is_switched_off_stays_off() -> None:
    gc.disable()
    try:
        with sparing(Collector.PAUSE):
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_two_loads_at_once_share_one_pause() -> None:
    before = gc.get_threshold()
    with sparing(Collector.PAUSE):
        paused = gc.get_threshold()
        with sparing(Collector.PAUSE):
            assert gc.get_threshold() == paused
        assert gc.get_threshold() == paused
    assert gc.get_threshold() == before


def test_only_who_asks_for_it_gets_a_frozen_heap() -> None:
    with sparing(Collector.PAUSE):
        pass
    assert gc.get_freeze_count() == 0
    with sparing(Collector.FREEZE):
        kept = [[]]   # type: ignore[var-annotated]
    assert gc.get_freeze_count() > 0
    assert not any(thing is kept for thing in gc.get_objects())


def test_a_load_that_failed_freezes_nothing() -> None:
    with pytest.raises(ValueError, match="broken"), sparing(Collector.FREEZE):
        raise ValueError("broken")
    assert gc.get_freeze_count() == 0
