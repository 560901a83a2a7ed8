"""Where a token comes from, and when it is not taken."""

import os
from pathlib import Path

import pytest

from modelcast.shared.errors import InvalidKey, MissingPath, MisuseError
from modelcast.shared.http_token import token_of
from modelcast.shared.http_url import HttpUrl

HERE = HttpUrl.parse("http://127.0.0.1")


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("mct_file_secret\n")
    path.chmod(0o600)
    return path


def test_the_argument_comes_before_the_file_and_the_file_before_the_environment(token_file: Path) -> None:
    with_file, environment = HttpUrl.parse(f"http://127.0.0.1?token_file={token_file}"), {"MODELCAST_TOKEN": "mct_environment_secret"}
    assert token_of(with_file, "mct_argument_secret", environment) == "mct_argument_secret"
    assert token_of(with_file, None, environment) == "mct_file_secret"
    assert token_of(HERE, None, environment) == "mct_environment_secret"
    assert token_of(HERE, None, {"MODELCAST_TOKEN": ""}) is None
    assert token_of(HERE, None, {}) is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_file_that_others_may_read_is_refused(token_file: Path, mode: int) -> None:
    token_file.chmod(mode)
    with pytest.raises(InvalidKey, match="Others") as caught:
        token_of(HttpUrl.parse(f"http://127.0.0.1?token_file={token_file}"), None, {})
    assert "chmod 600" in (caught.value.hint or "")


def test_a_file_that_is_not_there_or_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingPath, match="missing"):
        token_of(HttpUrl.parse(f"http://127.0.0.1?token_file={tmp_path}/missing"), None, {})
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(InvalidKey, match="no file"):
        token_of(HttpUrl.parse(f"http://127.0.0.1?token_file={tmp_path}/pipe"), None, {})


@pytest.mark.parametrize("text", ["", "ge heim", "geheim\r\nHost: x", "gehéim", "x" * 513])
def test_what_is_no_token_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(MisuseError, match="token") as caught:
        token_of(HERE, text, {})
    assert "heim" not in f"{caught.value} {caught.value.hint} {caught.value.facts}"


def test_a_token_does_not_travel_without_tls_to_another_host_unless_that_is_said() -> None:
    for address in ("https://models.example", "http://models.example?allow_plain=yes", "http://localhost"):
        assert token_of(HttpUrl.parse(address), "mct_a_b", {}) == "mct_a_b"
    with pytest.raises(MisuseError, match="without TLS"):
        token_of(HttpUrl.parse("http://models.example"), "mct_a_b", {})
    assert token_of(HttpUrl.parse("http://models.example"), None, {}) is None
