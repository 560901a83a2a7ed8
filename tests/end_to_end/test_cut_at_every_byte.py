"""A connection is cut behind one byte after the other: of a small publication, and of a small release that an instance receives.

Each time the same must come of it: the release is served, promoted once, nothing is refused, and nobody waits for long.
"""

import logging
import shutil
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes.life import Life
from tests.fakes.proxy import Network, Proxy, Way
from tests.fakes.stage import QUICK

from modelcast.consumer import ModelConsumer
from modelcast.publisher import Publisher
from modelcast.shared.errors import BrokerUnreachable
from modelcast.shared.localbroker.node import PrivateNode
from modelcast.shared.roads import open_road

TIMING = replace(QUICK, heartbeat_seconds=60)   # no reports of the state between: each run has the same bytes
LIMIT_SECONDS = 10.0
"""For each call beside a cut; every deadline for an answer of the broker is longer."""


class Sweep:
    """A broker with a network before it, and one short life after the other: each of a model of its own.

    Attributes:
        noticed: How many publications failed, and how many receptions took more than the usual connections.
        longest: Seconds that the longest call took.
    """

    def __init__(self, url: str, stream_port: int | None, folder: Path, signing_key) -> None:
        self.network = Network(url, stream_port)
        self.life = Life(open_road(f"{url}?stream_port={stream_port}"), folder, signing_key)
        self.far = open_road(self.network.url(chunks="stream"))
        self._folder, self._key = folder, signing_key
        self._artifact = folder / "model.bin"
        self._artifact.write_bytes(b"weights" * 10)
        self._number = 0
        self.noticed, self.longest = 0, 0.0

    def _next(self) -> str:
        self._number += 1
        return f"model-{self._number:06}"

    def timed(self, road, model: str) -> bool:
        """Publish; returns whether it went through. Nothing but a broker that is out of reach may come of a cut, and it comes soon."""
        began = time.monotonic()
        try:
            Publisher(road, signing_key=self._key).publish(
                self._artifact, model=model, version="1.0.0", format="files", lineage={}
            )
        except BrokerUnreachable:   # nothing else: a cut is no refusal of a password
            return False
        finally:
            self.longest = max(self.longest, time.monotonic() - began)
        return True

    def _joined(self, model: str, road=None) -> ModelConsumer:
        return self.life.joined(model=model, instance="a", store=self._folder / model, road=road, timing=TIMING)

    def _over(self, model: str, consumer: ModelConsumer) -> None:
        self.life.serves(consumer, "1.0.0")

        def is_settled() -> bool:
            status = consumer.status()
            return status.connected and status.last_verdict is not None and not status.unsent_reports

        self.life.eventually(is_settled)
        status = consumer.status()
        assert (status.promoted, status.rejected, status.superseded) == (1, 0, 0)

    def _away(self, model: str, consumer: ModelConsumer) -> None:
        began = time.monotonic()
        assert consumer.stop(LIMIT_SECONDS)
        assert time.monotonic() - began < LIMIT_SECONDS
        self.network.heal()
        self.life.road.retire(model, "production", ["a"])   # type: ignore[attr-defined]
        shutil.rmtree(self._folder / model)

    def publication(self) -> None:
        """Publish over the network that may be cut once, then once more; an instance that is not cut serves it."""
        model = self._next()
        consumer = self._joined(model)
        went_through = self.timed(self.far, model)
        self.network.heal()
        self.noticed += not went_through
        assert self.timed(self.far, model)
        assert self.longest < LIMIT_SECONDS
        self._over(model, consumer)
        self._away(model, consumer)

    def reception(self) -> None:
        """An instance joins and receives over the network that may be cut once."""
        model, before = self._next(), self.network.stream.connections
        began = time.monotonic()
        consumer = self._joined(model, self.far)
        assert self.timed(self.life.road, model)
        self._over(model, consumer)
        self.noticed += bool(consumer.status().reconnects or self.network.stream.connections > before + 1)
        self.longest = max(self.longest, time.monotonic() - began)
        assert self.longest < LIMIT_SECONDS
        self._away(model, consumer)

    def close(self) -> None:
        self.life.stop()
        self.network.close()


@pytest.fixture
def sweep(
    node: PrivateNode, broker_url: str, memory: Path, signing_key, caplog: pytest.LogCaptureFixture
) -> Iterator[Sweep]:
    caplog.set_level(logging.CRITICAL, "pika")   # which shows where it was at each of ten thousand cuts
    sweep = Sweep(broker_url, node.status().stream_port, memory, signing_key)
    yield sweep
    assert sweep.life.letters() == []
    sweep.close()


