"""What every request goes through."""

import logging
import re

import pytest
from tests.fakes.site import Client, Site

from modelcast.publisher.server.app import by_path, pattern_of
from modelcast.publisher.server.routes import ROUTES


def test_a_path_is_matched_as_a_whole() -> None:
    pattern = pattern_of("/models/{model}/releases/{release}/files/{path:path}")
    found = pattern.fullmatch("/v1/models/fraud/releases/1.0.0/files/a/b.bin")
    assert found is not None
    assert found.groupdict() == {"model": "fraud", "release": "1.0.0", "path": "a/b.bin"}
    assert not pattern_of("/models/{model}").fullmatch("/v1/models/a/b")
    assert not pattern_of("/models/{model}/chunks:mark").fullmatch("/v1/models/a/chunks/mark")


def test_every_route_is_found_by_its_own_path_first() -> None:
    for route in ROUTES:
        path = "/v1" + re.sub(r"\{(\w+)(:path)?\}", "x", route.path)
        methods = next(methods for pattern, methods in by_path() if pattern.fullmatch(path))
        assert methods[route.method] is route


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nothing", 404), ("PATCH", "/models", 405), ("PUT", "/health", 405)])
def test_what_there_is_not_is_a_problem_with_a_hint(client: Client, method: str, path: str, status: int) -> None:
    answer = client.ask(method, path)
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json")
    assert answer.json()["hint"]
    assert (status != 405) or answer.headers["Allow"]


def test_what_nobody_foresaw_is_500_and_tells_nothing(site: Site, client: Client, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def fail() -> None:
        raise ZeroDivisionError("a secret of the house")

    monkeypatch.setattr(site.server._service.shelves, "models", fail)
    answer = client.get("/models")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert client.get("/health").status_code == 200


def test_no_token_stands_in_a_log(tmp_path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    caplog.set_level(logging.DEBUG)
    with Site(tmp_path / "depot") as site:
        token = site.token("fetch")
        with Client(site.url, token) as client:
            for path in ("/models", "/models/x/releases", "/nothing", "/reports"):
                client.get(path)
        with Client(site.url, token[:-1] + "x") as wrong:
            assert wrong.get("/models").status_code == 401
    said = caplog.text + "".join(capsys.readouterr())
    assert token.rpartition("_")[2][:-1] not in said


def test_a_directory_that_fails_is_503_and_the_log_says_why(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    with Site(tmp_path / "depot", needs_tokens=False) as site, site.client() as client:
        (site.root / "models").write_bytes(b"no folder")
        answer = client.post("/models/fraud/publishing", json={"channel": "production"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert str(tmp_path) not in answer.text
