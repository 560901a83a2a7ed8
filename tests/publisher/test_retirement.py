"""An instance that was killed is retired: the fleet forgets it, until it comes back."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract.conftest import road_of
from tests.fakes.absent import report_as, unheard
from tests.fakes.life import Life

from modelcast.publisher import retire
from modelcast.publisher.chronicle import read_fleet
from modelcast.publisher.fleet import Step
from modelcast.shared.errors import MisuseError, NotFound


@pytest.fixture(params=["fake", "rabbitmq", "file", "http"])
def life(request: pytest.FixtureRequest, tmp_path: Path, signing_key) -> Iterator[Life]:
    life = Life(road_of(request.param, request, tmp_path), tmp_path, signing_key)
    yield life
    life.stop()


def test_one_that_is_silent_is_retired_and_a_member_again_when_it_comes_back(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    life.publisher.publish({"weights": 1}, model="fraud", version="1.0.0")
    for name in ("web-1", "web-2"):
        report_as(life.road, name, "11" * 8)
    with pytest.raises(MisuseError, match="web-1 reported within the last 3 minutes"):
        retire(life.road, "fraud", "web-1")
    with pytest.raises(NotFound, match="No instance web-9 of fraud is known in production") as unknown:
        retire(life.road, "fraud", "web-9")
    assert unknown.value.hint == "Known are: web-1, web-2."
    with monkeypatch.context() as later:
        unheard(later)
        assert set(read_fleet(life.road, "fraud", "production").steps.values()) == {Step.SILENT}
        retire(life.road, "fraud", "web-1")
        assert list(read_fleet(life.road, "fraud", "production").members) == ["web-2"]
        assert list(read_fleet(life.road, "fraud", "staging").members) == []
    assert list(read_fleet(life.road, "fraud", "production").members) == ["web-1", "web-2"]   # it is heard
    report_as(life.road, "web-1", "22" * 8)
    unheard(monkeypatch)
    assert read_fleet(life.road, "fraud", "production").steps["web-1"] is Step.SILENT   # another start of it, that is away as well
