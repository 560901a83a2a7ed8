"""The worker's steps and the start from disk: what is served is what was verified, loaded and tried, or what served before."""

import errno
import gc
import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from tests.fakes.bench import Bench, Hang
from tests.fakes.fake_broker import FakeBroker
from tests.fakes.fault_fs import Crash, FaultFs
from tests.fakes.publisher_sim import PublisherSimulator, Release, Sent, damaged, honest, withheld

from modelcast.consumer.headroom import Headroom
from modelcast.consumer.journal import Rejection
from modelcast.consumer.pointer import TRIES
from modelcast.consumer.policy import Loading, Policy, Timing
from modelcast.consumer.rules import Host, Ruling, rule
from modelcast.consumer.trial import Dropped, Trial
from modelcast.consumer.workshop import MAX_TRIES
from modelcast.publisher.sampling import SampleSet
from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.errors import HostFault, SenderFault, StorageFault
from modelcast.shared.fs import Fs
from modelcast.shared.order import Kind
from modelcast.shared.reasons import Reason
from modelcast.shared.signing import KeyRing, SigningKey


class Doubler:
    """A model."""

    def __init__(self, factor: float = 2.0) -> None:
        self.factor, self.weights = factor, np.arange(2000, dtype="float64")

    def predict(self, inputs: object) -> np.ndarray:
        return np.asarray(inputs) * self.factor


class Toucher:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


@pytest.fixture
def road() -> AmqpRoad:
    return AmqpRoad(FakeBroker())


@pytest.fixture
def sim(road: AmqpRoad, signing_key: SigningKey) -> PublisherSimulator:
    return PublisherSimulator(road, signing_key)


@pytest.fixture
def bench(tmp_path: Path, road: AmqpRoad, key_ring: KeyRing) -> Iterator[Bench]:
    with Bench(tmp_path / "store", road, key_ring) as bench:
        yield bench


def again(bench: Bench, ring: KeyRing | None = None, **more: Any) -> Bench:
    """The next start of the process on the same store."""
    bench.close()
    return Bench(bench.store.root, bench.road, ring or bench.ring, **more).open()


def ends_the_process(_call: object, _seconds: float, what: str) -> None:
    """Runs a function that takes the process with it."""
    raise Crash(what)


def refusal(bench: Bench, body: bytes) -> SenderFault:
    with pytest.raises(SenderFault) as raised:
        bench.carry_out(body)
    return raised.value


