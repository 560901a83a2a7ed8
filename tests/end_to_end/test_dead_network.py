"""A network that loses everything, both ways or one, without a word: nobody hangs, each wait ends at its deadline with an error of the host.

The URL's options ``heartbeat``, ``socket_timeout`` and ``stack_timeout`` make the deadlines short here; those of the product's own
constants are the business of the long runs.
"""

import logging
import random
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.fakes.http_host import HttpHost
from tests.fakes.life import Life
from tests.fakes.proxy import Network, Proxy
from tests.fakes.stage import LONG, QUICK

from modelcast.publisher import Publisher
from modelcast.shared.broker_url import BrokerUrl
from modelcast.shared.errors import BrokerUnreachable
from modelcast.shared.http_line import MOST_BUSY_SECONDS
from modelcast.shared.limits import KIB, MIB
from modelcast.shared.pika_link import HEARTBEAT_SECONDS
from modelcast.shared.roads import open_road
from modelcast.shared.stream_source import open_stream

HEARTBEAT = 1
SHORT: dict[str, object] = {"heartbeat": HEARTBEAT, "socket_timeout": 1, "stack_timeout": 1}
NOTICED_SECONDS = 2 * (HEARTBEAT + 5)
"""pika looks whether anything came every heartbeat and five seconds."""
LEAVING_SECONDS = 10.0
"""Channels and the connection are each given three seconds to close in order; the rest is for a busy machine."""
TIMING = replace(QUICK, heartbeat_seconds=60)
LOSSES = ["both", "up", "down"]

Reach = Callable[[], Network]


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "pika")


def lose(network: Network, what: str) -> None:
    for proxy in network.both:
        proxy.black_hole(*({"both": (), "up": (proxy.up,), "down": (proxy.down,)}[what]))


def put(publisher: Publisher, path: Path, version: str, model: str = "fraud"):
    return publisher.publish(path, model=model, version=version, format="files", lineage={})


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    path = tmp_path / "model.bin"
    path.write_bytes(b"weights" * 1000)
    return path


# --------------------------------------------------------------------------- half-open


def half_open(life: Life, reach: Reach, artifact: Path, options: dict[str, object], heartbeat: int) -> dict[str, float]:
    """Lose everything between instances and the broker; returns after how many seconds each noticed.

    What hears nothing notices by itself. What is still spoken to is told by the broker, which misses two to three heartbeats.
    """
    limits = dict.fromkeys(LOSSES, 2 * (heartbeat + 5) + 2.0) | {"up": 3 * heartbeat + 5.0}
    networks = {what: reach() for what in LOSSES}
    put(life.publisher, artifact, "1.0.0")
    instances = {
        what: life.started(instance=what, road=open_road(network.url(chunks="stream", **options)), timing=TIMING)
        for what, network in networks.items()
    }
    for what, instance in instances.items():
        life.serves(instance, "1.0.0")
        life.eventually(lambda instance=instance: instance.status().connected and instance.status().last_verdict)
        assert networks[what].stream.down.passed, "the chunks came through the network"
        lose(networks[what], what)
    began, noticed = time.monotonic(), dict[str, float]()

    def all_noticed() -> bool:
        for what, instance in instances.items():
            if what not in noticed and not instance.status().connected:
                noticed[what] = time.monotonic() - began
        late = [what for what in limits if what not in noticed and time.monotonic() - began > limits[what]]
        assert not late, (late, noticed, [one.status() for one in instances.values()])
        return len(noticed) == len(instances)

    while not all_noticed():
        life.eventually(lambda: any(not one.status().connected for what, one in instances.items() if what not in noticed)
                        or time.monotonic() - began > max(limits.values()))
    put(life.publisher, artifact, "1.1.0")   # nobody is there to hear it
    for instance in instances.values():
        status = instance.status()
        assert (status.version, status.ready, status.live, status.connected) == ("1.0.0", True, True, False)
        assert status.fault
        assert instance.active.version == "1.0.0"
    for network in networks.values():
        network.heal()
    for instance in instances.values():
        life.serves(instance, "1.1.0")
        life.eventually(lambda instance=instance: instance.status().promoted == 2)
        assert (instance.status().rejected, instance.status().superseded) == (0, 0)
    return noticed


@pytest.mark.torture
@pytest.mark.timeout(600)
def test_it_notices_with_the_heartbeat_that_is_ours(
    life: Life, reach: Reach, artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.fakes.life.LONG", 120.0)
    noticed = half_open(life, reach, artifact, {}, HEARTBEAT_SECONDS)
    print({what: round(seconds, 1) for what, seconds in noticed.items()})


# --------------------------------------------------------------------------- each wait has a deadline


@dataclass
class Ended:
    """How a call ended that was cut off behind so many bytes.

    Attributes:
        side: Of the direction that was lost, ``up`` or ``down``.
        after: How many bytes passed before.
        seconds: How long the call took.
        error: What it raised.
    """

    side: str
    after: int
    seconds: float
    error: BaseException | None


def each_ends(calls: Iterable[tuple[str, int, Callable[[], object]]]) -> list[Ended]:
    """Make all calls at once; returns how they ended."""
    def ended(call: tuple[str, int, Callable[[], object]]) -> Ended:
        side, after, act = call
        began, error = time.monotonic(), None
        try:
            act()
        except Exception as caught:  # noqa: BLE001 - looked at by the caller
            error = caught
        return Ended(side, after, time.monotonic() - began, error)

    calls = list(calls)
    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(ended, calls))


