"""Looking takes nothing away, and finds each letter's own report."""

import pytest
from tests.fakes import specimens
from tests.fakes.fake_broker import FakeBroker

from modelcast.consumer.deadletters.browse import find_dead, find_letter, page_after, read_letters, reports_about
from modelcast.consumer.deadletters.choosing import Wish
from modelcast.consumer.deadletters.letter import letter_id
from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.errors import BrokerUnreachable, NotFound
from modelcast.shared.order import order_id
from modelcast.shared.report import ReportKind, Verdict
from modelcast.shared.road import Road, Target
from modelcast.shared.signing import SigningKey


def refuse(road: Road, body: bytes, instance: str, reason: str | None) -> None:
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


def test_of_several_reports_on_an_order_the_newest_refusal_counts(fake_broker: FakeBroker) -> None:
    road = AmqpRoad(fake_broker)
    refuse(road, b"random bytes", "web-1", "load-failed")
    refuse(road, b"random bytes", "web-1", "timed-out")
    assert {letter.reason for letter in read_letters(road, limit=10)} == {"timed-out"}
    (newest, *_) = [letter for letter in read_letters(road, limit=10) if letter.reason]
    told = reports_about(road, newest)
    assert [report.reason for report in told] == ["load-failed", "timed-out"]


def test_a_letter_is_found_with_its_body_or_said_not_to_be_there(fake_broker: FakeBroker) -> None:
    road = AmqpRoad(fake_broker)
    for number in range(3):
        refuse(road, b"bytes %d" % number, "web-1", None)
    for letter in read_letters(road, limit=10):
        assert letter_id(find_dead(road, letter.id[:6])) == letter.id
    with pytest.raises(NotFound, match="is not unique"):
        find_dead(road, "")
    with pytest.raises(NotFound, match="is no dead letter"):
        find_dead(road, "zzzz")


def test_a_page_ends_where_the_next_one_begins(fake_broker: FakeBroker) -> None:
    road = AmqpRoad(fake_broker)
    for number in range(4):
        refuse(road, b"bytes %d" % number, "web-1", "malformed")
    every = [letter.id for letter in read_letters(road, limit=10)]
    first, following = page_after(road, None, limit=2)
    assert ([letter.id for letter in first], following) == (every[:2], every[1])
    second, following = page_after(road, following, limit=2)
    assert ([letter.id for letter in second], following) == (every[2:], None)
    assert page_after(road, every[-1], limit=2) == ([], None)
    with pytest.raises(NotFound, match="not there"):
        page_after(road, "zzzz", limit=2)


def test_without_facts_a_report_keeps_what_a_list_shows(fake_broker: FakeBroker) -> None:
    road = AmqpRoad(fake_broker)
    refuse(road, b"random bytes", "web-1", "malformed")
    (letter,) = read_letters(road, limit=10, wish=Wish(reason="malformed"), with_facts=False)
    assert (letter.reason, letter.report and letter.report.facts) == ("malformed", {})
    assert read_letters(road, limit=10, wish=Wish(reason="timed-out")) == []
    assert read_letters(road, limit=0) == []
