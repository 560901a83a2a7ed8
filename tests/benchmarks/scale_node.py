"""The broker node of ``scale``, as seen from outside: counts, memory, CPU time, what lies on disk.

Decides what is asked of the node, and asks only between measurements: every question starts an Erlang of its own. Imports the
private node and measuring.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.measuring import cpu_seconds_of, memory_of

from modelcast.shared.localbroker.node import PrivateNode

QUESTION = (
    "[length(rabbit_networking:local_connections()), length(rabbit_channel:list_local()), length(rabbit_amqqueue:list()), "
    "erlang:system_info(process_count), erlang:memory(total), erlang:memory(binary)]."
)


@dataclass(frozen=True)
class Sight:
    """What a node has at a moment.

    Attributes:
        connections: AMQP connections.
        channels: AMQP channels.
        queues: Queues and streams.
        processes: Erlang processes.
        erlang_bytes: Memory in use by Erlang, all kinds.
        binary_bytes: Of it, binaries.
        resident_bytes: Resident memory of the server's process.
        descriptors: Open file descriptors of the server's process, sockets included.
    """

    connections: int
    channels: int
    queues: int
    processes: int
    erlang_bytes: int
    binary_bytes: int
    resident_bytes: int
    descriptors: int


class Node:
    """A private node.

    Args:
        folder: Everything of it lies here.
        options: Options for the URL, such as ``chunks=amqp``.
    """

    def __init__(self, folder: Path, options: str = "") -> None:
        self._node, self._folder, self._options, self.pid = PrivateNode(folder), folder, options, 0

    def start(self) -> str:
        """Start it; returns its URL."""
        url = self._node.start()
        status = self._node.status()
        self.pid = status.pid or 0
        options = [option for option in (f"stream_port={status.stream_port}", self._options) if option]
        return f"{url}?{'&'.join(options)}"

    def stop(self) -> None:
        """Stop it in order."""
        self._node.stop()

    def cpu_seconds(self) -> float:
        """Return the CPU time it has used."""
        return cpu_seconds_of(self.pid)

    def look(self) -> dict[str, Any]:
        """Return what it has now, as plain values of ``Sight``."""
        answer = self._node.control("eval", QUESTION).strip().strip("[]")
        connections, channels, queues, processes, total, binary = (int(word) for word in answer.split(","))
        resident, descriptors = memory_of(self.pid).get("VmRSS", 0), len(list(Path(f"/proc/{self.pid}/fd").iterdir()))
        return asdict(Sight(connections, channels, queues, processes, total, binary, resident, descriptors))

    def descriptor_limit(self) -> int:
        """Return how many file descriptors it may open."""
        for line in Path(f"/proc/{self.pid}/limits").read_text().splitlines():
            if line.startswith("Max open files"):
                return int(line.split()[3])
        return 0

    def stream_bytes(self, name: str) -> int:
        """Return what the segments of a stream take on disk."""
        folder = f"__{name.replace('.', '_')}_"
        found = [path for path in self._folder.rglob("*.segment") if path.parent.name.startswith(folder)]
        return sum(path.stat().st_size for path in found)
