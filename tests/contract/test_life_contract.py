"""Every road carries the same life: the real publisher and real instances, on the broker in memory, on RabbitMQ, in a directory and over HTTP."""

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.contract.conftest import road_of
from tests.fakes.cut_road import CutRoad
from tests.fakes.life import Life
from tests.fakes.publisher_sim import PublisherSimulator, damaged, withheld
from tests.fakes.stage import LONG

from modelcast.consumer.deadletters.moving import choose, send_back
from modelcast.publisher import Operator
from modelcast.publisher.chronicle import history, read_fleet
from modelcast.publisher.progress import Progress
from modelcast.shared.errors import HostFault, PublisherBusy, VersionConflict
from modelcast.shared.order import Kind
from modelcast.shared.roads import open_road

NOISE = random.Random(7).randbytes(5000)
MANY = 40
"""Chunks of 64 KiB: more than a road sends ahead."""
LARGE = 130
"""So many that others may order while they are sent."""


@pytest.fixture(params=["fake", "amqp", "stream", "file", "file polled", "http"])
def life(request: pytest.FixtureRequest, tmp_path: Path, signing_key) -> Iterator[Life]:
    """An empty road of each kind, with a publisher and without instances."""
    life = Life(road_of(request.param, request, tmp_path), tmp_path, signing_key)
    if request.param == "http":   # a server refuses damaged chunks: they get into its directory by another way
        life.sim = PublisherSimulator(open_road(f"file://{tmp_path}/depot"), signing_key)
    yield life
    life.stop()


def weights(seed: int, chunks: int = 4) -> dict[str, object]:
    """Return a model of about so many chunks that do not shrink."""
    return {"weights": np.random.default_rng(seed).standard_normal(chunks * 8192), "seed": seed}


# --------------------------------------------------------------------------- publish and promote


def test_a_published_model_is_served_by_every_instance_and_the_publisher_hears_of_it(life: Life) -> None:
    consumers = [life.joined(instance=name) for name in ("a", "b")]
    publication = life.publisher.publish(weights(1), model="fraud", version="1.0.0")
    outcome = life.publisher.wait(publication, instances=2, timeout_seconds=LONG)
    assert (sorted(outcome.promoted), outcome.rejected, outcome.ok) == (["a", "b"], {}, True)
    for consumer in consumers:
        active = consumer.wait_until_ready(LONG)
        assert active.version == "1.0.0"
        assert np.array_equal(active.model["weights"], weights(1)["weights"])
    assert life.letters() == []


def test_an_instance_of_another_channel_hears_nothing(life: Life) -> None:
    here, elsewhere = life.joined(), life.joined(instance="b", channel="staging")
    publication = life.publisher.publish(weights(0, chunks=1), model="fraud", version="1.0.0")
    assert life.publisher.wait(publication, instances=1, timeout_seconds=LONG).ok
    life.serves(here, "1.0.0")
    assert elsewhere.status().version is None


def test_who_waits_for_a_share_waits_for_the_instances_that_are_known(life: Life) -> None:
    for name in ("a", "b", "c"):
        life.joined(instance=name)
    life.eventually(lambda: len(read_fleet(life.road, "fraud", "production").members) == 3)
    publication = life.publisher.publish(weights(0, chunks=1), model="fraud", version="1.0.0")
    outcome = life.publisher.wait(publication, share=1.0, timeout_seconds=LONG)
    assert (sorted(outcome.promoted), outcome.needed) == (["a", "b", "c"], 3)


def test_the_next_version_sends_only_what_changed(life: Life) -> None:
    consumer = life.joined()
    life.publisher.publish(weights(1, chunks=MANY), model="fraud", version="1.0.0")
    life.serves(consumer, "1.0.0")
    changed = weights(1, chunks=MANY)
    changed["weights"][:8192] = 0.0   # type: ignore[index]
    publication = life.publisher.publish(changed, model="fraud", version="1.1.0")
    life.serves(consumer, "1.1.0")
    assert publication.sent_bytes < publication.total_bytes / 10


# --------------------------------------------------------------------------- reject


