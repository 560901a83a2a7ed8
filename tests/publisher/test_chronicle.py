"""What happened is read from the register and the reports, on every road, and changes nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract.conftest import road_of
from tests.fakes.life import Life
from tests.fakes.stage import LONG

from modelcast.publisher import Operator
from modelcast.publisher.chronicle import decisions, history, read_catalog, read_fleet, reports_of
from modelcast.publisher.fleet import Step
from modelcast.shared.errors import NotFound, OutOfTime
from modelcast.shared.signing import SigningKey


@pytest.fixture(params=["fake", "rabbitmq", "file", "http"])
def life(request: pytest.FixtureRequest, tmp_path: Path, signing_key: SigningKey) -> Iterator[Life]:
    life = Life(road_of(request.param, request, tmp_path), tmp_path, signing_key)
    yield life
    life.stop()


def test_orders_are_told_with_their_outcome_and_the_fleet_with_who_refused(life: Life, signing_key: SigningKey) -> None:
    life.joined(instance="a")
    life.joined(instance="b", accept="<2")
    first = life.publisher.publish({"weights": 1}, model="fraud", version="1.0.0")
    assert life.publisher.wait(first, instances=2, timeout_seconds=LONG).ok
    second = life.publisher.publish({"weights": 2}, model="fraud", version="2.0.0")
    outcome = life.publisher.wait(second, instances=2, timeout_seconds=LONG)
    assert (sorted(outcome.promoted), sorted(outcome.rejected)) == (["a"], ["b"])
    life.eventually(lambda: life.has_said("1.0.0", "a", "b") and life.has_said("2.0.0", "a", "b"))
    records = history(life.road, "fraud", "production")
    assert [(record.version, record.ordered.kind, dict(record.outcome)) for record in records] == [
        ("1.0.0", "promotion", {"promoted": 2}), ("2.0.0", "promotion", {"promoted": 1, "rejected": 1}),
    ]
    assert records[1].slowest is not None
    assert records[0].to_dict()["key"] == signing_key.key_id
    found = read_fleet(life.road, "fraud", "production")
    assert found.steps == {"a": Step.CURRENT, "b": Step.REFUSED}
    ((refusal, ordered),) = decisions(life.road, "fraud", "2.0.0", instance="b")
    assert (refusal.reason, refusal.facts["accept"]) == ("version-out-of-range", "<2")
    assert ordered is not None
    assert 0 <= ordered.took_ms["published"] <= ordered.took_ms["confirmed"] < LONG * 1000
    assert records[1].to_dict()["took_ms"] == ordered.took_ms
    back = Operator(life.road, order_key=signing_key).rollback("fraud", reason="b cannot")
    assert Operator(life.road, order_key=signing_key).wait(back, instances=2, timeout_seconds=LONG).ok
    *_, withdrawn, last = history(life.road, "fraud", "production")
    assert set(last.ordered.took_ms) == {"confirmed"}   # no chunk was sent
    withdrawal = withdrawn.withdrawal
    assert (withdrawal.version, withdrawal.reason) == ("2.0.0", "b cannot")   # type: ignore[union-attr]
    assert read_fleet(life.road, "fraud", "production").is_in_step


def test_what_is_not_there_is_not_found(life: Life) -> None:
    with pytest.raises(NotFound, match="Nothing of a model fraud was published"):
        read_catalog(life.road, "fraud")
    with pytest.raises(NotFound, match=r"No verdict on fraud 1\.0\.0 at a is kept"):
        decisions(life.road, "fraud", "1.0.0", instance="a")
    assert read_fleet(life.road, "fraud", "production").members == {}


def test_reports_that_never_end_are_not_read_for_ever(life: Life) -> None:
    class Endless:
        is_caught_up = False

        def receive(self, _seconds: float) -> bytes:
            return b"x"

        def close(self) -> None: ...

    class Flooded:
        def reports(self, *, since_minutes: int | None) -> Endless:
            del since_minutes
            return Endless()

    now = iter(range(0, 1000, 50))
    with pytest.raises(OutOfTime):
        list(reports_of(Flooded(), 5, clock=lambda: next(now)))   # type: ignore[arg-type]
