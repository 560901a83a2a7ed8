"""Answers whose bodies are bytes of files: sent without a copy where the connection can, read and sent piece by piece where not.

Decides nothing of what is sent. Imports Starlette and the shelves' pieces.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from modelcast.publisher.server.protocol import FILE_FOLLOWS, ZERO_COPY
from modelcast.publisher.server.shelves import Piece
from modelcast.publisher.server.work import work
from modelcast.shared.compression import unpack_chunk
from modelcast.shared.errors import ModelcastError
from modelcast.shared.fs import NO_FOLLOW
from modelcast.shared.limits import DEFAULT_LIMITS


class OpenFile:
    """A descriptor with the one method that sendfile(2) needs."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor


class BytesGone(ModelcastError):
    """A chunk went, or is none, after the answer began: the connection ends, so that nothing looks complete."""


class PiecesResponse(Response):
    """Sends pieces of files one after the other.

    Args:
        pieces: The pieces.
        status: HTTP status.
        headers: Headers but for the length.
        media_type: Content type.
    """

    def __init__(self, pieces: Sequence[Piece], *, status: int, headers: Mapping[str, str], media_type: str) -> None:
        length = sum(piece.length for piece in pieces)
        super().__init__(None, status, {**headers, "Content-Length": str(length)}, media_type=media_type)
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        del receive
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers, FILE_FOLLOWS: True})
        if scope["method"] != "HEAD":
            for piece in self._pieces:
                if ZERO_COPY in scope.get("extensions", {}) and not piece.is_packed:
                    await _send_file(piece, send)
                else:
                    body = await work(read, piece)
                    await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _send_file(piece: Piece, send: Any) -> None:
    descriptor = os.open(piece.path, os.O_RDONLY | NO_FOLLOW)
    try:
        await send({
            "type": ZERO_COPY, "file": OpenFile(descriptor), "offset": piece.start, "count": piece.length, "more_body": True,
        })
    finally:
        os.close(descriptor)


def read(piece: Piece) -> bytes:
    """Return the bytes of a piece.

    Raises:
        BytesGone: They are not there.
    """
    descriptor = os.open(piece.path, os.O_RDONLY | NO_FOLLOW)
    try:
        if piece.is_packed:
            frame = os.pread(descriptor, DEFAULT_LIMITS.chunk_bytes + 1, 0)
            whole = unpack_chunk(frame, max_bytes=DEFAULT_LIMITS.chunk_bytes) or b""
            body = whole[piece.start : piece.start + piece.length]
        else:
            body = os.pread(descriptor, piece.length, piece.start)
    finally:
        os.close(descriptor)
    if len(body) != piece.length:
        raise BytesGone(f"{piece.path} is no chunk of the size that it should have.")
    return body
