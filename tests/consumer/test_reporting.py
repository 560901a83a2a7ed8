"""Reports: what an instance says of itself can always be sent and read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.publisher_sim import PublisherSimulator
from tests.fakes.specimens import manifest

from modelcast.consumer.active import Slot
from modelcast.consumer.host_facts import HostFacts
from modelcast.consumer.reporting import Reporter, now_ms
from modelcast.consumer.trust import open_order
from modelcast.shared.errors import SenderFault
from modelcast.shared.limits import DEFAULT_LIMITS
from modelcast.shared.reasons import Reason
from modelcast.shared.report import Report, ReportKind, Verdict
from modelcast.shared.road import Target

HERE = Target("fraud", "production", "a")


@pytest.fixture
def reporter() -> Reporter:
    return Reporter(HERE, clock_ms=lambda: 1234)


def test_a_state_says_what_is_served(reporter: Reporter) -> None:
    report = Report.parse(reporter.state(Slot().swap("model", manifest(version="1.0.0"), "a" * 64)))
    assert (report.kind, report.instance, report.model, report.channel, report.time_ms) == (ReportKind.STATE, "a", "fraud", "production", 1234)
    assert (report.active_version, report.active_release, report.verdict) == ("1.0.0", "a" * 64, None)
    assert report.host["pid"]


def test_an_instance_that_serves_nothing_says_so(reporter: Reporter) -> None:
    report = Report.parse(reporter.state(None, ReportKind.STOPPED))
    assert (report.kind, report.active_version) == (ReportKind.STOPPED, None)


def test_a_verdict_names_order_release_and_reason_with_its_facts(reporter: Reporter, signing_key, key_ring) -> None:
    sim = PublisherSimulator(None, signing_key)
    trusted = open_order(sim.order(sim.release("2.0.0")), key_ring, model="fraud", channel="production")
    fault = SenderFault(Reason.LOAD_FAILED, "It did not load.", facts={"error": "ValueError"})
    report = Report.parse(reporter.verdict(
        trusted.id, Verdict.REJECTED, None, trusted=trusted, fault=fault, stages_ms={"loaded": 1.5}, transfer={"total_bytes": 3}
    ))
    assert (report.order, report.release, report.version, report.sequence) == (trusted.id, trusted.release, "2.0.0", 1)
    assert (report.verdict, report.reason, report.message) == (Verdict.REJECTED, "load-failed", "It did not load.")
    assert (report.facts, report.stages_ms, report.transfer) == ({"error": "ValueError"}, {"loaded": 1.5}, {"total_bytes": 3})


ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=[]), max_size=20)   # surrogates too: names of files may hold them


@given(message=ANY_TEXT, facts=st.dictionaries(ANY_TEXT, st.recursive(
    st.none() | st.integers() | st.floats() | ANY_TEXT | st.binary() | st.builds(object), lambda inner: st.lists(inner, max_size=3)
), max_size=3))
def test_whatever_a_fault_says_can_be_sent(message: str, facts: dict[str, object]) -> None:
    body = Reporter(HERE, host=HostFacts(headroom=list, lasting={})).verdict("a" * 64, Verdict.REJECTED, None, fault=SenderFault(Reason.LOAD_FAILED, message, facts=facts))
    assert Report.parse(body).reason == "load-failed"


def test_facts_that_are_too_many_are_left_out_rather_than_the_report(reporter: Reporter) -> None:
    fault = SenderFault(Reason.LOAD_FAILED, "x" * 100_000, facts={"all": ["fact"] * 100_000})
    body = reporter.verdict("a" * 64, Verdict.REJECTED, None, fault=fault)
    assert len(body) <= DEFAULT_LIMITS.report_bytes
    assert Report.parse(body).facts == {"shortened": True}


def test_every_start_has_a_name_of_its_own() -> None:
    assert Reporter(HERE).boot != Reporter(HERE).boot


def test_the_clock_is_the_wall_clock_in_milliseconds() -> None:
    assert 1_700_000_000_000 < now_ms() < 10_000_000_000_000
