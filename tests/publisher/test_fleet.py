"""Reports become a fleet: who is in step, behind, refusing or silent; no two clocks are compared."""

from tests.fakes import specimens

from modelcast.publisher.fleet import Fleet, Step, slowest_stage
from modelcast.shared.report import Report, ReportKind, Verdict

NEW, OLD = "ab" * 32, "cd" * 32


def body(instance: str, kind: ReportKind = ReportKind.STATE, **changes: object) -> bytes:
    fields = {
        "kind": kind, "instance": instance, "model": "fraud", "channel": "production", "verdict": None, "order": None,
        "active_release": NEW, "active_version": "2.0.0", "sequence": 8,
    }
    return specimens.report(**(fields | changes)).to_bytes()


def fleet(*bodies: bytes, recent: bool = True) -> Fleet:
    found = Fleet("fraud", "production", last_sequence=8, last_release=NEW, last_version="2.0.0", issued_ms=1)
    for each in bodies:
        found.add(each, is_recent=recent)
    return found


def refusal(instance: str, **changes: object) -> bytes:
    return body(instance, ReportKind.VERDICT, **({
        "verdict": Verdict.REJECTED, "reason": "too-large", "active_release": OLD, "active_version": "1.0.0", "order": "12" * 32} | changes))


def test_each_instance_is_in_step_behind_refusing_or_silent() -> None:
    found = fleet(body("a"), body("b", active_release=OLD, active_version="1.0.0", sequence=7), refusal("c"))
    found.add(body("d"), is_recent=False)
    assert found.steps == {"a": Step.CURRENT, "b": Step.BEHIND, "c": Step.REFUSED, "d": Step.SILENT}
    assert dict(found.versions) == {"2.0.0": 1, "1.0.0": 2}
    assert not found.is_in_step


def test_a_fleet_is_in_step_when_all_serve_what_was_ordered_and_somebody_is_there() -> None:
    assert fleet(body("a"), body("b")).is_in_step
    assert not fleet().is_in_step


def test_a_refusal_of_an_earlier_order_is_no_refusal_of_the_last_one() -> None:
    assert fleet(refusal("a", sequence=7)).steps == {"a": Step.BEHIND}


def test_who_stopped_in_order_does_not_belong_to_the_fleet() -> None:
    assert fleet(body("a"), body("a", ReportKind.STOPPED)).steps == {}


def test_since_when_is_the_first_report_of_what_is_served_and_a_restart_begins_anew() -> None:
    found = fleet(body("a", time_ms=10), body("a", time_ms=20))
    assert found.members["a"].since_ms == 10
    found.add(body("a", time_ms=30, boot="another"), is_recent=True)
    assert (found.members["a"].since_ms, len(found.members["a"].boots)) == (30, 2)


def test_what_was_read_before_changes_nothing_when_it_is_read_again() -> None:
    reports = [body("a", active_release=OLD, time_ms=10), body("a", time_ms=20), body("a", time_ms=30)]
    once, twice = fleet(*reports), fleet(*reports, *reports[1:])
    assert once.to_dict() == twice.to_dict()


def test_reports_of_others_and_what_is_no_report_are_passed_over() -> None:
    assert fleet(b"nonsense", body("a", model="other"), body("a", channel="staging")).members == {}


def test_everything_is_told_as_plain_values() -> None:
    told = fleet(body("a"), refusal("b")).to_dict()
    assert (told["current"], told["instances"]) == (1, 2)
    assert told["members"][1]["verdict"]["reason"] == "too-large"   # type: ignore[index]


def test_the_slowest_stage_is_named_with_its_instance() -> None:
    reports = [
        Report.parse(body("a", stages_ms={"received": 5.0, "loaded": 90.0})), Report.parse(body("b", stages_ms={"received": 70.0})),
    ]
    assert slowest_stage(reports) == ("a", "loaded", 90.0)
    assert slowest_stage([]) is None
