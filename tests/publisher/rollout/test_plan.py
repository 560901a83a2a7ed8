"""What a rollout is to do: amounts, waves, and whom they reach."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelcast.publisher.rollout.plan import DEFAULT_WAVES, Amount, RolloutPlan, reach_of, reached, waves_of
from modelcast.shared.errors import MisuseError
from modelcast.shared.turns import turn_of

names = st.sets(st.text("abcdefgh0123", min_size=1, max_size=8), max_size=40)
amounts = st.one_of(
    st.integers(1, 10**6 - 1).map(str), st.integers(1, 99).map("{}%".format), st.floats(0.01, 99.9).map(lambda f: f"{f:.4f}%"),
)


@pytest.mark.parametrize(("text", "total", "count", "allowed"), [
    ("3", 10, 3, 3), ("3", 2, 2, 2), ("0", 5, 0, 0), ("10%", 10, 1, 1), ("10%", 11, 2, 1), ("5%", 4, 1, 0), ("55%", 100, 55, 55),
    ("100%", 7, 7, 7), ("0.5%", 1000, 5, 5), (" 1 ", 9, 1, 1),
])
def test_a_share_of_a_wave_is_rounded_up_and_one_that_is_allowed_down(text: str, total: int, count: int, allowed: int) -> None:
    assert (Amount.parse(text).of(total), Amount.parse(text).allowed_of(total)) == (count, allowed)


@given(amounts)
def test_an_amount_is_written_as_it_is_read(text: str) -> None:
    assert Amount.parse(str(Amount.parse(text))) == Amount.parse(text)


@pytest.mark.parametrize("text", ["", "-1", "1.5", "101%", "%", "10 %", "1e3", "ten", "10%%", "1234567", "nan%"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(MisuseError, match="is no amount of instances"):
        Amount.parse(text)


@pytest.mark.parametrize(("waves", "why"), [
    ("1,10%", "does not reach all"), ("1,1,100%", "more instances"), ("20%,10%,100%", "more instances"), ("0,100%", "reaches somebody|each one"),
    ("100%,100%", "Only the last wave"), (",".join(f"{n}" for n in range(1, 33)) + ",100%", "33 waves"), ("3,2,100%", "more instances"),
])
def test_waves_that_make_no_sense_are_refused(waves: str, why: str) -> None:
    with pytest.raises(MisuseError, match=why):
        RolloutPlan(waves_of(waves))


@pytest.mark.parametrize("options", [
    {"soak_seconds": -1}, {"soak_seconds": float("nan")}, {"verdict_seconds": float("inf")}, {"max_vetoes": -1},
])
def test_numbers_that_make_no_sense_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(MisuseError):
        RolloutPlan(waves_of(DEFAULT_WAVES), **options)   # type: ignore[arg-type]


@given(names, st.lists(amounts, max_size=4))
def test_no_wave_reaches_less_than_the_one_before_and_each_as_many_as_it_says(known: set[str], texts: list[str]) -> None:
    before: int | None = None
    for wave in (Amount.parse(text) for text in texts):
        up_to = reach_of(wave, known, before)
        assert up_to is not None
        assert before is None or up_to >= before
        here, earlier = reached(known, up_to), reached(known, -1 if before is None else before)
        assert here[: len(earlier)] == earlier
        assert len(here) >= wave.of(len(known))
        assert len(here) == max(wave.of(len(known)), len(earlier)) or len({turn_of(name) for name in known}) < len(known)
        before = up_to
    assert reach_of(Amount.parse("100%"), known, before) is None
    assert set(reached(known, None)) == known
