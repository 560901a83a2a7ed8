"""What the story leaves behind: nothing, unless it was asked for. The whole of it is told in ``tests/end_to_end/test_demo.py``."""

from pathlib import Path

import pytest

from modelcast.publisher.demo.stage import Narrator
from modelcast.publisher.demo.story import _folder, _stop_all
from modelcast.shared.cli.output import Output


@pytest.mark.parametrize("keep", [True, False])
def test_the_folder_goes_unless_it_is_to_be_kept(keep: bool, capsys: pytest.CaptureFixture[str]) -> None:
    with _folder(Narrator(Output(as_json=False)), keep=keep) as folder:
        (folder / "log").write_text("said")
    assert folder.is_dir() is keep
    assert ("stay there" in capsys.readouterr().out) is keep
    if keep:
        (folder / "log").unlink()
        folder.rmdir()


def test_every_instance_is_asked_to_end_before_any_is_waited_for() -> None:
    told: list[str] = []

    class Ending:
        def __init__(self, name: str) -> None:
            self.name = name

        def end_soon(self) -> None:
            told.append(f"end {self.name}")

        def stop(self) -> None:
            told.append(f"stop {self.name}")

    _stop_all([Ending("a"), Ending("b")])   # type: ignore[list-item]
    assert told == ["end a", "end b", "stop a", "stop b"]
    assert Path.cwd().is_dir()
