"""The store: whatever operation the disk fails at or the process dies at, the old model or the new one is there, never neither."""

import errno
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.fakes.bench import Bench
from tests.fakes.fake_broker import FakeBroker
from tests.fakes.fault_fs import Crash, FaultFs
from tests.fakes.publisher_sim import PublisherSimulator

from modelcast.consumer.pointer import MAX_POINTER_BYTES, Pointer
from modelcast.consumer.store import POINTER, Store, damage_in, misfit_in
from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.errors import HostFault, StorageFault, StoreInUse
from modelcast.shared.fs import TEMPORARY_PREFIX, Fs
from modelcast.shared.order import Kind
from modelcast.shared.signing import KeyRing, SigningKey

ONE, TWO, THREE = "a" * 64, "b" * 64, "c" * 64
FILES = {"weights/part.bin": bytes(range(256)) * 10, "model.bin": b"abc" * 1000, "empty": b""}


def pointer_to(release: str, **changes: object) -> Pointer:
    fields = {
        "generation": 0, "release": release, "previous": None, "sequence": 1, "floor": "1.0.0", "floor_artifact": bytes(32),
    }
    return Pointer(**(fields | changes))  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path):
    store = Store(tmp_path / "store", Fs())
    store.open()
    yield store
    store.close()


# --------------------------------------------------------------------------- pointer


def test_an_empty_store_points_nowhere(store: Store) -> None:
    assert store.pointer() is None
    assert store.releases() == []


def test_every_record_has_the_next_generation(store: Store) -> None:
    assert [store.point(pointer_to(release, generation=99)).generation for release in (ONE, TWO, THREE)] == [1, 2, 3]
    assert store.pointer() == pointer_to(THREE, generation=3)


@pytest.mark.parametrize("content", [b"", b"torn", bytes(1000), bytes(MAX_POINTER_BYTES + 1)], ids=["empty", "torn", "zeros", "too large"])
def test_a_damaged_pointer_gives_way_to_the_one_before(store: Store, content: bytes) -> None:
    store.point(pointer_to(ONE))
    store.point(pointer_to(TWO))
    (store.root / POINTER).write_bytes(content)
    assert store.pointer() == pointer_to(ONE, generation=1)
    assert store.point(pointer_to(THREE)).generation == 2
    assert store.pointer() == pointer_to(THREE, generation=2)


def test_the_highest_generation_wins_wherever_it_stands(store: Store) -> None:
    store.point(pointer_to(ONE))
    store.point(pointer_to(TWO))
    shutil.copy(store.root / "current", store.root / "swap")
    (store.root / "current.old").replace(store.root / "current")
    (store.root / "swap").replace(store.root / "current.old")
    assert store.pointer() == pointer_to(TWO, generation=2)


def test_two_damaged_pointers_are_none(store: Store) -> None:
    store.point(pointer_to(ONE))
    store.point(pointer_to(TWO))
    for name in ("current", "current.old"):
        (store.root / name).write_bytes(b"")
    assert store.pointer() is None


# --------------------------------------------------------------------------- releases


def assemble(store: Store, release: str) -> None:
    store.fs.make_folder(store.incoming(release) / "files")
    (store.incoming(release) / "files" / "model.bin").write_bytes(b"model")


def test_a_release_has_a_name_only_when_it_is_complete(store: Store) -> None:
    assemble(store, ONE)
    assert not store.has(ONE)
    store.commit(ONE, b"signed")
    assert store.has(ONE)
    assert store.releases() == [ONE]
    assert (store.envelope(ONE), (store.folder(ONE) / "model.bin").read_bytes()) == (b"signed", b"model")
    assert not store.incoming(ONE).exists()


def test_the_rest_of_a_release_that_was_being_removed_does_not_keep_it_from_coming_back(store: Store) -> None:
    assemble(store, ONE)
    store.commit(ONE, b"signed")
    (store.root / "releases" / ONE / "manifest").unlink()   # a crash while it was removed
    assert not store.has(ONE)
    assemble(store, ONE)
    store.commit(ONE, b"signed")
    assert store.has(ONE)


