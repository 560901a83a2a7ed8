"""An instance that was killed is retired: the fleet forgets it, until it comes back."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract.conftest import road_of
from tests.fakes.absent import AT_MS, report_as, unheard
from tests.fakes.life import Life
from tests.fakes.stage import LONG

from modelcast.publisher import Operator, retire
from modelcast.publisher.chronicle import read_fleet
from modelcast.publisher.fleet import Step
from modelcast.shared.errors import MisuseError, NotAccepted, NotFound


@pytest.fixture(params=["fake", "rabbitmq", "file", "http"])
def life(request: pytest.FixtureRequest, tmp_path: Path, signing_key) -> Iterator[Life]:
    life = Life(road_of(request.param, request, tmp_path), tmp_path, signing_key)
    yield life
    life.stop()


def test_one_that_is_silent_is_retired_and_a_member_again_when_it_comes_back(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    life.publisher.publish({"weights": 1}, model="fraud", version="1.0.0")
    boot = "0123456789abcdef"
    for name in ("web-1", "web-2"):
        report_as(life.road, name, boot)
    with pytest.raises(MisuseError, match="web-1 reported within the last 3 minutes"):
        retire(life.road, "fraud", "web-1")
    with pytest.raises(NotFound, match="No instance web-9 of fraud is known in production") as unknown:
        retire(life.road, "fraud", "web-9")
    assert unknown.value.hint == "Known are: web-1, web-2."
    with monkeypatch.context() as later:
        unheard(later)
        assert set(read_fleet(life.road, "fraud", "production").steps.values()) == {Step.SILENT}
        retire(life.road, "fraud", "web-1")
        retire(life.road, "fraud", "web-1")   # somebody else has said so: no matter
        assert list(read_fleet(life.road, "fraud", "production").members) == ["web-2"]
        assert list(read_fleet(life.road, "fraud", "staging").members) == []
    assert list(read_fleet(life.road, "fraud", "production").members) == ["web-1", "web-2"]   # it is heard
    unheard(monkeypatch)
    assert list(read_fleet(life.road, "fraud", "production").members) == ["web-2"]
    report_as(life.road, "web-1", boot, time_ms=AT_MS + 1)   # it had lost its network only
    assert read_fleet(life.road, "fraud", "production").steps["web-1"] is Step.SILENT
    retire(life.road, "fraud", "web-1")
    assert list(read_fleet(life.road, "fraud", "production").members) == ["web-2"]
    report_as(life.road, "web-1", boot[::-1])   # started again, with a clock that is behind
    assert read_fleet(life.road, "fraud", "production").steps["web-1"] is Step.SILENT


def test_an_instance_that_was_retired_keeps_nothing_from_being_promoted(life: Life, signing_key, monkeypatch: pytest.MonkeyPatch) -> None:
    life.started(instance="staging-1", channel="staging")
    report_as(life.road, "staging-2", "11" * 8, channel="staging")
    released = life.publisher.publish({"weights": 1}, model="fraud", version="1.0.0", channel="staging")
    life.publisher.wait(released, instances=1, timeout_seconds=LONG)
    operator = Operator(life.road, order_key=signing_key)
    with pytest.raises(NotAccepted, match=r"1 of 2 .* Silent: staging-2"):
        operator.promote("fraud", "1.0.0", from_channel="staging", require_verdicts=1.0)
    with monkeypatch.context() as later:
        unheard(later)
        retire(life.road, "fraud", "staging-2", channel="staging")
    assert operator.promote("fraud", "1.0.0", from_channel="staging", require_verdicts=1.0).version == "1.0.0"
