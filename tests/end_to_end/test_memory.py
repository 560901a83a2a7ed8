"""Memory stays at a few chunks whatever the size of the artifact, on both sides: measured, not promised."""

import subprocess
import sys
from pathlib import Path

import pytest

from modelcast.shared.limits import MIB
from modelcast.shared.packing import pack
from modelcast.shared.pika_link import PikaBroker
from modelcast.shared.topology import DEAD, common_parts

SIZE_MIB = 384
BOUND_MIB = 64
"""The design's bar for the receiver; a publisher has a window of 32 chunks of 1 MiB."""

PUBLISH = """
import resource, sys
from pathlib import Path
import structlog; structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
from modelcast.publisher import Publisher
import modelcast.shared.pika_link
before = int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
Publisher(sys.argv[1], signing_key=sys.argv[2]).publish(
    Path(sys.argv[3]), model="big", version="1.0.0", format="files", lineage={})
peak = next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
print((peak - before) // 2**20)   # not ru_maxrss: that one remembers the size of the process that started this one
"""
RECEIVE = """
import resource, sys
import structlog; structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
from modelcast.consumer import ModelConsumer
import modelcast.shared.pika_link
before = int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
consumer = ModelConsumer(sys.argv[1], model="big", trust=[sys.argv[2]], store=sys.argv[3])
consumer.start()
consumer.wait_until_ready(100)
consumer.stop()
peak = next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
print((peak - before) // 2**20)   # not ru_maxrss: that one remembers the size of the process that started this one
"""
LETTERS = 100
LETTER_MIB = 4
LOOK = """
import resource, sys
from modelcast.consumer.deadletters.browse import read_letters
from modelcast.shared.roads import open_road
import modelcast.shared.pika_link
before = int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
assert len(read_letters(open_road(sys.argv[1]), limit=1000)) == int(sys.argv[2])
peak = next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
print((peak - before) // 2**20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_looking_at_large_dead_letters_takes_the_memory_of_a_few(broker_url: str) -> None:
    link = PikaBroker(broker_url).connect(name="letters")
    link.declare(common_parts())
    outbox = link.outbox(window=4)
    for number in range(LETTERS):
        body = pack({"modelcast": 1, "order": number.to_bytes(4, "big") * (LETTER_MIB * MIB // 4), "manifest": b""})
        outbox.post(DEAD, body, routing_key="dead")
    outbox.flush()
    link.close()
    done = subprocess.run(
        [sys.executable, "-c", LOOK, broker_url, str(LETTERS)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < BOUND_MIB, done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_publishing_and_receiving_a_large_path_takes_little_memory(broker_url: str, keys: tuple[Path, Path], tmp_path: Path) -> None:
    path = tmp_path / "big"
    with path.open("wb") as file:
        for number in range(SIZE_MIB):
            file.write(number.to_bytes(8, "big") * (MIB // 8))
    growth = {}
    for name, program, *arguments in (("publisher", PUBLISH, keys[0], path), ("instance", RECEIVE, keys[1], tmp_path / "store")):
        done = subprocess.run(
            [sys.executable, "-c", program, broker_url, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        growth[name] = int(done.stdout)
    assert all(mebibytes < BOUND_MIB for mebibytes in growth.values()), growth
