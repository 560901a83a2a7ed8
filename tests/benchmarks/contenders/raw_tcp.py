"""The limit: a file through a socket by sendfile, received into one buffer, hashed, written. Nothing is named, signed or kept.

Nothing that sends an artifact from one process to others over TCP and verifies it can be much faster.
"""

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.contender import PIECE, Arriving, NoServer, Notice
from tests.benchmarks.task import Mark, Task

LOOPBACK = "127.0.0.1"


class RawTcp:
    """One thread of the publisher for each instance, and ``os.sendfile`` in it."""

    name = "raw-tcp"
    title = "raw TCP (the limit)"
    server = NoServer()
    is_late = False

    def missing(self) -> str | None:
        """Nothing can be missing."""
        return None

    def publish(self, task: Task) -> Iterator[Mark]:
        """Send the file to everybody who is connected."""
        with socket.create_server((LOOPBACK, 0), backlog=task.instances) as listener, Path(task.source).open("rb") as file:
            _write_port(task, listener.getsockname()[1])
            yield Mark.now("ready")
            threads = []
            for _ in range(task.instances):
                connection, _ = listener.accept()
                threads.append(threading.Thread(target=_send, args=(connection, file.fileno(), task.size)))
                threads[-1].start()
            for thread in threads:
                thread.join()
            yield Mark.now("published")

    def receive(self, task: Task, notice: Notice) -> Iterator[Mark]:
        """Receive into one buffer."""
        with socket.create_connection((LOOPBACK, _port(task))) as connection, Arriving(task) as arriving:
            buffer = memoryview(bytearray(PIECE))
            yield Mark.now("ready")
            while arriving.left:
                count = connection.recv_into(buffer)
                if not count:
                    break
                arriving.write(buffer[:count])
            yield arriving.verified()


def _send(connection: socket.socket, file: int, size: int) -> None:
    with connection:
        offset = 0
        while offset < size:
            offset += os.sendfile(connection.fileno(), file, offset, size - offset)


def _write_port(task: Task, port: int) -> None:
    (Path(task.common) / "port").write_text(str(port))


def _port(task: Task) -> int:
    return int((Path(task.common) / "port").read_text())
