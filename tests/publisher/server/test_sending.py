"""Answers made of pieces of files, where the connection cannot send them itself."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from modelcast.publisher.server.protocol import ZERO_COPY
from modelcast.publisher.server.sending import BytesGone, PiecesResponse, read
from modelcast.publisher.server.shelves import Piece
from modelcast.shared.compression import pack_chunk


def messages(pieces: list[Piece], **scope: Any) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    response = PiecesResponse(pieces, status=200, headers={}, media_type="application/octet-stream")
    asyncio.run(response({"type": "http", "method": "GET", **scope}, None, send))   # type: ignore[arg-type]
    return sent


@pytest.fixture
def pieces(tmp_path: Path) -> list[Piece]:
    (tmp_path / "plain").write_bytes(b"0123456789")
    frame = pack_chunk(b"a" * 1000)
    assert frame is not None
    (tmp_path / "packed").write_bytes(frame)
    return [Piece(tmp_path / "plain", False, 2, 5), Piece(tmp_path / "packed", True, 990, 10)]


def test_without_the_extension_everything_is_read(pieces: list[Piece]) -> None:
    start, *bodies = messages(pieces)
    assert (b"content-length", b"15") in start["headers"]
    assert b"".join(body["body"] for body in bodies) == b"23456" + b"a" * 10
    assert [body["more_body"] for body in bodies] == [True, True, False]


def test_with_it_only_what_is_packed_is(pieces: list[Piece]) -> None:
    _, plain, packed, _ = messages(pieces, extensions={ZERO_COPY: {}})
    assert (plain["type"], plain["offset"], plain["count"]) == (ZERO_COPY, 2, 5)
    assert packed["body"] == b"a" * 10


def test_to_head_nothing_is_sent(pieces: list[Piece]) -> None:
    assert [message.get("body") for message in messages(pieces, method="HEAD")] == [None, b""]


@pytest.mark.parametrize("packed", [False, True])
def test_bytes_that_are_not_there_end_the_answer(tmp_path: Path, packed: bool) -> None:
    (tmp_path / "chunk").write_bytes(b"short")
    with pytest.raises(BytesGone):
        read(Piece(tmp_path / "chunk", packed, 0, 10))
