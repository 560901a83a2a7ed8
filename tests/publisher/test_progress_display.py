"""A bar on a terminal, whole lines elsewhere."""

import pytest

from modelcast.publisher.progress import Progress
from modelcast.publisher.progress_display import ProgressDisplay, plain_line


def test_a_line_says_share_bytes_rate_and_what_remains() -> None:
    assert plain_line(Progress("sending", 25_000_000, 100_000_000), 5.0) == "sending  25%  25.0 MB of 100.0 MB  5.0 MB/s  15 s left"
    assert "unknown" in plain_line(Progress("sending", 0, 10), 0.0)
    assert "100%" in plain_line(Progress("sending", 0, 0), 1.0)


def test_off_and_a_quick_plain_run_print_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    for mode in ("off", "plain", "auto"):
        with ProgressDisplay(mode) as display:
            display(Progress("hashing", 1, 2))
            display(Progress("sending", 2, 2))
    assert capfd.readouterr() == ("", "")


def test_a_bar_goes_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    with ProgressDisplay("bar") as display:
        display(Progress("hashing", 1, 2))
        display(Progress("sending", 2, 2))
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "sending" in captured.err
