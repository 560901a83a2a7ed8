"""A chapter that did not go as it should says so."""

import json
from dataclasses import replace
from typing import Any

import pytest

from modelcast.publisher.demo.outcomes import RolledBack, Staged, Waved

NAMES = ("instance-1", "instance-2")
STAGED = Staged("1.5.0", ("staging-1",), ("1.1.0",), 0, NAMES, 2, 0.4321)
WAVED = Waved("1.6.0", (NAMES[:1], NAMES), 2, "1.7.0", NAMES[:1], NAMES[:1], "1.6.0", ("1.6.0",), 1.2345)
BACK = RolledBack("1.5.0", "1.1.0", NAMES, 2, 0, 8.76, 0.1, ("1.1.0",), {"promote": 30, "publish": 30}, NAMES)


def test_what_went_well_has_no_problems() -> None:
    assert STAGED.problems() == BACK.problems() == WAVED.problems() == []


@pytest.mark.parametrize(
    ("spoilt", "problem"),
    [
        ({"staged": ()}, "1.5.0 was not promoted in staging"),
        ({"production_meanwhile": ("1.1.0", "1.5.0")}, "production answered with 1.5.0 before it was ordered there"),
        ({"sent_bytes": 7}, "the promotion of 1.5.0 sent 7 bytes again"),
        ({"promoted": NAMES[:1]}, "1.5.0 was promoted by 1 of 2 instances of production"),
    ],
)
def test_each_thing_that_may_go_wrong_in_staging_is_named(spoilt: dict[str, Any], problem: str) -> None:
    assert replace(STAGED, **spoilt).problems() == [problem]


@pytest.mark.parametrize(
    ("spoilt", "problem"),
    [
        ({"instances": NAMES[:1]}, "1 of 2 instances went back to 1.1.0"),
        ({"fetched_bytes": 9}, "going back fetched 9 bytes"),
        ({"served": ("1.1.0", "1.5.0")}, "after the rollback the instances served 1.1.0, 1.5.0"),
        ({"refusals": {"promote": 30, "publish": None}}, "publish of the withdrawn 1.5.0 was not refused"),
        ({"again": ()}, "0 of 2 instances promoted 1.5.0 when somebody insisted"),
    ],
)
def test_each_thing_that_may_go_wrong_on_the_way_back_is_named(spoilt: dict[str, Any], problem: str) -> None:
    assert replace(BACK, **spoilt).problems() == [problem]


@pytest.mark.parametrize(
    ("spoilt", "problem"),
    [
        ({"reached": ()}, "1.6.0 was served by nobody instances, wave by wave"),
        ({"reached": (NAMES, NAMES)}, "1.6.0 was served by 2, 2 instances, wave by wave"),
        ({"reached": (NAMES[:1],)}, "1.6.0 was served by 1 instances, wave by wave"),
        ({"refused": ()}, "1.7.0 was refused by 0 of 1 that were asked, not by the first alone"),
        ({"asked": NAMES}, "1.7.0 was refused by 1 of 2 that were asked, not by the first alone"),
        ({"went_back_to": None}, "after 1.7.0 the channel went back to None and served 1.6.0"),
        ({"served": ("1.6.0", "1.7.0")}, "after 1.7.0 the channel went back to 1.6.0 and served 1.6.0, 1.7.0"),
    ],
)
def test_each_thing_that_may_go_wrong_in_waves_is_named(spoilt: dict[str, Any], problem: str) -> None:
    assert replace(WAVED, **spoilt).problems() == [problem]


def test_they_are_ready_for_json() -> None:
    staged, back, waved = json.loads(json.dumps([STAGED.to_dict(), BACK.to_dict(), WAVED.to_dict()]))
    assert (waved["reached"], waved["seconds"]) == ([["instance-1"], ["instance-1", "instance-2"]], 1.234)
    assert (staged["sent_bytes"], staged["seconds"]) == (0, 0.432)
    assert (back["slowest_ms"], back["refusals"]) == (8.8, {"promote": 30, "publish": 30})
