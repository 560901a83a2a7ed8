"""A broker in alarm and a header that the client library cannot decode: neither stops an instance."""

import json
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.end_to_end.conftest import InstanceProcess

from modelcast.publisher import Publisher
from modelcast.shared.localbroker.node import PrivateNode
from modelcast.shared.pika_link import PikaBroker
from modelcast.shared.topology import DEAD, REPORTS, chunks_name, orders_name

Start = Callable[..., InstanceProcess]


@pytest.fixture
def model_path(tmp_path: Path) -> Path:
    path = tmp_path / "model.bin"
    path.write_bytes(b"weights" * 1000)
    return path


class Poison:
    """A timestamp of the year 146 billion."""


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> Poison:
    """A header value that pika encodes here and cannot decode anywhere."""
    import pika.data

    original: Callable[[list[bytes], Any], int] = pika.data.encode_value

    def encode_value(pieces: list[bytes], value: Any) -> int:
        if isinstance(value, Poison):
            pieces.append(b"T" + struct.pack(">Q", 2**62))
            return 9
        return original(pieces, value)

    monkeypatch.setattr(pika.data, "encode_value", encode_value)
    return Poison()


def test_headers_that_cannot_be_decoded_stop_nobody(
    broker_url: str, keys: tuple[Path, Path], model_path: Path, start_instance: Start, poison: Any,
    modelcast: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    publisher = Publisher(broker_url, signing_key=keys[0])
    instance = start_instance("one")
    publisher.publish(model_path, model="fraud", version="1.0.0", format="files", lineage={})
    instance.serves("1.0.0")
    link = PikaBroker(broker_url).connect(name="stranger")
    outbox = link.outbox(window=8)
    for exchange in (orders_name("fraud", "production"), chunks_name("fraud"), REPORTS):
        outbox.post(exchange, b"junk", headers={"x": poison})
    outbox.post(DEAD, b"junk", headers={"x": poison}, routing_key="dead")
    outbox.flush()
    link.close()
    instance.wait_for(lambda status: status["rejected"] == 1, "the junk refused")
    publisher.publish(model_path, model="fraud", version="1.1.0", format="files", lineage={})
    assert instance.serves("1.1.0")["reconnects"] == 0
    letters = json.loads(modelcast("dead-letters", "list", "--json").stdout)["dead_letters"]
    assert len(letters) == 2


def test_a_broker_in_alarm_leaves_an_instance_alive_and_ready_and_it_stops_in_time(
    node: PrivateNode, broker_url: str, keys: tuple[Path, Path], model_path: Path, start_instance: Start
) -> None:
    instance = start_instance("one")
    publisher = Publisher(broker_url, signing_key=keys[0])
    publisher.publish(model_path, model="fraud", version="1.0.0", format="files", lineage={})
    instance.serves("1.0.0")
    before = node.control("eval", "vm_memory_monitor:get_vm_memory_high_watermark().").strip()
    node.control("set_vm_memory_high_watermark", "0.00001")
    try:
        late = start_instance("late")   # its very first reports meet the alarm
        status = late.serves("1.0.0")   # orders and chunks are read all the same
        assert (status["live"], status["ready"]) == (True, True)
        late.wait_for(lambda status: status["connected"] and status["unsent_reports"] >= 1, "a report that waits")
        late.close()   # within its ten seconds, or the fixture would have to kill it
        assert late._process.returncode == 0
    finally:
        node.control("set_vm_memory_high_watermark", before)
    publisher.publish(model_path, model="fraud", version="1.1.0", format="files", lineage={})
    instance.serves("1.1.0")
    instance.wait_for(lambda status: status["unsent_reports"] == 0, "all reports told")
