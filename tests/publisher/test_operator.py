"""Operations: a release goes from channel to channel without a byte, and a channel goes back, whatever carries it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.contract.conftest import road_of
from tests.fakes import specimens
from tests.fakes.fake_broker import FakeBroker
from tests.fakes.life import Life
from tests.fakes.stage import LONG

from modelcast.publisher import Operator
from modelcast.publisher.acceptance import was_refused
from modelcast.publisher.catalog import Catalog
from modelcast.publisher.pruning import prune
from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.depot.depot import Depot
from modelcast.shared.errors import HostFault, MisuseError, NotAccepted, NotFound, Withdrawn
from modelcast.shared.report import ReportKind, Verdict
from modelcast.shared.signing import SigningKey, TrustedKey
from modelcast.shared.topology import chunks_name


@pytest.fixture(params=["fake", "rabbitmq", "file", "http"])
def life(request: pytest.FixtureRequest, tmp_path: Path, signing_key: SigningKey) -> Iterator[Life]:
    life = Life(road_of(request.param, request, tmp_path), tmp_path, signing_key)
    yield life
    life.stop()


@pytest.fixture
def operator(life: Life, signing_key: SigningKey) -> Operator:
    return Operator(life.road, order_key=signing_key)


def weights(seed: int) -> dict[str, Any]:
    return {"weights": np.random.default_rng(seed).standard_normal(8192), "seed": seed}


def staged(life: Life, version: str, **options: Any) -> None:
    life.publisher.publish(weights(1), model="fraud", version=version, channel="staging", **options)


# --------------------------------------------------------------------------- promote


def test_a_release_of_staging_is_promoted_without_a_byte_and_with_the_same_signature(life: Life, operator: Operator) -> None:
    here, there = life.joined(instance="s", channel="staging"), life.joined(instance="p")
    staged(life, "2.1.0")
    life.serves(here, "2.1.0")
    life.eventually(lambda: life.verdicts("s"))   # it serves before it has said so
    assert there.status().version is None
    publication = operator.promote("fraud", "2.1.0", from_channel="staging", require_verdicts=1.0)
    assert (publication.channel, publication.sent_bytes, publication.wire_bytes, publication.was_current) == ("production", 0, 0, False)
    assert operator.wait(publication, instances=1, timeout_seconds=LONG).ok
    assert there.active.release == here.active.release == publication.release
    assert operator.promote("fraud", "2.1.0").was_current


def test_what_staging_did_not_accept_is_not_promoted_and_it_says_who_did_not(life: Life, operator: Operator) -> None:
    accepts, refuses = life.started(instance="s1", channel="staging"), life.started(instance="s2", channel="staging", accept="<2")
    life.eventually(lambda: accepts.status().connected and refuses.status().connected)
    staged(life, "2.1.0")
    life.serves(accepts, "2.1.0")
    life.eventually(lambda: refuses.status().rejected == 1 and life.verdicts("s1") and life.verdicts("s2"))
    with pytest.raises(NotAccepted, match=r"1 of 2 instances of staging promoted 2\.1\.0; 2 are asked for\. Rejected by: s2\.") as refusal:
        operator.promote("fraud", "2.1.0", from_channel="staging", require_verdicts=0.95)
    assert refusal.value.facts["rejected"]["s2"].startswith("version-out-of-range: ")
    assert "modelcast why fraud 2.1.0 --channel staging" in (refusal.value.hint or "")
    assert operator.promote("fraud", "2.1.0", from_channel="staging", require_verdicts=0.5).sequence > 0


def test_where_nobody_decided_nothing_is_promoted(life: Life, operator: Operator) -> None:
    staged(life, "2.1.0")
    with pytest.raises(NotAccepted, match="0 of 0 instances"):
        operator.promote("fraud", "2.1.0", from_channel="staging", require_verdicts=0.1)


def test_a_release_that_is_not_there_is_named_with_those_that_are(life: Life, operator: Operator) -> None:
    with pytest.raises(NotFound, match=r"There is no release fraud 2\.1\.0") as missing:
        operator.promote("fraud", "2.1.0")
    assert missing.value.hint == "Nothing of this model was published."
    staged(life, "2.0.0")
    with pytest.raises(NotFound) as missing:
        operator.promote("fraud", "2.1.0")
    assert missing.value.hint == "There are: 2.0.0."


def test_a_release_that_never_was_in_the_channel_before_is_refused(life: Life, operator: Operator) -> None:
    life.publisher.publish(weights(1), model="fraud", version="2.0.0", channel="canary")
    staged(life, "1.9.0")
    with pytest.raises(NotFound, match=r"2\.0\.0 was never ordered for staging; it runs 1\.9\.0"):
        operator.promote("fraud", "2.0.0", from_channel="staging")


@pytest.mark.parametrize("options", [{"require_verdicts": 0.9}, {"from_channel": "staging", "require_verdicts": 1.5}, {"expires_seconds": -1}])
def test_what_cannot_be_meant_is_refused_before_anything_happens(operator: Operator, options: dict[str, Any]) -> None:
    with pytest.raises(MisuseError):
        operator.promote("fraud", "2.1.0", **options)


def test_who_may_order_need_not_be_able_to_sign_models(life: Life, signing_key: SigningKey, other_key: SigningKey) -> None:
    """The ring says: one key makes models and orders staging, another one orders production and makes nothing."""
    training = TrustedKey(signing_key.private.public_key(), channels=("staging",))
    operations = TrustedKey(other_key.private.public_key(), models=(), channels=("production",))
    consumer = life.joined(instance="p", trust=[training, operations])
    life.publisher.publish(weights(1), model="fraud", version="2.1.0", channel="production")   # training tries to release by itself
    life.eventually(lambda: consumer.status().rejected == 1)
    assert consumer.status().last_verdict.reason == "key-not-allowed"
    publication = Operator(life.road, order_key=other_key).promote("fraud", "2.1.0", again=True)
    assert Operator(life.road, order_key=other_key).wait(publication, instances=1, timeout_seconds=LONG).ok
    assert consumer.active.version == "2.1.0"


# --------------------------------------------------------------------------- roll back


def test_a_channel_goes_back_without_a_byte_and_the_release_it_left_does_not_come_back_by_itself(life: Life, operator: Operator) -> None:
    consumer = life.joined()
    for seed, version in enumerate(("2.0.0", "2.1.0")):
        life.publisher.publish(weights(seed), model="fraud", version=version)
        life.serves(consumer, version)
    publication = operator.rollback("fraud", reason="answers drift")
    assert (publication.version, publication.sent_bytes) == ("2.0.0", 0)
    outcome = operator.wait(publication, instances=1, timeout_seconds=LONG)
    assert outcome.promoted["a"].transfer.get("fetched_bytes", 0) == 0   # it was still there
    assert consumer.active.version == "2.0.0"
    with pytest.raises(Withdrawn, match=r"2\.1\.0 was rolled back in production \(answers drift\)"):
        operator.promote("fraud", "2.1.0")
    with pytest.raises(Withdrawn):
        life.publisher.publish(weights(1), model="fraud", version="2.1.0")
    late = life.started(instance="late")
    life.serves(late, "2.0.0")
    assert operator.promote("fraud", "2.1.0", again=True).was_current is False
    life.serves(consumer, "2.1.0")
    life.serves(late, "2.1.0")


def test_a_second_rollback_goes_further_back_and_never_to_what_was_rolled_back(life: Life, operator: Operator) -> None:
    for seed, version in enumerate(("1.0.0", "1.1.0", "1.2.0")):
        life.publisher.publish(weights(seed), model="fraud", version=version)
    assert operator.rollback("fraud").version == "1.1.0"
    assert operator.rollback("fraud").version == "1.0.0"
    with pytest.raises(NotFound, match="ran nothing before that it could go back to"):
        operator.rollback("fraud")
    life.publisher.publish(weights(7), model="fraud", version="1.3.0")
    assert operator.rollback("fraud").version == "1.0.0"


def test_a_channel_goes_back_to_the_version_that_is_named(life: Life, operator: Operator) -> None:
    consumer = life.joined()
    for seed, version in enumerate(("1.0.0", "1.1.0", "1.2.0")):
        life.publisher.publish(weights(seed), model="fraud", version=version)
        life.serves(consumer, version)
    assert operator.rollback("fraud", to="1.0.0").version == "1.0.0"   # its bytes are fetched: two releases are kept
    life.serves(consumer, "1.0.0")
    assert np.array_equal(consumer.active.model["weights"], weights(0)["weights"])
    with pytest.raises(NotFound):
        operator.rollback("fraud", to="9.0.0")


def test_a_channel_that_runs_nothing_cannot_go_back(operator: Operator) -> None:
    with pytest.raises(NotFound, match="Nothing was ever ordered for production of fraud"):
        operator.rollback("fraud")


# --------------------------------------------------------------------------- chunks that are gone


@pytest.fixture
def lose(request: pytest.FixtureRequest, life: Life) -> Callable[[], None]:
    """Takes away the chunks of all that was published but what was ordered last and before."""
    road = life.road
    if isinstance(road, AmqpRoad):
        broker = road._broker
        if isinstance(broker, FakeBroker):
            return lambda: broker.delete_queue(chunks_name("fraud"))
        vhost = request.getfixturevalue("broker_url").rpartition("/")[2]
        return lambda: request.getfixturevalue("node").control("delete_queue", "--vhost", vhost, chunks_name("fraud"))
    depot = Depot(request.getfixturevalue("tmp_path") / "depot")

    def pruned() -> None:
        (result,) = prune(depot, [], 1)
        assert "1.0.0" in [fate.version for fate in result.fates if not fate.reasons]

    return pruned


def three_staged(life: Life) -> None:
    for seed, version in enumerate(("1.0.0", "1.1.0", "1.2.0")):
        life.publisher.publish(weights(seed), model="fraud", version=version, channel="staging")


def test_a_release_whose_chunks_are_gone_is_not_promoted_unless_somebody_insists(
    life: Life, operator: Operator, lose: Callable[[], None]
) -> None:
    three_staged(life)
    lose()
    orders = len(Catalog(life.road.records("fraud")).orders.get("production", []))
    with pytest.raises(NotFound, match=r"chunks of fraud 1\.0\.0 are not on the road any more") as refusal:
        operator.promote("fraud", "1.0.0")
    assert "Publish the same bytes again" in (refusal.value.hint or "")
    assert len(Catalog(life.road.records("fraud")).orders.get("production", [])) == orders
    assert operator.promote("fraud", "1.0.0", again=True).chunks_are_gone
    life.publisher.publish(weights(0), model="fraud", version="1.0.0", channel="canary")
    consumer = life.joined()
    publication = operator.promote("fraud", "1.0.0", to_channel="production", again=True)
    assert not publication.chunks_are_gone
    life.serves(consumer, "1.0.0")


def test_what_is_there_is_promoted_and_said_to_be_there(life: Life, operator: Operator) -> None:
    three_staged(life)
    assert [operator.promote("fraud", version).chunks_are_gone for version in ("1.0.0", "1.2.0")] == [False, False]


def test_a_rollback_to_what_only_instances_hold_is_ordered_and_says_so(life: Life, operator: Operator, lose: Callable[[], None]) -> None:
    consumer = life.joined()
    for seed, version in enumerate(("1.0.0", "1.1.0")):
        life.publisher.publish(weights(seed), model="fraud", version=version)
        life.serves(consumer, version)
    if isinstance(life.road, AmqpRoad):
        lose()
    else:   # prune keeps what a channel ran before; somebody else does not
        root = Depot(life._folder / "depot").root
        for chunk in [path for path in root.rglob("*") if path.is_file() and path.parent.parent.name == "chunks"]:
            chunk.unlink()
    publication = operator.rollback("fraud")
    is_asked = not type(life.road).__name__.startswith("Http")   # a server is not asked for each chunk
    assert (publication.version, publication.chunks_are_gone) == ("1.0.0", is_asked)
    assert operator.wait(publication, instances=1, timeout_seconds=LONG).promoted.keys() == {"a"}
    assert consumer.active.version == "1.0.0"


def test_a_rollback_is_ordered_where_nobody_can_say_whether_its_chunks_are_there(
    life: Life, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed, version in enumerate(("1.0.0", "1.1.0")):
        life.publisher.publish(weights(seed), model="fraud", version=version)

    def broken(*_: object) -> bool:
        raise HostFault("The chunks cannot be looked at.")

    monkeypatch.setattr("modelcast.publisher.operator.has_lost", broken)
    publication = operator.rollback("fraud")
    assert (publication.version, publication.chunks_are_gone) == ("1.0.0", False)
    with pytest.raises(HostFault):
        operator.promote("fraud", "1.1.0", to_channel="canary")


# --------------------------------------------------------------------------- what the register says


def test_the_register_tells_who_ordered_what_and_is_read_while_somebody_publishes(
    life: Life, operator: Operator, signing_key: SigningKey
) -> None:
    assert life.road.records("fraud") == []
    for seed, version in enumerate(("1.0.0", "1.1.0")):
        life.publisher.publish(weights(seed), model="fraud", version=version)
    operator.rollback("fraud", reason="slow")
    session = life.road.publish("fraud", "production")
    try:
        catalog = Catalog(life.road.records("fraud"))
    finally:
        session.close()
    assert [(order.kind, order.key, order.order is not None) for order in catalog.orders["production"]] == [
        ("promotion", signing_key.key_id, True), ("promotion", signing_key.key_id, True), ("rollback", signing_key.key_id, True),
    ]
    left = catalog.release("1.1.0")
    withdrawal = catalog.withdrawn("production", left.release)
    assert (withdrawal.version, withdrawal.reason) == ("1.1.0", "slow")
    assert catalog.foreign == 0


def test_a_rollback_passes_over_what_no_instance_took(life: Life, operator: Operator) -> None:
    consumers = [life.started(instance=name, accept="!=1.1.0,!=1.2.0") for name in ("p1", "p2")]
    life.eventually(lambda: all(consumer.status().connected for consumer in consumers))
    for version in ("1.0.0", "1.1.0", "1.2.0", "1.3.0"):
        life.publisher.publish(weights(len(version)), model="fraud", version=version)
    for consumer in consumers:
        life.serves(consumer, "1.3.0")
        life.eventually(lambda consumer=consumer: consumer.status().rejected == 2 and consumer.status().unsent_reports == 0)
    publication = operator.rollback("fraud")
    assert publication.version == "1.0.0"
    for consumer in consumers:
        life.serves(consumer, "1.0.0")


def test_one_instance_that_took_it_is_enough_to_go_back_to_it(life: Life, operator: Operator) -> None:
    consumers = [life.started(instance="p1"), life.started(instance="p2", accept="!=1.1.0")]
    life.eventually(lambda: all(consumer.status().connected for consumer in consumers))
    for version in ("1.0.0", "1.1.0"):
        life.publisher.publish(weights(len(version)), model="fraud", version=version)
    life.serves(consumers[0], "1.1.0")
    life.eventually(lambda: consumers[1].status().rejected == 1 and consumers[1].status().unsent_reports == 0)
    life.publisher.publish(weights(3), model="fraud", version="1.2.0")
    for consumer in consumers:
        life.serves(consumer, "1.2.0")
    assert operator.rollback("fraud").version == "1.1.0"


class Told:
    """A road that has some reports."""

    def __init__(self, *bodies: bytes) -> None:
        self._bodies = list(bodies)

    def reports(self, **_: object) -> "Told":
        return self

    @property
    def is_caught_up(self) -> bool:
        return not self._bodies

    def receive(self, _seconds: float) -> bytes | None:
        return self._bodies.pop(0) if self._bodies else None

    def close(self) -> None:
        pass


def test_one_that_served_it_counts_also_when_its_verdict_is_too_old_to_be_read(life: Life) -> None:
    order = life.publisher.publish(weights(1), model="fraud", version="1.0.0")
    late = specimens.report(
        instance="late", verdict=Verdict.REJECTED, order=order.order, release=order.release, sequence=order.sequence, reason="load-failed",
    ).to_bytes()
    serves = specimens.report(
        kind=ReportKind.STATE, instance="old", verdict=None, active_release=order.release, sequence=order.sequence,
    ).to_bytes()
    assert was_refused(Told(late), order)   # type: ignore[arg-type]
    assert not was_refused(Told(late, serves), order)   # type: ignore[arg-type]
    assert not was_refused(Told(), order)   # type: ignore[arg-type]
