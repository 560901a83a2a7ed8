"""Chunks first, order last; interrupted anywhere and run again, it finishes and sends only what is missing."""

from pathlib import Path

import numpy as np
import pytest
from tests.fakes.fake_broker import FakeBroker
from tests.fakes.faulty_broker import CutAfter, FaultyBroker

from modelcast.consumer.ahead import layout_of
from modelcast.consumer.trust import open_announcement, open_order
from modelcast.publisher import Publication, Publisher
from modelcast.publisher.progress import Progress
from modelcast.publisher.publication import ANNOUNCED_BYTES, ANNOUNCEMENT_LASTS_MS
from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.errors import BrokerUnreachable, ChangedWhileReading, ReleaseTooLarge, VersionConflict
from modelcast.shared.limits import KIB, MIB
from modelcast.shared.link import Broker
from modelcast.shared.manifest import Manifest
from modelcast.shared.order import ORDER_FORMATS, Order, OrderMessage
from modelcast.shared.road import Target
from modelcast.shared.signing import Envelope, KeyRing, SigningKey
from modelcast.shared.topology import HEADER_KIND, chunks_name, history_name

CHUNK = 64 * KIB


def publisher(broker: Broker, key: SigningKey, **options: object) -> Publisher:
    return Publisher(AmqpRoad(broker, retention_bytes=64 * MIB), signing_key=key, chunk_bytes=CHUNK, busy_seconds=0.0, **options)  # type: ignore[arg-type]


