"""While a large artifact is read and sent others order, and what they did counts for what is decided afterwards."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.contract.conftest import road_of
from tests.fakes.cut_road import CutRoad
from tests.fakes.fake_broker import FakeBroker

from modelcast.publisher import Operator, Publication, Publisher
from modelcast.publisher.catalog import Catalog
from modelcast.publisher.chronicle import read_catalog
from modelcast.publisher.hold import Hold
from modelcast.publisher.progress import Progress
from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.digest import digest
from modelcast.shared.errors import BrokerUnreachable, HostFault, NotFound, Withdrawn
from modelcast.shared.limits import KIB, MIB
from modelcast.shared.operating_road import OpenRoad
from modelcast.shared.publishing_road import PublisherRoad
from modelcast.shared.signing import SigningKey
from modelcast.shared.topology import chunks_name, model_parts

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
    def publish(version: str, *, through: OpenRoad | None = None, seed: int = 0, signing_key: SigningKey = signing_key, **options: object) -> Publication:
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
    with pytest.raises(Withdrawn, match=r"1\.1\.0 is not ordered: it was rolled back in production while .* \(twice\)") as refused:
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


def test_a_version_that_is_signed_anew_is_withdrawn_all_the_same(
    road: OpenRoad, publish: Callable[..., Publication], signing_key: SigningKey, other_key: SigningKey
) -> None:
    for number, version in enumerate(("1.0.0", "1.1.0")):
        publish(version, seed=number, signing_key=other_key)
    operator = Operator(road, order_key=signing_key, busy_seconds=0.0)
    watch, _ = at("hashing", lambda: operator.rollback("fraud"))
    with pytest.raises(Withdrawn):
        publish("1.1.0", seed=1, watch=watch)
    for again in (lambda: publish("1.1.0", seed=1), lambda: operator.promote("fraud", "1.1.0")):
        with pytest.raises(Withdrawn):
            again()


# --------------------------------------------------------------------------- a stream that loses what it held


@pytest.fixture
def broker() -> FakeBroker:
    return FakeBroker()


@pytest.fixture
def stream(broker: FakeBroker) -> AmqpRoad:
    return AmqpRoad(broker, retention_bytes=64 * MIB)


def noise(seed: int, size: int = LARGE) -> bytes:
    return np.random.default_rng(seed).bytes(size)


@pytest.fixture
def send(stream: AmqpRoad, tmp_path: Path, signing_key: SigningKey) -> Callable[..., Publication]:
    def send(version: str, content: bytes, *, through: object = None, **options: object) -> Publication:
        (tmp_path / "model.bin").write_bytes(content)
        publisher = Publisher(through or stream, signing_key=signing_key, chunk_bytes=CHUNK)   # type: ignore[arg-type]
        return publisher.publish(tmp_path / "model.bin", model="fraud", version=version, format="files", lineage={}, **options)   # type: ignore[arg-type]

    return send


@pytest.mark.parametrize(("before", "remade"), [(0, False), (2, False), (2, True)])
def test_a_stream_that_is_deleted_and_made_anew_while_it_is_filled_is_never_ordered(
    broker: FakeBroker, stream: AmqpRoad, send: Callable[..., Publication], signing_key: SigningKey, before: int, remade: bool
) -> None:
    """A command or somebody of an older version makes what is missing, and a command may notice that something was."""
    for number in range(before):
        send(f"1.{number}.0", noise(number))

    def lose() -> None:
        broker.delete_queue(chunks_name("fraud"))
        if remade:
            link = broker.connect(name="of an older version")
            link.declare(model_parts("fraud", retention_bytes=64 * MIB))
            link.close()
        if before:
            assert Operator(stream, order_key=signing_key).rollback("fraud").chunks_are_gone
        else:
            stream.publish("fraud", "staging", sends=False).close()

    content = noise(0)[: LARGE // 2] + noise(9)[: LARGE // 2]   # the half of it is that of the first one
    watch, lost = at("sending", lose)
    with pytest.raises(HostFault, match="Chunks of this release are gone" if remade else "No queue takes what is published"):
        send("1.9.0", content, watch=watch)
    assert lost == [None]
    assert Catalog(stream.records("fraud")).release("1.9.0") is None
    assert send("1.9.0", content).sent_bytes > 0
    sink = stream.publish("fraud", "production").chunks
    held = set(sink.held_since(0))
    assert all(digest(content[start : start + CHUNK]) in held for start in range(0, LARGE, CHUNK))


def test_an_attempt_whose_beginning_was_dropped_goes_on_with_what_is_left(
    stream: AmqpRoad, send: Callable[..., Publication], tmp_path: Path, signing_key: SigningKey
) -> None:
    def cut() -> None:
        with pytest.raises(BrokerUnreachable):
            send("2.0.0", noise(0), through=CutRoad(stream, sends=6))

    cut()
    for number in range(8):   # more than the stream keeps
        send(f"1.{number}.0", noise(100 + number, 12 * MIB), channel="staging")
    cut()
    assert send("2.0.0", noise(0)).sent_bytes < LARGE


def test_a_release_whose_chunks_a_command_found_gone_is_sent_again(
    broker: FakeBroker, stream: AmqpRoad, send: Callable[..., Publication], signing_key: SigningKey
) -> None:
    send("1.0.0", noise(0))
    broker.delete_queue(chunks_name("fraud"))

    def notice() -> None:
        with pytest.raises(NotFound):
            Operator(stream, order_key=signing_key).promote("fraud", "1.0.0", to_channel="staging")

    watch, noticed = at("hashing", notice)
    assert send("1.0.0", noise(0), watch=watch).sent_bytes == LARGE
    assert noticed == [None]


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