def flip(path: Path, at: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


# --------------------------------------------------------------------------- the way through


def test_a_pickled_model_serves_after_all_steps(sim: PublisherSimulator, bench: Bench) -> None:
    samples = SampleSet([[1.0], [2.0]], np.array([[2.0], [4.0]]), "predict")
    standing = bench.carry_out(sim.publish(sim.pickled("1.0.0", Doubler(), samples=samples)))
    assert bench.slot.active is not None
    assert bench.slot.active.model.predict([3]).tolist() == [6.0]
    assert bench.slot.active.model.weights.sum() == 1999 * 1000
    assert (standing.sequence, str(standing.floor), standing.active_release) == (1, "1.0.0", bench.slot.active.release)


def test_a_joblib_model_serves_after_all_steps_its_samples_included(sim: PublisherSimulator, bench: Bench) -> None:
    model = LinearRegression().fit([[0.0], [1.0]], [1.0, 3.0])
    samples = SampleSet([[2.0], [3.0]], model.predict([[2.0], [3.0]]), "predict")
    bench.carry_out(sim.publish(sim.joblibbed("1.0.0", model, samples=samples)))
    assert bench.slot.active is not None
    assert bench.slot.active.model.predict([[4.0]]) == pytest.approx([9.0])


def test_files_are_served_as_the_folder_that_holds_them(sim: PublisherSimulator, bench: Bench) -> None:
    bench.carry_out(sim.publish(sim.release("1.0.0", {"vocabulary/words.txt": b"one two", "weights.bin": bytes(5000)})))
    assert bench.slot.active is not None
    assert (bench.slot.active.model / "vocabulary" / "words.txt").read_bytes() == b"one two"


def test_every_stage_is_timed_and_the_transfer_is_counted(sim: PublisherSimulator, bench: Bench) -> None:
    trial = bench.trial(sim.publish(sim.release("1.0.0", {"model.bin": bytes(2500)})))
    for work in bench.steps():
        work(trial)
    assert list(trial.stages_ms) == ["received", "verified", "loaded", "probed", "promoted"]
    assert trial.transfer["total_bytes"] == trial.transfer["fetched_bytes"] == 2500
    assert trial.model is None   # the slot alone holds it


def test_a_model_that_nobody_holds_any_more_is_freed(sim: PublisherSimulator, bench: Bench) -> None:
    bench.carry_out(sim.publish(sim.pickled("1.0.0", Doubler())))
    held = bench.slot.active
    assert held is not None
    old = weakref.ref(held.model)
    bench.carry_out(sim.publish(sim.pickled("2.0.0", Doubler(3.0))))
    bench.slot.departed.tend()   # as the worker does between jobs
    assert held.model.predict([1]).tolist() == [2.0]   # a request that is under way keeps it
    del held
    bench.slot.departed.tend()
    gc.collect()
    assert old() is None


def test_a_rollback_serves_the_older_release_and_lets_later_versions_follow_it(sim: PublisherSimulator, bench: Bench) -> None:
    one, two = sim.release("1.0.0"), sim.release("2.0.0")
    bench.carry_out(sim.publish(one))
    bench.carry_out(sim.publish(two))
    standing = bench.carry_out(sim.order(one, kind=Kind.ROLLBACK))
    assert (bench.version, standing.sequence, str(standing.floor)) == ("1.0.0", 3, "1.0.0")
    assert bench.store.releases() == sorted([one.id, two.id])


def test_a_rollback_to_what_is_in_service_loads_nothing_and_keeps_what_was_before_it(sim: PublisherSimulator, bench: Bench) -> None:
    zero, one = sim.pickled("0.9.0", Doubler()), sim.pickled("1.0.0", Doubler())
    bench.slot.keeps = lambda _manifest: True
    bench.carry_out(sim.publish(zero))
    bench.carry_out(sim.publish(one))
    before = bench.slot.active
    assert before is not None
    standing = bench.carry_out(sim.order(one, kind=Kind.ROLLBACK))
    after = bench.slot.active
    assert after is not None
    assert after.model is before.model
    assert (after.sequence, standing.sequence, standing.ordered_release) == (3, 3, one.id)
    assert bench.slot.previous is not None
    assert bench.slot.previous.version == "0.9.0"
    bench.carry_out(sim.order(one))
    assert bench.slot.active is not None
    assert bench.slot.active.model is not before.model   # ordered once more it is loaded again


def test_only_the_active_release_and_the_one_before_stay_on_disk(sim: PublisherSimulator, bench: Bench) -> None:
    releases = [sim.release(f"{number}.0.0") for number in (1, 2, 3)]
    for release in releases:
        bench.carry_out(sim.publish(release))
    assert bench.store.releases() == sorted(release.id for release in releases[1:])


class CannotRemove(Fs):
    """A disk from which no folder can be removed."""

    def remove_tree(self, path: Path) -> None:
        if path.is_dir():
            raise StorageFault(f"Cannot remove {path}.")


def test_a_release_is_promoted_also_when_an_older_one_cannot_be_removed(tmp_path, sim, road, key_ring) -> None:
    orders = [sim.publish(sim.release(f"{number}.0.0")) for number in (1, 2, 3, 4)]
    with Bench(tmp_path / "store", road, key_ring, fs=CannotRemove()) as bench:
        for body in orders[:3]:
            bench.carry_out(body)
        assert bench.version == "3.0.0"
        assert len(bench.store.releases()) == 3
    bench = again(bench)
    bench.carry_out(orders[3])
    assert len(bench.store.releases()) == 2
    bench.close()


# --------------------------------------------------------------------------- nothing is unpickled too early


def test_a_model_is_unpickled_once_every_check_has_passed_and_not_before(tmp_path, sim, bench) -> None:
    trial = bench.trial(sim.publish(sim.pickled("1.0.0", Toucher(tmp_path / "touched"))))
    for work in bench.steps()[:2]:
        work(trial)
        assert not (tmp_path / "touched").exists()
    bench.workshop.load(trial)
    assert (tmp_path / "touched").exists()


def test_a_release_that_does_not_fit_into_memory_is_refused_and_never_unpickled(tmp_path, sim, road, key_ring) -> None:
    body = sim.publish(sim.pickled("1.0.0", Toucher(tmp_path / "touched")))
    full = Headroom(0, 0, "the memory limit of the control group pod")
    with Bench(tmp_path / "store", road, key_ring, headroom=lambda: [full]) as bench:
        with pytest.raises(SenderFault, match="is 0 MiB in all") as raised:
            bench.carry_out(body)
        assert raised.value.reason is Reason.TOO_LARGE_FOR_MEMORY
        assert not (tmp_path / "touched").exists()
        assert not bench.store.incoming(bench.trust(body).release).exists()   # nothing was fetched
        assert bench.journal.begin_try(bench.trust(body).id) == 1   # the refused one did not count as a crash
    with Bench(tmp_path / "other", road, key_ring, headroom=lambda: [full], loading=Loading(check_memory=False)) as bench:
        bench.carry_out(body)
        assert bench.version == "1.0.0"


def test_while_memory_is_short_a_release_that_lies_here_is_not_read(tmp_path, sim, road, key_ring) -> None:
    body, left = sim.publish(sim.pickled("1.0.0", Doubler())), [Headroom(0, 1 << 40, "this host's memory")]
    with Bench(tmp_path / "store", road, key_ring, headroom=lambda: left) as bench:
        with pytest.raises(HostFault, match="leaves 0 MiB now"):
            bench.carry_out(body)   # it is fetched: there may be room when it is here
        trial = bench.trial(body)
        assert bench.store.has(trial.trusted.release)
        with pytest.raises(HostFault, match="leaves 0 MiB now"):
            bench.workshop.receive(trial)   # before the step that reads all of it
        left.clear()
        bench.carry_out(body)
        assert bench.version == "1.0.0"


@pytest.mark.parametrize("wrong", ["key", "chunk", "missing", "version", "format", "python", "expired"])
def test_a_release_that_fails_any_check_is_never_unpickled(tmp_path, sim, bench, other_key, wrong: str) -> None:
    bench.carry_out(sim.publish(sim.release("2.0.0")))
    touched = tmp_path / "touched"
    release = sim.pickled("1.5.0" if wrong == "version" else "2.5.0", Toucher(touched), key=other_key if wrong == "key" else None)
    policy = Policy(formats=("files",)) if wrong == "format" else Policy()
    host = Host("3.1.0" if wrong == "python" else release.manifest.environment.python, "cpython", str, frozenset({"cloudpickle", "files"}))
    alter = {"chunk": damaged(0), "missing": withheld(0)}.get(wrong, honest)
    body = sim.publish(release, alter, expires_ms=1 if wrong == "expired" else None)
    expected = {
        "key": Reason.UNKNOWN_KEY, "chunk": Reason.CHUNK_DAMAGED, "missing": Reason.CHUNKS_MISSING,
        "version": Reason.VERSION_DOWNGRADE, "format": Reason.FORMAT_NOT_ALLOWED, "python": Reason.INCOMPATIBLE_ENVIRONMENT,
        "expired": Reason.EXPIRED,
    }

    def all_of_it() -> None:
        trial = bench.trial(body)
        rule(trial.trusted, bench.workshop.standing(), policy, host, now_ms=1_735_689_600_000)
        for work in bench.steps():
            work(trial)

    with pytest.raises(SenderFault) as raised:
        all_of_it()
    assert raised.value.reason is expected[wrong]
    assert raised.value.facts, "both sides of what did not match"
    assert not touched.exists()
    assert bench.version == "2.0.0"


# --------------------------------------------------------------------------- verifying


@pytest.mark.parametrize("change", [lambda path: path.unlink(), lambda path: os.truncate(path, 1), lambda path: path.chmod(0o666)])
def test_a_file_that_changed_under_us_is_the_hosts_fault_and_fetched_again(sim, bench, change: Callable[[Path], None]) -> None:
    body = sim.publish(sim.release("1.0.0"))
    trial = bench.trial(body)
    bench.workshop.receive(trial)
    change(bench.store.incoming(trial.trusted.release) / "files" / "model.bin")
    with pytest.raises(StorageFault, match="reads back otherwise"):
        bench.workshop.verify(trial)
    bench.carry_out(body)
    assert bench.version == "1.0.0"


def test_a_stored_release_that_rotted_is_fetched_again_when_it_is_ordered(sim, bench) -> None:
    one = sim.release("1.0.0")
    begin = sim.send(one)
    bench.carry_out(sim.order(one, chunks_offset=begin, oldest_offset=begin))
    bench.carry_out(sim.publish(sim.release("2.0.0")))
    flip(bench.store.folder(one.id) / "model.bin")
    back = sim.order(one, kind=Kind.ROLLBACK, chunks_offset=begin, oldest_offset=begin)
    with pytest.raises(StorageFault):
        bench.carry_out(back)
    bench.carry_out(back)
    assert bench.version == "1.0.0"


# --------------------------------------------------------------------------- loading and probing


def test_a_model_that_raises_while_it_is_loaded_is_refused_with_its_error(sim, tmp_path, road, key_ring) -> None:
    def broken(folder: Path) -> object:
        raise ValueError("no such layer")

    with Bench(tmp_path / "store", road, key_ring, loaders={"mine": broken}) as bench:
        fault = refusal(bench, sim.publish(sim.release("1.0.0", format_name="mine")))
    assert (fault.reason, fault.facts) == (
        Reason.LOAD_FAILED, {"error": "ValueError", "message": "no such layer", "loader": "mine"},
    )


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt()], ids=["SystemExit", "KeyboardInterrupt"])
def test_a_model_that_wants_to_end_the_process_is_refused(sim, tmp_path, road, key_ring, error: BaseException) -> None:
    def broken(folder: Path) -> object:
        raise error

    with Bench(tmp_path / "store", road, key_ring, loaders={"mine": broken}) as bench:
        assert refusal(bench, sim.publish(sim.release("1.0.0", format_name="mine"))).reason is Reason.LOAD_FAILED


