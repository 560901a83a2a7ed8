"""What the receiver does for the others: names the candidate before it is loaded, waits before it promotes, shows that it turns."""

import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from tests.fakes.bench import Bench, never
from tests.fakes.fake_broker import FakeBroker
from tests.fakes.publisher_sim import PublisherSimulator
from tests.fakes.stage import Doubler

from modelcast.consumer import companions as module
from modelcast.consumer.active import Slot
from modelcast.consumer.companions import Companions, HostWorkshop
from modelcast.consumer.journal import Journal
from modelcast.consumer.notice import Notice
from modelcast.consumer.store import Store
from modelcast.consumer.trial import Dropped
from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.fs import Fs, storage_fault
from modelcast.shared.locks import HostLock

LOG = structlog.get_logger()
ONE = "1" * 64


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "store", Fs())
    store.open()
    yield store
    store.close()


@pytest.fixture
def unready(store: Store) -> Iterator[HostLock]:
    """A follower that is not ready."""
    lock = HostLock(store.root / "followers")
    assert lock.take(shared=True)
    yield lock
    lock.release()


def test_it_says_at_once_who_receives(store: Store) -> None:
    Companions(store, "a", LOG)
    assert store.notice() == Notice(os.getpid(), "a")


def test_the_candidate_stands_in_the_notice_until_nothing_is_tried_any_more(store: Store) -> None:
    companions = Companions(store, "a", LOG)
    companions.name_candidate(ONE)
    companions.beat(5, is_idle=False)
    assert store.notice() == Notice(os.getpid(), "a", ONE, 5)
    companions.beat(None, is_idle=True)
    assert store.notice() == Notice(os.getpid(), "a")


def test_the_notice_is_written_when_it_changes_and_now_and_then(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    companions, path = Companions(store, "a", LOG), store.root / "notice"
    with path.open() as held:   # so that its number is not given to another file
        companions.beat(None, is_idle=True)
        assert path.stat().st_ino == os.fstat(held.fileno()).st_ino
        monkeypatch.setattr(module, "BEAT_SECONDS", 0.0)
        companions.beat(None, is_idle=True)
        assert path.stat().st_ino != os.fstat(held.fileno()).st_ino


def test_a_turn_waits_for_no_disk_and_what_was_passed_over_is_told_later(store: Store) -> None:
    hanging: list[Callable[[], None]] = []
    companions = Companions(store, "a", LOG, aside=hanging.append)
    companions.beat(5, is_idle=True)
    companions.beat(6, is_idle=True)
    assert (store.notice(), len(hanging)) == (Notice(os.getpid(), "a"), 2)   # the second asked again: nothing is told yet
    hanging[0]()
    assert store.notice() == Notice(os.getpid(), "a", connected_since_ms=6)
    companions.beat(6, is_idle=True)
    assert len(hanging) == 2


def test_a_disk_that_cannot_be_written_keeps_nobody_from_receiving(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, _content: bytes) -> None:
        raise storage_fault("write", path, OSError(errno.ENOSPC, "full"))

    monkeypatch.setattr(store.fs, "post", full)
    Companions(store, "a", LOG).name_candidate(ONE)
    assert store.notice() is None


def test_without_followers_it_waits_for_nobody(store: Store) -> None:
    companions = Companions(store, "a", LOG)
    companions.wait(never)
    companions.wait(never)
    assert not store.followers.is_held


def test_it_waits_until_every_follower_is_ready(store: Store, unready: HostLock) -> None:
    companions, looks = Companions(store, "a", LOG), list[int]()

    def check() -> None:
        looks.append(1)
        if len(looks) == 3:
            unready.release()

    companions.wait(check)
    assert len(looks) == 3


def test_it_does_not_wait_for_ever(store: Store, unready: HostLock) -> None:
    looks: list[int] = []
    Companions(store, "a", LOG, patience_seconds=0.0).wait(lambda: looks.append(1))
    assert (looks, unready.is_held) == ([1], True)


def test_it_stops_waiting_when_nobody_wants_the_release_any_more(store: Store, unready: HostLock) -> None:
    def check() -> None:
        raise Dropped

    with pytest.raises(Dropped):
        Companions(store, "a", LOG).wait(check)


def test_a_release_is_named_before_it_is_loaded_and_promoted_after_the_others_have_it(
    store: Store, unready: HostLock, signing_key, key_ring, tmp_path: Path
) -> None:
    sim = PublisherSimulator(AmqpRoad(FakeBroker()), signing_key)
    bench = Bench(store.root, sim._road, key_ring, validators=[])
    seen: list[str | None] = []

    def sees(_candidate: object, _manifest: object) -> None:
        notice = store.notice()
        seen.append(notice.candidate if notice else None)

    bench._tools.validators.append(sees)   # type: ignore[attr-defined]
    workshop = HostWorkshop(store, Journal(store.root / "journal", store.fs), Slot(), bench._tools, Companions(store, "a", LOG))
    trial = bench.trial(sim.publish(sim.pickled("1.0.0", Doubler())))
    workshop.receive(trial)
    workshop.verify(trial)
    workshop.load(trial)
    probing = threading.Thread(target=workshop.probe, args=(trial,))
    probing.start()
    probing.join(0.1)
    assert probing.is_alive()   # it waits
    unready.release()
    probing.join(30)
    assert not probing.is_alive()
    assert seen == [trial.trusted.release]
    assert list(trial.stages_ms)[-2:] == ["probed", "awaited"]
