"""Asking before anything is sent: on every road the instances answer by the rules that an order would meet, and nothing changes."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract.conftest import road_of
from tests.fakes.life import Life

from modelcast.publisher import Operator, Publisher
from modelcast.publisher.chronicle import read_fleet
from modelcast.shared.errors import NotFound
from modelcast.shared.report import ReportKind
from modelcast.shared.signing import SigningKey

SOON = 10.0


@pytest.fixture(params=["fake", "rabbitmq", "file", "http"])
def life(request: pytest.FixtureRequest, tmp_path: Path, signing_key: SigningKey) -> Iterator[Life]:
    life = Life(road_of(request.param, request, tmp_path), tmp_path, signing_key)
    yield life
    life.stop()


def test_each_instance_says_whether_it_would_take_it_and_why_not(life: Life) -> None:
    life.joined(instance="takes")
    life.joined(instance="narrow", accept="<2")
    life.joined(instance="small", max_artifact_bytes=10)
    life.eventually(lambda: len(read_fleet(life.road, "fraud", "production").members) == 3)   # who never reported is not waited for
    began = time.monotonic()
    forecast = life.publisher.preflight({"weights": list(range(100))}, model="fraud", version="2.0.0", timeout_seconds=SOON)
    assert time.monotonic() - began < SOON   # nobody is waited for who has answered
    assert sorted(forecast.accepting) == ["takes"]
    assert {name: report.reason for name, report in forecast.refusing.items()} == {
        "narrow": "version-out-of-range", "small": "too-large",
    }
    assert forecast.refusing["narrow"].facts["accept"] == "<2"
    assert (forecast.silent, forecast.ok) == ((), False)
    assert all(report.kind is ReportKind.ANSWER for report in forecast.accepting.values())


def test_asking_changes_nothing(life: Life) -> None:
    consumer = life.joined()
    before = life.road.records("fraud")
    assert life.publisher.preflight({"weights": 1}, model="fraud", version="2.0.0", timeout_seconds=SOON).ok
    assert life.road.records("fraud") == before
    assert (consumer.status().version, consumer.status().rejected, life.letters(), life.verdicts()) == (None, 0, [], [])
    publication = life.publisher.publish({"weights": 1}, model="fraud", version="2.0.0")
    assert life.publisher.wait(publication, instances=1, timeout_seconds=30).ok


def test_a_library_that_is_missing_there_is_named_before_a_byte_is_sent(life: Life) -> None:
    life.joined()
    forecast = life.publisher.preflight(
        {"weights": 1}, model="fraud", version="2.0.0", dependencies={"no-such-library": "1.0"}, timeout_seconds=SOON
    )
    assert forecast.refusing["a"].reason == "incompatible-environment"
    assert "no-such-library" in (forecast.refusing["a"].message or "")


def test_a_key_that_is_not_trusted_there_is_told(life: Life, other_key: SigningKey) -> None:
    life.joined()
    stranger = Publisher(life.road, signing_key=other_key)
    assert stranger.preflight({"weights": 1}, model="fraud", version="2.0.0", timeout_seconds=SOON).refusing["a"].reason == "unknown-key"


def test_a_release_that_is_there_is_asked_about_by_its_version(life: Life, signing_key: SigningKey) -> None:
    life.joined(instance="p")
    life.publisher.publish({"weights": 1}, model="fraud", version="2.0.0", channel="staging")
    operator = Operator(life.road, order_key=signing_key)
    assert operator.preflight("fraud", "2.0.0", timeout_seconds=SOON).ok
    with pytest.raises(NotFound):
        operator.preflight("fraud", "9.0.0")


def test_where_nobody_is_nobody_answers(life: Life) -> None:
    forecast = life.publisher.preflight({"weights": 1}, model="fraud", version="2.0.0", timeout_seconds=0.3)
    assert (forecast.accepting, forecast.refusing, forecast.silent, forecast.ok) == ({}, {}, (), False)
