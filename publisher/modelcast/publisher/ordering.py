"""Sending an order: numbered, signed, recorded before and after. Whatever sends one goes through here.

Decides what an order says, and the two records around it. Imports catalog, the road's protocols and the wire values.
"""

import time
from dataclasses import dataclass, field, replace

from modelcast.publisher.catalog import Catalog, Ordered, Released
from modelcast.publisher.traces import TRACE
from modelcast.shared.failpoints import Point, reach
from modelcast.shared.order import ORDER_TYPE, WAVE_FORMAT, Kind, Order, OrderMessage, order_id
from modelcast.shared.publishing_road import PublisherRoad
from modelcast.shared.signing import SigningKey


@dataclass(frozen=True, slots=True)
class Wave:
    """One wave of a gradual rollout.

    Attributes:
        rollout: Number of the rollout.
        number: Which wave, counted from 0.
        up_to: It is for the instances up to this turn; None is for all.
    """

    rollout: int
    number: int
    up_to: int | None


@dataclass(frozen=True, slots=True)
class Instruction:
    """What a channel is to run.

    Attributes:
        model: Name of the model.
        channel: Name of the channel.
        release: Release id.
        record: What the register says of the release.
        kind: Promotion or rollback.
        expires_ms: When the order expires, or None.
        wave: The part of the channel that it is for, or None for all of it.
        began: When it was asked for, on the monotonic clock.
        published_ms: How long after that all its chunks were confirmed, or None where none were sent.
    """

    model: str
    channel: str
    release: str
    record: Released
    kind: Kind = Kind.PROMOTION
    expires_ms: int | None = None
    wave: Wave | None = None
    began: float = field(default_factory=time.monotonic)
    published_ms: float | None = None


def milliseconds_since(began: float) -> float:
    """Return how long ago that was, on the monotonic clock."""
    return round((time.monotonic() - began) * 1000, 1)


def send_order(road: PublisherRoad, catalog: Catalog, wanted: Instruction, key: SigningKey, now_ms: int) -> Ordered:
    """Order a channel to run a release whose chunks are on the road; returns the record of it."""
    sequence, wave = catalog.next_sequence(wanted.channel, now_ms), wanted.wave
    order = Order(
        format=1 if wave is None or wave.up_to is None else WAVE_FORMAT,
        model=wanted.model, channel=wanted.channel, kind=wanted.kind, release=bytes.fromhex(wanted.release), sequence=sequence,
        issued_ms=now_ms, expires_ms=wanted.expires_ms, chunks_offset=wanted.record.chunks_offset,
        oldest_offset=wanted.record.oldest_offset, trace=TRACE.get(),
        up_to=wave.up_to if wave else None, rollout=wave.rollout if wave else None,
    )
    body = OrderMessage(key.sign(ORDER_TYPE, order.to_bytes()), wanted.record.manifest).to_bytes()
    intended = Ordered(
        wanted.channel, sequence, wanted.release, now_ms, kind=wanted.kind.value, key=key.key_id, up_to=order.up_to,
        rollout=order.rollout, wave=wave.number if wave else None,
    )
    road.register.append(intended.to_bytes())
    reach(Point.BEFORE_ORDER)
    road.order(wanted.channel, body)
    reach(Point.AFTER_ORDER)
    took_ms = {"confirmed": milliseconds_since(wanted.began)}
    if wanted.published_ms is not None:
        took_ms["published"] = wanted.published_ms
    ordered = replace(intended, order=order_id(body), took_ms=took_ms)
    road.register.append(ordered.to_bytes())
    reach(Point.AFTER_ORDERED)
    return ordered
