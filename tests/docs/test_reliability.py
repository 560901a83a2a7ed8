"""The page on reliability: each fault once, each with tests that exist, or with the word that it was not tried."""

import re
from pathlib import Path

import pytest

from modelcast.shared.failpoints import Point

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in PAGE.splitlines() if re.match(r"\| F\d\d \|", line)]
CITED = re.compile(r"`([\w/]+\.py)::(test_\w+)`")


def test_each_fault_stands_there_once() -> None:
    assert [row[0] for row in ROWS] == [f"F{number:02}" for number in range(1, 67)]


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_each_fault_has_tests_that_exist_or_was_not_tried(row: list[str]) -> None:
    cited = CITED.findall(" ".join(row))
    assert cited or "not tried" in row[2]
    for path, name in cited:
        assert re.search(rf"^def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE), f"{path} has no {name}"


def test_the_number_of_failpoints_is_theirs() -> None:
    assert f"{len(Point)} named places" in PAGE
