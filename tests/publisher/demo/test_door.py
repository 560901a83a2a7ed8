"""A closed door is a directory that is not there; an open one is the directory."""

from pathlib import Path

from modelcast.publisher.demo.door import Door, way_to
from modelcast.publisher.demo.gate import Gate
from modelcast.shared.file_url import FileUrl


def test_it_is_closed_then_open_then_closed_again(tmp_path: Path) -> None:
    for name in ("depot # 1", "instance 1"):
        (tmp_path / name).mkdir()
    url = f"file://{tmp_path}/depot%20%23%201?poll=1"
    door = Door(url, tmp_path / "instance 1")
    path = Path(FileUrl.parse(door.url).path)
    assert FileUrl.parse(door.url).poll_seconds == 1
    assert (path.exists(), door.passed) == (False, 0)
    door.open()
    (path / "file").write_bytes(b"x")
    assert ((tmp_path / "depot # 1" / "file").read_bytes(), door.passed) == (b"x", 1)
    door.close()
    door.close()
    assert not path.exists()
    Door(url, tmp_path / "instance 1").open()   # after an instance was killed and started again
    assert path.exists()


def test_the_address_says_which_way_it_is(tmp_path: Path) -> None:
    assert isinstance(way_to(f"file://{tmp_path}", tmp_path), Door)
    gate = way_to("amqp://u:p@127.0.0.1:1/", tmp_path)
    assert isinstance(gate, Gate)
    gate.close()