def test_a_refused_release_is_a_dead_letter_with_its_reason_and_the_old_model_serves(life: Life) -> None:
    consumer = life.joined()
    consumer.validator(lambda _candidate, manifest: manifest.version != "1.1.0")
    life.publisher.publish(weights(0, chunks=1), model="fraud", version="1.0.0")
    life.serves(consumer, "1.0.0")
    publication = life.publisher.publish(weights(3, chunks=1), model="fraud", version="1.1.0")
    outcome = life.publisher.wait(publication, instances=1, timeout_seconds=LONG)
    assert (list(outcome.rejected), outcome.exit_code) == (["a"], 3)
    life.eventually(life.letters)
    (letter,) = life.letters()
    assert (letter.instance, letter.version, letter.reason, letter.cause) == ("a", "1.1.0", "validator-failed", "rejected")
    assert consumer.status().version == "1.0.0"


def test_each_instance_that_refuses_leaves_a_dead_letter_of_its_own(life: Life) -> None:
    for name in ("a", "b"):
        life.joined(instance=name, accept=">=2")
    life.publisher.publish(weights(0, chunks=1), model="fraud", version="1.0.0")
    life.eventually(lambda: len(life.letters()) == 2)
    assert sorted((letter.instance, letter.reason) for letter in life.letters()) == [
        ("a", "version-out-of-range"), ("b", "version-out-of-range"),
    ]


def test_a_refused_release_that_is_sent_back_is_promoted_when_the_cause_is_gone_and_only_where_it_was_refused(life: Life) -> None:
    consumer, other, is_good = life.joined(), life.joined(instance="b"), threading.Event()
    consumer.validator(lambda _candidate, _manifest: is_good.is_set())
    life.publisher.publish(weights(3, chunks=1), model="fraud", version="1.1.0")
    life.serves(other, "1.1.0")
    life.eventually(life.letters)
    for sent, reason in ((1, "validator-failed"), (2, None)):
        letters = choose(life.road, ())
        assert [(letter.instance, letter.reason) for letter in letters] == [("a", "validator-failed")]
        assert [problem for _, problem in send_back(life.road, letters)] == [None]
        life.eventually(lambda: len(life.verdicts()) > sent)   # noqa: B023 - it is asked for here and now
        if reason is not None:
            life.eventually(life.letters)
            is_good.set()
    life.serves(consumer, "1.1.0")
    assert [verdict for _, verdict, _ in life.verdicts()] == ["rejected", "rejected", "promoted"]
    assert [verdict for _, verdict, _ in life.verdicts("b")] == ["promoted"]
    assert life.letters() == []


def test_an_order_that_is_sent_back_after_something_newer_is_no_step_back(life: Life) -> None:
    consumer = life.joined()
    consumer.validator(lambda _candidate, manifest: manifest.version != "1.1.0")
    life.publisher.publish(weights(3, chunks=1), model="fraud", version="1.1.0")
    life.eventually(life.letters)
    life.publisher.publish(weights(4, chunks=1), model="fraud", version="1.2.0")
    life.serves(consumer, "1.2.0")
    assert [problem for _, problem in send_back(life.road, choose(life.road, ()))] == [None]
    life.eventually(lambda: ("1.1.0", "superseded", None) in life.verdicts())
    assert consumer.status().version == "1.2.0"
    assert life.letters() == []


@pytest.mark.parametrize(("alter", "reason"), [(damaged(1), "chunk-damaged"), (withheld(1), "chunks-missing")], ids=["damaged", "missing"])
def test_bytes_that_are_damaged_or_missing_reject_the_release_and_the_next_one_is_fine(life: Life, alter, reason: str) -> None:
    consumer = life.joined()
    life.sim.publish(life.sim.release("1.0.0", {"model.bin": NOISE}), alter)
    life.eventually(lambda: [letter.reason for letter in life.letters()] == [reason])
    assert consumer.status().version is None
    life.sim.publish(life.sim.release("1.0.1", {"model.bin": NOISE}))
    life.serves(consumer, "1.0.1")   # it has the same chunks, and this time they are whole


# --------------------------------------------------------------------------- late, again, interrupted


def test_an_instance_that_comes_late_gets_the_newest_release_though_nobody_publishes(life: Life) -> None:
    for version in ("1.0.0", "1.1.0"):
        life.publisher.publish(weights(0, chunks=1), model="fraud", version=version)
    consumer = life.started()
    assert consumer.wait_until_ready(LONG).version == "1.1.0"


