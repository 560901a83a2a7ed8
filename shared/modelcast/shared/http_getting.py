"""Getting chunks by their digests.

Decides what a broken download costs: it goes on where it stopped. The bytes of a chunk are received into one buffer that is used again
for the next. Imports the line.
"""

import random
import time
from collections import deque
from collections.abc import Iterable, Iterator
from http.client import HTTPResponse

from modelcast.shared.compression import CODEC
from modelcast.shared.errors import BrokerUnreachable
from modelcast.shared.http_answers import Answer, ServerBusy, fault_of
from modelcast.shared.http_line import Ask, Line, Server, rested
from modelcast.shared.limits import DEFAULT_LIMITS, KIB
from modelcast.shared.road import ArrivedChunk

CHUNK_ROOM = DEFAULT_LIMITS.chunk_bytes + 1
"""Bytes of a buffer that any chunk fits in, and one more: an answer that is larger is no chunk."""
PIECE_BYTES = 256 * KIB
"""Received at a time: what a broken connection costs at most, since the download goes on behind the last piece."""
RESUMES = 3
"""Broken connections within one chunk that are mended on the spot."""


def spread(seconds: float) -> float:
    """Return about ``seconds``: a fleet that asked at one moment does not ask at one moment again."""
    return seconds * random.uniform(0.75, 1.25)  # noqa: S311 - guards nothing


class ChunkGetter:
    """Gets chunks by their digests into one buffer.

    Args:
        model: Name of the model.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._buffer = memoryview(bytearray(CHUNK_ROOM))

    def ask(self, line: Line, digest: str, codec: str | None, done: int = 0, tag: str | None = None) -> None:
        """Ask for a chunk, from byte ``done`` on if it still is the one that was tagged so."""
        headers = {"Range": f"bytes={done}-", "If-Range": tag} if done and tag else {}
        line.send(Ask("GET", f"/models/{self._model}/chunks/{digest}", {"codec": codec}, headers=headers))

    def fill(self, line: Line, response: HTTPResponse, size: int) -> memoryview:
        """Receive the next ``size`` bytes of an answer, at most what a chunk may have.

        Raises:
            BrokerUnreachable: The connection broke.
        """
        done = 0
        while done < size:
            done += line.read_into(response, self._buffer[done:size])
        return self._buffer[:size]

    def receive(self, line: Line, digest: str, codec: str | None) -> tuple[memoryview, bool] | None:
        """Receive the chunk that was asked for; returns its bytes and whether they are packed, or None when it is not there.

        Raises:
            HostFault: The connection broke too often, or the server refused.
        """
        done, tag, breaks = 0, None, 0
        while True:
            try:
                response = line.begin()
                if response.status == 404:
                    line.rest_of(response)
                    return None
                if response.status not in {200, 206}:
                    answer = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, line.rest_of(response))
                    raise fault_of(answer, "chunk")
                if response.status == 200 or not _goes_on(response.getheader("Content-Range"), done):
                    done = 0
                tag, is_packed = response.getheader("ETag"), response.getheader("Modelcast-Codec") == CODEC
                while done < CHUNK_ROOM and (count := line.read_into(response, self._buffer[done : done + PIECE_BYTES])):
                    done += count
                if done == CHUNK_ROOM:
                    line.close()   # no chunk; what it has is damage, and nobody reads the rest
                return self._buffer[:done], is_packed
            except ServerBusy as busy:
                time.sleep(rested(busy))
            except BrokerUnreachable:
                breaks += 1
                if breaks > RESUMES:
                    raise
                time.sleep(spread(0.1) * breaks)
            self.ask(line, digest, codec, done, tag)


def _goes_on(content_range: str | None, done: int) -> bool:
    return content_range is not None and content_range.startswith(f"bytes {done}-")


class HttpChunkFinder:
    """See ``finding.ChunkFinder``: as many chunks as there are connections are on their way at once."""

    name = "http"

    def __init__(self, server: Server, model: str) -> None:
        self._lines = [server.line() for _ in range(server.url.connections)]
        self._getter = ChunkGetter(model)

    def find(self, digests: Iterable[str]) -> Iterator[ArrivedChunk]:
        """See ``finding.ChunkFinder.find``."""
        left, free, asked = iter(digests), deque(self._lines), deque[tuple[str, Line]]()
        while True:
            while free and (digest := next(left, None)) is not None:
                asked.append((digest, free.popleft()))
                self._getter.ask(asked[-1][1], digest, None)
            if not asked:
                return
            digest, line = asked.popleft()
            found = self._getter.receive(line, digest, None)
            free.append(line)
            if found is not None:
                yield ArrivedChunk(found[0], True, digest, is_packed=found[1])

    def close(self) -> None:
        """See ``finding.ChunkFinder.close``."""
        for line in self._lines:
            line.close()
