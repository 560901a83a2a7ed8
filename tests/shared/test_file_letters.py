"""Dead letters of a directory: sent back under their own names, found and settled by their instance."""

import os
from pathlib import Path

import pytest

from modelcast.shared.depot.depot import Depot
from modelcast.shared.depot.disk import Disk
from modelcast.shared.errors import DepotUnusable, NotFound
from modelcast.shared.file_letters import FIRST_REPLAY, FileLetterDesk, Replays
from modelcast.shared.road import DeadLetter, Target

HERE = Target("fraud", "production", "a")
NAME = f"{1000:013d}-{'a' * 24}"


@pytest.fixture
def depot(tmp_path: Path) -> Depot:
    depot = Depot(tmp_path)
    depot.enter()
    return depot


def replays_in(folder: Path) -> Replays:
    folder.mkdir(exist_ok=True)
    return Replays(Disk(), folder)


def test_what_comes_is_given_out_once_in_its_order_and_again_after_a_restart(tmp_path: Path) -> None:
    folder = tmp_path / "replays"
    replays = replays_in(folder)
    for number in (2, 1):
        (folder / f"{number:013d}-{'a' * 24}").write_bytes(b"%d" % number)
    (folder / ".modelcast-x").write_bytes(b"half")
    (folder / "readme").write_bytes(b"no replay")
    for _ in range(2):
        replays.look()
    given = [replays.next(), replays.next()]
    assert [(number, body) for number, _, body in filter(None, given)] == [(FIRST_REPLAY, b"1"), (FIRST_REPLAY + 1, b"2")]
    assert replays.next() is None
    name = replays.name_of(FIRST_REPLAY)
    assert name == f"{1:013d}-{'a' * 24}"
    replays.settle(name)
    assert (replays.name_of(FIRST_REPLAY), replays.name_of(3)) == (None, None)
    later = replays_in(folder)
    later.look()
    assert [found and found[2] for found in (later.next(), later.next())] == [b"2", None]


def test_one_that_is_gone_or_cannot_be_read_holds_up_nothing_and_may_come_later(tmp_path: Path) -> None:
    replays = replays_in(tmp_path / "replays")
    (tmp_path / "replays" / NAME).mkdir()
    replays.look()
    assert replays.next() is None
    (tmp_path / "replays" / NAME).rmdir()
    (tmp_path / "replays" / NAME).write_bytes(b"order")
    replays.look()
    found = replays.next()
    assert found is not None
    assert found[2] == b"order"


def test_sending_back_needs_a_place_of_that_instance_and_follows_no_link(depot: Depot, tmp_path: Path) -> None:
    desk, letter = FileLetterDesk(depot), DeadLetter(b"order", HERE, receipt=NAME)
    with pytest.raises(NotFound, match="has no place"):
        desk.send_back(letter)
    for nobody in (DeadLetter(b"order", None, receipt=NAME), DeadLetter(b"order", HERE)):
        with pytest.raises(NotFound, match="who refused it"):
            desk.send_back(nobody)
    depot.make_model("fraud")
    depot.make_channel("fraud", "production")
    places = depot.make_instance(HERE)
    desk.send_back(letter)
    assert os.listdir(tmp_path / places.replays) == [NAME]
    (tmp_path / places.replays / NAME).unlink()
    (tmp_path / places.replays).rmdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / places.replays).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DepotUnusable, match="symbolic link"):
        desk.send_back(letter)
    assert os.listdir(tmp_path / "elsewhere") == []