def test_too_little_memory_is_the_hosts_fault_however_often(sim, tmp_path, road, key_ring) -> None:
    def large(folder: Path) -> object:
        raise MemoryError

    with Bench(tmp_path / "store", road, key_ring, loaders={"mine": large}) as bench:
        body = sim.publish(sim.release("1.0.0", format_name="mine"))
        for _ in range(MAX_TRIES + 2):   # each a try that the process survived
            with pytest.raises(StorageFault, match="memory"):
                bench.carry_out(body)


def test_a_model_that_hangs_while_it_is_loaded_is_refused(sim, tmp_path, road, key_ring) -> None:
    hang = Hang()
    with Bench(tmp_path / "store", road, key_ring, loaders={"mine": hang}, timing=Timing(load_seconds=0.05)) as bench:
        fault = refusal(bench, sim.publish(sim.release("1.0.0", format_name="mine")))
    hang.let_go()
    assert (fault.reason, fault.facts) == (Reason.TIMED_OUT, {"what": "loading", "limit_seconds": 0.05})


def test_a_model_that_took_the_process_with_it_three_times_is_refused(sim, bench) -> None:
    body = sim.publish(sim.release("1.0.0"))
    for _ in range(MAX_TRIES):
        bench = again(bench, run=ends_the_process)
        with pytest.raises(Crash):
            bench.carry_out(body)
    bench = again(bench)
    fault = refusal(bench, body)
    assert (fault.reason, fault.facts) == (Reason.LOAD_FAILED, {"tries": MAX_TRIES})
    bench.close()


