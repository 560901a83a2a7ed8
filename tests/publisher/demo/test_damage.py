"""Damage lands in one large chunk, and everything else passes."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from tests.fakes.fake_broker import FakeBroker

from modelcast.publisher.demo.damage import MIN_BYTES, DamagingRoad
from modelcast.publisher.publisher import Publisher
from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.digest import digest
from modelcast.shared.road import Target
from modelcast.shared.signing import SigningKey


@pytest.fixture
def road(fake_broker: FakeBroker) -> DamagingRoad:
    return DamagingRoad(AmqpRoad(fake_broker))


def arrived(road: DamagingRoad, model: str) -> Iterator[Any]:
    source = road.chunks(model, None)
    while (chunk := source.receive(0)) is not None:
        if chunk.is_chunk:
            yield bytes(chunk.body), chunk.claim
    source.close()


def test_one_chunk_does_not_match_its_claim_and_differs_in_one_bit(road: DamagingRoad, signing_key: SigningKey) -> None:
    model = {"weights": random.Random(0).randbytes(256 * 1024)}   # which is not packed
    Publisher(road, signing_key=signing_key, chunk_bytes=64 * 1024).publish(model, model="m", version="1.0.0")
    chunks = list(arrived(road, "m"))
    damaged = [(body, claim) for body, claim in chunks if digest(body).hex() != claim]
    assert (len(damaged), road.flipped) == (1, 1)
    body, claim = damaged[0]
    mended = bytearray(body)
    mended[len(mended) // 2] ^= 1
    assert digest(bytes(mended)).hex() == claim


def test_a_small_chunk_is_spared(road: DamagingRoad) -> None:
    assert road.damage(b"x" * (MIN_BYTES - 1)) == b"x" * (MIN_BYTES - 1)
    assert road.flipped == 0
    assert road.damage(bytes(MIN_BYTES)) != bytes(MIN_BYTES)
    assert road.damage(bytes(MIN_BYTES)) == bytes(MIN_BYTES)


def test_orders_and_reports_pass_unchanged(road: DamagingRoad) -> None:
    session = road.publish("m", "production")
    session.order("production", b"an order")
    session.register.append(b"a record")
    assert list(session.register.read()) == [b"a record"]
    assert list(session.chunks.held_since(0)) == []
    session.close()
    instance = road.join(Target("m", "production", "app-1"))
    order = instance.next_order(5.0)
    assert order is not None
    assert order.body == b"an order"
    reports = road.reports(since_minutes=None)
    instance.report(b"a report")
    assert reports.receive(5.0) == b"a report"
    reports.close()
    instance.close()