def noise(size: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(size)


@pytest.fixture
def model_path(tmp_path: Path) -> Path:
    path = tmp_path / "model.bin"
    path.write_bytes(noise(10 * CHUNK))
    return path


class Watched:
    """A road whose steps are written down: everything else passes through."""

    def __init__(self, road: AmqpRoad) -> None:
        self.road, self.steps = road, list[str]()

    def publish(self, model: str, channel: str, *, sends: bool = True):
        return Watching(self.road.publish(model, channel, sends=sends), self.steps)


class Watching:
    def __init__(self, inner, steps: list[str]) -> None:
        self._inner, self._steps = inner, steps

    def __getattr__(self, name: str):
        found = getattr(self._inner, name)
        if name in {"chunks", "register"}:
            return Watching(found, self._steps)
        if callable(found) and name in {"send", "finish", "append", "order", "announce", "apart", "rejoin"}:
            self._steps.append(name)
        return found


def test_the_order_comes_when_every_chunk_is_confirmed_and_the_register_has_the_release(signing_key, model_path: Path) -> None:
    road = Watched(AmqpRoad(FakeBroker(), retention_bytes=64 * MIB))
    Publisher(road, signing_key=signing_key, chunk_bytes=CHUNK).publish(model_path, model="fraud", version="1.0.0", format="files", lineage={})   # type: ignore[arg-type]
    begun, released, ordering, ordered = ["append"] * 4
    assert road.steps == [begun, *["send"] * 10, "finish", released, ordering, "order", ordered]


def test_others_may_order_between_the_first_chunk_and_the_last_when_there_are_many(
    signing_key, model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelcast.publisher.publication.ANNOUNCED_BYTES", 10 * CHUNK)
    road = Watched(AmqpRoad(FakeBroker(), retention_bytes=64 * MIB))
    Publisher(road, signing_key=signing_key, chunk_bytes=CHUNK).publish(model_path, model="fraud", version="1.0.0", format="files", lineage={})   # type: ignore[arg-type]
    begun, released, ordering, ordered = ["append"] * 4
    assert road.steps == [begun, "announce", "apart", *["send"] * 10, "finish", "rejoin", released, ordering, "order", ordered]


def publish(broker: Broker, key: SigningKey, path: Path, version: str = "1.0.0", channel: str = "production", *, resend: bool = False) -> Publication:
    return publisher(broker, key).publish(
        path, model="fraud", version=version, channel=channel, format="files", lineage={}, resend=resend
    )


def stream(broker: FakeBroker, name: str) -> list[tuple[bytes, object]]:
    link = broker.connect(name="test")
    inbox = link.inbox(name, prefetch=10_000, offset="first")
    found: list[tuple[bytes, object]] = []
    while (delivery := inbox.receive(0)) is not None:
        found.append((delivery.body, delivery.headers.get(HEADER_KIND)))
    link.close()
    return found


def chunks(broker: FakeBroker) -> list[bytes]:
    return [body for body, kind in stream(broker, chunks_name("fraud")) if kind == "chunk"]


def orders(broker: FakeBroker, channel: str = "production") -> list[Order]:
    bodies = [OrderMessage.from_bytes(body) for body, _ in stream(broker, history_name("fraud", channel))]
    payloads = [Envelope.from_bytes(message.order, what="order").payload for message in bodies]
    return [Order.from_bytes(p, what="order", formats=ORDER_FORMATS, max_bytes=10**6) for p in payloads]


def test_all_chunks_are_in_the_stream_and_one_order_names_the_release(
    fake_broker: FakeBroker, signing_key: SigningKey, model_path: Path
) -> None:
    publication = publish(fake_broker, signing_key, model_path)
    assert b"".join(chunks(fake_broker)) == model_path.read_bytes()
    (order,) = orders(fake_broker)
    assert (order.release.hex(), order.sequence) == (publication.release, publication.sequence)
    assert (publication.sent_bytes, publication.reused_bytes, publication.was_current) == (10 * CHUNK, 0, False)


def test_the_same_version_with_the_same_bytes_does_nothing_and_says_so(
    fake_broker: FakeBroker, signing_key: SigningKey, model_path: Path
) -> None:
    first = publish(fake_broker, signing_key, model_path)
    second = publish(fake_broker, signing_key, model_path)
    assert second.was_current
    assert (second.release, second.order) == (first.release, first.order)
    assert len(orders(fake_broker)) == 1
    assert len(chunks(fake_broker)) == 10


def test_the_same_version_with_other_bytes_is_refused_in_every_channel(
    fake_broker: FakeBroker, signing_key: SigningKey, model_path: Path
) -> None:
    publish(fake_broker, signing_key, model_path)
    model_path.write_bytes(noise(CHUNK, 1))
    for channel in ("production", "staging"):
        with pytest.raises(VersionConflict, match="with other bytes"):
            publish(fake_broker, signing_key, model_path, channel=channel)
    assert len(orders(fake_broker)) == 1
    assert len(chunks(fake_broker)) == 10


def test_another_channel_gets_the_same_release_without_a_byte(
    fake_broker: FakeBroker, signing_key: SigningKey, model_path: Path
) -> None:
    first = publish(fake_broker, signing_key, model_path, channel="staging")
    second = publish(fake_broker, signing_key, model_path, channel="production")
    assert (second.release, second.sent_bytes, second.was_current) == (first.release, 0, False)
    (order,) = orders(fake_broker, "production")
    assert order.oldest_offset == orders(fake_broker, "staging")[0].oldest_offset


def test_unchanged_chunks_of_an_earlier_version_are_not_sent_again(
    fake_broker: FakeBroker, signing_key: SigningKey, model_path: Path
) -> None:
    publish(fake_broker, signing_key, model_path)
    with model_path.open("r+b") as file:
        file.write(noise(10, 3))
    second = publish(fake_broker, signing_key, model_path, "1.1.0")
    assert (second.sent_bytes, second.reused_bytes) == (CHUNK, 9 * CHUNK)
    first_order, second_order = orders(fake_broker)
    assert second_order.oldest_offset == first_order.chunks_offset
    assert second_order.chunks_offset is not None
    assert second_order.chunks_offset > (first_order.chunks_offset or 0)


def test_resend_sends_everything_again_with_a_new_order(
    fake_broker: FakeBroker, signing_key: SigningKey, model_path: Path
) -> None:
    first = publish(fake_broker, signing_key, model_path)
    again = publish(fake_broker, signing_key, model_path, resend=True)
    assert (again.release, again.sequence, again.sent_bytes) == (first.release, first.sequence + 1, 10 * CHUNK)
    assert len(chunks(fake_broker)) == 20


@pytest.mark.parametrize("operations", range(0, 60, 3))
def test_cut_anywhere_and_run_again_it_finishes_with_one_whole_release(
    fake_broker: FakeBroker, signing_key: SigningKey, model_path: Path, operations: int
) -> None:
    cut = CutAfter(operations)
    try:
        publish(FaultyBroker(fake_broker, cut), signing_key, model_path)
    except BrokerUnreachable:
        assert cut.happened
        half = len(chunks(fake_broker)) if chunks_name("fraud") in fake_broker.node.queues else 0
        announced = len(orders(fake_broker)) if history_name("fraud", "production") in fake_broker.node.queues else 0
        second = publish(fake_broker, signing_key, model_path)
        assert second.was_current or second.sent_bytes == (0 if announced else max(0, 10 - half)) * CHUNK
    assert b"".join(dict.fromkeys(chunks(fake_broker))) == model_path.read_bytes()
    assert len(chunks(fake_broker)) == 10   # nothing was sent twice
    sequences = [order.sequence for order in orders(fake_broker)]
    assert sequences == sorted(set(sequences))
    assert len({order.release for order in orders(fake_broker)}) == 1


def test_a_release_over_half_the_retention_is_refused_before_a_chunk_is_sent(
    fake_broker: FakeBroker, signing_key: SigningKey, tmp_path: Path
) -> None:
    (tmp_path / "big").write_bytes(bytes(33 * MIB))
    with pytest.raises(ReleaseTooLarge, match="at most half"):
        publish(fake_broker, signing_key, tmp_path / "big")
    assert chunks(fake_broker) == []


@pytest.mark.parametrize("again", [False, True], ids=["first", "resent"])
def test_a_file_that_changes_while_it_is_published_is_never_announced(
    fake_broker: FakeBroker, signing_key: SigningKey, model_path: Path, again: bool
) -> None:
    def change(_progress: object) -> None:
        model_path.write_bytes(noise(10 * CHUNK, 9))

    publish(fake_broker, signing_key, model_path)
    before = orders(fake_broker)
    if not again:
        model_path.write_bytes(noise(10 * CHUNK, 8))
    with pytest.raises(ChangedWhileReading, match="changed while"):
        publisher(fake_broker, signing_key).publish(
            model_path, model="fraud", version="1.0.0" if again else "1.1.0", format="files", lineage={}, watch=change, resend=again
        )
    assert orders(fake_broker) == before


def test_an_object_that_changes_between_two_readings_is_never_announced(fake_broker: FakeBroker, signing_key: SigningKey) -> None:
    weights = np.zeros(4 * CHUNK // 8)
    first = publisher(fake_broker, signing_key)
    first.publish({"weights": weights}, model="fraud", version="1.0.0", lineage={})
    before = orders(fake_broker)

    def change(progress: Progress) -> None:
        weights[-1] += progress.stage == "sending"

    with pytest.raises(ChangedWhileReading, match="changed while"):
        first.publish({"weights": weights}, model="fraud", version="1.0.0", lineage={}, resend=True, watch=change)
    assert orders(fake_broker) == before


def test_a_chunk_stream_that_was_deleted_gets_all_chunks_again(
    fake_broker: FakeBroker, signing_key: SigningKey, model_path: Path
) -> None:
    publish(fake_broker, signing_key, model_path)
    fake_broker.delete_queue(chunks_name("fraud"))
    with model_path.open("ab") as file:
        file.write(noise(CHUNK, 5))
    second = publish(fake_broker, signing_key, model_path, "1.1.0")
    assert second.sent_bytes == 11 * CHUNK
    assert b"".join(chunks(fake_broker)) == model_path.read_bytes()


def test_a_manifest_of_another_key_is_signed_anew(
    fake_broker: FakeBroker, signing_key: SigningKey, other_key: SigningKey, model_path: Path
) -> None:
    publish(fake_broker, other_key, model_path, channel="staging")
    publish(fake_broker, other_key, model_path, channel="production")
    anew = publish(fake_broker, signing_key, model_path, channel="production")
    assert (anew.was_current, anew.sent_bytes) == (False, 0)
    assert publish(fake_broker, signing_key, model_path, channel="production").was_current
    body, _ = stream(fake_broker, history_name("fraud", "production"))[-1]
    envelope = Envelope.from_bytes(OrderMessage.from_bytes(body).manifest, what="manifest")
    assert [hint for hint, _ in envelope.signatures] == [signing_key.key_id]
    manifest = Manifest.from_bytes(envelope.payload, what="manifest", formats=frozenset({1}), max_bytes=10**6)
    assert manifest.version == "1.0.0"


def test_orders_are_signed_by_their_own_key_when_there_is_one(
    fake_broker: FakeBroker, signing_key: SigningKey, other_key: SigningKey, model_path: Path
) -> None:
    publisher(fake_broker, signing_key, order_key=other_key).publish(
        model_path, model="fraud", version="1.0.0", format="files", lineage={}
    )
    message = OrderMessage.from_bytes(stream(fake_broker, history_name("fraud", "production"))[0][0])
    signers = [Envelope.from_bytes(part, what="part").signatures[0][0] for part in (message.order, message.manifest)]
    assert signers == [other_key.key_id, signing_key.key_id]


def announcements(broker: FakeBroker) -> list[bytes]:
    """What waits in the queue of an instance that was there from the beginning, oldest first."""
    joined = AmqpRoad(broker).join(Target("fraud", "production", "a"))
    arrived = iter(lambda: joined.next_order(0), None)
    bodies = [order.body for order in arrived if order.receipt is not None]
    joined.close()
    return bodies


def test_a_large_release_is_announced_before_its_chunks_with_all_that_is_known(
    fake_broker: FakeBroker, signing_key: SigningKey, key_ring: KeyRing, tmp_path: Path
) -> None:
    AmqpRoad(fake_broker).join(Target("fraud", "production", "a")).close()
    path = tmp_path / "large.bin"
    path.write_bytes(noise(ANNOUNCED_BYTES))
    publication = publish(fake_broker, signing_key, path)
    announcement, order = announcements(fake_broker)
    announced = open_announcement(announcement, key_ring, model="fraud", channel="production")
    ordered = open_order(order, key_ring, model="fraud", channel="production")
    assert layout_of(announced.manifest) == layout_of(ordered.manifest)
    assert announced.release != ordered.release == publication.release
    assert (announced.order.sequence, announced.order.chunks_offset) == (ordered.order.sequence, ordered.order.chunks_offset)
    assert announced.order.expires_ms == publication.issued_ms + ANNOUNCEMENT_LASTS_MS
    digests = [entry.chunk_digests for entry in announced.manifest.artifact.files]
    assert all(set(each) == {0} for each in digests)


def test_what_needs_no_time_to_send_is_not_announced(fake_broker: FakeBroker, signing_key: SigningKey, tmp_path: Path) -> None:
    AmqpRoad(fake_broker).join(Target("fraud", "production", "a")).close()
    path = tmp_path / "large.bin"
    path.write_bytes(noise(ANNOUNCED_BYTES - 1))
    publish(fake_broker, signing_key, path)
    path.write_bytes(noise(ANNOUNCED_BYTES))
    publish(fake_broker, signing_key, path, "1.0.1")
    publish(fake_broker, signing_key, path, "1.0.2")                 # nothing of it is new, but that is known when it was read
    publish(fake_broker, signing_key, path, "1.0.2", resend=True)    # every instance knows it
    assert len(announcements(fake_broker)) == 4 + 2


def test_an_order_that_expires_soon_is_not_announced_for_longer(
    fake_broker: FakeBroker, signing_key: SigningKey, key_ring: KeyRing, tmp_path: Path
) -> None:
    AmqpRoad(fake_broker).join(Target("fraud", "production", "a")).close()
    path = tmp_path / "large.bin"
    path.write_bytes(noise(ANNOUNCED_BYTES))
    publication = publisher(fake_broker, signing_key).publish(
        path, model="fraud", version="1.0.0", format="files", lineage={}, expires_seconds=60
    )
    announced = open_announcement(announcements(fake_broker)[0], key_ring, model="fraud", channel="production")
    assert announced.order.expires_ms == publication.issued_ms + 60_000