def test_a_disk_that_was_full_at_the_pointer_is_no_try_that_failed(sim, tmp_path, road, key_ring) -> None:
    fs = FaultFs(tmp_path / "store")
    with Bench(tmp_path / "store", road, key_ring, fs=fs) as bench:
        body = sim.publish(sim.release("1.0.0"))
        for _ in range(MAX_TRIES + 2):
            trial = bench.trial(body)
            *before, promote = bench.steps()
            for work in before:
                work(trial)
            fs.fail_at(0, errno.ENOSPC, lasting=True)
            with pytest.raises(HostFault):
                promote(trial)
            fs.heal()
        bench.carry_out(body)
        assert bench.version == "1.0.0"


def test_answers_that_differ_are_refused_with_the_difference(sim, bench) -> None:
    samples = SampleSet([[1.0]], np.array([[2.5]]), "predict")
    fault = refusal(bench, sim.publish(sim.pickled("1.0.0", Doubler(), samples=samples)))
    assert fault.reason is Reason.SAMPLES_NOT_REPRODUCED
    assert "2.0 instead of 2.5" in str(fault.facts["difference"])


def test_a_candidate_that_was_refused_leaves_the_old_model_in_service(sim, bench) -> None:
    bench.carry_out(sim.publish(sim.pickled("1.0.0", Doubler())))
    active = bench.slot.active
    refusal(bench, sim.publish(sim.pickled("2.0.0", Doubler(), samples=SampleSet([[1.0]], np.array([[9.0]]), "predict"))))
    assert bench.slot.active is active
    assert bench.workshop.standing().sequence == 1


