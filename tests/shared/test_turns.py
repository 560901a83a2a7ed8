"""The turns of instances: always the same, spread, and known beforehand."""

from hypothesis import given
from hypothesis import strategies as st

from modelcast.shared.turns import TURNS, turn_of


def test_the_turn_of_an_instance_is_what_it_was_in_every_version() -> None:
    assert {name: turn_of(name) for name in ("a", "b", "host-7")} == {
        "a": 25_796_376_648_041, "b": 18_579_210_452_106, "host-7": 105_813_495_505_738,
    }


@given(st.text(max_size=64))
def test_every_name_has_a_turn(name: str) -> None:
    assert 0 <= turn_of(name) < TURNS
    assert turn_of(name) == turn_of(name)


def test_names_that_begin_alike_are_spread_over_all_waves() -> None:
    turns = [turn_of(f"rack-1-host-{number}") for number in range(1000)]
    for tenth in range(10):
        assert 70 <= sum(tenth * TURNS <= turn * 10 < (tenth + 1) * TURNS for turn in turns) <= 130
    assert len(set(turns)) == 1000
