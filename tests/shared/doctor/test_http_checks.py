"""What a server of releases is found to be: the real one, with tokens that reach far enough and such that do not."""

from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path

import pytest
from tests.fakes.http_host import HttpHost

from modelcast.publisher.server.tokens import SCOPES
from modelcast.shared.cli.main import run
from modelcast.shared.doctor.findings import Case, Finding
from modelcast.shared.doctor.http_checks import NEEDED, check_server, clock_of_server
from modelcast.shared.permissions import Role

Found = Callable[..., list[Finding]]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[HttpHost]:
    host = HttpHost(tmp_path / "depot", needs_tokens=True)
    yield host
    host.stop()


@pytest.fixture
def found(host: HttpHost, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Found:
    """Looks at the server with a token of some scopes; None is no token at all."""

    def found(*scopes: str, token: str | None = None, role: Role | None = None) -> list[Finding]:
        if scopes:
            words = [word for scope in scopes for word in ("--scope", scope)]
            capsys.readouterr()
            assert run(["tokens", "create", "--depot", f"file://{host.folder}", "--name", "ci", *words]) == 0
            token = capsys.readouterr().out.strip()
        if token is None:
            monkeypatch.delenv("MODELCAST_TOKEN", raising=False)
        else:
            monkeypatch.setenv("MODELCAST_TOKEN", token)
        return list(check_server(Case(host.url, "fraud", role=role)))

    return found


REACH = {"promote": ":fraud/production", "operate": ""}


def problems(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.level == "problem"]


@pytest.mark.parametrize("role", Role)
def test_a_token_with_the_scopes_that_a_role_needs_lacks_none(found: Found, role: Role) -> None:
    told = found(*(f"{scope}{REACH.get(scope, ':fraud')}" for scope in NEEDED[role]), role=role)
    assert {finding.subject for finding in told} == {"server", "clock", "token"}
    assert problems(told) == []
    waits = [finding.text for finding in told if finding.level == "warning"]
    assert len(waits) == (1 if role is Role.PUBLISHER else 0)   # without operate it cannot wait for verdicts
    assert [finding for finding in found(*SCOPES, role=role) if finding.level != "ok"] == []


@pytest.mark.parametrize("role", Role)
def test_every_scope_that_a_role_needs_is_missed(found: Found, role: Role) -> None:
    for lost in NEEDED[role]:
        (told,) = problems(found(*(scope for scope in SCOPES if scope != lost), role=role))
        assert told.facts == {"has": sorted({*SCOPES} - {lost}), "missing": [lost]}
        assert f"--scope {lost}" in str(told.remedy)


def test_a_scope_for_another_model_or_channel_does_not_reach(found: Found) -> None:
    (told,) = problems(found("publish:other", "promote:fraud/staging", "fetch", "operate", role=Role.PUBLISHER))
    assert told.facts["missing"] == ["publish", "promote"]


def test_asking_leaves_nothing_behind(found: Found, host: HttpHost) -> None:
    def there() -> list[str]:
        return sorted(path.relative_to(host.folder).as_posix() for path in host.folder.rglob("*") if "tokens" not in path.parts)

    found("fetch")
    before = there()
    for role in Role:
        found(*SCOPES, role=role)
    assert there() == before


def test_a_token_that_is_not_known_and_none_at_all_are_problems(found: Found) -> None:
    (unknown,), (none,) = problems(found(token="mct_0000_nobody")), problems(found())
    assert "does not accept" in unknown.text
    assert "there is none" in none.text


def test_without_a_role_a_good_token_is_enough(found: Found) -> None:
    assert [(finding.subject, finding.level) for finding in found("report")] == [("server", "ok"), ("clock", "ok"), ("token", "ok")]


def test_a_server_without_tokens_lets_in_whoever_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODELCAST_TOKEN", raising=False)
    host = HttpHost(tmp_path / "open")
    try:
        assert "lets in whoever comes" in list(check_server(Case(host.url)))[-1].text
    finally:
        host.stop()


def test_no_server_is_one_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODELCAST_TOKEN", raising=False)
    (told,) = check_server(Case("http://127.0.0.1:9"))
    assert (told.level, told.facts["error"]) == ("problem", "BrokerUnreachable")


@pytest.mark.parametrize(("date", "level"), [
    (formatdate(1_000_000_000, usegmt=True), "ok"), (formatdate(1_000_000_060, usegmt=True), "warning"),
    (formatdate(999_999_940, usegmt=True), "warning"), (formatdate(999_999_998, usegmt=True), "ok"), (None, "ok"), ("yesterday", "ok"),
])
def test_the_time_in_an_answer_is_compared_with_ours(date: str | None, level: str) -> None:
    assert clock_of_server(date, lambda: 1_000_000_000.5).level == level