def test_collecting_removes_what_nobody_keeps_complete_or_not(store: Store) -> None:
    for release in (ONE, TWO):
        assemble(store, release)
        store.commit(release, b"signed")
    assemble(store, THREE)
    store.collect({TWO})
    assert store.releases() == [TWO]
    assert not store.incoming(THREE).exists()
    assemble(store, THREE)
    store.collect({TWO, THREE})
    assert store.incoming(THREE).exists()


def test_the_manifest_of_a_release_that_is_not_here_is_the_hosts_fault(store: Store) -> None:
    with pytest.raises(StorageFault):
        store.envelope(ONE)


def test_what_a_crash_left_unfinished_is_cleared_away_at_the_start(store: Store) -> None:
    assemble(store, ONE)
    left = [folder / f"{TEMPORARY_PREFIX}x-1234" for folder in (store.root, store.root / "journal", store.incoming(ONE))]
    for path in left:
        path.write_bytes(b"half")
    store.close()
    store.open()
    assert not any(path.exists() for path in left)
    assert (store.incoming(ONE) / "files" / "model.bin").exists()


def test_the_stores_folders_and_files_are_for_their_owner_only(store: Store) -> None:
    store.point(pointer_to(ONE))
    assert store.root.stat().st_mode & 0o777 == 0o700
    assert (store.root / "current").stat().st_mode & 0o777 == 0o600


# --------------------------------------------------------------------------- lock


def test_a_second_store_on_the_same_folder_is_refused(store: Store) -> None:
    second = Store(store.root, Fs())
    with pytest.raises(StoreInUse, match=r"Another process uses the store") as raised:
        second.open()
    assert raised.value.hint
    store.close()
    second.open()
    second.close()


def test_another_process_cannot_open_it(store: Store) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom modelcast.shared.fs import Fs\nfrom modelcast.consumer.store import Store\n"
        "from modelcast.shared.errors import StoreInUse\n"
        "try:\n    Store(Path(sys.argv[1]), Fs()).open()\nexcept StoreInUse:\n    print('in use')\nelse:\n    print('opened')\n"
    )
    def other() -> str:
        return subprocess.run([sys.executable, "-c", program, str(store.root)], capture_output=True, text=True, check=True).stdout
    assert other() == "in use\n"
    store.close()
    assert other() == "opened\n"   # and the lock of a process that ended does not last


def test_a_store_that_cannot_be_opened_does_not_stay_locked(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    fs = FaultFs(tmp_path / "store")
    broken = Store(tmp_path / "store", fs)
    (tmp_path / "store" / f"{TEMPORARY_PREFIX}x").write_bytes(b"")
    for step in range(40):
        fs.fail_at(step, errno.EIO, lasting=False)
        try:
            broken.open()
        except StorageFault:
            other = Store(tmp_path / "store", Fs())
            other.open()
            other.close()
            (tmp_path / "store" / f"{TEMPORARY_PREFIX}x").write_bytes(b"")
        else:
            broken.close()
            if not fs.happened:
                return
    raise AssertionError("it never opened")


# --------------------------------------------------------------------------- damage


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "has 2999 bytes instead of 3000"),
        (lambda path: path.write_bytes(path.read_bytes() + b"x"), "has 3001 bytes instead of 3000"),
        (lambda path: path.write_bytes(b"X" + path.read_bytes()[1:]), "differs in the 1000 bytes at 0"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"X"), "differs in the 1000 bytes at 2000"),
    ],
    ids=["missing", "short", "long", "first byte", "last byte"],
)
def test_every_difference_between_disk_and_manifest_is_found(
    tmp_path: Path, signing_key: SigningKey, change: Callable[[Path], object], text: str
) -> None:
    release = PublisherSimulator(None, signing_key).release("1.0.0", FILES)
    for path, content in FILES.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)
    assert damage_in(tmp_path, release.manifest.artifact) is None
    change(tmp_path / "model.bin")
    found = damage_in(tmp_path, release.manifest.artifact)
    assert found is not None
    assert found.text == f"model.bin {text}"
    misfit = misfit_in(tmp_path, release.manifest.artifact)
    assert (misfit is None) == ("differs" in text)   # without reading the files, only their content is believed


