"""A follower's complaints: what it says at once, what it writes, and what it forgets."""

from pathlib import Path
from typing import Any

import pytest
import structlog

from modelcast.consumer import complaining as module
from modelcast.consumer.active import Slot
from modelcast.consumer.complaining import Complaining
from modelcast.consumer.complaints import Complaint, Complaints
from modelcast.consumer.following import Seen
from modelcast.shared.errors import StorageFault
from modelcast.shared.fs import Fs

OLD, NEW = "a" * 64, "b" * 64
SEEN = Seen(active=NEW, previous=OLD, sequence=7)


class Named:
    """Enough of a manifest."""

    def __init__(self, version: str) -> None:
        self.version = version


class Rig:
    """A follower that serves 1.1.0, with 1.0.0 at hand."""

    def __init__(self, folder: Path) -> None:
        self.complaints, self.slot = Complaints(folder / "complaints", Fs()), Slot(lambda _manifest: True)
        self.complaining = Complaining(self.slot, self.complaints, structlog.get_logger())
        for version, release in (("1.0.0", OLD), ("1.1.0", NEW)):
            self.slot.swap(object(), Named(version), release)   # type: ignore[arg-type]

    def report(self, active: Any = None, seen: Seen = SEEN) -> bool:
        return self.complaining.report_bad(active or self.slot.active, "drifts", seen)

    def turn(self, seen: Seen = SEEN) -> bool:
        is_bad = self.complaining.is_about(seen)
        self.complaining.turn()
        return is_bad

    @property
    def version(self) -> str:
        assert self.slot.active is not None
        return self.slot.active.version


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_the_model_at_hand_serves_at_once_and_the_complaint_is_written_in_the_next_turn(rig: Rig) -> None:
    assert rig.report()
    assert (rig.version, rig.complaints.read()) == ("1.0.0", [])
    assert rig.turn()
    assert rig.complaints.read() == [Complaint(NEW, 7, "drifts")]


def test_it_is_written_once(rig: Rig) -> None:
    bad = rig.slot.active
    rig.report()
    rig.turn()
    (complaint,) = rig.complaints.read()
    rig.complaints.remove(complaint)
    assert rig.report(bad)   # another thread
    assert rig.turn()
    assert rig.complaints.read() == []


def test_without_one_at_hand_it_stays_until_another_is_loaded(rig: Rig) -> None:
    rig.slot.previous = None
    assert not rig.report()
    assert not rig.report()
    assert rig.version == "1.1.0"
    rig.turn()
    assert len(rig.complaints.read()) == 1


def test_what_the_pointer_names_no_more_is_not_complained_of(rig: Rig) -> None:
    assert not rig.report(seen=Seen(active="c" * 64, previous=NEW, sequence=8))
    assert rig.version == "1.1.0"
    assert not rig.turn()
    assert rig.complaints.read() == []


@pytest.mark.parametrize("seen", [Seen(active=OLD, sequence=7), Seen(active=NEW, previous=OLD, sequence=8)], ids=["left", "ordered again"])
def test_it_is_forgotten_when_the_pointer_moves_on(rig: Rig, seen: Seen) -> None:
    rig.report()
    assert not rig.turn(seen)
    assert rig.complaints.read() == []


def test_a_full_disk_is_told_and_tried_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise StorageFault("No space left.")

    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.0)
    rig.report()
    with monkeypatch.context() as patch:
        patch.setattr(Complaints, "leave", full)
        assert rig.turn()
    assert rig.complaining.fault == "The receiver cannot be told that a release is bad: No space left."
    assert rig.complaining.unheard() == [Complaint(NEW, 7, "drifts")]
    rig.turn()
    assert (rig.complaining.fault, rig.complaining.unheard()) == (None, [])
    assert len(rig.complaints.read()) == 1


def test_who_may_not_write_keeps_its_model(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fs, "may_write", lambda _self, _path: False)
    with pytest.raises(StorageFault):
        rig.report()
    assert rig.version == "1.1.0"
    assert not rig.turn()
