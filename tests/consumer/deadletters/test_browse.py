"""Looking takes nothing away, and finds each letter's own report."""

import pytest
from tests.fakes import specimens
from tests.fakes.fake_broker import FakeBroker

from modelcast.consumer.deadletters.browse import find_letter, read_letters
from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.errors import BrokerUnreachable, NotFound
from modelcast.shared.order import order_id
from modelcast.shared.report import ReportKind, Verdict
from modelcast.shared.road import Target
from modelcast.shared.signing import SigningKey


def refuse(road: AmqpRoad, body: bytes, instance: str, reason: str | None) -> None:
    joined = road.join(Target("fraud", "production", instance))
    session = road.publish("fraud", "production")
    session.order("production", body)
    session.close()
    while (arrived := joined.next_order(5.0)) is not None:
        if arrived.receipt is not None:
            break
    assert arrived is not None
    if reason is not None:
        joined.report(b"not a report at all")
        joined.report(specimens.report(
            kind=ReportKind.VERDICT, verdict=Verdict.REJECTED, instance=instance, order=order_id(body), reason=reason
        ).to_bytes())
    joined.settle(arrived, accept=False)
    joined.close()


def test_each_letter_gets_the_report_of_its_own_instance(fake_broker: FakeBroker, signing_key: SigningKey) -> None:
    road = AmqpRoad(fake_broker)
    body = specimens.order_message(signing_key).to_bytes()
    refuse(road, body, "web-1", "too-large")
    refuse(road, body + b"", "web-2", None)
    refuse(road, b"random bytes", "web-3", "malformed")
    first = read_letters(road, limit=100)
    by_instance = {letter.instance: letter.reason for letter in first}
    assert by_instance["web-1"] == "too-large"
    assert by_instance["web-3"] == "malformed"
    assert "web-2" in by_instance
    assert [letter.id for letter in read_letters(road, limit=100)] == [letter.id for letter in first]   # nothing was taken
    assert len(read_letters(road, limit=1)) == 1


class Fleet:
    """A road whose reports never pause, or never say that the past is read."""

    def __init__(self, road: AmqpRoad, *, catches_up_after: int, body: bytes | None) -> None:
        self.dead_letters = road.dead_letters
        self.received, self._catches_up_after, self._body = 0, catches_up_after, body

    def reports(self, *, since_minutes: int | None) -> "Fleet":
        assert since_minutes is None
        return self

    @property
    def is_caught_up(self) -> bool:
        return self.received >= self._catches_up_after

    def receive(self, seconds: float) -> bytes | None:
        assert seconds > 0
        self.received += 1
        return self._body

    def close(self) -> None: ...


def test_looking_ends_where_the_past_ends_though_a_large_fleet_never_pauses(fake_broker: FakeBroker) -> None:
    refuse(AmqpRoad(fake_broker), b"random bytes", "web-3", None)
    fleet = Fleet(AmqpRoad(fake_broker), catches_up_after=500, body=specimens.report(kind=ReportKind.STATE).to_bytes())
    assert [letter.reason for letter in read_letters(fleet, limit=10)] == [None]
    assert fleet.received == 500


def test_a_broker_that_gives_nothing_back_is_an_error_and_no_letter_without_a_report(fake_broker: FakeBroker) -> None:
    refuse(AmqpRoad(fake_broker), b"random bytes", "web-3", None)
    fleet = Fleet(AmqpRoad(fake_broker), catches_up_after=10_000, body=None)
    with pytest.raises(BrokerUnreachable, match="did not give back"):
        read_letters(fleet, limit=10)


def test_no_letters_is_an_empty_list(fake_broker: FakeBroker) -> None:
    assert read_letters(AmqpRoad(fake_broker), limit=10) == []


def test_a_letter_is_found_by_the_beginning_of_its_id(fake_broker: FakeBroker, signing_key: SigningKey) -> None:
    road = AmqpRoad(fake_broker)
    refuse(road, specimens.order_message(signing_key).to_bytes(), "web-1", "expired")
    letters = read_letters(road, limit=10)
    assert find_letter(letters, letters[0].id[:4]) == letters[0]
    with pytest.raises(NotFound, match="is no dead letter"):
        find_letter(letters, "zzzz")
    with pytest.raises(NotFound, match="is not unique"):
        find_letter([*letters, *read_letters(road, limit=10), *_other(road)], "")


def _other(road: AmqpRoad) -> list[object]:
    refuse(road, b"other", "web-9", "malformed")
    return read_letters(road, limit=10)  # type: ignore[return-value]
