"""A directory is looked at before it is used: missing, foreign, of a newer format, open to others, full, no directory at all."""

import errno
import os
import threading
from pathlib import Path

import pytest
from tests.fakes.fault_disk import FaultDisk

from modelcast.shared.depot.depot import Depot
from modelcast.shared.depot.layout import MARKER
from modelcast.shared.errors import DepotUnusable, StorageFault


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "depot"
    root.mkdir(mode=0o700)
    return root


def refused(root: Path, **options: bool) -> str:
    with pytest.raises(DepotUnusable) as caught:
        Depot(root, **options).enter()
    assert caught.value.hint
    return f"{caught.value} {caught.value.hint}"


def test_an_empty_directory_becomes_a_depot_and_is_one_from_then_on(root: Path) -> None:
    for _ in range(2):
        Depot(root).enter()
    assert (root / MARKER).read_bytes() == b"modelcast depot 1\n"


def test_an_empty_directory_stays_one_for_who_publishes_nothing(root: Path) -> None:
    with pytest.raises(DepotUnusable, match="no depot yet") as caught:
        Depot(root).enter(founds=False)
    assert "mounted" in (caught.value.hint or "")
    assert list(root.iterdir()) == []
    Depot(root).enter()
    Depot(root).enter(founds=False)


def test_models_and_channels_behind_links_are_none(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir(mode=0o700)
    for path in (other, root):
        Depot(path).enter()
        Depot(path).make_channel("fraud", "production")
    (root / "models/churn").symlink_to(other / "models/fraud")
    (root / "models/fraud/channels/staging").symlink_to(other / "models/fraud/channels/production")
    assert (Depot(root).models(), Depot(root).channels("fraud")) == (["fraud"], ["production"])


def test_what_a_new_file_system_and_hidden_files_hold_does_not_make_it_foreign(root: Path) -> None:
    for name in ("lost+found", ".snapshot"):
        (root / name).mkdir()
    Depot(root).enter()


def test_a_directory_that_is_missing_is_not_made_because_it_may_not_be_mounted(tmp_path: Path) -> None:
    assert "mounted" in refused(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_a_file_in_the_place_of_the_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    assert "There is no directory" in refused(tmp_path / "file")


def test_a_directory_with_other_things_in_it_is_not_touched(root: Path) -> None:
    (root / "photos").mkdir()
    assert "photos" in refused(root)
    assert [path.name for path in root.iterdir()] == ["photos"]


@pytest.mark.parametrize(("marker", "said"), [(b"modelcast depot 2\n", "Upgrade"), (b"something\n", "no marker"), (b"", "no marker")])
def test_another_format_and_another_marker_are_told_apart(root: Path, marker: bytes, said: str) -> None:
    (root / MARKER).write_bytes(marker)
    assert said in refused(root)


def test_a_directory_that_others_may_write_is_refused_unless_said_otherwise(root: Path) -> None:
    root.chmod(0o770)
    assert "allow_shared_writes=yes" in refused(root)
    Depot(root, allow_shared_writes=True).enter()
    root.chmod(0o700)
    depot = Depot(root)
    depot.enter()
    depot.make_model("fraud")
    (root / "models" / "fraud").chmod(0o777)
    for make in (lambda: depot.make_model("fraud"), lambda: depot.make_channel("fraud", "production")):
        with pytest.raises(DepotUnusable, match="Other users may write"):
            make()


def test_a_directory_of_another_user_is_refused_too(root: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    os.chown(root, 12345, -1)
    assert "Other users may write" in refused(root)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO])
def test_a_disk_that_takes_nothing_is_told_at_every_step_and_a_later_try_succeeds(root: Path, code: int) -> None:
    disk = FaultDisk(root)
    steps = 0
    while True:
        disk.fail_at(steps, code)
        try:
            Depot(root, disk=disk).enter()
            break
        except StorageFault as fault:
            assert fault.hint   # noqa: PT017 - the loop ends when there is none
        steps += 1
    assert steps > 3
    disk.heal()
    Depot(root, disk=disk).enter()


def test_many_make_a_depot_of_one_directory_at_once(root: Path) -> None:
    faults: list[BaseException] = []
    start = threading.Barrier(8)

    def enter() -> None:
        start.wait()
        try:
            Depot(root).enter()
        except BaseException as fault:  # noqa: BLE001 - looked at below
            faults.append(fault)

    threads = [threading.Thread(target=enter) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []


def test_what_a_killed_writer_left_is_swept(root: Path) -> None:
    depot = Depot(root)
    depot.enter()
    places = depot.make_model("fraud")
    (root / places.incoming / ".tmp-1").write_bytes(b"half")
    depot.sweep(places.incoming)
    assert list((root / places.incoming).iterdir()) == []


def test_a_link_in_the_place_of_a_folder_is_not_followed(root: Path, tmp_path: Path) -> None:
    depot = Depot(root, allow_shared_writes=True)
    depot.enter()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "kept").write_bytes(b"x")
    for link, act in (
        (root / "models" / "fraud" / "incoming", lambda: depot.make_model("fraud")),
        (root / "models" / "churn", lambda: depot.make_channel("churn", "production")),
        (root / "reports", depot.enter),
    ):
        link.parent.mkdir(parents=True, exist_ok=True)
        if link.is_dir():
            link.rmdir()
        link.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(DepotUnusable, match="symbolic link"):
            act()
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["kept"]


def test_a_model_is_there_when_somebody_published_it(root: Path) -> None:
    depot = Depot(root)
    depot.enter()
    depot.make_model("fraud")
    assert not depot.has_model("fraud")
    index = depot.index("fraud")
    index.open()
    index.close()
    assert depot.has_model("fraud")
