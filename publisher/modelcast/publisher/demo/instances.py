"""Instances of the demo application: processes that are started, asked, killed and stopped.

Decides how a process is started and that none is left behind: each ends when its standard input ends, however the demo ends.
Imports the door and the traffic; knows the application by its module's name only.
"""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from modelcast.publisher.demo.door import Way, way_to
from modelcast.publisher.demo.traffic import ANSWER_SECONDS, Caller, exchange
from modelcast.shared.cli.connection import URL_VARIABLE
from modelcast.shared.errors import HostFault

APPLICATION = "modelcast.consumer.demo_app"
ACCEPT = ">=1,<2"
STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Setting:
    """What all instances have in common.

    Attributes:
        url: Address of the road.
        model: Name of the model.
        trust: The public key that they trust.
        folder: Where each has a folder.
        channel: The channel that they follow.
    """

    url: str
    model: str
    trust: Path
    folder: Path
    channel: str = "production"


class Instance:
    """One instance of the application.

    Args:
        name: Its id.
        setting: What all have in common.
        caller: Who sends it requests.

    Attributes:
        started: When its process was started last, by the monotonic clock.
    """

    def __init__(self, name: str, setting: Setting, caller: Caller) -> None:
        self.name, self.caller, self.started = name, caller, 0.0
        self._setting, self._folder = setting, setting.folder / name
        self._way: Way | None = None
        self._process: subprocess.Popen[str] | None = None
        self._port = 0

    @property
    def pid(self) -> int | None:
        """Its process id, or None when it does not run."""
        return self._process.pid if self._process else None

    @property
    def arguments(self) -> list[str]:
        """The words that its process is started with; every user of the host can read them."""
        return [
            sys.executable, "-m", APPLICATION, "--model", self._setting.model, "--channel", self._setting.channel,
            "--instance", self.name, "--accept", ACCEPT, "--trust", str(self._setting.trust),
            "--store", str(self._folder / "store"), "--port", "0", "--end-with-stdin",
        ]

    @property
    def connections(self) -> int:
        """How many connections could reach the road since the process was started."""
        return self._way.passed if self._way else 0

    @property
    def log_path(self) -> Path:
        """The file with its log."""
        return self._folder / "log.jsonl"

    def start(self, *, connected: bool = True) -> None:
        """Start the process; it is not waited for.

        Args:
            connected: Whether it can reach the road; otherwise not until ``let_through``.
        """
        self._folder.mkdir(exist_ok=True)
        self._way = way_to(self._setting.url, self._folder)
        if connected:
            self._way.open()
        with self.log_path.open("a") as log:
            self.started = time.monotonic()
            self._process = subprocess.Popen(
                self.arguments, env={**os.environ, URL_VARIABLE: self._way.url},   # not an argument: it holds a password
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True, cwd=self._folder,
            )  # fmt: skip

    def call(self) -> None:
        """Wait until it listens, and send it requests from the moment that it is ready.

        Raises:
            HostFault: The process ended instead.
        """
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.strip().isdigit():
            lines = self.log_path.read_text(errors="replace").splitlines()
            last = next((text for text in reversed(lines) if text and not text.startswith("Hint: ")), "it said nothing")
            raise HostFault(f"{self.name} did not start: {last}")
        self._port = int(line)
        self.caller.begin(self._port)

    def let_through(self) -> None:
        """Let it reach the road."""
        if self._way is not None:
            self._way.open()

    def status(self) -> dict[str, Any]:
        """Return what it says of itself, or nothing when it does not answer."""
        connection = HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_SECONDS)
        try:
            return exchange(connection, "GET", "/status")[1]
        except (OSError, HTTPException, ValueError):
            return {}
        finally:
            connection.close()

    def kill(self) -> None:
        """End the process with SIGKILL: it has no chance to say goodbye or to finish anything."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGKILL)
        self._forget(self._process)

    def end_soon(self) -> None:
        """End the requests, and ask the process to end; ``stop`` waits for it."""
        self.caller.hold()
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    def stop(self) -> None:
        """End the process in order, and with force after ten seconds. Does nothing when it does not run."""
        self.end_soon()
        process = self._process
        if process is None:
            return
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
        self._forget(process)

    def _forget(self, process: "subprocess.Popen[str]") -> None:
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        self._process = None
        if self._way is not None:
            self._way.close()
