"""Reports come from many instances, old and new, and from strangers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.specimens import report

from modelcast.shared.errors import SenderFault, UnknownFormat
from modelcast.shared.limits import DEFAULT_LIMITS
from modelcast.shared.packing import pack, unpack
from modelcast.shared.reasons import Reason
from modelcast.shared.report import Report, ReportKind, Verdict


def attempt(body: bytes) -> Report | SenderFault:
    try:
        return Report.parse(body)
    except SenderFault as error:
        return error


@given(
    st.sampled_from(ReportKind), st.none() | st.sampled_from(Verdict), st.none() | st.text(),
    st.dictionaries(st.text(), st.integers(-(2**63), 2**63 - 1) | st.text(), max_size=3),
    st.dictionaries(st.text(), st.floats(allow_nan=False), max_size=3),
)
def test_a_report_survives_its_bytes(
    kind: ReportKind, verdict: Verdict | None, message: str | None, facts: dict[str, object], stages: dict[str, float]
) -> None:
    said = report(kind=kind, verdict=verdict, message=message, facts=facts, stages_ms=stages)
    assert attempt(said.to_bytes()) == said


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_the_senders_fault(body: bytes) -> None:
    assert isinstance(attempt(body), SenderFault)


@given(st.data())
def test_a_flipped_byte_gives_a_report_or_the_senders_fault(data: st.DataObject) -> None:
    body = bytearray(report().to_bytes())
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    assert isinstance(attempt(bytes(body)), Report | SenderFault)


def test_a_reason_of_a_later_modelcast_can_be_read() -> None:
    seen = attempt(pack(unpack(report().to_bytes(), what="report") | {"reason": "moon-phase", "later": 1}))
    assert isinstance(seen, Report)
    assert seen.reason == "moon-phase"


@pytest.mark.parametrize(("field", "value"), [("verdict", "perhaps"), ("kind", None), ("time_ms", "now"), ("facts", [])])
def test_a_wrong_field_is_named(field: str, value: object) -> None:
    fault = attempt(pack(unpack(report().to_bytes(), what="report") | {field: value}))
    assert isinstance(fault, SenderFault)
    assert fault.facts == {"field": field}


def test_a_later_format_is_refused_as_such() -> None:
    assert isinstance(attempt(pack(unpack(report().to_bytes(), what="report") | {"format": 2})), UnknownFormat)


def test_a_report_over_the_limit_is_refused() -> None:
    fault = attempt(report(message="x" * DEFAULT_LIMITS.report_bytes).to_bytes())
    assert isinstance(fault, SenderFault)
    assert fault.reason is Reason.TOO_LARGE
