"""Tokens: their form, their reach, their files."""

from pathlib import Path

import pytest

from modelcast.publisher.server.tokens import ANYBODY, SCOPES, Grant, Scope, Token, TokenBook, made, matching
from modelcast.shared.errors import DepotUnusable, MisuseError, NotFound


def grants(*texts: str) -> list[Grant]:
    return [Grant.parse(text) for text in texts]


@pytest.mark.parametrize("text", ["fetch", "fetch:fraud", "promote:fraud/staging", "promote:*/staging"])
def test_a_scope_is_written_as_it_is_read(text: str) -> None:
    assert str(Grant.parse(text)) == text


@pytest.mark.parametrize("text", ["", "admin", "fetch:Fraud", "fetch:fraud/../x", "promote:fraud/chunks"])
def test_what_is_no_scope_is_refused_with_how_to_write_one(text: str) -> None:
    with pytest.raises(MisuseError) as refused:
        Grant.parse(text)
    assert refused.value.hint


def test_a_token_reaches_as_far_as_its_grants() -> None:
    token, _ = made("ci", grants("publish:fraud", "promote:fraud/staging", "fetch"), 0, None)
    assert token.allows(Scope.FETCH, "anything", "anywhere")
    assert token.allows(Scope.PUBLISH, "fraud")
    assert not token.allows(Scope.PUBLISH, "other")
    assert token.allows(Scope.PROMOTE, "fraud", "staging")
    assert not token.allows(Scope.PROMOTE, "fraud", "production")
    assert not token.allows(Scope.OPERATE)
    assert ANYBODY.allows(Scope.OPERATE, "fraud", "production")


def test_every_scope_is_explained() -> None:
    assert set(SCOPES) == set(Scope)


def test_only_the_whole_text_matches_and_only_until_it_expires() -> None:
    token, text = made("ci", grants("fetch"), 0, 1000)
    known = {token.id: token}
    assert matching(text, known, 999) == token
    assert matching(text, known, 1000) is None
    assert matching(text[:-1] + ("0" if text[-1] != "0" else "1"), known, 0) is None
    assert matching(text + "0", known, 0) is None
    assert matching(f"mct_{token.id}_", known, 0) is None
    assert matching("", known, 0) is None
    assert matching(text, {}, 0) is None


def test_the_secret_is_in_no_file_and_in_no_repr(tmp_path: Path) -> None:
    token, text = made("ci", grants("fetch"), 0, None)
    TokenBook(tmp_path / "tokens").add(token)
    secret = text.rpartition("_")[2]
    assert len(secret) == 64
    assert all(secret not in path.read_text() for path in (tmp_path / "tokens").iterdir())
    assert secret not in repr(token)


def test_tokens_are_found_again_and_a_revoked_one_is_not(tmp_path: Path) -> None:
    book = TokenBook(tmp_path / "tokens")
    one, _ = made("one", grants("fetch", "promote:fraud/staging"), 5, 1000)
    two, _ = made("two", grants("report"), 6, None)
    book.add(one)
    assert book.read() == {one.id: one}
    book.add(two)
    assert TokenBook(tmp_path / "tokens").read() == {one.id: one, two.id: two}
    assert book.remove(one.id) == one
    assert book.read() == {two.id: two}
    with pytest.raises(NotFound) as missing:
        book.remove(one.id)
    assert two.id in (missing.value.hint or "")


def test_tokens_that_are_read_are_not_read_again_until_the_folder_changes(tmp_path: Path) -> None:
    import os

    book = TokenBook(tmp_path / "tokens")
    token, _ = made("one", grants("fetch"), 0, None)
    book.add(token)
    os.utime(tmp_path / "tokens", (1, 1))   # long ago: no later change can hide in the same tick of the clock
    first = book.read()
    assert book.read() is first


def test_a_folder_that_others_may_write_is_refused_as_it_lets_anybody_in(tmp_path: Path) -> None:
    book = TokenBook(tmp_path / "tokens")
    book.add(made("one", grants("fetch"), 0, None)[0])
    (tmp_path / "tokens").chmod(0o777)
    with pytest.raises(DepotUnusable, match="Other users"):
        book.read()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 2}', b'{"format": 1, "id": "x"}', b'{"format": 1, "id": null}'])
def test_a_file_that_is_no_token_lets_nobody_in(tmp_path: Path, content: bytes) -> None:
    book = TokenBook(tmp_path / "tokens")
    token, _ = made("one", grants("fetch"), 0, None)
    book.add(token)
    (tmp_path / "tokens" / "0123456789ab").write_bytes(content)
    assert Token.from_bytes(content) is None
    assert set(book.read()) == {token.id}


def test_a_token_under_another_name_is_none(tmp_path: Path) -> None:
    book = TokenBook(tmp_path / "tokens")
    token, _ = made("one", grants("fetch"), 0, None)
    book.add(token)
    (tmp_path / "tokens" / token.id).rename(tmp_path / "tokens" / "0123456789ab")
    assert book.read() == {}
