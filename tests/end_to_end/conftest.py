"""Real processes: instances and publishers that can be killed, and files to publish."""

import json
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.end_to_end.harness import Harness
from tests.fakes.life import Life
from tests.fakes.proxy import Network

from modelcast.shared.keyfiles import generate
from modelcast.shared.localbroker.node import PrivateNode
from modelcast.shared.roads import open_road
from modelcast.shared.signing import SigningKey

INSTANCE = Path(__file__).parent / "instance.py"
PATIENCE_SECONDS = 60.0


class InstanceProcess:
    """A running ``instance.py``."""

    def __init__(self, url: str, model: str, store: Path, trust: Path, name: str, refused: tuple[str, ...] = ()) -> None:
        self._log = (store.parent / f"{store.name}.log").open("ab")
        self._process = subprocess.Popen(
            [sys.executable, str(INSTANCE), url, model, str(store), str(trust), name, *refused], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=self._log, text=True,
        )
        self._lines: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.last: dict[str, Any] = {}

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(json.loads(line))
        self._lines.put(None)

    def wait_for(self, wanted: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        """Return the first status that is wanted."""
        while not (self.last and wanted(self.last)):
            try:
                status = self._lines.get(timeout=PATIENCE_SECONDS)
            except queue.Empty:
                pytest.fail(f"waited in vain for: {what}; last status: {self.last}")
            if status is None:
                pytest.fail(f"the instance ended while waiting for: {what}")
            self.last = status
        return self.last

    def serves(self, version: str) -> dict[str, Any]:
        """Wait until ``version`` is in service."""
        return self.wait_for(lambda status: status["version"] == version, f"version {version}")

    def ended_with(self) -> int:
        """Wait until it ends by itself; returns its exit code, or minus the signal."""
        code = self._process.wait(PATIENCE_SECONDS)
        self.close()
        return code

    def report_bad(self, reason: str) -> None:
        """Have it report what it serves as bad."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{reason}\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.send_signal(signal.SIGKILL)
        self.close()

    def close(self) -> None:
        """End it and reap it."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(10)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._log.close()


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    """A new key pair: private, public."""
    return generate(tmp_path / "training")


@pytest.fixture
def start_instance(broker_url: str, keys: tuple[Path, Path], tmp_path: Path) -> Iterator[Callable[..., InstanceProcess]]:
    """Starts processes of instances of the model ``fraud``; those of one name share a store. All are ended at the end."""
    running: list[InstanceProcess] = []

    def start(name: str = "one", url: str = broker_url, refused: tuple[str, ...] = ()) -> InstanceProcess:
        process = InstanceProcess(url, "fraud", tmp_path / f"store-{name}", keys[1], name, refused)
        running.append(process)
        return process

    yield start
    for process in running:
        process.close()


@pytest.fixture
def modelcast(broker_url: str, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs ``modelcast`` as a user does, in an empty folder."""

    def run(*arguments: object, url: str | None = broker_url) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)} | ({"MODELCAST_AMQP_URL": url} if url else {})
        return subprocess.run(
            [sys.executable, "-m", "modelcast.shared.cli", *map(str, arguments)], capture_output=True, text=True, cwd=tmp_path,
            env=environment, timeout=120, check=False,
        )

    return run


@pytest.fixture
def run(keys: tuple[Path, Path], tmp_path: Path) -> Iterator[Harness]:
    """A run with evidence and a judge; what still runs at the end is ended."""
    harness = Harness(tmp_path, keys)
    yield harness
    harness.close()


@pytest.fixture
def reach(node: PrivateNode, broker_url: str) -> Iterator[Callable[..., Network]]:
    """Makes networks before the broker; all are closed at the end."""
    made: list[Network] = []

    def reach(**options: int) -> Network:
        made.append(Network(broker_url, node.status().stream_port, **options))
        return made[-1]

    yield reach
    for network in made:
        network.close()


@pytest.fixture
def life(node: PrivateNode, broker_url: str, memory: Path, signing_key: SigningKey) -> Iterator[Life]:
    """Publishes and looks without any network between."""
    life = Life(open_road(f"{broker_url}?stream_port={node.status().stream_port}"), memory, signing_key)
    yield life
    assert life.letters() == []
    life.stop()
