"""Several chunks by one request: what a request costs is paid once for all of them.

Decides that chunks which do not come together (one was removed, the connection broke, a server that
does not know of batches) are asked for one by one. Imports the line and what gets a chunk.
"""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPResponse

from modelcast.shared.compression import CODEC
from modelcast.shared.errors import BrokerUnreachable
from modelcast.shared.http_answers import Answer, ServerBusy, fault_of
from modelcast.shared.http_getting import ChunkGetter
from modelcast.shared.http_line import Ask, Line, rested
from modelcast.shared.limits import MIB

BUSY_TRIES = 3
LEAST_BATCH_BYTES, FIRST_BATCH_BYTES, MOST_BATCH_BYTES = 2 * MIB, 8 * MIB, 16 * MIB
BRISK_SECONDS, SLOW_SECONDS = 2.0, 8.0
"""What is asked for together is on its way over several connections and taken over one after the other; a server cuts off a connection
over which nothing is taken for half a minute. So on a slow line less is asked for."""


def next_batch_bytes(seconds: float) -> int:
    """Return how much to ask for together when taking the last batch took ``seconds``."""
    if seconds < BRISK_SECONDS:
        return MOST_BATCH_BYTES
    return LEAST_BATCH_BYTES if seconds > SLOW_SECONDS else FIRST_BATCH_BYTES


@dataclass(frozen=True, slots=True)
class Listed:
    """A chunk as a list of chunks names it.

    Attributes:
        digest: Its digest, 64 hexadecimal digits.
        size: Its bytes as they are stored.
        is_packed: Whether that is a zstd frame.
    """

    digest: str
    size: int
    is_packed: bool

    @property
    def name(self) -> str:
        """What a request calls it."""
        return f"{self.digest}-{CODEC}" if self.is_packed else self.digest

    @property
    def codec(self) -> str:
        """Name of its codec."""
        return CODEC if self.is_packed else "none"


class ChunkBatch:
    """Some chunks that were asked for over one line, given out one after the other.

    Args:
        getter: Gets a single chunk, and has the buffer.
        line: A line that nothing else goes over until ``is_done``.
        model: Name of the model.
        wanted: The chunks, at least one.
    """

    def __init__(self, getter: ChunkGetter, line: Line, model: str, wanted: Sequence[Listed]) -> None:
        self.line, self._getter, self._left = line, getter, deque(wanted)
        self._response: HTTPResponse | None = None
        self._began: float | None = None
        self._is_together = len(wanted) > 1
        self._ask = Ask("GET", f"/models/{model}/chunks:batch", {"chunks": ",".join(each.name for each in wanted)})
        if self._is_together:
            line.send(self._ask)
        else:
            getter.ask(line, wanted[0].digest, wanted[0].codec)

    @property
    def is_done(self) -> bool:
        """Whether every chunk was given out."""
        return not self._left

    @property
    def seconds(self) -> float:
        """How long ago the first of its chunks began to be taken."""
        return 0.0 if self._began is None else time.monotonic() - self._began

    def has_answer(self, seconds: float) -> bool:
        """Wait for the next chunk, or for what is told instead; returns False after ``seconds``."""
        return self._response is not None or self.line.has_answer(seconds)

    def receive(self) -> tuple[memoryview, bool] | None:
        """Receive the next chunk; see ``ChunkGetter.receive``."""
        wanted = self._left.popleft()
        self._began = time.monotonic() if self._began is None else self._began
        if self._is_together:
            if (content := self._from_batch(wanted)) is not None:
                return content, wanted.is_packed
            self._is_together, self._response = False, None
            self._getter.ask(self.line, wanted.digest, wanted.codec)
        found = self._getter.receive(self.line, wanted.digest, wanted.codec)
        if self._left and not self._is_together:
            self._getter.ask(self.line, self._left[0].digest, self._left[0].codec)
        return found

    def _from_batch(self, wanted: Listed) -> memoryview | None:
        """Return a chunk out of the answer to all of them, or None when the rest of them must be asked for one by one."""
        try:
            if self._response is None:
                response = self._answered()
                if response.status != 200 or response.length != wanted.size + sum(each.size for each in self._left):
                    return None
                self._response = response
            return self._getter.fill(self.line, self._response, wanted.size)
        except BrokerUnreachable:
            return None

    def _answered(self) -> HTTPResponse:
        """Return the head of the answer; a server that is busy is asked again when it says, a few times."""
        for _ in range(BUSY_TRIES):
            response = self.line.begin()
            if response.status not in {429, 503}:
                return response
            headers = {name.lower(): value for name, value in response.getheaders()}
            busy = fault_of(Answer(response.status, headers, self.line.rest_of(response)), "chunks")
            time.sleep(rested(busy) if isinstance(busy, ServerBusy) else 0.0)
            self.line.send(self._ask)
        return self.line.begin()
