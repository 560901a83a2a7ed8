"""The mutants are up to date: each finds the place that it breaks. ``make mutants`` plays them."""

from pathlib import Path

import pytest
from tests.mutants.mutants import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_place_is_there_once_and_so_are_the_tests(mutant: Mutant) -> None:
    assert (ROOT / mutant.path).read_text(encoding="utf-8").count(mutant.before) == 1
    assert mutant.before != mutant.after
    assert all((ROOT / test).exists() for test in mutant.tests)


def test_no_two_have_one_name() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 12