def test_a_link_in_place_of_a_file_is_not_followed(tmp_path: Path, signing_key: SigningKey) -> None:
    release = PublisherSimulator(None, signing_key).release("1.0.0", {"model.bin": b"model"})
    (tmp_path / "elsewhere").write_bytes(b"model")
    (tmp_path / "model.bin").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageFault):
        damage_in(tmp_path, release.manifest.artifact)


# --------------------------------------------------------------------------- crashes


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, signing_key: SigningKey, key_ring: KeyRing):
    """A store that runs version 1.0.0, and the order for 2.0.0."""
    road = AmqpRoad(FakeBroker())
    sim = PublisherSimulator(road, signing_key)
    base = tmp_path_factory.mktemp("world") / "store"
    changed = FILES | {"model.bin": b"abc" * 700 + b"xyz" * 300}
    orders = [sim.publish(sim.release("0.9.0")), sim.publish(sim.release("1.0.0", FILES))]
    with Bench(base, road, key_ring) as bench:
        for order in orders:
            bench.carry_out(order)

    def bench_on(root: Path, fs: Fs | None = None) -> Bench:
        return Bench(root, road, key_ring, fs=fs)

    return base, bench_on, sim.publish(sim.release("2.0.0", changed)), sim


def whole_life(bench: Bench, order: bytes) -> None:
    """Start, serve what is there, carry out an order, stop."""
    try:
        bench.open()
        bench.workshop.restore()
        bench.carry_out(order)
    finally:
        bench.close()


def count_steps(base: Path, bench_on, order: bytes, root: Path) -> int:
    shutil.copytree(base, root)
    fs = FaultFs(root)
    whole_life(bench_on(root, fs), order)
    return len(fs.steps)


def check_survivor(bench: Bench, order: bytes, crashed_at: str) -> bool:
    """A new process on what a crash left: it serves the old model or the new one (returned), and the order can be carried out."""
    with bench:
        problem = bench.workshop.restore()
        served = bench.version
        assert served in {"1.0.0", "2.0.0"}, (crashed_at, problem)
        assert problem is None, crashed_at
        pointer = bench.store.pointer()
        assert pointer is not None
        assert bench.slot.active is not None
        assert pointer.release == bench.slot.active.release, crashed_at
        standing = bench.carry_out(order)
        assert (bench.version, standing.sequence, str(standing.floor)) == ("2.0.0", 3, "2.0.0"), crashed_at
        active = bench.slot.active
        assert damage_in(bench.store.folder(active.release), active.manifest.artifact) is None
        assert len(bench.store.releases()) == 2, crashed_at   # the new one and the one before
        assert list((bench.store.root / "incoming").iterdir()) == [], crashed_at
        return served == "2.0.0"


def test_a_crash_at_any_operation_leaves_the_old_model_or_the_new_one(tmp_path: Path, world) -> None:
    base, bench_on, order, _ = world
    steps = count_steps(base, bench_on, order, tmp_path / "counted")
    assert steps > 60
    committed: list[bool] = []
    for step in range(steps):
        here = tmp_path / str(step)
        shutil.copytree(base, here / "store")
        fs = FaultFs(here / "store")
        fs.crash_at(step, killed=here / "killed", power_cut=here / "power-cut")
        with pytest.raises(Crash):
            whole_life(bench_on(here / "store", fs), order)
        for kind in ("killed", "power-cut"):
            is_new = check_survivor(bench_on(here / kind), order, f"{kind} at {step}: {fs.steps[step]}")
        committed.append(is_new)
        shutil.rmtree(here)
    assert committed == sorted(committed), "a later crash went back to the older model, although the pointer was durable"
    assert set(committed) == {True, False}


