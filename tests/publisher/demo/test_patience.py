"""Waiting ends when the thing holds, or says what it waited for."""

import pytest

from modelcast.publisher.demo.patience import until
from modelcast.shared.errors import OutOfTime


def test_what_holds_is_not_waited_for() -> None:
    assert until(lambda: True, seconds=0, what="nothing") < 0.5


def test_it_asks_until_it_holds() -> None:
    answers = iter([False, False, True])
    until(lambda: next(answers), seconds=10, what="the third answer")
    assert list(answers) == []


def test_it_names_what_did_not_come() -> None:
    with pytest.raises(OutOfTime, match="waited 0 s for this: the bus"):
        until(lambda: False, seconds=0, what="the bus")
