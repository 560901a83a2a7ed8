"""The judge of a run is judged: each kind of violation is found where it is, and an honest run has none."""

from collections.abc import Callable

import pytest
from tests.end_to_end.checker import Attempt, Evidence, violations

from modelcast.shared.report import Report, ReportKind, Verdict


def said(order: str, version: str, verdict: Verdict, instance: str = "one") -> Report:
    return Report(
        kind=ReportKind.VERDICT, instance=instance, boot="b", model="fraud", channel="production", time_ms=0, order=order, version=version,
        verdict=verdict,
    )


def serves(version: str) -> dict[str, object]:
    return {"kind": "serves", "version": version, "pid": 1}


def resources(when: str, **more: int) -> dict[str, object]:
    return {"kind": "resources", "when": when, "is_at_rest": True, "pid": 1} | {"threads": 4, "descriptors": 20, "private_bytes": 50_000_000} | more


def honest() -> Evidence:
    """Two good versions that were promoted, and one that was refused."""
    return Evidence(
        attempts={
            "1.1.0": Attempt("1.1.0", order="aa", addressed=frozenset({"one"})),
            "1.2.0": Attempt("1.2.0", is_good=False, order="bb", addressed=frozenset({"one"})),
            "1.3.0": Attempt("1.3.0", order="cc", addressed=frozenset({"one"})),
        },
        histories={"one": [serves("1.1.0"), resources("first"), serves("1.3.0"), resources("last"), {"kind": "stopped", "threads": 1, "pid": 1}]},
        reports=[said("aa", "1.1.0", Verdict.PROMOTED), said("bb", "1.2.0", Verdict.REJECTED), said("cc", "1.3.0", Verdict.PROMOTED)],
        letters=[("one", "bb")],
        stores={"one": ["current", "current.old", "releases/x/manifest", "releases/y/manifest", "journal/rejected-bb"]},
    )


def test_an_honest_run_has_no_violation() -> None:
    assert violations(honest()) == []


def add(*events: dict[str, object]) -> Callable[[Evidence], None]:
    return lambda evidence: evidence.histories["one"].extend(events)


def stored(path: str) -> Callable[[Evidence], None]:
    return lambda evidence: evidence.stores["one"].append(path)


@pytest.mark.parametrize(("spoil", "text"), [
    (add(serves("9.0.0")), "nobody published"),
    (add(serves("1.2.0")), "should have refused"),
    (add(serves("1.1.0")), "went from 1.3.0 down to 1.1.0"),
    (add({"kind": "failed", "pid": 1, "error": "boom"}), "failed"),
    (add({"kind": "wrong", "pid": 1}), "wrong"),
    (add({"kind": "unserved", "pid": 1}), "unserved"),
    (add({"kind": "stopped", "threads": 3, "pid": 1}), "2 threads behind"),
    (add(resources("last", threads=9)), "had 4 threads and has 9"),
    (add(resources("last", descriptors=40)), "had 20 descriptors"),
    (add(resources("last", private_bytes=900_000_000)), "private_bytes"),
    (lambda evidence: evidence.reports.pop(0), "never decided on 1.1.0"),
    (lambda evidence: evidence.letters.clear(), "there is no dead letter"),
    (lambda evidence: evidence.letters.append(("one", "aa")), "die without a reason"),
    (lambda evidence: evidence.reports.append(said("aa", "1.1.0", Verdict.REJECTED)), "promoted and rejected"),
    (lambda evidence: evidence.reports.append(said("dd", "1.2.0", Verdict.PROMOTED)), "promoted 1.2.0"),
    (lambda evidence: evidence.reports.append(said("cc", "1.3.0", Verdict.REJECTED, "two")), "which is good"),
    (stored("releases/z/manifest"), "keeps 3 releases"),
    (stored("incoming/z/files/model"), "incoming/z/files/model behind"),
    (stored("journal/report-000000000001"), "behind"),
    (stored("releases/y/.tmp-x"), ".tmp-x behind"),
])
def test_each_kind_of_violation_is_found(spoil: Callable[[Evidence], None], text: str) -> None:
    evidence = honest()
    spoil(evidence)
    assert any(text in violation for violation in violations(evidence))


def test_what_a_process_has_in_the_middle_of_its_work_counts_for_nothing() -> None:
    evidence = honest()
    add(resources("last", descriptors=40) | {"is_at_rest": False})(evidence)
    assert violations(evidence) == []


def test_what_was_allowed_is_no_violation() -> None:
    evidence = honest()
    add(serves("1.1.0"))(evidence)
    evidence.steps_down.add(("1.3.0", "1.1.0"))
    evidence.reports.pop(0)
    evidence.lost.add("one")
    assert violations(evidence) == []
