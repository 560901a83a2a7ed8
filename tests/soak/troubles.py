"""What goes wrong during a soak: each trouble happens, lasts a while, and ends by itself.

Each takes the ground it happens on and returns when it is over. Nothing here judges anything.
"""

import os
import random
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.end_to_end.harness import Harness, eventually
from tests.end_to_end.serving import Fatal
from tests.fakes.proxy import Network

from modelcast.shared.errors import HostFault
from modelcast.shared.failpoints import Point
from modelcast.shared.localbroker.node import PrivateNode
from modelcast.shared.pika_link import PikaBroker
from modelcast.shared.topology import orders_name

INSTANCE_POINTS = [point for point in Point if point.value.startswith("instance, ")]
PUBLISHER_POINTS = [point for point in Point if point.value.startswith("publisher, ")]
RESTING = threading.Event()


@dataclass
class Ground:
    """Where it happens."""

    run: Harness
    node: PrivateNode
    network: Network
    chance: random.Random
    late: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where instances and publishers connect: through the proxies, with a heartbeat that notices soon."""
        return self.network.url(heartbeat=4)

    def some_instance(self) -> str:
        """Return the name of one that runs."""
        return self.chance.choice(sorted(self.run.running))

    def rest(self, least: float, most: float) -> None:
        """Let time pass."""
        RESTING.wait(self.chance.uniform(least, most))


def instance_killed(ground: Ground) -> None:
    name = ground.some_instance()
    ground.run.running[name].kill()
    ground.rest(0, 2)
    ground.run.start(name, ground.url)


def instance_restarted(ground: Ground) -> None:
    name = ground.some_instance()
    ground.run.running[name].end()
    ground.rest(0, 1)
    ground.run.start(name, ground.url)


def instance_suspended(ground: Ground) -> None:
    serving = ground.run.running[ground.some_instance()]
    serving.pause()
    ground.rest(1, 8)
    serving.go_on()


def instance_dies_at_a_failpoint(ground: Ground) -> None:
    name = ground.some_instance()
    ground.run.running[name].end()
    dying = ground.run.start(name, ground.url, dies_at=Fatal(ground.chance.choice(INSTANCE_POINTS), ground.chance.randint(1, 4)))
    for _ in range(50):
        if not dying.is_alive:
            break
        ground.rest(0.1, 0.2)
    dying.kill()
    ground.run.start(name, ground.url)


def instance_comes_late(ground: Ground) -> None:
    if len(ground.late) >= 2:
        return
    name = f"late-{secrets.token_hex(3)}"
    ground.late.append(name)
    ground.run.start(name, ground.url)
    ground.rest(0, 3)


def instance_leaves(ground: Ground) -> None:
    if ground.late:
        ground.run.leave(ground.late.pop(0))


def stored_byte_flipped(ground: Ground) -> None:
    """Of the release that an instance runs, while it does not run: it goes back to the one before, and takes the lost one again."""
    name = ground.some_instance()
    serving = ground.run.running[name]
    version = serving.look().get("version")
    serving.end()
    releases = ground.run.folder / f"store-{name}" / "fraud" / "production" / "releases"
    files = [path for path in releases.rglob("*") if path.is_file() and path.name != "manifest" and path.stat().st_size]
    if files and version:
        path = ground.chance.choice(sorted(files))
        flip(path, ground.chance.randrange(path.stat().st_size))
        for before in ground.run.evidence.attempts:
            ground.run.may_step_down(version, before)
    ground.run.start(name, ground.url)


def flip(path: Path, offset: int) -> None:
    """Flip one bit of a file."""
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))
        os.fsync(file.fileno())


def cables_cut(ground: Ground) -> None:
    ground.network.cut(ground.chance.choice(["rst", "fin"]))


def network_flaps(ground: Ground) -> None:
    for _ in range(ground.chance.randint(4, 12)):
        ground.network.cut()
        ground.rest(0.1, 1.0)


def network_is_a_black_hole(ground: Ground) -> None:
    proxies = ground.chance.choice([ground.network.both, (ground.network.amqp,), (ground.network.stream,)])
    for proxy in proxies:
        proxy.black_hole(*ground.chance.choice([(), (proxy.up,), (proxy.down,)]))
    ground.rest(1, 15)
    ground.network.heal()


def network_is_slow(ground: Ground) -> None:
    for proxy in ground.network.both:
        toxics = ground.chance.choice([{"delay": 0.2, "jitter": 0.1}, {"rate": 100_000.0}, {"slices": (1, 100)}])
        for way in (proxy.up, proxy.down):
            proxy.set(way, **toxics)
    ground.rest(2, 8)
    ground.network.heal()


def nobody_listens(ground: Ground) -> None:
    for proxy in ground.network.both:
        proxy.refuse()
    ground.network.cut()
    ground.rest(1, 6)
    ground.network.heal()


def bytes_are_cut(ground: Ground) -> None:
    proxy = ground.chance.choice(ground.network.both)
    proxy.cut_after(ground.chance.choice([proxy.up, proxy.down]), ground.chance.randint(1, 500_000))
    ground.rest(2, 5)


def broker_restarted(ground: Ground) -> None:
    ground.node.stop()
    ground.rest(0, 2)
    ground.node.start()


def broker_killed(ground: Ground) -> None:
    ground.node.kill()
    ground.rest(0, 2)
    ground.node.start()


def broker_closes_all_connections(ground: Ground) -> None:
    ground.node.control("close_all_connections", "a soak")


def memory_alarm(ground: Ground) -> None:
    ground.node.control("set_vm_memory_high_watermark", "0")
    ground.rest(1, 8)
    ground.node.control("set_vm_memory_high_watermark", "0.4")


def disk_alarm(ground: Ground) -> None:
    ground.node.control("set_disk_free_limit", "100000000000000")
    ground.rest(1, 8)
    ground.node.control("set_disk_free_limit", "50000000")


def strangers_write(ground: Ground) -> None:
    """Bytes that are no order, in the exchange of the orders."""
    try:
        link = PikaBroker(ground.node.url).connect(name="stranger")
    except HostFault:
        return
    try:
        outbox = link.outbox(window=1)
        for _ in range(ground.chance.randint(1, 3)):
            outbox.post(orders_name("fraud", "production"), secrets.token_bytes(ground.chance.randint(0, 300)))
        outbox.flush()
    finally:
        link.close()


TROUBLES: list[Callable[[Ground], None]] = [
    instance_killed, instance_restarted, instance_suspended, instance_dies_at_a_failpoint, instance_comes_late, instance_leaves,
    stored_byte_flipped, cables_cut, network_flaps, network_is_a_black_hole, network_is_slow, nobody_listens, bytes_are_cut,
    broker_restarted, broker_killed, broker_closes_all_connections, memory_alarm, disk_alarm, strangers_write,
]


def connected_again(ground: Ground, seconds: float) -> None:
    """Wait until every instance is connected."""
    for name, serving in ground.run.running.items():
        eventually(lambda serving=serving: serving.look().get("connected"), f"{name} to be connected", seconds)   # type: ignore[misc]