def spread(size: int, count: int) -> list[int]:
    """So many byte counts below ``size``, the first 0 and the last just before the end."""
    return sorted({round(number * (size - 1) / (count - 1)) for number in range(count)})


def counted(proxy: Proxy, act: Callable[[], object]) -> dict[str, int]:
    proxy.count()
    act()
    up, down = proxy.count()
    return {"up": up, "down": down}


def publisher_is_cut_off(
    reach: Reach, artifact: Path, signing_key, options: dict[str, object], count: int, limit_seconds: float
) -> list[Ended]:
    """Lose a direction behind some byte of a publication, one after the other; it must raise in time, and be made good afterwards."""
    clean = reach()
    publisher = Publisher(clean.url(**options), signing_key=signing_key)
    sizes = counted(clean.amqp, lambda: put(publisher, artifact, "1.0.0", "clean-00000"))
    goodbye = {"up": 240, "down": 180}   # the last frames only end the connection: nothing is lost with them
    cuts = [(side, after) for side, size in sizes.items() for after in spread(size - goodbye[side], count)]
    networks, calls, patient = [], [], []
    for number, (side, after) in enumerate(cuts):
        network = reach()
        networks.append(network)
        way = getattr(network.amqp, side)
        network.amqp.lose_after(way, after)
        sender = Publisher(network.url(**options), signing_key=signing_key)
        calls.append((side, after, lambda sender=sender, number=number: put(sender, artifact, "1.0.0", f"model-{number:05}")))
        usual = Publisher(network.url(), signing_key=signing_key)   # a second is little for twelve handshakes at once on a busy machine
        patient.append((side, after, lambda sender=usual, number=number: put(sender, artifact, "1.0.0", f"model-{number:05}")))
    ended = each_ends(calls)
    for one, network in zip(ended, networks, strict=True):
        assert isinstance(one.error, BrokerUnreachable), one
        assert one.seconds < limit_seconds, one
        network.heal()
    again = each_ends(patient)
    assert [one for one in again if one.error is not None] == []
    return ended


def told(ended: list[Ended]) -> None:
    print([(one.side, one.after, round(one.seconds, 1), str(one.error)[:60]) for one in ended])
    print(f"{len(ended)} cut off, {min(one.seconds for one in ended):.1f} to {max(one.seconds for one in ended):.1f} s")


@pytest.mark.torture
@pytest.mark.timeout(900)
def test_it_raises_in_time_with_the_deadlines_that_are_ours(reach: Reach, artifact: Path, signing_key) -> None:
    told(publisher_is_cut_off(reach, artifact, signing_key, {}, 24, 30.0 + 30.0 + LEAVING_SECONDS))


def large_release_is_cut_off(reach: Reach, path: Path, signing_key, limit_seconds: float) -> list[Ended]:
    """Lose everything when half of a large release was sent."""
    path.write_bytes(random.Random(7).randbytes(4 * MIB))
    calls = []
    for what in LOSSES:
        network = reach()
        if what == "up":
            network.amqp.lose_after(network.amqp.up, 2 * MIB)
        elif what == "down":
            network.amqp.lose_after(network.amqp.down, 1_800)
        else:
            network.amqp.lose_after(network.amqp.up, 2 * MIB)
            network.amqp.lose_after(network.amqp.down, 1_800)
        publisher = Publisher(network.url(**SHORT), signing_key=signing_key, chunk_bytes=64 * KIB)
        calls.append((what, 0, lambda publisher=publisher, what=what: put(publisher, path, "1.0.0", f"large-{what}")))
    ended = each_ends(calls)
    for one in ended:
        assert isinstance(one.error, BrokerUnreachable), one
        assert one.seconds < limit_seconds, one
    return ended


def stream_is_cut_off(life: Life, reach: Reach, artifact: Path, count: int) -> list[Ended]:
    """Lose a direction behind some byte of a stream connection, from its login to its last chunk."""
    put(life.publisher, artifact, "1.0.0", "streamed")

    def read(network: Network) -> None:
        source = open_stream(BrokerUrl.parse(network.url(**SHORT)), "streamed", None, name="test")
        try:
            while not (arrived := source.receive(60.0)) or not arrived.ends:
                assert arrived is not None, "a minute of silence, and no heartbeat was missed"
        finally:
            source.close()

    clean = reach()
    sizes = counted(clean.stream, lambda: read(clean))
    calls = []
    for side, size in sizes.items():
        for after in spread(size - 40, count):
            network = reach()
            network.stream.lose_after(getattr(network.stream, side), after)
            calls.append((side, after, lambda network=network: read(network)))
    ended = each_ends(calls)
    for one in ended:
        assert isinstance(one.error, BrokerUnreachable), one
        assert one.seconds < 10.0 + LEAVING_SECONDS, one   # ten for an answer, or two heartbeats
    return ended


