"""A network that breaks again and again: what is published meanwhile arrives, sooner or later, and nothing dies of it."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
from tests.end_to_end.harness import Harness
from tests.fakes.proxy import Network

from modelcast.consumer import Timing
from modelcast.shared.errors import HostFault
from modelcast.shared.localbroker.node import PrivateNode

TIMING = Timing(heartbeat_seconds=1.0, retry_first_seconds=0.05, retry_most_seconds=0.5)
"""Comes back within half a second; a cut may come every two."""


@pytest.fixture
def network(node: PrivateNode, broker_url: str) -> Iterator[Network]:
    network = Network(broker_url, node.status().stream_port)
    yield network
    network.close()


class Flapping:
    """Cuts all connections through a network again and again, by RST and by FIN in turn, until it is left."""

    def __init__(self, network: Network, every_seconds: float) -> None:
        self._network, self._every_seconds = network, every_seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="flapping", daemon=True)
        self.times = self.cut = 0

    def _run(self) -> None:
        while not self._over.wait(self._every_seconds):
            self.times += 1
            self.cut += self._network.cut("rst" if self.times % 2 else "fin")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(10)


def lives_through(
    run: Harness, broker_url: str, network: Network, *, every_seconds: float, seconds: float, pause_seconds: float
) -> None:
    """Publish all the time, mostly through the flapping network itself, and let the judge look at what came of it."""
    far = network.url(chunks="stream")
    instance = run.joined("one", far, timing=TIMING)
    run.publish(broker_url)
    instance.serves("1.1.0")
    published = faults = through = 0
    end, pause = time.monotonic() + seconds, threading.Event()
    with Flapping(network, every_seconds) as flapping:
        while time.monotonic() < end or published < 2:
            began, is_near = time.monotonic(), (published + faults) % 3 == 0   # so one of three comes to its end
            try:
                run.publish(broker_url if is_near else far, f"1.1.{published + 1}")
            except HostFault:
                faults += 1   # the next call is for the same version
            else:
                published, through = published + 1, through + (not is_near)
            assert time.monotonic() - began < 20.0, "a publisher beside a cut was held up"
            pause.wait(pause_seconds)
    assert through or seconds < 10
    network.heal()
    status = instance.look()
    print(f"{flapping.times} cuts of {flapping.cut} connections, {published} published, {through} of them through it, {faults} interrupted, {status['reconnects']} losses")
    assert flapping.cut >= flapping.times, "there was something to be cut each time, on the average"
    assert status["rejected"] == 0
    evidence = run.finish(broker_url)
    assert evidence.letters == []
    assert run.predictions() > 100
    print(f"{run.predictions()} predictions, the longest pause between two {run.longest_gap_ms():.0f} ms")


def test_what_is_published_while_the_network_flaps_arrives(run: Harness, broker_url: str, network: Network, tmp_path: Path) -> None:
    lives_through(run, broker_url, network, every_seconds=0.3, seconds=2.5, pause_seconds=0.1)


@pytest.mark.torture
@pytest.mark.timeout(900)
def test_five_minutes_of_a_network_that_breaks_every_two_seconds(run: Harness, broker_url: str, network: Network) -> None:
    lives_through(run, broker_url, network, every_seconds=2.0, seconds=300.0, pause_seconds=3.0)
