"""Whether a road keeps releases for long enough: judged by sizes, and read from a real register without making one."""

from pathlib import Path

import pytest
from tests.fakes.life import Life

from modelcast.publisher.retention_check import check_retention, judge_retention
from modelcast.shared.doctor.amqp_checks import check_broker
from modelcast.shared.doctor.amqp_probes import has_queue
from modelcast.shared.doctor.findings import Case
from modelcast.shared.limits import MIB
from modelcast.shared.permissions import Role
from modelcast.shared.pika_link import PikaBroker
from modelcast.shared.roads import open_road
from modelcast.shared.signing import SigningKey

GB = 10**9


@pytest.mark.parametrize(("sizes", "kept", "level"), [
    ([GB], None, "ok"), ([GB], 4 * GB, "ok"), ([GB], 4 * GB - 1, "warning"), ([GB], 2 * GB, "warning"), ([GB], 2 * GB - 1, "problem"),
    ([1, 1, GB, 1], 3 * GB, "warning"), ([GB] * 10, 4 * GB, "ok"),
])
def test_a_stream_should_hold_some_of_the_largest_release(sizes: list[int], kept: int | None, level: str) -> None:
    told = judge_retention(sizes, kept)
    assert told.level == level
    assert (told.facts["largest_bytes"], told.facts["total_bytes"], told.facts["releases"]) == (max(sizes), sum(sizes), len(sizes))


def test_the_remedy_names_a_retention_that_is_enough() -> None:
    told = judge_retention([100 * GB], 20 * GB)
    assert f"retention_bytes={800 * GB}" in str(told.remedy)
    assert judge_retention([100 * GB], 800 * GB).level == "ok"


def test_on_a_broker_the_releases_are_held_against_what_the_stream_keeps(broker_url: str, tmp_path: Path, signing_key: SigningKey) -> None:
    life = Life(open_road(broker_url, retention_bytes=64 * MIB), tmp_path, signing_key)
    life.publisher.publish([bytes(17 * MIB)], model="fraud", version="1.0.0")
    case = Case(broker_url, "fraud", role=Role.OPERATOR)
    list(check_broker(case))
    (told,) = check_retention(case)
    assert "not told" in told.text   # an operator may not declare the chunk stream, so that nobody tells what it keeps
    case = Case(broker_url, "fraud", role=Role.PUBLISHER)
    list(check_broker(case))
    (told,) = check_retention(case)
    assert (told.level, told.facts["retention_bytes"]) == ("warning", 64 * MIB)


def test_a_register_that_is_not_there_is_not_made(broker_url: str) -> None:
    case = Case(broker_url, "fraud", role=Role.PUBLISHER)
    list(check_broker(case))
    assert list(check_retention(case)) == []
    link = PikaBroker(broker_url).connect(name="test")
    assert not has_queue(link, "modelcast.fraud.releases")
    link.close()


def test_in_a_directory_releases_stay(tmp_path: Path, signing_key: SigningKey) -> None:
    url = f"file://{tmp_path / 'depot'}"
    (tmp_path / "depot").mkdir(mode=0o700)
    life = Life(open_road(url), tmp_path, signing_key)
    life.publisher.publish({"a": 1}, model="fraud", version="1.0.0")
    assert ["until they are pruned" in finding.text for finding in check_retention(Case(url, "fraud"))] == [True]
    assert ["Nothing of other" in finding.text for finding in check_retention(Case(url, "other"))] == [True]


@pytest.mark.parametrize("case", [Case("amqp://nowhere/"), Case("amqp://nowhere/", "fraud"), Case("", "fraud"),
                                  Case("file:///nowhere", "fraud", role=Role.INSTANCE)])
def test_it_asks_nobody_where_it_may_not_or_need_not(case: Case) -> None:
    assert list(check_retention(case)) == []
