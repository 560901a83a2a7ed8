"""A network that is slow, cut into small pieces or idle costs time, and nothing else: no fault, no refusal, no spinning."""

import random
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes.life import Life
from tests.fakes.proxy import Network
from tests.fakes.stage import QUICK

from modelcast.consumer import Timing
from modelcast.publisher import Publisher
from modelcast.shared.limits import KIB, MIB
from modelcast.shared.roads import open_road

NOISE = random.Random(7).randbytes(4 * MIB)
Reach = Callable[..., Network]


def put(life: Life, path: Path, version: str, content: bytes, publisher: Publisher | None = None):
    path.write_bytes(content)
    return (publisher or life.publisher).publish(path, model="fraud", version=version, format="files", lineage={})


@pytest.mark.parametrize("chunks", ["stream", "amqp"])
def test_a_chunk_that_comes_slower_than_a_silence_lasts_is_no_silence(
    life: Life, reach: Reach, tmp_path: Path, chunks: str
) -> None:
    network = reach()
    put(life, tmp_path / "model.bin", "1.0.0", NOISE[: 64 * KIB])
    carrying = network.stream if chunks == "stream" else network.amqp
    carrying.set(carrying.down, rate=50_000)   # 1.3 s for a chunk of 64 KiB; 0.3 s of silence end a reading
    consumer = life.started(road=open_road(network.url(chunks=chunks)), timing=replace(QUICK, heartbeat_seconds=60))
    life.serves(consumer, "1.0.0")
    life.eventually(lambda: consumer.status().last_verdict)
    status = consumer.status()
    assert (status.promoted, status.rejected, status.reconnects) == (1, 0, 0)
    assert carrying.down.passed < 1.5 * 64 * KIB + 16 * KIB, "nothing was fetched twice"


@pytest.mark.parametrize("chunks", ["stream", "amqp"])
def test_slices_of_a_few_bytes_are_put_together_without_spinning(life: Life, reach: Reach, tmp_path: Path, signing_key, chunks: str) -> None:
    network = reach()
    for way in (network.amqp.up, network.amqp.down, network.stream.down):   # not the requests by the stream protocol: see below
        network.amqp.set(way, slices=(1, 100))
    publisher = Publisher(network.url(), signing_key=signing_key, chunk_bytes=64 * KIB)
    began = time.thread_time()
    put(life, tmp_path / "model.bin", "1.0.0", NOISE[: 256 * KIB], publisher)
    publishing = time.thread_time() - began
    began = time.thread_time()
    source, bodies = open_road(network.url(chunks=chunks)).chunks("fraud", None), []
    while (arrived := source.receive(20.0)) is not None and not arrived.ends:
        if arrived.is_chunk:
            bodies.append(bytes(arrived.body))
    source.close()
    receiving = time.thread_time() - began
    assert b"".join(bodies) == NOISE[: 256 * KIB]
    assert source.name == chunks
    print(f"{chunks}: {publishing:.2f} s of CPU to publish, {receiving:.2f} s to receive")
    assert publishing < 1.0
    assert receiving < 1.0   # 5,000 slices: 0.2 ms for each would be far too much


def test_where_a_broker_cannot_put_a_request_together_chunks_come_by_amqp(life: Life, reach: Reach, tmp_path: Path) -> None:
    network = reach()
    network.stream.set(network.stream.up, slices=(1, 3))   # RabbitMQ 3.10 hangs up when a request comes in pieces; where a later one does not, it is no trouble at all
    put(life, tmp_path / "model.bin", "1.0.0", NOISE[: 128 * KIB])
    consumer = life.started(road=open_road(network.url()), timing=replace(QUICK, heartbeat_seconds=60))
    life.serves(consumer, "1.0.0")
    assert network.stream.connections == 1
    assert (consumer.status().reconnects, consumer.status().rejected) == (0, 0)


