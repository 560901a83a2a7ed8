"""The broker's machine loses power: what its disk had not got yet is gone, and everything comes right all the same."""

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.end_to_end.harness import Harness, eventually
from tests.fakes.power import PoweredDisk

from modelcast.publisher.catalog import Catalog
from modelcast.shared.localbroker.node import PrivateNode
from modelcast.shared.localbroker.processes import with_arguments
from modelcast.shared.roads import open_road

pytestmark = [
    pytest.mark.torture, pytest.mark.timeout(600), pytest.mark.skipif(not PoweredDisk.is_possible(), reason="needs root and loop devices"),
]
LONG_SECONDS = 120.0


class Machine:
    """A broker and its disk."""

    def __init__(self, folder: Path) -> None:
        self.disk = PoweredDisk(folder / "disk.img", folder / "disk")
        self.node = PrivateNode(self.disk.folder / "broker")
        self.node.start()

    def settle(self) -> None:
        """Let the node write down that it coordinates streams: RabbitMQ 3.10 does so when it stops, and every three minutes."""
        self.node.stop()
        self.disk.sync()   # it has run for longer than half a minute, as brokers do
        self.node.start()

    def lose_power(self) -> None:
        """Cut it, and start again with what the disk has."""
        record = self.node._known_record()
        processes = [
            *with_arguments("", "-modelcast_node", self.node.status().node_name), *with_arguments("epmd", "-port", str(record.epmd_port)),
        ]
        self.disk.cut()
        for pid in processes:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in processes), "the end of the node")
        self.disk.restore()
        self.node.start()

    def close(self) -> None:
        self.node.stop()
        self.disk.close()


@pytest.fixture
def machine(rabbitmq_installed: None) -> Iterator[Machine]:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:   # on a disk: a loop device on memory is too kind
        machine = Machine(Path(folder))
        yield machine
        machine.close()


def test_power_is_lost_after_each_of_many_publications_and_the_next_one_is_served_everywhere(machine: Machine, run: Harness) -> None:
    url = machine.node.application_url
    one, two = run.joined("one", url), run.joined("two", url)
    for instance in (one, two):
        instance.serves(run.publish(url).version if instance is one else run.publish_at_last(url).version)
    machine.settle()
    lost = 0
    for _ in range(6):
        before = run.publish_at_last(url, seconds=LONG_SECONDS)
        machine.lose_power()
        run.lost_messages()   # what was confirmed may be gone with it
        after = run.publish_at_last(url, seconds=LONG_SECONDS)
        assert after.sequence > before.sequence
        catalog = Catalog(open_road(url).records("fraud"))
        lost += before.sequence not in {order.sequence for order in catalog.orders["production"]}
        for instance in (one, two):
            instance.serves(after.version, LONG_SECONDS)
    print(f"6 power cuts; {lost} of them took an order out of the register that had been confirmed")
    run.finish(url, LONG_SECONDS)
