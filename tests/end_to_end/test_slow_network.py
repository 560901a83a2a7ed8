"""A network that is slow, cut into small pieces or idle costs time, and nothing else: no fault, no refusal, no spinning."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes.life import Life
from tests.fakes.proxy import Network
from tests.fakes.stage import QUICK

from modelcast.consumer import Timing
from modelcast.publisher import Publisher
from modelcast.shared.limits import KIB, MIB
from modelcast.shared.localbroker.node import PrivateNode
from modelcast.shared.roads import open_road

NOISE = random.Random(7).randbytes(4 * MIB)
Reach = Callable[..., Network]


@pytest.fixture
def reach(node: PrivateNode, broker_url: str) -> Iterator[Reach]:
    """Makes networks before the broker."""
    made: list[Network] = []

    def reach(**options: int) -> Network:
        made.append(Network(broker_url, node.status().stream_port, **options))
        return made[-1]

    yield reach
    for network in made:
        network.close()


@pytest.fixture
def life(node: PrivateNode, broker_url: str, memory: Path, signing_key) -> Iterator[Life]:
    """Publishes and looks without any network between."""
    life = Life(open_road(f"{broker_url}?stream_port={node.status().stream_port}"), memory, signing_key)
    yield life
    assert life.letters() == []
    life.stop()


def put(life: Life, path: Path, version: str, content: bytes, publisher: Publisher | None = None):
    path.write_bytes(content)
    return (publisher or life.publisher).publish(path, model="fraud", version=version, format="files", lineage={})


@pytest.mark.parametrize("chunks", ["stream", "amqp"])
def test_a_chunk_that_comes_slower_than_a_silence_lasts_is_no_silence(
    life: Life, reach: Reach, tmp_path: Path, chunks: str
) -> None:
    network = reach()
    put(life, tmp_path / "model.bin", "1.0.0", NOISE[: 128 * KIB])
    carrying = network.stream if chunks == "stream" else network.amqp
    carrying.set(carrying.down, rate=50_000)   # 1.3 s for a chunk of 64 KiB; 0.3 s of silence end a reading
    consumer = life.started(road=open_road(network.url(chunks=chunks)), timing=replace(QUICK, heartbeat_seconds=60))
    life.serves(consumer, "1.0.0")
    life.eventually(lambda: consumer.status().last_verdict)
    status = consumer.status()
    assert (status.promoted, status.rejected, status.reconnects) == (1, 0, 0)
    assert carrying.down.passed < 1.5 * 128 * KIB, "nothing was fetched twice"
