"""What every contender must be able to do, and what all of them share: one way to write and verify.

Decides the protocol between the measuring core and a contender. A contender's two sides run in processes of their own, each as a
generator of marks: the first is ``ready``, after it the clock starts. Imports task.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from tests.benchmarks.task import Mark, Task

MIB = 1024 * 1024
PIECE = MIB
"""What is read, sent and hashed at once by those who choose it themselves."""

Notice = Callable[[], None]
"""Returns when the publisher has announced the artifact: for contenders that have no message of their own for it."""


class Server(Protocol):
    """A server that stands between publisher and instances."""

    def missing(self) -> str | None:
        """Return why it cannot run here, with what to install; None if it can."""

    def start(self, folder: Path) -> dict[str, Any]:
        """Start it with all its files in ``folder``; returns what both sides must know (``Task.server``) with its ``pid``."""

    def clean(self, label: str, instances: int) -> None:
        """Remove what a round left in it."""

    def stop(self) -> None:
        """End it."""


class Contender(Protocol):
    """One way to bring an artifact to many instances.

    Attributes:
        name: One word, for options and JSON.
        title: What the tables say.
        is_late: Whether the instances start when everything is published already.
    """

    name: str
    title: str
    is_late: bool

    @property
    def server(self) -> Server:
        """The server it needs."""

    def missing(self) -> str | None:
        """Return why it cannot run here; None if it can."""

    def publish(self, task: Task) -> Iterator[Mark]:
        """Get ready, yield ``ready``, publish, yield ``published``."""

    def receive(self, task: Task, notice: Notice) -> Iterator[Mark]:
        """Get ready, yield ``ready``, receive, yield ``verified`` (and ``promoted``)."""


class NoServer:
    """For contenders without a server."""

    def missing(self) -> str | None:
        """Nothing can be missing."""
        return None

    def start(self, folder: Path) -> dict[str, Any]:
        """Start nothing."""
        return {}

    def clean(self, label: str, instances: int) -> None:
        """Nothing is left."""

    def stop(self) -> None:
        """Nothing runs."""


class Arriving:
    """An artifact on its way to disk, for all contenders but modelcast: written, hashed, synced, compared.

    Args:
        task: The task of the instance.
    """

    def __init__(self, task: Task) -> None:
        self._sha256, self._expected = hashlib.sha256(), task.sha256
        self.left = task.size
        self._file = task.target.open("wb", buffering=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._file.close()

    def write(self, piece: bytes | memoryview) -> None:
        """Take the next bytes."""
        self._sha256.update(piece)
        self.left -= len(piece)
        view = memoryview(piece)
        while view:
            view = view[self._file.write(view) :]

    def verified(self) -> Mark:
        """Make it durable, compare the digest, and return the mark.

        Raises:
            ValueError: Other bytes arrived.
        """
        os.fsync(self._file.fileno())
        if self.left or self._sha256.hexdigest() != self._expected:
            raise ValueError(f"other bytes arrived, or {self.left} too few")
        return Mark.now("verified")


def pieces(path: str) -> Iterator[bytes]:
    """Yield a file in pieces."""
    with Path(path).open("rb", buffering=0) as file:
        while piece := file.read(PIECE):
            yield piece