def test_who_comes_late_fetches_what_the_release_needs_and_nothing_of_those_between(life: Life) -> None:
    base, model = weights(1, chunks=MANY), weights(2, chunks=MANY)
    for version, second in (("1.0.0", 3), ("1.1.0", 4), ("1.2.0", 5)):
        life.publisher.publish({"base": base["weights"], "head": weights(second, chunks=MANY)}, model="fraud", version=version)
    publication = life.publisher.publish({"base": base["weights"], "head": model}, model="fraud", version="1.3.0")
    assert publication.reused_bytes > publication.total_bytes / 3
    life.serves(life.joined(instance="late"), "1.3.0")
    life.eventually(lambda: life.verdicts("late"))   # before it anybody who waits hears only that it serves the release
    outcome = life.publisher.wait(publication, instances=1, timeout_seconds=LONG)
    transfer = outcome.promoted["late"].transfer
    between = 0 if transfer["source"] in {"file", "http"} else publication.total_bytes
    assert publication.total_bytes + between <= transfer["wire_bytes"] <= publication.total_bytes * 1.01 + 2 * between


def test_an_instance_that_was_away_gets_what_was_published_meanwhile(life: Life) -> None:
    consumer = life.joined()
    life.publisher.publish(weights(0, chunks=1), model="fraud", version="1.0.0")
    life.serves(consumer, "1.0.0")
    consumer.stop(LONG)
    life.publisher.publish(weights(0, chunks=1), model="fraud", version="1.1.0")
    life.serves(life.started(), "1.1.0")


def test_a_restarted_instance_serves_what_it_had_and_does_not_promote_it_again(life: Life) -> None:
    consumer = life.joined()
    life.publisher.publish(weights(1), model="fraud", version="1.0.0")
    life.serves(consumer, "1.0.0")
    life.eventually(lambda: life.verdicts() == [("1.0.0", "promoted", None)])
    life.eventually(lambda: consumer.status().unsent_reports == 0)   # it knows that it was heard
    consumer.stop(LONG)
    again = life.started()
    assert again.wait_until_ready(LONG).version == "1.0.0"
    life.publisher.publish(weights(2), model="fraud", version="1.1.0")
    life.serves(again, "1.1.0")
    life.eventually(lambda: len(life.verdicts()) == 2)
    assert life.verdicts() == [("1.0.0", "promoted", None), ("1.1.0", "promoted", None)]


