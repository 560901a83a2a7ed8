"""Named places: each is passed somewhere in the code, exactly once, and nothing happens there unless somebody arms them."""

from pathlib import Path

import pytest

from modelcast.shared import failpoints
from modelcast.shared.failpoints import Point, arm, reach

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("point", Point, ids=lambda point: point.name)
def test_each_place_is_in_the_code_once(point: Point) -> None:
    texts = [path.read_text() for room in ("shared", "consumer", "publisher") for path in (ROOT / room).rglob("*.py")]
    assert sum(text.count(f"reach(Point.{point.name})") for text in texts) == 1


def test_nothing_happens_until_somebody_arms_them() -> None:
    passed: list[Point] = []
    reach(Point.AFTER_SWAP)
    arm(passed.append)
    try:
        reach(Point.AFTER_POINTER)
    finally:
        arm(None)
    reach(Point.AFTER_SWAP)
    assert passed == [Point.AFTER_POINTER]


def test_no_variable_of_the_environment_can_arm_them() -> None:
    text = Path(failpoints.__file__).read_text()
    assert "import os" not in text
    assert "getenv" not in text
