"""From one road to another: every signed byte as it was, nothing twice, and what broke goes on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.fakes.cut_road import CutRoad
from tests.fakes.fake_broker import FakeBroker
from tests.fakes.http_host import HttpHost
from tests.fakes.life import Life
from tests.fakes.publisher_sim import PublisherSimulator, withheld

from modelcast.publisher.bridge import Bridge, Carried
from modelcast.publisher.catalog import Ordered
from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.errors import HostFault, PublisherBusy, VersionConflict
from modelcast.shared.operating_road import OpenRoad
from modelcast.shared.order import Kind
from modelcast.shared.road import Target
from modelcast.shared.roads import open_road

HERE = Target("fraud", "production", "bridge")
MANY = 40


@pytest.fixture
def source() -> AmqpRoad:
    return AmqpRoad(FakeBroker())


@pytest.fixture
def target(tmp_path: Path) -> OpenRoad:
    folder = tmp_path / "depot"
    folder.mkdir(mode=0o700)
    return open_road(f"file://{folder}")


def model(seed: int) -> dict[str, Any]:
    return {"weights": np.random.default_rng(seed).standard_normal(MANY * 8192)}


def carried(source: Any, target: Any) -> list[Carried]:
    """Carry what is there."""
    told: list[Carried] = []
    Bridge(source, target, HERE, idle_seconds=0.3).run(told.append, pytest.fail, once=True)
    return told


def orders(road: OpenRoad) -> list[bytes]:
    joined, found = road.join(Target("fraud", "production", "looker")), []
    while (arrived := joined.next_order(0.1)) is not None:
        found.append(arrived.body)
    joined.close()
    return found


def test_an_instance_of_the_other_road_serves_what_was_published_on_the_first(tmp_path: Path, source, target, signing_key) -> None:
    here, there = Life(source, tmp_path, signing_key), Life(target, tmp_path, signing_key)
    publication = here.publisher.publish(model(1), model="fraud", version="1.0.0")
    (told,) = carried(source, target)
    assert (told.version, told.release, told.sent_bytes, told.was_there) == ("1.0.0", publication.release, publication.total_bytes, False)
    assert orders(target) == orders(source)   # the bytes as they were signed
    there.serves(there.started(), "1.0.0")
    there.stop()


def test_what_was_carried_is_not_carried_again_and_the_next_version_sends_only_what_changed(tmp_path: Path, source, target, signing_key) -> None:
    here = Life(source, tmp_path, signing_key)
    here.publisher.publish(model(1), model="fraud", version="1.0.0")
    assert [told.was_there for told in carried(source, target)] == [False]
    assert [told.was_there for told in carried(source, target)] == [True]
    changed = model(1)
    changed["weights"][:8192] = 0.0
    publication = here.publisher.publish(changed, model="fraud", version="1.1.0")
    told = carried(source, target)
    assert [(each.version, each.was_there) for each in told] == [("1.1.0", False), ("1.1.0", True)]   # the history has it, and so has the queue
    assert told[0].sent_bytes == publication.sent_bytes < publication.total_bytes / 10
    assert orders(target) == orders(source)


def test_a_bridge_that_broke_goes_on_with_what_is_missing(tmp_path: Path, source, target, signing_key) -> None:
    here = Life(source, tmp_path, signing_key)
    publication = here.publisher.publish(model(1), model="fraud", version="1.0.0")
    with pytest.raises(HostFault):
        carried(source, CutRoad(target, sends=MANY // 2))
    (told, *_) = carried(source, target)
    assert not told.was_there
    assert told.sent_bytes < publication.total_bytes * 0.55


def test_a_rollback_is_carried_without_a_byte(source, target, signing_key) -> None:
    sim = PublisherSimulator(source, signing_key)
    old, new = sim.release("1.0.0"), sim.release("1.1.0")
    for release, kind in ((old, Kind.PROMOTION), (new, Kind.PROMOTION), (old, Kind.ROLLBACK)):
        sim.publish(release, kind=kind)
        told = carried(source, target)[0]
    assert (told.version, told.sent_bytes, told.was_there) == ("1.0.0", 0, False)


def test_an_order_whose_chunks_are_missing_waits_until_they_are_there(source, target, signing_key) -> None:
    sim = PublisherSimulator(source, signing_key)
    release = sim.release("1.0.0", {"model.bin": b"".join(n.to_bytes(4, "big") for n in range(1250))})
    sim.publish(release, withheld(1))
    with pytest.raises(HostFault, match="1 chunk"):
        carried(source, target)
    sim.send(release)
    assert [told.version for told in carried(source, target)] == ["1.0.0"]


def test_what_is_no_order_is_a_dead_letter_of_the_bridge(source, target) -> None:
    source.join(HERE).close()
    publisher = source.publish("fraud", "production")
    publisher.order("production", b"no order")
    publisher.close()
    refused: list[Any] = []
    Bridge(source, target, HERE).run(pytest.fail, refused.append, once=True)
    assert [letter.target for letter in source.dead_letters(10)] == [HERE]
    assert len(refused) == 2   # the history has it, and so has the queue


def test_a_version_that_means_other_bytes_there_is_not_replaced(source, target, signing_key) -> None:
    for road, content in ((target, b"mine"), (source, b"theirs")):
        Life(road, Path(), signing_key).publisher.publish({"content": content}, model="fraud", version="1.0.0")
    sim = PublisherSimulator(source, signing_key)
    sim.publish(sim.release("1.0.0"), sequence=2**40)
    with pytest.raises(VersionConflict):
        carried(source, target)


def test_a_publisher_that_is_at_work_there_is_waited_for(source, target, signing_key) -> None:
    sim = PublisherSimulator(source, signing_key)
    sim.publish(sim.release("1.0.0"))
    session = target.publish("fraud", "production")
    with pytest.raises(PublisherBusy):
        carried(source, target)
    session.close()
    assert carried(source, target)[0].version == "1.0.0"


def test_a_rollback_is_carried_while_somebody_sends_there(source, target, signing_key) -> None:
    sim = PublisherSimulator(source, signing_key)
    old, new = sim.release("1.0.0"), sim.release("1.1.0")
    for release in (old, new):
        sim.publish(release)
        carried(source, target)
    sender = target.publish("fraud", "staging")
    sender.apart()
    sim.publish(old, kind=Kind.ROLLBACK)
    assert not carried(source, target)[0].was_there
    sim.publish(sim.release("1.2.0"))
    with pytest.raises(PublisherBusy):
        carried(source, target)
    sender.close()
    assert carried(source, target)[0].version == "1.2.0"


def test_an_order_that_was_overtaken_while_its_chunks_were_carried_is_not_sent(source, target, signing_key) -> None:
    here = PublisherSimulator(source, signing_key)
    here.publish(here.release("1.0.0"))

    class Overtaking:
        """The target, where somebody orders while chunks come."""

        def publish(self, *names: str, sends: bool) -> Any:
            session = target.publish(*names, sends=sends)
            finish = session.chunks.finish

            def overtake(release: str) -> None:
                finish(release)
                theirs = target.publish(*names, sends=False)
                theirs.register.append(Ordered("production", 2**40, "ab" * 32, 0, order="cd" * 32).to_bytes())
                theirs.close()

            session.chunks.finish = overtake
            return session

        def __getattr__(self, name: str) -> Any:
            return getattr(target, name)

    told = carried(source, Overtaking())[0]
    assert (told.was_there, told.sent_bytes > 0) == (True, True)
    assert orders(target) == []


def test_a_server_is_carried_to_and_from_as_well(tmp_path: Path, source, signing_key) -> None:
    host, other = HttpHost(tmp_path / "one"), HttpHost(tmp_path / "two")
    sim = PublisherSimulator(source, signing_key)
    sim.publish(sim.release("1.0.0"))
    assert not carried(source, open_road(host.url))[0].was_there
    assert not carried(open_road(host.url), open_road(other.url))[0].was_there
    assert orders(open_road(other.url)) == orders(source)
    host.stop()
    other.stop()