def test_a_publisher_that_was_interrupted_sends_only_what_is_missing(life: Life) -> None:
    consumer = life.joined()
    cut = CutRoad(life.road, sends=MANY // 2)
    with pytest.raises(HostFault):
        life.another_publisher(cut).publish(weights(1, chunks=MANY), model="fraud", version="1.0.0")
    publication = life.publisher.publish(weights(1, chunks=MANY), model="fraud", version="1.0.0")
    life.serves(consumer, "1.0.0")
    assert publication.sent_bytes <= publication.total_bytes * 0.55


def test_an_instance_whose_road_broke_goes_on_where_it_stopped(life: Life) -> None:
    cut = CutRoad(life.road, receives=MANY // 2)
    consumer = life.joined(road=cut)
    publication = life.publisher.publish(weights(1, chunks=MANY), model="fraud", version="1.0.0")
    life.serves(consumer, "1.0.0")
    first, second, *_ = cut.offsets   # a third where the machine is so busy that silence counts as the end
    assert first is not None
    assert second is not None
    assert second > first

    def transfer() -> dict[str, object]:
        return dict(life.publisher.wait(publication, instances=1, timeout_seconds=LONG).promoted["a"].transfer)

    life.eventually(transfer)   # a report of what it serves may come before the one of the verdict
    assert transfer()["fetched_bytes"] == publication.total_bytes


# --------------------------------------------------------------------------- which order counts


def test_of_two_orders_that_waited_the_newer_is_promoted_and_the_older_superseded(life: Life) -> None:
    life.joined().stop(LONG)
    for version in ("1.0.0", "1.1.0"):
        life.publisher.publish(weights(0, chunks=1), model="fraud", version=version)
    consumer = life.started()
    life.serves(consumer, "1.1.0")
    life.eventually(lambda: len(life.verdicts()) == 2)
    assert sorted(life.verdicts()) == [("1.0.0", "superseded", None), ("1.1.0", "promoted", None)]
    assert life.letters() == []


def test_a_rollback_does_not_wait_for_who_is_sending_and_what_is_sent_then_runs_all_the_same(life: Life, signing_key) -> None:
    consumer = life.joined()
    for number, version in enumerate(("1.0.0", "1.1.0")):
        publication = life.publisher.publish(weights(number), model="fraud", version=version)
        assert life.publisher.wait(publication, instances=1, timeout_seconds=LONG).ok
    operator, rolled = Operator(life.road, order_key=signing_key, busy_seconds=0.0), list[int]()

    def watch(progress: Progress) -> None:
        """Roll back in mid-transfer, and see it served before the next chunk is sent."""
        if progress.stage == "sending" and 0 < progress.done_bytes < progress.total_bytes and not rolled:
            rolled.append(operator.rollback("fraud", reason="in the middle").sequence)
            life.serves(consumer, "1.0.0")

    publication = life.publisher.publish(weights(3, LARGE), model="fraud", version="1.2.0", watch=watch)
    assert rolled[0] < publication.sequence
    assert life.publisher.wait(publication, instances=1, timeout_seconds=LONG).ok
    assert consumer.status().version == "1.2.0"
    assert [record.version for record in history(life.road, "fraud", "production")][-2:] == ["1.0.0", "1.2.0"]


def test_a_rollback_order_brings_the_older_release_back_and_who_comes_late_gets_it_too(life: Life) -> None:
    consumer = life.joined()
    old, new = life.sim.release("1.0.0"), life.sim.release("1.1.0")
    life.sim.publish(old)
    life.serves(consumer, "1.0.0")
    life.sim.publish(new)
    life.serves(consumer, "1.1.0")
    life.sim.publish(old, kind=Kind.ROLLBACK)
    life.serves(consumer, "1.0.0")
    late = life.started(instance="b")
    life.serves(late, "1.0.0")
    life.eventually(lambda: len(life.verdicts()) == 3)
    assert [verdict for _, verdict, _ in life.verdicts()] == ["promoted"] * 3
    assert life.letters() == []


def test_the_same_release_published_again_does_nothing_and_says_so(life: Life) -> None:
    consumer = life.joined()
    first = life.publisher.publish(weights(0, chunks=1), model="fraud", version="1.0.0")
    life.serves(consumer, "1.0.0")
    again = life.publisher.publish(weights(0, chunks=1), model="fraud", version="1.0.0")
    assert (first.was_current, again.was_current, again.sent_bytes, again.order) == (False, True, 0, first.order)
    with pytest.raises(VersionConflict):
        life.publisher.publish(weights(3, chunks=1), model="fraud", version="1.0.0")


def test_an_order_that_comes_twice_is_carried_out_once(life: Life) -> None:
    consumer = life.joined()
    body = life.sim.publish(life.sim.release("1.0.0"))
    life.sim.announce(body)
    life.serves(consumer, "1.0.0")
    life.sim.publish(life.sim.release("1.1.0"))
    life.serves(consumer, "1.1.0")
    life.eventually(lambda: len(life.verdicts()) >= 2)
    assert set(life.verdicts()) == {("1.0.0", "promoted", None), ("1.1.0", "promoted", None)}
    assert life.letters() == []


def test_what_was_sent_again_mends_an_instance_that_missed_some(life: Life) -> None:
    consumer = life.joined()
    first = life.publisher.publish(weights(1), model="fraud", version="1.0.0")
    life.serves(consumer, "1.0.0")
    again = life.publisher.publish(weights(1), model="fraud", version="1.0.0", resend=True)
    assert (again.release, again.sent_bytes) == (first.release, first.total_bytes)
    life.serves(life.started(instance="late"), "1.0.0")


# --------------------------------------------------------------------------- two publishers


def test_of_two_publishers_of_a_model_the_second_waits_or_says_that_it_is_busy(life: Life) -> None:
    session = life.road.publish("fraud", "production")
    with pytest.raises(PublisherBusy):
        life.another_publisher(busy_seconds=0).publish(weights(0, chunks=1), model="fraud", version="1.0.0")
    published = threading.Event()
    second = threading.Thread(
        target=lambda: (life.publisher.publish(weights(0, chunks=1), model="fraud", version="1.0.0"), published.set())
    )
    second.start()
    assert not published.wait(0.1)
    session.close()
    second.join(LONG)
    assert published.is_set()


def test_two_publishers_at_once_both_publish_and_their_orders_have_different_numbers(life: Life) -> None:
    consumer = life.joined()
    published = []

    def publish(version: str) -> None:
        published.append(life.another_publisher(busy_seconds=LONG).publish(weights(1), model="fraud", version=version))

    threads = [threading.Thread(target=publish, args=(version,)) for version in ("1.0.0", "1.1.0")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    first, second = sorted(published, key=lambda publication: publication.sequence)
    assert second.sequence == first.sequence + 1
    assert second.sent_bytes < first.sent_bytes / 2   # the chunks were there
    life.serves(consumer, "1.1.0")
