"""Dead letters as files: kept once, oldest first, and what is none is passed over."""

from pathlib import Path

import pytest

from modelcast.shared.depot.disk import Disk
from modelcast.shared.depot.letters import LetterBox
from modelcast.shared.road import Target

HERE = Target("fraud", "production", "a")


@pytest.fixture
def box(tmp_path: Path) -> LetterBox:
    for name in ("letters", "incoming"):
        (tmp_path / name).mkdir()
    return LetterBox(Disk(), tmp_path / "letters")


def test_letters_are_read_oldest_first_with_who_refused_them(box: LetterBox, tmp_path: Path) -> None:
    box.add(HERE, 2, b"two", 2000, tmp_path / "incoming")
    box.add(Target("fraud", "production", "b"), 1, b"one", 1000, tmp_path / "incoming")
    found = list(box.read(10))
    assert [(letter.body, letter.target.instance, letter.died_ms, letter.cause) for letter in found if letter.target] == [
        (b"one", "b", 1000, "rejected"), (b"two", "a", 2000, "rejected"),
    ]
    assert [letter.body for letter in box.read(1)] == [b"one"]


def test_the_same_refusal_after_a_crash_is_kept_once(box: LetterBox, tmp_path: Path) -> None:
    for died_ms in (1000, 2000):
        box.add(HERE, 1, b"one", died_ms, tmp_path / "incoming")
    box.add(HERE, 2, b"one", 3000, tmp_path / "incoming")   # another order with the same bytes
    assert [letter.died_ms for letter in box.read(10)] == [1000, 3000]


def test_what_is_no_letter_is_passed_over_and_does_not_count(box: LetterBox, tmp_path: Path) -> None:
    folder = tmp_path / "letters"
    (folder / f"0000000000001-{'0' * 24}").write_bytes(b"no letter")
    (folder / f"0000000000002-{'0' * 24}").write_bytes(b"\x81\xa4body\x01")
    (folder / "readme").write_bytes(b"x")
    box.add(HERE, 1, b"one", 1000, tmp_path / "incoming")
    assert [letter.body for letter in box.read(1)] == [b"one"]


def test_the_letters_of_one_model_can_be_removed(box: LetterBox, tmp_path: Path) -> None:
    box.add(HERE, 1, b"mine", 1000, tmp_path / "incoming")
    box.add(Target("churn", "production", "a"), 1, b"theirs", 1000, tmp_path / "incoming")
    box.remove_of("fraud")
    assert [letter.body for letter in box.read(10)] == [b"theirs"]