def test_a_refused_release_is_remembered_and_what_was_received_of_it_goes(sim, bench) -> None:
    trial = bench.trial(sim.publish(sim.release("1.0.0"), withheld(1)))
    with pytest.raises(SenderFault):
        bench.workshop.receive(trial)
    rejection = Rejection(trial.trusted.id, "chunks-missing", "1 chunk is not in the stream.", "1.0.0")
    name = bench.workshop.reject(trial, rejection, b"the report")
    assert bench.journal.rejections() == {trial.trusted.id: rejection}
    assert bench.journal.reports() == [(name, b"the report")]
    assert not bench.store.incoming(trial.trusted.release).exists()


def test_a_model_whose_pointer_cannot_be_written_is_not_in_service(sim, road, key_ring, tmp_path: Path) -> None:
    fs = FaultFs(tmp_path / "other")
    with Bench(tmp_path / "other", road, key_ring, fs=fs) as bench:
        bench.carry_out(sim.publish(sim.release("1.0.0")))
        trial = bench.trial(sim.publish(sim.release("2.0.0")))
        *steps, promote = bench.steps()
        for step in steps:
            step(trial)
        fs.fail_at(0, errno.ENOSPC, lasting=True)
        with pytest.raises(StorageFault):
            promote(trial)
        assert bench.version == "1.0.0"   # or it would serve what nobody would find after a restart
        fs.heal()
        promote(trial)
        assert bench.version == "2.0.0"


def test_a_rejection_is_never_remembered_without_its_report(sim, road, key_ring, tmp_path: Path) -> None:
    fs, step = FaultFs(tmp_path / "other"), 0
    with Bench(tmp_path / "other", road, key_ring, fs=fs) as bench:
        trial = bench.trial(sim.publish(sim.release("1.0.0")))
        rejection = Rejection(trial.trusted.id, "load-failed", "It does not load.", "1.0.0")
        while True:
            fs.fail_at(step, errno.ENOSPC, lasting=True)
            with suppress(StorageFault):
                bench.workshop.reject(trial, rejection, b"the report")
            if not fs.happened:
                break
            fs.heal()
            assert bench.journal.reports() or not bench.journal.rejections(), fs.steps
            step += 1
        fs.heal()
        assert bench.journal.rejections()


def test_work_that_nobody_wants_any_more_stops(sim, bench) -> None:
    trial = bench.trial(sim.publish(sim.release("1.0.0")))
    trial.dropped = True
    with pytest.raises(Dropped):
        bench.workshop.receive(trial)


# --------------------------------------------------------------------------- the start from disk


def two_releases(sim: PublisherSimulator, bench: Bench) -> tuple[Release, Release, bytes]:
    one, two = sim.release("1.0.0"), sim.release("2.0.0")
    bench.carry_out(sim.publish(one))
    body = sim.publish(two)
    bench.carry_out(body)
    return one, two, body


def test_an_empty_store_serves_nothing_and_says_nothing(bench: Bench) -> None:
    assert bench.workshop.restore() is None
    assert bench.version is None
    assert bench.workshop.standing().sequence == 0


def test_the_last_release_is_served_after_a_restart_and_nothing_is_forgotten(sim, bench) -> None:
    _, two, _ = two_releases(sim, bench)
    before = bench.workshop.standing()
    bench = again(bench)
    assert bench.workshop.restore() is None
    assert bench.slot.active is not None
    assert bench.slot.active.release == two.id
    assert bench.workshop.standing() == before
    assert bench.store.pointer().tries_left == TRIES
    bench.close()