def recorded(way: Way, proxy: Proxy, run: Callable[[], object]) -> bytes:
    """Return what passed in a direction while something ran."""
    proxy.set(way, record=bytearray())
    run()
    found = bytes(way.record or b"")
    proxy.set(way, record=None)
    return found


def amqp_boundaries(data: bytes) -> list[int]:
    """Return where frames end; ``data`` is what a connection sent, from its beginning (AMQP 0-9-1, 4.2.3)."""
    at = 8 if data.startswith(b"AMQP") else 0
    found = [at] if at else []
    while at + 7 < len(data) and data[at : at + 4] != b"AMQP":   # there another connection begins
        at += 8 + struct.unpack_from(">I", data, at + 3)[0]
        found.append(at)
    return [boundary for boundary in found if boundary <= len(data)]


def stream_boundaries(data: bytes) -> list[int]:
    """Return where frames of the stream protocol end."""
    at, found = 0, []
    while at + 4 <= len(data):
        at += 4 + struct.unpack_from(">I", data, at)[0]
        found.append(at)
    return [boundary for boundary in found if boundary <= len(data)]


def around(boundaries: list[int], size: int) -> list[int]:
    return sorted({at + by for at in boundaries for by in (-1, 0, 1) if 0 <= at + by < size})


def cut_at(sweep: Sweep, proxy: Proxy, way: Way, offsets: list[int], run: Callable[[], object]) -> None:
    """Run once for each offset, cut there, by RST behind even bytes and by FIN behind odd ones.

    Nearly every one of the cuts must really have happened, and most of them must have been noticed.
    """
    before, sweep.noticed = proxy.cuts, 0
    for offset in offsets:
        proxy.cut_after(way, offset, "fin" if offset % 2 else "rst")
        try:
            run()
        except AssertionError as error:
            raise AssertionError(f"cut behind byte {offset}: {error}") from error
    cuts = proxy.cuts - before
    print(f"{cuts} cuts at {len(offsets)} offsets, {sweep.noticed} noticed, the longest call took {sweep.longest:.2f} s")
    assert cuts >= 0.95 * len(offsets)
    assert sweep.noticed >= 0.7 * len(offsets)   # behind the last byte that is needed nobody minds


def every_nth(found: list[int], most: int) -> list[int]:
    return found[:: max(1, -(-len(found) // most))]


@pytest.mark.parametrize("side", ["up", "down"])
def test_a_publication_that_is_cut_beside_a_frame_is_made_good_by_the_next_call(sweep: Sweep, side: str) -> None:
    proxy = sweep.network.amqp
    way = getattr(proxy, side)
    sent = recorded(way, proxy, lambda: sweep.timed(sweep.far, sweep._next()))
    found = amqp_boundaries(sent)
    size, handshake = len(sent), found[:3]
    cut_at(sweep, proxy, way, [0, *around(handshake, size), *every_nth(found[4:-1], 3)], sweep.publication)


@pytest.mark.parametrize("side", ["up", "down"])
@pytest.mark.parametrize("port", ["amqp", "stream"])
def test_an_instance_that_is_cut_beside_a_frame_serves_the_release_all_the_same(sweep: Sweep, port: str, side: str) -> None:
    proxy = getattr(sweep.network, port)
    way = getattr(proxy, side)
    seen = recorded(way, proxy, sweep.reception)
    found = (amqp_boundaries if port == "amqp" else stream_boundaries)(seen)
    cut_at(sweep, proxy, way, every_nth(around(found[:-1], len(seen)), 5), sweep.reception)


@pytest.mark.torture
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("side", ["up", "down"])
def test_a_publication_may_be_cut_behind_any_byte(sweep: Sweep, side: str) -> None:
    proxy = sweep.network.amqp
    way = getattr(proxy, side)
    size = len(recorded(way, proxy, lambda: sweep.timed(sweep.far, sweep._next())))
    cut_at(sweep, proxy, way, list(range(size)), sweep.publication)


@pytest.mark.torture
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("side", ["up", "down"])
@pytest.mark.parametrize("port", ["stream", "amqp"])
def test_an_instance_may_be_cut_behind_any_byte(sweep: Sweep, port: str, side: str) -> None:
    proxy = getattr(sweep.network, port)
    way = getattr(proxy, side)
    size = len(recorded(way, proxy, sweep.reception))
    cut_at(sweep, proxy, way, list(range(size)), sweep.reception)
