"""A command finds the broker where it was told, in a fixed order."""

from pathlib import Path

import pytest

from modelcast.shared.cli.connection import (
    AMQP_URL_FILE_VARIABLE,
    AMQP_URL_VARIABLE,
    URL_FILE_VARIABLE,
    URL_VARIABLE,
    resolve_url,
)
from modelcast.shared.errors import BrokerUnreachable, MissingPath


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (URL_VARIABLE, URL_FILE_VARIABLE, AMQP_URL_VARIABLE, AMQP_URL_FILE_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def test_the_option_wins_over_the_environment_and_that_over_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text("amqp://file\n")
    monkeypatch.setenv(URL_FILE_VARIABLE, str(secret))
    assert resolve_url(None, print) == "amqp://file"
    monkeypatch.setenv(URL_VARIABLE, "amqp://environment")
    assert resolve_url(None, print) == "amqp://environment"
    assert resolve_url("amqp://option", print) == "amqp://option"


def test_the_names_of_any_road_win_over_those_of_the_main_road_which_still_count(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret = tmp_path / "url"
    secret.write_text("file:///srv/models\n")
    monkeypatch.setenv(AMQP_URL_FILE_VARIABLE, str(secret))
    assert resolve_url(None, print) == "file:///srv/models"
    monkeypatch.setenv(AMQP_URL_VARIABLE, "amqp://broker")
    assert resolve_url(None, print) == "amqp://broker"
    monkeypatch.setenv(URL_FILE_VARIABLE, str(secret))
    assert resolve_url(None, print) == "file:///srv/models"


def test_a_file_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(URL_FILE_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(MissingPath, match="nowhere"):
        resolve_url(None, print)


def test_with_nothing_named_and_nothing_running_it_says_how_to_get_a_broker() -> None:
    with pytest.raises(BrokerUnreachable, match="No broker is named") as caught:
        resolve_url(None, print)
    assert "modelcast broker start" in (caught.value.hint or "")
