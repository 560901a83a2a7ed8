"""The ending says that all went well only if it did."""

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from modelcast.publisher.demo.closing import BAD_RELEASES, GOOD_VERSIONS, Record, Return, Trial, document, draw, problems
from modelcast.publisher.demo.outcomes import Staged
from modelcast.publisher.demo.traffic import Counts
from modelcast.shared.cli.output import Output

NAMES = ("instance-1", "instance-2", "instance-3")


def promoted(version: str, seconds: float) -> Trial:
    return Trial(version, "a good one", NAMES, {}, {}, dict.fromkeys(NAMES, version), seconds)


def rejected(version: str, reason: str) -> Trial:
    return Trial(
        version, "a bad one", (), dict.fromkeys(NAMES, reason), dict.fromkeys(NAMES, "No."), dict.fromkeys(NAMES, "1.1.0"), 0.5
    )


@pytest.fixture
def record() -> Record:
    trials = [promoted("1.0.0", 2.0), promoted("1.1.0", 0.25), *(rejected(v, r.value) for v, r in BAD_RELEASES.items())]
    letters = [
        {"id": f"{trial.version}{name}", "model": "demo", "version": trial.version, "instance": name, "reason": reason}
        for trial in trials for name, reason in trial.rejected.items()
    ]
    counts = {name: Counts(10, 0, Counter({"1.0.0": 4, "1.1.0": 6}), 12.34, "1.1.0") for name in NAMES}
    counts["instance-4"] = Counts(5, 0, Counter({"1.1.0": 5}), 3.0, "1.1.0")
    back = Return("instance-2", "1.1.0", 812.0, 0, connected=True)
    return Record(
        "demo", trials, back, replace(back, instance="instance-4", connections=3), ["staging"],
        {"staging": Staged("1.5.0", ("staging-1",), ("1.1.0",), 0, NAMES, 3, 0.4)}, letters, counts, 20.0,
    )


def test_a_run_in_which_everything_went_well_has_no_problems(record: Record) -> None:
    assert problems(record) == []


def test_a_run_in_which_nothing_happened_has_many() -> None:
    assert len(problems(Record("demo"))) >= len(GOOD_VERSIONS) + len(BAD_RELEASES) + 3


def test_a_failed_request_is_a_problem_and_is_named(record: Record) -> None:
    record.counts["instance-1"].add("status 503: not ready", None, 1.0)
    assert problems(record) == ["instance-1: status 503: not ready", "1 of 36 requests failed"]


def without_a_promotion(record: Record) -> None:
    record.trials[1] = replace(record.trials[1], promoted=NAMES[:2])


def with_another_reason(record: Record) -> None:
    record.trials[2] = replace(record.trials[2], rejected=record.trials[2].rejected | {"instance-1": "load-failed"})
    record.dead_letters[0]["reason"] = "load-failed"


def with_one_acceptance(record: Record) -> None:
    record.trials[3] = replace(record.trials[3], rejected=dict(list(record.trials[3].rejected.items())[:2]))


def with_a_bad_model_in_service(record: Record) -> None:
    record.trials[4] = replace(record.trials[4], serving=record.trials[4].serving | {"instance-3": "2.0.0"})


def with_an_early_connection(record: Record) -> None:
    assert record.restart is not None
    record.restart = replace(record.restart, connections=1)


def with_a_late_one_that_is_behind(record: Record) -> None:
    assert record.late is not None
    record.late = replace(record.late, version="1.0.0")


def with_a_lost_connection(record: Record) -> None:
    assert record.late is not None
    record.late = replace(record.late, connected=False)


def with_a_chapter_that_went_wrong(record: Record) -> None:
    record.told["staging"] = Staged("1.5.0", ("staging-1",), ("1.1.0",), 12, NAMES, 3, 0.4)


def with_a_chapter_that_left_nothing(record: Record) -> None:
    record.told.clear()


def with_a_lost_letter(record: Record) -> None:
    record.dead_letters.pop()


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (without_a_promotion, "1.1.0 was not promoted by all 3 instances"),
        (with_another_reason, "1.2.0 was not rejected by all 3 instances as chunk-damaged"),
        (with_one_acceptance, "1.3.0 was not rejected by all 3 instances as samples-not-reproduced"),
        (with_a_bad_model_in_service, "after 2.0.0 the instances served"),
        (with_an_early_connection, "did not serve its last good model before it had a connection"),
        (with_a_late_one_that_is_behind, "the late instance did not catch up"),
        (with_a_lost_connection, "instance-4 is not connected"),
        (with_a_chapter_that_went_wrong, "the promotion of 1.5.0 sent 12 bytes again"),
        (with_a_chapter_that_left_nothing, "the chapter staging left nothing behind"),
        (with_a_lost_letter, "1 of 12 rejections have no dead letter"),
    ],
)
def test_what_goes_wrong_is_said(record: Record, spoil: Any, problem: str) -> None:
    spoil(record)
    found = problems(record)
    assert len(found) == 1
    assert problem in found[0]


def test_the_object_has_every_number(record: Record) -> None:
    ending = json.loads(json.dumps(document(record, [])))
    assert (ending["ok"], ending["requests"], ending["failed_requests"], ending["longest_request_ms"]) == (True, 35, 0, 12.3)
    assert ending["answers_by_version"] == {"1.0.0": 12, "1.1.0": 23}
    assert ending["seconds_from_publish_to_last_promotion"] == 2.0
    assert [entry["reason"] for entry in ending["rejected"]] == [reason.value for reason in BAD_RELEASES.values()]
    assert (len(ending["instances"]), len(ending["promoted"]), len(ending["dead_letters"])) == (4, 2, 12)
    assert ending["chapters"]["staging"]["version"] == "1.5.0"


def test_the_table_and_the_last_sentence_are_for_people(record: Record, capsys: pytest.CaptureFixture[str]) -> None:
    draw(record, [], Output(as_json=False))
    printed = capsys.readouterr().out
    assert "samples-not-reproduced" in printed
    assert "35 requests, 0 failed" in printed
    draw(record, ["it rained"], Output(as_json=True))
    captured = capsys.readouterr()
    assert (captured.out, "it rained" in captured.err) == ("", True)
