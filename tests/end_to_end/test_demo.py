"""The whole story, on a real RabbitMQ, in a shared directory and through a server, by the command that a person types."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.docs.documents import problems_of_printed

COMMAND = [sys.executable, "-m", "modelcast.shared.cli", "demo", "--json"]
FIRST = ["instance-1", "instance-2", "instance-3"]
ALL = [*FIRST, "instance-4"]
REJECTED = {
    "1.2.0": "chunk-damaged", "1.3.0": "samples-not-reproduced", "2.0.0": "version-out-of-range", "1.4.0": "unknown-key",
}


ROADS = ["rabbitmq", *(pytest.param(road, marks=pytest.mark.torture) for road in ("file", "http"))]
"""Half a minute each; the contracts hold the other roads to the same in every run, and a part of the story runs on one below."""


@pytest.fixture(scope="module", params=ROADS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> "tuple[subprocess.CompletedProcess[str], Path]":
    folder = tmp_path_factory.mktemp("demo")
    broker = {"MODELCAST_AMQP_URL": request.getfixturevalue("fresh_vhost_url")()} if request.param == "rabbitmq" else {}
    done = subprocess.run(
        [*COMMAND, "--road", request.param], cwd=folder, capture_output=True, text=True, timeout=150,
        env={**os.environ, **broker, "TMPDIR": str(folder)}, stdin=subprocess.DEVNULL, check=False,
    )
    return done, folder


@pytest.fixture(scope="module")
def ending(run: "tuple[subprocess.CompletedProcess[str], Path]") -> dict[str, Any]:
    done, _ = run
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_stdout_is_one_json_object_that_says_all_is_well(ending: dict[str, Any]) -> None:
    assert ending["ok"] is True
    assert ending["problems"] == []
    assert problems_of_printed("demo", ending) == []


def test_no_request_failed(ending: dict[str, Any]) -> None:
    assert ending["failed_requests"] == 0
    assert ending["requests"] > 100
    assert ending["requests"] == sum(ending["answers_by_version"].values())
    assert 0 < ending["longest_request_ms"] < 10_000


def test_only_the_good_versions_answered(ending: dict[str, Any]) -> None:
    assert set(ending["answers_by_version"]) == {"1.0.0", "1.1.0", "1.5.0", "1.6.0"}


def test_all_instances_serve_the_latest_model_in_the_end(ending: dict[str, Any]) -> None:
    assert [entry["instance"] for entry in ending["instances"]] == [*ALL, "staging-1"]
    assert {entry["instance"]: entry["version"] for entry in ending["instances"]} == dict.fromkeys(ALL, "1.6.0") | {"staging-1": "1.5.0"}
    assert all(entry["requests"] > 0 and entry["failed_requests"] == 0 for entry in ending["instances"])


def test_all_promoted_the_good_releases(ending: dict[str, Any]) -> None:
    promoted = [(entry["version"], sorted(entry["instances"])) for entry in ending["promoted"]]
    assert promoted == [("1.0.0", FIRST), ("1.1.0", FIRST), ("1.5.0", ALL), ("1.6.0", ALL)]
    assert ending["seconds_from_publish_to_last_promotion"] == max(entry["seconds"] for entry in ending["promoted"]) > 0


def test_all_rejected_the_bad_releases_each_for_its_reason_and_served_on(ending: dict[str, Any]) -> None:
    *at_once, in_waves = ending["rejected"]
    assert {entry["version"]: entry["reason"] for entry in at_once} == REJECTED
    assert (in_waves["version"], in_waves["reason"], len(in_waves["instances"])) == ("1.7.0", "samples-not-reproduced", 1)
    for entry in at_once:
        assert [part["instance"] for part in entry["instances"]] == FIRST
        assert all(part["message"] for part in entry["instances"])
        assert entry["served_on"] == dict.fromkeys(FIRST, "1.1.0")


def test_the_killed_instance_served_before_it_had_a_connection(ending: dict[str, Any]) -> None:
    restart = ending["restart"]
    assert (restart["version"], restart["connections_before_first_answer"], restart["connected"]) == ("1.1.0", 0, True)
    assert restart["ms_from_start_to_first_answer"] > 0


def test_the_late_instance_caught_up(ending: dict[str, Any]) -> None:
    assert (ending["late"]["instance"], ending["late"]["version"], ending["late"]["connected"]) == ("instance-4", "1.1.0", True)


def test_a_release_came_by_way_of_staging_and_no_byte_of_it_was_sent_again(ending: dict[str, Any]) -> None:
    staged = ending["chapters"]["staging"]
    assert (staged["version"], staged["staged"], staged["production_meanwhile"]) == ("1.5.0", ["staging-1"], ["1.1.0"])
    assert (staged["sent_bytes"], sorted(staged["promoted"])) == (0, ALL)


def test_all_went_back_without_a_transfer_and_the_withdrawn_version_came_back_when_somebody_insisted(ending: dict[str, Any]) -> None:
    back = ending["chapters"]["rollback"]
    assert (back["withdrawn"], back["version"], sorted(back["instances"]), back["fetched_bytes"]) == ("1.5.0", "1.1.0", ALL, 0)
    assert (back["served"], back["refusals"], sorted(back["again"])) == (["1.1.0"], {"promote": 30, "publish": 30}, ALL)


def test_a_release_went_from_wave_to_wave_and_a_bad_one_no_farther_than_the_first_instance(ending: dict[str, Any]) -> None:
    waves = ending["chapters"]["waves"]
    assert (waves["version"], waves["bad"], waves["went_back_to"], waves["served"]) == ("1.6.0", "1.7.0", "1.6.0", ["1.6.0"])
    assert [len(names) for names in waves["reached"]] == [1, 2, 4]
    assert waves["asked"] == waves["refused"] == waves["reached"][0]


def test_every_rejection_has_a_dead_letter(ending: dict[str, Any]) -> None:
    found = {(letter["version"], letter["instance"], letter["reason"]) for letter in ending["dead_letters"]}
    [first] = ending["chapters"]["waves"]["refused"]
    assert found == {(version, name, reason) for version, reason in REJECTED.items() for name in FIRST} | {
        ("1.7.0", first, "samples-not-reproduced"),
    }
    assert len(ending["dead_letters"]) == 13


def test_the_story_is_told_on_stderr_and_never_shows_the_password(
    run: "tuple[subprocess.CompletedProcess[str], Path]", ending: dict[str, Any],
) -> None:
    story = run[0].stderr
    assert ending["model"] in story
    for word in (*REJECTED.values(), "SIGKILL", "comes late", "By way of staging", "is withdrawn", "--again", "In waves", "halted", "What to do", "Everything went as it should."):
        assert word in story
    assert "amqp://" not in story


def test_nothing_is_left_behind(run: "tuple[subprocess.CompletedProcess[str], Path]") -> None:
    assert list(run[1].iterdir()) == []


@pytest.mark.torture
def test_the_way_back_is_told_without_staging_too(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "--road", "file", "--skip", "staging", "--skip", "waves"], cwd=tmp_path, capture_output=True, text=True, timeout=150,
        env={**os.environ, "TMPDIR": str(tmp_path)}, stdin=subprocess.DEVNULL, check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    ending = json.loads(done.stdout)
    assert problems_of_printed("demo", ending) == []
    assert [entry["instance"] for entry in ending["instances"]] == ALL
    assert list(ending["chapters"]) == ["rollback"]
    assert (ending["chapters"]["rollback"]["withdrawn"], ending["failed_requests"]) == ("1.5.0", 0)
    assert "By way of staging" not in done.stderr
