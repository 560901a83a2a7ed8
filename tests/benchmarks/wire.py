"""Counts what the sockets of this process send and receive, whatever library uses them; can end the process at a given count.

Decides nothing else. ``count_sockets`` must be called before anything connects. Imports the standard library.
"""

import os
import signal
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass
class Wire:
    """The counters of this process.

    Attributes:
        sent: Bytes handed to the kernel.
        received: Bytes taken from it.
        kill_at: At so many received bytes the process ends as if its power was cut; 0 is never.
    """

    sent: int = 0
    received: int = 0
    kill_at: int = 0

    def took(self, count: int) -> int:
        """Note received bytes."""
        self.received += count
        if self.kill_at and self.received >= self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return count

    def gave(self, count: int) -> int:
        """Note sent bytes."""
        self.sent += count
        return count


WIRE = Wire()


class CountedSocket(socket.socket):
    """A socket that counts. The signatures are those of the standard library."""

    def recv(self, *args: Any) -> bytes:
        """Receive, see ``socket.recv``."""
        content = super().recv(*args)
        WIRE.took(len(content))
        return content

    def recv_into(self, *args: Any) -> int:
        """Receive, see ``socket.recv_into``."""
        return WIRE.took(super().recv_into(*args))

    def send(self, *args: Any) -> int:
        """Send, see ``socket.send``."""
        return WIRE.gave(super().send(*args))

    def sendall(self, content: Any, *args: Any) -> None:
        """Send, see ``socket.sendall``."""
        super().sendall(content, *args)
        WIRE.gave(memoryview(content).nbytes)

    def sendmsg(self, buffers: Iterable[Any], *args: Any) -> int:
        """Send, see ``socket.sendmsg``."""
        return WIRE.gave(super().sendmsg(buffers, *args))


def count_sockets() -> Wire:
    """Count every socket that is made from now on, and return the counters."""
    socket.socket = CountedSocket   # type: ignore[misc] # asked for by every library at the moment when it connects
    return WIRE