def test_whatever_waits_for_a_broker_ends_in_time_when_the_way_is_dead(
    life: Life, reach: Reach, artifact: Path, tmp_path: Path, signing_key
) -> None:
    limit = NOTICED_SECONDS + LEAVING_SECONDS
    with ThreadPoolExecutor() as pool:   # all at once: what is waited for is time
        published = pool.submit(publisher_is_cut_off, reach, artifact, signing_key, SHORT, 6, limit)
        large = pool.submit(large_release_is_cut_off, reach, tmp_path / "large.bin", signing_key, limit)
        streamed = pool.submit(stream_is_cut_off, life, reach, artifact, 5)
        noticed = half_open(life, reach, artifact, SHORT, HEARTBEAT)
        for ended in (published, large, streamed):
            told(ended.result())
    print({what: round(seconds, 1) for what, seconds in noticed.items()})


@pytest.mark.torture
@pytest.mark.timeout(600)
def test_the_stream_protocol_that_is_cut_off_anywhere_is_given_up_in_time(life: Life, reach: Reach, artifact: Path) -> None:
    told(stream_is_cut_off(life, reach, artifact, 60))


def test_waiting_for_verdicts_ends_in_time_when_the_way_is_dead(life: Life, reach: Reach, artifact: Path, signing_key) -> None:
    publication = put(life.publisher, artifact, "1.0.0")
    network = reach()
    lose(network, "both")
    began = time.monotonic()
    outcome = Publisher(network.url(**SHORT), signing_key=signing_key).wait(publication, instances=1, timeout_seconds=2.0)
    assert (outcome.ok, outcome.timed_out) == (False, True)
    assert outcome.fault
    assert time.monotonic() - began < LEAVING_SECONDS


@pytest.mark.torture
@pytest.mark.timeout(600)
def test_a_publisher_by_http_that_is_cut_off_at_any_step_raises_in_time_and_can_call_again(
    artifact: Path, tmp_path: Path, signing_key, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_wire.SILENCE_SECONDS", "http_line.ANSWER_SECONDS", "http_publishing.SYNC_SECONDS", "http_publishing.GOODBYE_SECONDS"):
        monkeypatch.setattr(f"modelcast.shared.{name}", 1.0)
    host, proxies = HttpHost(tmp_path / "depot"), list[Proxy]()

    def cut_off(model: str, **losses: int) -> Callable[[], object]:
        proxies.append(Proxy(host.port))
        for side, after in losses.items():
            proxies[-1].lose_after(getattr(proxies[-1], side), after)
        sender = Publisher(f"http://127.0.0.1:{proxies[-1].port}", signing_key=signing_key)
        return lambda: put(sender, artifact, "1.0.0", model)

    clean = cut_off("clean")
    sizes = counted(proxies[0], clean)
    goodbye = {"up": 600, "down": 600}   # leaving is not waited for
    cuts = [(side, after) for side, size in sizes.items() for after in spread(size - goodbye[side], 6)]
    calls = [(side, after, cut_off(f"model-{number}", **{side: after})) for number, (side, after) in enumerate(cuts)]
    ended = each_ends(calls)
    for one in ended:
        assert isinstance(one.error, BrokerUnreachable), one
        assert one.seconds < MOST_BUSY_SECONDS + LEAVING_SECONDS, one
    for proxy in proxies:
        proxy.heal()
    assert [one for one in each_ends(calls) if one.error is not None] == []
    told(ended)
    for proxy in proxies:
        proxy.close()
    host.stop()


# --------------------------------------------------------------------------- no way there at all


def test_a_name_that_nobody_knows_is_a_clear_error_and_is_tried_again(life: Life, broker_url: str, artifact: Path, signing_key) -> None:
    account = broker_url.rpartition("@")[0]
    nowhere = f"{account}@no-such-host.invalid:5672/v"
    with pytest.raises(BrokerUnreachable, match=r"no-such-host\.invalid:5672"):
        put(Publisher(nowhere, signing_key=signing_key), artifact, "1.0.0")
    with pytest.raises(BrokerUnreachable, match=r"no-such-host\.invalid:5552"):
        open_stream(BrokerUrl.parse(nowhere), "fraud", None, name="test")
    consumer = life.started(road=open_road(nowhere), timing=TIMING)
    life.eventually(lambda: consumer.status().reconnects >= 3)
    status = consumer.status()
    assert (status.live, status.connected) == (True, False)
    assert "no-such-host.invalid" in (status.fault or "")
    assert consumer.stop(LONG)


def test_an_instance_that_is_refused_comes_as_soon_as_it_is_let_in(life: Life, reach: Reach, artifact: Path) -> None:
    network = reach()
    for proxy in network.both:
        proxy.refuse()
    put(life.publisher, artifact, "1.0.0")
    consumer = life.started(road=open_road(network.url()), timing=TIMING)
    life.eventually(lambda: consumer.status().reconnects >= 5)
    network.heal()
    life.serves(consumer, "1.0.0")