@pytest.mark.parametrize("at", [0, 1500, -1])
def test_one_flipped_bit_on_disk_brings_the_previous_release_back(sim, bench, at: int) -> None:
    one, two, body = two_releases(sim, bench)
    flip(bench.store.folder(two.id) / "model.bin", at)
    bench = again(bench)
    problem = bench.workshop.restore()
    assert problem is not None
    assert "is damaged: model.bin differs" in problem
    assert bench.version == "1.0.0"
    assert not bench.store.has(two.id)
    standing = bench.workshop.standing()
    assert (str(standing.floor), standing.active_release) == ("2.0.0", one.id)
    host = Host("3.11.7", "cpython", str, frozenset({"files"}))
    assert rule(bench.trust(body), standing, Policy(), host, now_ms=0) is Ruling.CARRY_OUT
    bench = again(bench)
    bench.workshop.restore()
    bench.carry_out(body)
    assert bench.version == "2.0.0"
    bench.close()


def test_an_order_for_what_serves_after_a_fall_back_does_not_lower_the_floor(sim, bench) -> None:
    one, two, _ = two_releases(sim, bench)
    flip(bench.store.folder(two.id) / "model.bin")
    bench = again(bench)
    bench.workshop.restore()
    standing = bench.carry_out(sim.order(one, chunks_offset=0, oldest_offset=0))
    assert (bench.version, str(standing.floor), standing.sequence) == ("1.0.0", "2.0.0", 3)
    assert dict(standing.identities)["2.0.0"] == two.manifest.artifact.identity
    bench.close()


def test_a_flipped_bit_in_a_stored_manifest_is_found_and_its_order_brings_it_again(sim, bench) -> None:
    _, two, body = two_releases(sim, bench)
    flip(bench.store.root / "releases" / two.id / "manifest", 200)
    bench = again(bench)
    assert "is damaged: its manifest is that of" in str(bench.workshop.restore())
    assert bench.version == "1.0.0"
    host = Host("3.11.7", "cpython", str, frozenset({"files"}))
    assert rule(bench.trust(body), bench.workshop.standing(), Policy(), host, now_ms=0) is Ruling.CARRY_OUT
    bench.carry_out(body)
    bench = again(bench)
    assert (bench.workshop.restore(), bench.version) == (None, "2.0.0")
    bench.close()


@pytest.mark.parametrize("at", [-1, 0], ids=["signature", "envelope"])
def test_a_manifest_that_rotted_is_written_anew_when_its_release_is_ordered(sim, bench, at: int) -> None:
    _, two, body = two_releases(sim, bench)
    flip(bench.store.root / "releases" / two.id / "manifest", at)
    bench.carry_out(body)   # it serves, and its files are right
    bench = again(bench)
    assert (bench.workshop.restore(), bench.version) == (None, "2.0.0")
    bench.close()


def test_a_manifest_of_another_release_is_not_taken_for_ones_own(sim, bench) -> None:
    one, two, _ = two_releases(sim, bench)
    (bench.store.root / "releases" / two.id / "manifest").write_bytes(one.envelope)
    bench = again(bench)
    assert f"is damaged: its manifest is that of {one.id[:12]}" in str(bench.workshop.restore())
    assert bench.version == "1.0.0"
    bench.close()


def test_when_both_releases_are_damaged_none_is_served_and_both_are_named(sim, bench) -> None:
    one, two, body = two_releases(sim, bench)
    for release in (one, two):
        flip(bench.store.folder(release.id) / "model.bin")
    bench = again(bench)
    problem = str(bench.workshop.restore())
    assert one.id[:12] in problem
    assert two.id[:12] in problem
    assert bench.version is None
    bench = again(bench)
    bench.workshop.restore()
    bench.carry_out(body)
    assert bench.version == "2.0.0"
    bench.close()


def test_a_release_whose_key_is_trusted_no_more_is_not_served(sim, bench, road, key_ring, other_key, signing_key) -> None:
    both = KeyRing([signing_key.trusted(), other_key.trusted()])
    bench.close()
    bench = Bench(bench.store.root, road, both).open()
    bench.carry_out(sim.publish(sim.release("1.0.0", key=other_key), key=other_key))
    bench.carry_out(sim.publish(sim.release("2.0.0")))
    bench = again(bench, KeyRing([other_key.trusted()]))
    assert "is not trusted here" in str(bench.workshop.restore())
    assert bench.version == "1.0.0"
    bench = again(bench, both)
    assert bench.workshop.restore() is None   # and when it is trusted again, it is served again
    assert bench.version == "2.0.0"
    bench.close()


