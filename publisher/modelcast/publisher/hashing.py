"""Digests of an artifact that is read once: BLAKE3 at once, because the sender waits for it; SHA-256 in a thread beside it.

Decides how far that thread may lag behind, and with it how much memory a publication holds. Imports the digests.
"""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from types import TracebackType
from typing import Any, Self

from modelcast.shared.digest import digest
from modelcast.shared.limits import KIB

MOST_WAITING = 8
"""Chunks that wait to be hashed: 8 MiB at the default size; a reader that is faster waits."""
MIN_BESIDE_BYTES = 64 * KIB
"""A smaller piece is hashed sooner than it is handed over."""


@dataclass(frozen=True, slots=True)
class Digests:
    """The digests of an artifact's files.

    Attributes:
        files: The SHA-256 of each file, in order; None where nobody asked for it.
        chunks: For each file the BLAKE3 digests of its chunks, in order, joined.
    """

    files: tuple[bytes | None, ...]
    chunks: tuple[bytes, ...]


class Hashing:
    """Takes an artifact's chunks in order, as a context manager.

    Args:
        whole: For each file whether its SHA-256 is wanted as well.
    """

    def __init__(self, whole: Sequence[bool]) -> None:
        self._wholes: list[Any] = [sha256() if wanted else None for wanted in whole]
        self._chunks: list[list[bytes]] = [[] for _ in whole]
        self._beside = ThreadPoolExecutor(1, "modelcast hashing")   # starts its thread with the first large piece
        self._waiting: deque[Future[None]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._beside.shutdown()

    def take(self, file: int, content: bytes | memoryview) -> bytes:
        """Return a chunk's BLAKE3 digest; its bytes must stay as they are until ``digests`` returns."""
        whole = self._wholes[file]
        if whole is None:
            pass
        elif self._waiting or len(content) >= MIN_BESIDE_BYTES:
            if len(self._waiting) >= MOST_WAITING:
                self._waiting.popleft().result()
            self._waiting.append(self._beside.submit(whole.update, content))
        else:
            whole.update(content)
        identity = digest(content)
        self._chunks[file].append(identity)
        return identity

    def digests(self) -> Digests:
        """Wait for the thread and return all digests."""
        while self._waiting:
            self._waiting.popleft().result()
        return Digests(
            tuple(None if whole is None else whole.digest() for whole in self._wholes),
            tuple(b"".join(chunks) for chunks in self._chunks),
        )
