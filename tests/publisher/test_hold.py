"""While a large artifact is read and sent others order, and what they did counts for what is decided afterwards."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.contract.conftest import road_of
from tests.fakes.cut_road import CutRoad
from tests.fakes.fake_broker import FakeBroker

from modelcast.publisher import Operator, Publication, Publisher
from modelcast.publisher.chronicle import read_catalog
from modelcast.publisher.hold import Hold
from modelcast.publisher.progress import Progress
from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.errors import BrokerUnreachable, HostFault, Withdrawn
from modelcast.shared.limits import KIB, MIB
from modelcast.shared.operating_road import OpenRoad
from modelcast.shared.publishing_road import PublisherRoad
from modelcast.shared.signing import SigningKey
from modelcast.shared.topology import chunks_name

CHUNK = 64 * KIB
LARGE = 10 * CHUNK
Watch = Callable[[Progress], None]


@pytest.fixture(autouse=True)
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten chunks are many."""
    monkeypatch.setattr("modelcast.publisher.publication.ANNOUNCED_BYTES", LARGE)


@pytest.fixture(params=["fake", "rabbitmq", "file", "http"])
def road(request: pytest.FixtureRequest, tmp_path: Path) -> OpenRoad:
    return road_of(request.param, request, tmp_path)


@pytest.fixture
def publish(road: OpenRoad, tmp_path: Path, signing_key: SigningKey) -> Callable[..., Publication]:
    def publish(version: str, *, through: OpenRoad | None = None, seed: int = 0, **options: object) -> Publication:
        path = tmp_path / "model.bin"
        path.write_bytes(np.random.default_rng(seed).bytes(LARGE))
        publisher = Publisher(through or road, signing_key=signing_key, chunk_bytes=CHUNK, busy_seconds=0.0)
        return publisher.publish(path, model="fraud", version=version, format="files", lineage={}, **options)   # type: ignore[arg-type]

    return publish


def at(stage: str, act: Callable[[], object]) -> tuple[Watch, list[object]]:
    """A watcher that acts once, as soon as something of a stage is done, and what came of it."""
    came = list[object]()

    def watch(progress: Progress) -> None:
        if progress.stage == stage and progress.done_bytes and not came:
            came.append(act())

    return watch, came


@pytest.mark.parametrize("again", [False, True])
def test_what_was_rolled_back_while_it_was_sent_is_not_ordered_however_it_was_asked_for(
    road: OpenRoad, publish: Callable[..., Publication], signing_key: SigningKey, again: bool
) -> None:
    for number, version in enumerate(("1.0.0", "1.1.0")):
        publish(version, seed=number)
    operator = Operator(road, order_key=signing_key, busy_seconds=0.0)
    if again:   # it was rolled back before as well, and is ordered all the same
        operator.rollback("fraud", reason="once")
        publish("1.1.0", seed=1, resend=True)
    watch, rolled = at("sending", lambda: operator.rollback("fraud", reason="twice"))
    with pytest.raises(Withdrawn, match=r"1\.1\.0 is sent and not ordered: meanwhile it was rolled back in production \(twice\)") as refused:
        publish("1.1.0", seed=1, resend=True, watch=watch)
    assert "promote … --again" in (refused.value.hint or "")
    last = read_catalog(road, "fraud").last_order("production")
    assert last is not None
    assert last.sequence == rolled[0].sequence   # type: ignore[attr-defined]
    assert operator.promote("fraud", "1.1.0", again=True).sent_bytes == 0


def test_the_number_of_the_order_is_above_what_was_ordered_meanwhile(
    road: OpenRoad, publish: Callable[..., Publication], signing_key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelcast.publisher.catalog.Catalog.next_sequence", lambda self, channel, _now: self._sequences.get(channel, 0) + 1)
    operator = Operator(road, order_key=signing_key, busy_seconds=0.0)
    for number, version in enumerate(("1.0.0", "1.1.0")):
        publish(version, seed=number)
    watch, rolled = at("sending", lambda: [operator.rollback("fraud"), operator.promote("fraud", "1.1.0", to_channel="staging")])
    assert publish("1.2.0", seed=2, watch=watch).sequence == 4
    assert [done.sequence for done in rolled[0]] == [3, 1]   # type: ignore[attr-defined]


@pytest.mark.parametrize("stage", ["checking", "hashing"])
def test_nobody_waits_for_what_was_left_behind_to_be_checked_or_for_a_version_to_be_compared(
    road: OpenRoad, publish: Callable[..., Publication], signing_key: SigningKey, stage: str
) -> None:
    for number, version in enumerate(("1.0.0", "1.1.0")):
        publish(version, seed=number)
    operator = Operator(road, order_key=signing_key, busy_seconds=0.0)
    watch, rolled = at(stage, lambda: operator.rollback("fraud"))
    if stage == "checking":
        with pytest.raises(BrokerUnreachable):
            publish("1.2.0", seed=2, through=CutRoad(road, sends=8))
        assert publish("1.2.0", seed=2, watch=watch).sent_bytes < LARGE
    else:
        assert not publish("1.0.0", seed=0, resend=True, watch=watch).was_current
    assert len(rolled) == 1


def test_a_stream_that_is_deleted_and_made_anew_while_it_is_filled_is_never_ordered(tmp_path: Path, signing_key: SigningKey) -> None:
    broker = FakeBroker()
    road = AmqpRoad(broker, retention_bytes=64 * MIB)
    publisher = Publisher(road, signing_key=signing_key, chunk_bytes=CHUNK)
    path = tmp_path / "model.bin"
    for number, version in enumerate(("1.0.0", "1.1.0")):
        path.write_bytes(np.random.default_rng(number).bytes(LARGE))
        publisher.publish(path, model="fraud", version=version, format="files", lineage={})

    def lose() -> None:
        broker.delete_queue(chunks_name("fraud"))
        road.publish("fraud", "staging", sends=False).close()   # a command makes what is missing

    path.write_bytes(np.random.default_rng(2).bytes(LARGE))
    watch, lost = at("sending", lose)
    with pytest.raises(HostFault, match="Chunks of this release are gone") as fault:
        publisher.publish(path, model="fraud", version="1.2.0", format="files", lineage={}, watch=watch)
    assert lost == [None]
    assert "Publish it again" in (fault.value.hint or "")
    catalog = read_catalog(road, "fraud")
    assert (catalog.release("1.2.0"), len(catalog.orders["production"])) == (None, 2)
    assert publisher.publish(path, model="fraud", version="1.2.0", format="files", lineage={}).sent_bytes == LARGE


def test_it_is_let_go_and_taken_once_however_often_that_is_asked_for(road: OpenRoad) -> None:
    session, rejoined = road.publish("fraud", "production"), list[PublisherRoad]()

    def rejoin(each: PublisherRoad) -> None:
        rejoined.append(each)
        each.rejoin()

    hold = Hold(session, rejoin)
    assert not hold.take()
    hold.let_go()
    hold.let_go()
    road.publish("fraud", "production", sends=False).close()
    assert (hold.take(), hold.take(), rejoined) == (True, False, [session])
    session.close()