def test_a_connection_that_is_used_for_nothing_but_heartbeats_is_not_idle(life: Life, reach: Reach, tmp_path: Path) -> None:
    cut = idles_through(life, reach, tmp_path, options={"heartbeat": 1}, idle_seconds=1.5, seconds=2.5)
    assert cut == 1, "the one without heartbeats"


@pytest.mark.torture
@pytest.mark.timeout(300)
def test_a_load_balancer_that_cuts_what_is_idle_for_a_minute_finds_nothing(life: Life, reach: Reach, tmp_path: Path) -> None:
    idles_through(life, reach, tmp_path, options={}, idle_seconds=60.0, seconds=150.0)   # RabbitMQ lets nobody be silent for so long


def idles_through(life: Life, reach: Reach, path: Path, *, options: dict[str, object], idle_seconds: float, seconds: float) -> int:
    """Let something between cut whatever is silent for some time, a connection without heartbeats beside; returns how many were."""
    network = reach()
    put(life, path / "model.bin", "1.0.0", b"weights")
    consumer = life.started(road=open_road(network.url(**options)), timing=replace(QUICK, heartbeat_seconds=600))
    life.serves(consumer, "1.0.0")
    with socket.create_connection(("127.0.0.1", network.amqp.port), timeout=10.0) as silent:
        silent.sendall(b"AMQP\0\0\x09\x01")
        end, pause, cut = time.monotonic() + seconds, threading.Event(), 0
        while time.monotonic() < end:
            cut += sum(proxy.cut_idle(idle_seconds) for proxy in network.both)
            pause.wait(0.1)
    assert (consumer.status().reconnects, consumer.status().connected) == (0, True)
    put(life, path / "model.bin", "1.1.0", b"better")
    life.serves(consumer, "1.1.0")
    return cut


@pytest.mark.torture
@pytest.mark.timeout(900)
def test_half_a_second_of_delay_costs_time_and_nothing_else(
    life: Life, reach: Reach, tmp_path: Path, signing_key, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.fakes.life.LONG", 300.0)
    network = reach()
    for proxy in network.both:
        for way in (proxy.up, proxy.down):
            proxy.set(way, delay=0.25, jitter=0.15)
    began = time.monotonic()
    consumer = life.joined(road=open_road(network.url(chunks="stream")), timing=Timing())
    joined = time.monotonic() - began
    publisher = Publisher(network.url(), signing_key=signing_key)
    for version in ("1.0.0", "1.1.0"):
        put(life, tmp_path / "model.bin", version, version.encode() + NOISE[: 2 * MIB], publisher)
        life.serves(consumer, version)
    life.eventually(lambda: consumer.status().promoted == 2)
    status = consumer.status()
    print(f"joined after {joined:.0f} s, two releases after {time.monotonic() - began:.0f} s")
    assert (status.rejected, status.reconnects) == (0, 0)


@pytest.mark.torture
@pytest.mark.timeout(900)
@pytest.mark.parametrize("chunks", ["stream", "amqp"])
def test_large_chunks_over_a_line_of_50_kilobytes_a_second_arrive(
    life: Life, reach: Reach, tmp_path: Path, signing_key, chunks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.fakes.life.LONG", 300.0)
    network = reach(buffer_bytes=32 * KIB)
    for proxy in network.both:
        for way in (proxy.up, proxy.down):
            proxy.set(way, rate=50_000)
    consumer = life.joined(road=open_road(network.url(chunks=chunks)), timing=Timing())
    publisher = Publisher(network.url(), signing_key=signing_key)   # 21 s for a chunk of 1 MiB, and several are under way at once
    began = time.monotonic()
    put(life, tmp_path / "model.bin", "1.0.0", NOISE[: 5 * MIB // 2], publisher)
    published = time.monotonic() - began
    life.serves(consumer, "1.0.0")
    life.eventually(lambda: consumer.status().last_verdict)
    status = consumer.status()
    print(f"{chunks}: published after {published:.0f} s, served after {time.monotonic() - began:.0f} s")
    assert (status.promoted, status.rejected, status.reconnects) == (1, 0, 0)
    assert published > 40
