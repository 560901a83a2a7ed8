"""How values that travel are parsed, shown on a small one."""

from typing import Annotated

import pytest
from pydantic import Field, ValidationError

from modelcast.shared.errors import SenderFault, UnknownFormat
from modelcast.shared.packing import pack
from modelcast.shared.reasons import Reason
from modelcast.shared.values import WireValue


class Inner(WireValue):
    size: Annotated[int, Field(ge=0)]


class Outer(WireValue):
    format: int = 3
    inner: Inner


def parse(message: dict[str, object]) -> Outer:
    return Outer.from_map(message, what="thing", formats=frozenset({3, 4}))


def test_a_value_survives_its_bytes() -> None:
    value = Outer(inner=Inner(size=1))
    assert Outer.from_bytes(value.to_bytes(), what="thing", formats=frozenset({3}), max_bytes=100) == value


def test_the_field_that_is_wrong_is_named_in_the_message_and_in_the_facts() -> None:
    with pytest.raises(SenderFault, match=r"thing is wrong at inner\.size") as caught:
        parse({"format": 3, "inner": {"size": -1}})
    assert (caught.value.reason, caught.value.facts) == (Reason.MALFORMED, {"field": "inner.size"})


def test_kinds_are_not_converted() -> None:
    for size in ("1", 1.0, True):
        with pytest.raises(SenderFault):
            parse({"format": 3, "inner": {"size": size}})


def test_what_is_wrong_is_not_repeated() -> None:
    with pytest.raises(SenderFault) as caught:
        parse({"format": 3, "inner": {"size": "secret"}})
    assert "secret" not in str(caught.value)


def test_an_unknown_field_is_ignored() -> None:
    assert parse({"format": 4, "inner": {"size": 1, "later": 2}, "later": 3}) == Outer(format=4, inner=Inner(size=1))


@pytest.mark.parametrize("message", [{}, {"format": None}, {"format": True}, {"format": "3"}, {"format": 3.0}])
def test_a_message_without_a_format_number_is_malformed(message: dict[str, object]) -> None:
    with pytest.raises(SenderFault) as caught:
        parse(message)
    assert caught.value.reason is Reason.MALFORMED


def test_an_unknown_format_is_told_apart_and_lists_what_is_known() -> None:
    with pytest.raises(UnknownFormat, match="known here: 3, 4"):
        parse({"format": 5})


def test_bytes_over_the_limit_are_refused() -> None:
    with pytest.raises(SenderFault) as caught:
        Outer.from_bytes(pack({"format": 3}), what="thing", formats=frozenset({3}), max_bytes=3)
    assert caught.value.reason is Reason.TOO_LARGE


def test_a_value_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Inner(size=1).size = 2