def test_a_new_key_takes_over_while_the_releases_of_the_old_one_are_still_on_disk(sim, bench, road, other_key) -> None:
    bench.carry_out(sim.publish(sim.release("1.0.0")))
    bench.close()
    bench = Bench(bench.store.root, road, KeyRing([other_key.trusted()])).open()
    bench.carry_out(sim.publish(sim.release("2.0.0", key=other_key), key=other_key))
    assert bench.version == "2.0.0"
    bench.close()


def test_a_release_that_ends_the_process_at_every_start_gives_way_to_the_one_before(sim, bench) -> None:
    one, two, body = two_releases(sim, bench)
    for left in range(TRIES - 1, -1, -1):
        bench = again(bench, run=ends_the_process)
        with pytest.raises(Crash):
            bench.workshop.restore()
        assert bench.store.pointer().tries_left == left
    bench = again(bench)
    assert "ended the process 3 times" in str(bench.workshop.restore())
    assert bench.version == "1.0.0"
    standing = bench.workshop.standing()
    assert (standing.bad, standing.active_release) == ((two.id,), one.id)
    with pytest.raises(SenderFault) as raised:
        rule(bench.trust(body), standing, Policy(), Host("3.11.7", "cpython", str, frozenset({"files"})), now_ms=0)
    assert raised.value.reason is Reason.LOAD_FAILED
    bench = again(bench)
    assert bench.workshop.restore() is None   # from now on the one before is the one
    bench = again(bench)
    bench.carry_out(sim.order(two, chunks_offset=0, oldest_offset=0))   # told again, it is tried again
    assert bench.workshop.standing().bad == ()
    bench.close()


def test_a_start_that_fails_but_lives_does_not_count_as_a_crash(sim, bench) -> None:
    two_releases(sim, bench)
    for _ in range(TRIES + 1):
        bench = again(bench, KeyRing([]))
        assert "is not trusted here" in str(bench.workshop.restore())
        assert bench.store.pointer().tries_left == TRIES
    bench.close()


def test_the_floor_and_the_sequence_survive_a_restart(sim, bench) -> None:
    bench.carry_out(sim.publish(sim.release("3.0.0"), sequence=41))
    bench = again(bench)
    bench.workshop.restore()
    standing = bench.workshop.standing()
    assert (standing.sequence, str(standing.floor)) == (41, "3.0.0")
    host = Host("3.11.7", "cpython", str, frozenset({"files"}))
    with pytest.raises(SenderFault) as raised:
        rule(bench.trust(sim.order(sim.release("2.9.9"), sequence=42)), standing, Policy(), host, now_ms=0)
    assert raised.value.reason is Reason.VERSION_DOWNGRADE
    assert rule(bench.trust(sim.order(sim.release("9.0.0"), sequence=40)), standing, Policy(), host, now_ms=0) is Ruling.STALE
    bench.close()


def test_a_good_copy_after_a_damaged_one_is_enough(sim, bench) -> None:
    def bad_first(sent: list[Sent]) -> list[Sent]:
        return [*(message.damaged() for message in sent), *sent]

    trial = bench.trial(sim.publish(sim.release("1.0.0"), bad_first))
    for work in bench.steps():
        work(trial)
    assert bench.version == "1.0.0"
    assert trial.transfer["damaged_chunks"] == len(sim.release("1.0.0").chunks())


def test_a_trial_is_only_dropped_when_asked(sim, bench) -> None:
    trial = Trial(bench.trust(sim.order(sim.release("1.0.0"))))
    trial.check()
    with pytest.raises(ValueError, match="boom"), trial.timed("failing"):
        raise ValueError("boom")
    assert trial.stages_ms["failing"] >= 0


# --------------------------------------------------------------------------- what is left behind


def test_a_refused_release_does_not_stay_on_disk_and_what_serves_does(sim, bench) -> None:
    bench.carry_out(sim.publish(sim.pickled("1.0.0", Doubler())))
    served = bench.slot.active.release
    for version in ("1.1.0", "1.2.0", "1.3.0"):
        bad = sim.pickled(version, Doubler(), samples=SampleSet([[1.0]], np.array([[9.0]]), "predict"))
        trial = bench.trial(sim.publish(bad))
        bench.workshop.receive(trial)
        bench.workshop.verify(trial)
        bench.workshop.load(trial)
        with pytest.raises(SenderFault):
            bench.workshop.probe(trial)
        bench.workshop.reject(trial, Rejection(trial.trusted.id, "samples-not-reproduced", "no", version), b"report")
    assert bench.store.releases() == [served]


