"""Random bytes in every queue and stream of a real broker: counted, refused, explained, and the next good release goes through."""

import json
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.end_to_end.conftest import InstanceProcess
from tests.fakes import specimens

from modelcast.publisher import Publisher
from modelcast.shared.keyfiles import load_signing_key
from modelcast.shared.order import ORDER_TYPE, OrderMessage
from modelcast.shared.packing import pack
from modelcast.shared.pika_link import PikaBroker
from modelcast.shared.topology import DEAD, REPORTS, chunks_name, history_name, orders_name, releases_name

Start = Callable[..., InstanceProcess]
STRANGERS = 30


@pytest.fixture
def model_path(tmp_path: Path) -> Path:
    path = tmp_path / "model.bin"
    path.write_bytes(b"weights" * 1000)
    return path


def rubbish(seed: int) -> list[bytes]:
    source = random.Random(seed)
    return [b"", b"\x80", b"\xc1", b"\x81\xa9modelcast\x01", *(source.randbytes(source.randrange(1, 3000)) for _ in range(STRANGERS))]


def test_random_bytes_everywhere_are_survived_counted_and_explained(
    broker_url: str, keys: tuple[Path, Path], model_path: Path, start_instance: Start,
    modelcast: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    publisher = Publisher(broker_url, signing_key=keys[0])
    instance = start_instance("one")
    publisher.publish(model_path, model="fraud", version="1.0.0", format="files", lineage={})
    instance.serves("1.0.0")
    link = PikaBroker(broker_url).connect(name="stranger")
    outbox = link.outbox(window=64)
    bodies = rubbish(1)
    for exchange in (orders_name("fraud", "production"), chunks_name("fraud"), releases_name("fraud"), REPORTS):
        for body in bodies:
            outbox.post(exchange, body, headers={"mc-kind": "end", "mc-release": "x" * 64})
            outbox.post(exchange, body, headers={"mc-kind": "chunk", "mc-digest": "zz", "x": 2**62})
    outbox.post(DEAD, b"not a dead letter of ours", routing_key="dead")
    outbox.flush()
    link.close()
    status = instance.wait_for(lambda status: status["rejected"] >= len(set(bodies)), "all rubbish refused")
    assert status["foreign"] > 0   # the copies in the history
    assert (status["live"], status["version"]) == (True, "1.0.0")
    publication = publisher.publish(model_path, model="fraud", version="1.0.1", format="files", lineage={"notes": {"a": 1}})
    assert publisher.wait(publication, instances=1, timeout_seconds=30).ok
    instance.serves("1.0.1")
    late = start_instance("late")
    late.serves("1.0.1")
    letters = json.loads(modelcast("dead-letters", "list", "--json").stdout)["dead_letters"]
    assert len(letters) >= len(bodies) + 1
    assert {letter["reason"] for letter in letters if letter["instance"] == "one"} <= {"malformed", "unknown-format"}
    explained = modelcast("dead-letters", "explain")
    assert explained.returncode == 0
    assert all(line.isprintable() for line in explained.stdout.splitlines())


def test_an_order_of_an_unknown_format_is_refused_with_the_way_out(
    broker_url: str, keys: tuple[Path, Path], start_instance: Start, modelcast: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    key = load_signing_key(keys[0])
    instance = start_instance("one")
    instance.wait_for(lambda status: status["connected"], "a connection")
    good = specimens.order_message(key)
    newer_order = pack(specimens.order().model_dump(mode="python") | {"format": 3})
    bodies = [
        pack({"modelcast": 2, "order": good.order, "manifest": good.manifest}),
        OrderMessage(key.sign(ORDER_TYPE, newer_order), good.manifest).to_bytes(),
        OrderMessage(key.sign(ORDER_TYPE.replace("v1", "v2"), newer_order), good.manifest).to_bytes(),
    ]
    link = PikaBroker(broker_url).connect(name="newer publisher")
    outbox = link.outbox(window=8)
    for body in bodies:
        outbox.post(orders_name("fraud", "production"), body)
    outbox.flush()
    assert history_name("fraud", "production").endswith(".history")
    link.close()
    instance.wait_for(lambda status: status["rejected"] == len(bodies), "all refused")
    letters = json.loads(modelcast("dead-letters", "explain", "--json").stdout)["dead_letters"]
    assert {letter["reason"] for letter in letters} == {"unknown-format"}
    assert all("Upgrade modelcast" in letter["remedy"] for letter in letters)