def test_a_crash_during_the_very_first_promotion_leaves_a_store_that_works(tmp_path: Path, world) -> None:
    _, bench_on, _, sim = world
    first = sim.order(sim.release("1.0.0", FILES), sequence=1, chunks_offset=0, oldest_offset=0)
    (tmp_path / "empty").mkdir(mode=0o700)
    steps = count_steps(tmp_path / "empty", bench_on, first, tmp_path / "counted")
    for step in range(steps):
        here = tmp_path / str(step)
        shutil.copytree(tmp_path / "empty", here / "store")
        fs = FaultFs(here / "store")
        fs.crash_at(step, killed=here / "killed", power_cut=here / "power-cut")
        with pytest.raises(Crash):
            whole_life(bench_on(here / "store", fs), first)
        for kind in ("killed", "power-cut"):
            with bench_on(here / kind) as bench:
                assert bench.workshop.restore() is None
                assert bench.version in {None, "1.0.0"}, fs.steps[step]
                bench.carry_out(first)
                assert bench.version == "1.0.0"
        shutil.rmtree(here)


def test_a_crash_at_any_operation_does_not_keep_an_older_release_from_coming_back(tmp_path: Path, world) -> None:
    """What was being removed when the process died is fetched again, over whatever is left of it."""
    base, bench_on, order, sim = world
    back = sim.order(sim.release("0.9.0"), kind=Kind.ROLLBACK, sequence=4, chunks_offset=0, oldest_offset=0)
    steps = count_steps(base, bench_on, order, tmp_path / "counted")
    for step in range(steps // 2, steps):   # nothing is removed before
        here = tmp_path / str(step)
        shutil.copytree(base, here / "store")
        fs = FaultFs(here / "store")
        fs.crash_at(step, killed=here / "killed", power_cut=here / "power-cut")
        with pytest.raises(Crash):
            whole_life(bench_on(here / "store", fs), order)
        for kind in ("killed", "power-cut"):
            with bench_on(here / kind) as bench:
                bench.workshop.restore()
                standing = bench.carry_out(back)
                assert (bench.version, standing.sequence, str(standing.floor)) == ("0.9.0", 4, "0.9.0"), fs.steps[step]
        shutil.rmtree(here)


# --------------------------------------------------------------------------- a disk that fails


def fault_of(call: Callable[[], object]) -> HostFault | None:
    """The host's fault that a call ends with; anything else that it raises is a failure of the test."""
    try:
        call()
    except HostFault as fault:
        return fault
    return None


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
def test_a_disk_that_fails_at_any_operation_costs_the_order_a_retry_and_the_old_model_nothing(
    tmp_path: Path, world, number: int, lasting: bool
) -> None:
    base, bench_on, order, _ = world
    for step in range(1000):
        root = tmp_path / str(step)
        shutil.copytree(base, root)
        fs = FaultFs(root)
        with bench_on(root, fs) as bench:
            assert bench.workshop.restore() is None
            old = bench.slot.active
            fs.fail_at(step, number, lasting=lasting)
            fault = fault_of(lambda bench=bench: bench.carry_out(order))
            assert fault is None or fault.facts["errno"] == number, fs.steps[step]
            assert bench.slot.active is old or bench.version == "2.0.0"
            happened = fs.happened
            fs.heal()
            bench.carry_out(order)
            assert bench.version == "2.0.0", fs.steps[step]
            assert bench.workshop.standing().sequence == 3
        with bench_on(root) as bench:
            assert bench.workshop.restore() is None
            assert bench.version == "2.0.0"
        shutil.rmtree(root)
        if not happened:
            return
    raise AssertionError("there was no end of operations")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS], ids=errno.errorcode.get)
def test_a_disk_that_cannot_be_written_does_not_keep_the_model_from_being_served(tmp_path: Path, world, number: int) -> None:
    base, bench_on, _, _ = world
    shutil.copytree(base, tmp_path / "store")
    fs = FaultFs(tmp_path / "store")
    with bench_on(tmp_path / "store", fs) as bench:
        fs.fail_at(0, number, lasting=True)
        bench.workshop.restore()
        assert bench.version == "1.0.0"
