"""Processes end (SIGKILL) at every named step that lasts, in publisher and instance; what was in flight is finished, and nothing is lost."""


import pytest
from tests.end_to_end.harness import Harness
from tests.end_to_end.serving import Fatal

from modelcast.shared.failpoints import Point

PUBLISHER = [point for point in Point if point.value.startswith("publisher")]
START = [point for point in Point if point.value.startswith("instance at its start")]
REFUSAL = [Point.AFTER_THROWN_AWAY, Point.AFTER_REMEMBERED]
TIMES_AT_START = {Point.AFTER_OLD_POINTER: 2}
"""A start writes the pointer twice: it counts the try, and sets the count back."""
INSTANCE = [point for point in Point if point not in {*PUBLISHER, *START}]


def test_every_point_belongs_to_somebody() -> None:
    assert len(PUBLISHER) + len(START) + len(INSTANCE) == len(Point)
    assert set(REFUSAL) < set(INSTANCE)


@pytest.mark.parametrize("point", PUBLISHER, ids=lambda point: point.name)
def test_a_publisher_that_dies_is_finished_by_the_next(broker_url: str, run: Harness, point: Point) -> None:
    instance = run.joined("one", broker_url)
    run.publish(broker_url)
    version = run.publish_and_die(broker_url, Fatal(point))
    run.publish(broker_url, version)
    instance.serves(version)
    run.finish(broker_url)


@pytest.mark.parametrize("point", INSTANCE, ids=lambda point: point.name)
def test_an_instance_that_dies_goes_on_where_it_was(broker_url: str, run: Harness, point: Point) -> None:
    first = run.joined("one", broker_url)
    run.publish(broker_url)
    run.settled(first, broker_url, "1.1.0")
    first.end()
    dying = run.joined("one", broker_url, dies_at=Fatal(point, 1 + TIMES_AT_START.get(point, 0)))
    published = run.publish(broker_url, is_good=point not in REFUSAL)
    assert dying.died() == -9
    again = run.start("one", broker_url)
    expected = "1.1.0" if point in REFUSAL else published.version
    again.serves(expected)
    run.finish(broker_url)


@pytest.mark.parametrize("point", START, ids=lambda point: point.name)
def test_an_instance_that_dies_at_its_start_serves_when_it_is_started_again(broker_url: str, run: Harness, point: Point) -> None:
    first = run.joined("one", broker_url)
    run.publish(broker_url)
    run.settled(first, broker_url, "1.1.0")
    first.end()
    assert run.start("one", broker_url, dies_at=Fatal(point)).died() == -9
    run.start("one", broker_url).serves("1.1.0")
    run.finish(broker_url)
