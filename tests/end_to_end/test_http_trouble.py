"""The server of releases is killed while bytes travel: nothing is lost, little travels twice, and what serves goes on serving."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.fakes.life import CHUNK_BYTES, Life
from tests.fakes.stage import LONG

from modelcast.shared.errors import HostFault
from modelcast.shared.http_batches import FIRST_BATCH_BYTES
from modelcast.shared.roads import open_road

CHUNKS = 600
EARLY = FIRST_BATCH_BYTES // CHUNK_BYTES


class Serving:
    """``modelcast serve`` as a process, on the same port each time."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700)
        self.folder, self._port = folder, "0"
        self.url = self.start()

    def start(self) -> str:
        """Start it and return where it listens."""
        command = [sys.executable, "-m", "modelcast.shared.cli", "serve", f"file://{self.folder}", "--port", self._port, "--insecure-no-tokens"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self._process.stdout is not None
        url = self._process.stdout.readline().strip()
        self._port = url.rpartition(":")[2]
        return url

    def kill(self) -> None:
        """Kill it."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def kill_when(self, condition) -> threading.Thread:
        """Kill it as soon as something is so."""
        def watch() -> None:
            pause = threading.Event()
            while not condition():
                pause.wait(0.001)
            self.kill()

        watching = threading.Thread(target=watch, daemon=True)
        watching.start()
        return watching


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    serving = Serving(tmp_path / "depot")
    yield serving
    serving.kill()


@pytest.fixture
def life(serving: Serving, tmp_path: Path, signing_key) -> Iterator[Life]:
    life = Life(open_road(serving.url), tmp_path, signing_key)
    yield life
    life.stop()


def model() -> dict[str, object]:
    return {"weights": np.random.default_rng(7).standard_normal(CHUNKS * 8192)}


def test_a_server_that_is_killed_during_an_upload_has_what_it_had_and_the_rest_is_sent_again(life: Life, serving: Serving) -> None:
    consumer = life.joined()
    chunks = serving.folder / "models/fraud/chunks"
    killing = serving.kill_when(lambda: sum(1 for _ in chunks.glob("*/*")) > CHUNKS / 3)
    with pytest.raises(HostFault):
        life.publisher.publish(model(), model="fraud", version="1.0.0")
    killing.join()
    life.eventually(lambda: not consumer.status().connected)
    serving.start()
    publication = life.publisher.publish(model(), model="fraud", version="1.0.0")
    assert publication.sent_bytes < publication.total_bytes * 0.7
    life.serves(consumer, "1.0.0")


def test_a_server_that_is_killed_during_a_download_is_joined_again_and_the_rest_is_fetched(life: Life, serving: Serving, tmp_path: Path) -> None:
    publication = life.publisher.publish(model(), model="fraud", version="1.0.0")
    began = threading.Event()
    killing = serving.kill_when(began.is_set)

    road = open_road(serving.url)
    opened = road.chunks

    class Telling:
        """Tells when a fifth of the chunks was read: of the rest no more can come from this server than what was asked for."""

        name = "http"

        def __init__(self, source) -> None:
            self._source, self._left = source, EARLY

        def receive(self, seconds: float):
            self._left -= 1
            if self._left == 0:
                began.set()
                killing.join()
            return self._source.receive(seconds)

        def close(self) -> None:
            self._source.close()

    road.chunks = lambda name, offset, wanted=None: Telling(opened(name, offset, wanted))  # type: ignore[method-assign]
    consumer = life.started(road=road)
    killing.join(LONG)
    life.eventually(lambda: not consumer.status().connected)
    serving.start()
    life.serves(consumer, "1.0.0")
    outcome = life.publisher.wait(publication, instances=1, timeout_seconds=LONG)
    transfer = outcome.promoted["a"].transfer
    assert transfer["fetched_bytes"] + transfer["reused_bytes"] == publication.total_bytes
    assert transfer["reused_bytes"] > FIRST_BATCH_BYTES // 2   # in the attempt that came to its end
