"""A release's bytes on this disk: what was received ahead counts where its digest is right, everything else is fetched."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.fakes.bench import Bench
from tests.fakes.fake_broker import FakeBroker
from tests.fakes.publisher_sim import Alteration, PublisherSimulator, Release, damaged, honest, withheld

from modelcast.consumer.ahead import Ahead, layout_of
from modelcast.consumer.assembly import RESUME
from modelcast.consumer.trial import Dropped, Trial
from modelcast.consumer.trust import open_announcement
from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.errors import SenderFault
from modelcast.shared.order import Kind

NUMBERS = b"".join(n.to_bytes(4, "big") for n in range(1250))   # five chunks, all different


@pytest.fixture
def road() -> AmqpRoad:
    return AmqpRoad(FakeBroker())


@pytest.fixture
def sim(road, signing_key) -> PublisherSimulator:
    return PublisherSimulator(road, signing_key)


@pytest.fixture
def bench(tmp_path: Path, road, key_ring) -> Iterator[Bench]:
    with Bench(tmp_path / "store", road, key_ring) as bench:
        yield bench


@pytest.fixture
def hear(bench: Bench, sim: PublisherSimulator, key_ring) -> Callable[..., Ahead]:
    def hear(release: Release, offset: int, *, at: Bench = bench) -> Ahead:
        """Receive an announced release ahead, from what the stream holds by now."""
        body = sim.announcement(release, chunks_offset=offset)
        ahead = Ahead(open_announcement(body, key_ring, model="fraud", channel="production"))
        at.workshop.receive_ahead(ahead)
        return ahead

    return hear


def order(bench: Bench, sim: PublisherSimulator, release: Release, offset: int) -> Trial:
    trial = bench.trial(sim.order(release, chunks_offset=offset, oldest_offset=offset))
    for step in bench.steps():
        step(trial)
    return trial


def test_what_was_received_ahead_is_not_fetched_again(bench, sim, hear) -> None:
    release = sim.release("1.0.0", {"a/model.bin": NUMBERS})
    offset = sim.send(release)
    hear(release, offset)
    sim.publish(sim.release("0.0.1"))   # nothing but the order's own chunks could be found from here
    trial = order(bench, sim, release, 10**6)
    assert (bench.version, trial.transfer["ahead_bytes"], trial.transfer["wire_bytes"]) == ("1.0.0", 5000, 5000)
    assert (trial.transfer["fetched_bytes"], trial.transfer["reused_bytes"], trial.transfer["source"]) == (5000, 0, "amqp")
    assert bench.fs.names(bench.store.root / "incoming") == []


@pytest.mark.parametrize("alter", [withheld(1, 3), damaged(0), damaged(0, 1, 2, 3, 4), withheld(0, 1, 2, 3)])
def test_what_came_damaged_or_not_at_all_is_fetched_when_the_order_is_there(bench, sim, hear, alter: Alteration) -> None:
    release = sim.release("1.0.0", {"model.bin": NUMBERS})
    hear(release, sim.send(release, alter))
    trial = order(bench, sim, release, sim.send(release))
    assert bench.version == "1.0.0"
    assert trial.transfer["fetched_bytes"] == 5000


def test_what_came_damaged_and_comes_no_better_is_refused(bench, sim, hear) -> None:
    release = sim.release("1.0.0", {"model.bin": NUMBERS})
    offset = sim.send(release, damaged(2))
    hear(release, offset)
    with pytest.raises(SenderFault, match="arrived only with bytes that do not match"):
        bench.workshop.receive(bench.trial(sim.order(release, chunks_offset=offset, oldest_offset=offset)))
    assert bench.version is None


def test_a_chunk_that_occurs_twice_is_sent_once_and_put_in_both_places(bench, sim, hear) -> None:
    release = sim.release("1.0.0", {"model.bin": b"x" * 3000, "other.bin": b"x" * 1000 + b"y" * 500})
    offset = sim.send(release, withheld(1, 2, 3))   # as a publisher sends it: each digest once
    assert sorted(hear(release, offset).digests) == [0]
    trial = order(bench, sim, release, sim.send(release, honest))
    assert (bench.version, trial.transfer["ahead_bytes"], trial.transfer["fetched_bytes"]) == ("1.0.0", 1000, 4500)


def test_chunks_of_the_release_before_are_reused_beside_those_received_ahead(bench, sim, hear) -> None:
    sim_first = sim.release("1.0.0", {"model.bin": NUMBERS})
    bench.carry_out(sim.publish(sim_first))
    second = sim.release("1.1.0", {"model.bin": NUMBERS[:4000] + b"new!" * 250})
    offset = sim.send(second, withheld(0, 1, 2, 3))
    hear(second, offset)   # the sender's index is of what it sent: it is fetched again, never believed
    trial = order(bench, sim, second, offset)
    assert (bench.version, trial.transfer["reused_bytes"]) == ("1.1.0", 4000)


def test_what_was_received_ahead_and_cleared_away_is_not_believed_to_be_there(bench, sim, hear) -> None:
    coming = sim.release("1.2.0", {"model.bin": NUMBERS})
    ahead = hear(coming, sim.send(coming, withheld(4)))
    bench.carry_out(sim.publish(sim.release("1.1.0")))   # its room is needed
    bench.workshop.receive_ahead(ahead)                  # it was only interrupted, and goes on
    assert sorted(ahead.digests) == [0, 1, 2, 3]
    order(bench, sim, coming, sim.send(coming))
    assert (bench.store.folder(coming.id) / "model.bin").read_bytes() == NUMBERS


def test_going_back_meanwhile_costs_nothing_of_what_was_received_ahead(bench, sim, hear) -> None:
    old, new = sim.release("1.0.0"), sim.release("1.1.0")
    for release in (old, new):
        bench.carry_out(sim.publish(release))
    coming = sim.release("1.2.0", {"model.bin": NUMBERS})
    offset = sim.send(coming)
    hear(coming, offset)
    bench.carry_out(sim.order(old, kind=Kind.ROLLBACK))
    assert bench.version == "1.0.0"
    trial = order(bench, sim, coming, offset)
    assert (bench.version, trial.transfer["ahead_bytes"], trial.transfer["wire_bytes"]) == ("1.2.0", 5000, 5000)


def test_what_a_killed_process_received_ahead_is_found_again_by_its_digests(bench, sim, hear) -> None:
    release = sim.release("1.0.0", {"model.bin": NUMBERS})
    hear(release, sim.send(release, withheld(3, 4)))
    bench.close()
    with Bench(bench.store.root, bench.road, bench.ring) as later:
        trial = order(later, sim, release, sim.send(release))
        assert (later.version, trial.transfer["reused_bytes"], trial.transfer["ahead_bytes"]) == ("1.0.0", 3000, 0)


def test_announced_again_it_goes_on_with_what_it_has(bench, sim, hear) -> None:
    release = sim.release("1.0.0", {"model.bin": NUMBERS})
    hear(release, sim.send(release, withheld(3, 4), ends=False))
    again = hear(release, sim.send(release))
    assert sorted(again.digests) == [0, 1, 2, 3, 4]
    assert again.is_whole


def test_what_lay_in_the_folder_before_is_looked_at_not_believed(bench, sim, hear) -> None:
    release = sim.release("1.0.0", {"model.bin": NUMBERS})
    folder = bench.store.incoming(layout_of(release.manifest)) / "files"
    folder.mkdir(parents=True)
    (folder / "model.bin").write_bytes(NUMBERS[:2000] + b"?" * 3000)
    ahead = hear(release, sim.send(release, withheld(0, 1, 2, 3, 4)))
    assert (ahead.digests, ahead.is_whole) == ({}, False)
    trial = order(bench, sim, release, sim.send(release))
    assert (bench.version, trial.transfer["reused_bytes"], trial.transfer["fetched_bytes"]) == ("1.0.0", 2000, 3000)


def test_what_was_received_ahead_and_never_ordered_takes_the_room_of_one_release_and_not_for_long(bench, sim, hear) -> None:
    incoming = bench.store.root / "incoming"
    for version in ("1.0.0", "1.0.1"):
        given_up = sim.release(version, {"model.bin": NUMBERS})
        hear(given_up, sim.send(given_up))
        assert bench.fs.names(incoming) == [layout_of(given_up.manifest)]
    refused = sim.release("1.0.2", {"model.bin": b"nobody sent it"})
    with pytest.raises(SenderFault):
        bench.workshop.receive(bench.trial(sim.order(refused, chunks_offset=10**6, oldest_offset=10**6)))
    assert bench.fs.names(incoming) == [refused.id]   # its room was made before its first byte was fetched
    bench.carry_out(sim.publish(sim.release("1.0.3")))
    assert (bench.version, bench.fs.names(incoming)) == ("1.0.3", [])


def test_an_order_that_is_dropped_before_it_is_received_touches_nothing(bench, sim, hear) -> None:
    release = sim.release("1.0.0", {"model.bin": NUMBERS})
    hear(release, sim.send(release))
    trial = bench.trial(sim.order(release))
    trial.dropped = True
    with pytest.raises(Dropped):
        bench.workshop.receive(trial)
    assert bench.fs.names(bench.store.root / "incoming") == [layout_of(release.manifest)]


def test_nobody_waits_for_folders_and_room_of_what_is_not_wanted(bench, sim, hear) -> None:
    release = sim.release("1.0.0", {f"{number}/model.bin": b"x" for number in range(50)})
    ahead = Ahead(open_announcement(sim.announcement(release), bench.ring, model="fraud", channel="production"))
    ahead.dropped = True
    with pytest.raises(Dropped):
        bench.workshop.receive_ahead(ahead)
    assert list(bench.store.incoming(ahead.layout).rglob("model.bin")) == []


def test_what_was_read_ahead_is_not_read_again_to_get_the_rest(tmp_path, sim, road, key_ring) -> None:
    release, opened = sim.release("1.0.0", {"model.bin": NUMBERS}), []

    def open_source(offset: int | None, _wanted: object):
        opened.append(offset)
        return road.chunks("fraud", offset)

    with Bench(tmp_path / "other", road, key_ring, open_source=open_source) as bench:
        offset = sim.send(release, withheld(2, 3, 4), ends=False)
        body = sim.announcement(release, chunks_offset=offset)
        ahead = Ahead(open_announcement(body, key_ring, model="fraud", channel="production"))
        ahead.ordered_release = release.id
        bench.workshop.receive_ahead(ahead)
        noted = bench.store.incoming(ahead.layout) / RESUME
        noted.write_bytes(b"%d" % ahead.next_offset)   # artifacts of some size have noted it by themselves
        sim.send(release)
        trial = order(bench, sim, release, offset)
        assert opened == [offset, ahead.next_offset]
        assert (bench.version, trial.transfer["ahead_bytes"], trial.transfer["fetched_bytes"]) == ("1.0.0", 2000, 5000)