def test_what_failed_to_be_synced_is_fetched_into_new_files(sim, tmp_path, road, key_ring) -> None:
    class Unsyncable(Fs):
        failing = True

        def sync(self, descriptor: int, path: Path) -> None:
            if self.failing and "incoming" in path.parts:
                raise StorageFault("Cannot sync.")
            super().sync(descriptor, path)

    fs = Unsyncable()
    with Bench(tmp_path / "store", road, key_ring, fs=fs) as bench:
        body = sim.publish(sim.release("1.0.0"))
        trial = bench.trial(body)
        with pytest.raises(StorageFault):
            bench.workshop.receive(trial)
        assert not bench.store.incoming(trial.trusted.release).exists()
        fs.failing = False
        again_trial = bench.trial(body)
        bench.workshop.receive(again_trial)
        assert again_trial.transfer["reused_bytes"] == 0


def test_what_failed_to_be_synced_and_could_not_be_removed_is_not_synced_again(sim, tmp_path, road, key_ring) -> None:
    class Failing(FaultFs):
        def sync(self, descriptor: int, path: Path) -> None:
            if "incoming" in path.parts and not self.synced_once:
                self.synced_once = True
                self.fail_at(0, errno.EIO, lasting=True)   # from here on nothing can be removed either
            super().sync(descriptor, path)

    fs = Failing(tmp_path / "store")
    fs.synced_once = False
    with Bench(tmp_path / "store", road, key_ring, fs=fs) as bench:
        body = sim.publish(sim.release("1.0.0"))
        for _ in range(2):
            with pytest.raises(StorageFault):
                bench.carry_out(body)
        fs.heal()
        bench.carry_out(body)
        assert bench.version == "1.0.0"
    fs.close()
    assert fs.synced_again == []


@pytest.mark.parametrize("code", [errno.EMFILE, errno.EIO, errno.ENOMEM])
def test_a_host_that_fails_while_a_model_is_loaded_is_not_the_senders_fault(sim, tmp_path, road, key_ring, code: int) -> None:
    def unlucky(folder: Path) -> object:
        raise OSError(code, "the host failed")

    unlucky_bench = Bench(tmp_path / "store", road, key_ring, loaders={"mine": unlucky})
    with unlucky_bench as bench, pytest.raises(StorageFault, match="loading the model"):
        bench.carry_out(sim.publish(sim.release("1.0.0", format_name="mine")))


def test_a_store_that_others_may_write_is_refused_and_so_is_such_a_file(sim, bench) -> None:
    bench.carry_out(sim.publish(sim.release("1.0.0")))
    (bench.store.folder(bench.slot.active.release) / "model.bin").chmod(0o666)
    bench = again(bench)
    assert "this user alone may write" in str(bench.workshop.restore())
    assert bench.version is None
    bench.close()
    bench.store.root.chmod(0o777)
    with pytest.raises(StorageFault, match="Other users may write") as caught:
        bench.store.open()
    assert "chmod go-w" in (caught.value.hint or "")


def test_an_old_release_that_cannot_be_read_does_not_keep_new_ones_away(sim, bench) -> None:
    bench.carry_out(sim.publish(sim.release("1.0.0")))
    manifest = bench.store.root / "releases" / bench.slot.active.release / "manifest"
    content = manifest.read_bytes()
    manifest.unlink()
    (manifest.parent / "real").write_bytes(content)
    manifest.symlink_to("real")   # O_NOFOLLOW refuses it: ELOOP, as EIO would
    bench.carry_out(sim.publish(sim.release("1.1.0")))
    assert bench.version == "1.1.0"


def test_a_load_that_nobody_wants_any_more_counts_as_no_try(sim, bench) -> None:
    body = sim.publish(sim.release("1.0.0"))
    for _ in range(MAX_TRIES + 1):
        trial = bench.trial(body)
        bench.workshop.receive(trial)
        bench.workshop.verify(trial)
        trial.dropped = True
        with pytest.raises(Dropped):
            bench.workshop.load(trial)
    bench.carry_out(body)
    assert bench.version == "1.0.0"
