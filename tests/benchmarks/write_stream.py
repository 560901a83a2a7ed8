"""What taking in a release costs a broker: ``python -m tests.benchmarks.write_stream``, for ``docs/adr/0006`` and ``0014``.

Fills the chunk stream of a model that nobody reads: as modelcast publishes (AMQP), with several windows of unconfirmed chunks, and by
the stream protocol's own Publish, which modelcast does not use: what is stored is the same, and no client can ask for less. Printed are MB/s and
CPU seconds per GiB of publisher and broker. A private broker of its own (``MODELCAST_RABBITMQ_SERVER`` chooses another server); Linux, for ``/proc``.
"""

import os
import resource
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
from tests.benchmarks.ground import SHARED_MEMORY
from tests.benchmarks.read_stream import MODEL, VERSION, broker_cpu

from modelcast.shared import amqp_publishing, stream_connection
from modelcast.shared import topology as names
from modelcast.shared.broker_url import BrokerUrl
from modelcast.shared.limits import GIB, MIB
from modelcast.shared.localbroker.node import PrivateNode
from modelcast.shared.roads import open_road
from modelcast.shared.stream_connection import StreamConnection
from modelcast.shared.stream_socket import Address

PUBLISHER, PUBLISH, CONFIRM = 0x01, 0x02, 0x03
DIGEST = "ab" * 32
SETTLE_SECONDS = 0.7
"""The broker writes on for a moment after it has confirmed."""


def by_amqp(url: str, body: bytes, count: int, window: int) -> None:
    """Fill the stream as a publisher does."""
    amqp_publishing.SEND_WINDOW = window
    road = open_road(url).publish(MODEL, "production")
    for index in range(count):
        road.chunks.send(body, version=VERSION, index=index, count=count, digest=DIGEST)
    road.chunks.finish("r")
    road.close()


def message_head(body: bytes, index: int, count: int) -> bytes:
    """Return what stands before a body in a message of AMQP 1.0: the headers as the broker would translate them."""
    properties: dict[str, str | int] = {
        names.HEADER_KIND: "chunk", names.HEADER_VERSION: VERSION, names.HEADER_INDEX: index, names.HEADER_COUNT: count,
        names.HEADER_DIGEST: DIGEST, names.HEADER_CODEC: "none", names.HEADER_SIZE: len(body),
    }
    items = b"".join(_text(key) + (_text(value) if isinstance(value, str) else struct.pack(">Bq", 0x81, value)) for key, value in properties.items())
    return (
        b"\x00\x53\x74\xd1" + struct.pack(">II", len(items) + 4, 2 * len(properties)) + items
        + b"\x00\x53\x75\xb0" + struct.pack(">I", len(body))
    )


def _text(value: str) -> bytes:
    return struct.pack(">BB", 0xA1, len(value)) + value.encode()


def by_stream(url: str, body: bytes, count: int, window: int) -> None:
    """Fill the stream by the stream protocol."""
    parsed, stream = BrokerUrl.parse(url), names.chunks_name(MODEL).encode()
    stream_connection.FRAME_BYTES = 16 * MIB
    connection = StreamConnection(Address(parsed.host, parsed.stream_port or 5552), parsed, "benchmark", connect_seconds=5)
    declared = struct.pack(">BH", 1, 0) + struct.pack(">H", len(stream)) + stream
    connection.ask(lambda number: struct.pack(">IHHI", 8 + len(declared), PUBLISHER, 1, number) + declared)
    sender = connection.socket._socket
    sender.setblocking(True)
    unconfirmed = 0
    for index in range(count):
        while unconfirmed >= window:
            unconfirmed -= _confirmed(connection)
        head = message_head(body, index, count)
        size = len(head) + len(body)
        frame = struct.pack(">IHHBIQI", 21 + size, PUBLISH, 1, 1, 1, index, size) + head
        done = sender.sendmsg([frame, body])
        if done < len(frame):
            raise SystemExit("the socket took not even the head of a frame")
        sender.sendall(memoryview(body)[done - len(frame) :])
        unconfirmed += 1
    while unconfirmed:
        unconfirmed -= _confirmed(connection)
    connection.close()


def _confirmed(connection: StreamConnection) -> int:
    """Wait for a confirm; returns how many messages it is for."""
    deadline = time.monotonic() + 30
    head = connection.socket.need(8, deadline)
    if head is None:
        raise SystemExit("the broker confirms nothing")
    size, key, _ = struct.unpack(">IHH", head)
    frame = connection.socket.need(4 + size, deadline)
    assert frame is not None
    found = int.from_bytes(frame[9:13], "big") if key == CONFIRM else 0
    connection.socket.take(4 + size)
    return found


def measured(work: Callable[[], None], pid: int, url: str, size: int) -> str:
    """Return the figures of one filling; the stream is new, and in memory that the one before had."""
    open_road(url).retire(MODEL, "production", [])
    open_road(url).publish(MODEL, "production").close()
    used, broker, began = resource.getrusage(resource.RUSAGE_SELF), broker_cpu(pid), time.monotonic()
    work()
    seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF)
    time.sleep(SETTLE_SECONDS)
    own = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    return f"{size / seconds / 1e6:>6.0f} MB/s  publisher {own * GIB / size:.2f}  broker {(broker_cpu(pid) - broker) * GIB / size:.2f} s/GiB"


@click.command()
@click.option("--mib", default=512, show_default=True, help="Size of the release.")
@click.option("--windows", default="1,4,8,16,32,64,128", show_default=True, help="Unconfirmed chunks, with commas.")
@click.option("--rounds", default=3, show_default=True)
def main(mib: int, windows: str, rounds: int) -> None:
    """Measure."""
    body = os.urandom(MIB)
    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY) as folder:
        node = PrivateNode(Path(folder) / "broker")
        node.start()
        try:
            url, pid = node.application_url, node.status().pid
            by_amqp(url, body, mib, 32)
            for _ in range(rounds):
                for window in map(int, windows.split(",")):
                    for name, fill in (("AMQP", by_amqp), ("stream protocol", by_stream)):
                        def work(fill: Callable[..., None] = fill, window: int = window) -> None:
                            fill(url, body, mib, window)
                        print(f"{name:>15}, window {window:>3} {measured(work, pid, url, mib * MIB)}", flush=True)
        finally:
            node.stop()


if __name__ == "__main__":
    main()
