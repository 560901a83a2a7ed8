"""What carries the releases in the demo: a broker, a shared directory, or a server before one.

Decides which is taken, and that nothing of it is left running. The server is started as a user would start it: by its command, with
tokens for those who need one. Ends only processes that it started. Imports the chooser of brokers and the depot; no server.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from modelcast.publisher.demo.stage import Narrator
from modelcast.shared.broker_url import BrokerUrl
from modelcast.shared.depot.depot import Depot
from modelcast.shared.errors import BrokerMissing, HostFault
from modelcast.shared.localbroker.chooser import RunningBroker, choose_broker
from modelcast.shared.localbroker.host import default_state_dir
from modelcast.shared.localbroker.node import PrivateNode

ROADS = ("auto", "rabbitmq", "file", "http")
COMMAND_SECONDS = 60.0
STOP_SECONDS = 30.0
PUBLISHER_SCOPES = ("publish", "promote", "operate")
INSTANCE_SCOPES = ("fetch", "report")


@dataclass(frozen=True, slots=True)
class Ground:
    """What carries the releases.

    Attributes:
        url: Its address for the publisher and the operator.
        instances_url: Its address for the instances.
        unguarded_url: Where bytes can be put that nobody looks at before the instances do.
        place: What it is, in words.
    """

    url: str
    instances_url: str
    unguarded_url: str
    place: str


@contextmanager
def prepare(
    narrator: Narrator, folder: Path, road: str, *, keep: bool, choose: Callable[..., RunningBroker] = choose_broker
) -> Generator[Ground]:
    """Find or start what carries the releases, and stop what was started here.

    Args:
        narrator: Tells it.
        folder: Where a shared directory is made.
        road: One of ``ROADS``; ``auto`` is RabbitMQ where it can be had, otherwise a shared directory.
        keep: Whether a broker that was started here goes on.
        choose: Finds or starts a broker.

    Raises:
        BrokerMissing: RabbitMQ was asked for and cannot be had.
        HostFault: The broker or the server did not start.
    """
    if road in {"auto", "rabbitmq"}:
        try:
            with _broker(narrator, keep=keep, choose=choose) as url:
                yield Ground(url, url, url, "the broker")
                return
        except BrokerMissing as error:
            if road != "auto":
                raise
            narrator.say(f"{error} So a shared directory carries the releases. For the main road: {error.hint}")
    depot = folder / "depot"
    depot.mkdir(mode=0o700)
    Depot(depot).enter()
    url = f"file://{quote(str(depot))}"
    if road != "http":
        narrator.say(f"The road is a directory that all share, {depot}; there is no broker.")
        yield Ground(url, url, url, "the shared directory")
        return
    with _server(url, folder) as address:
        narrator.say(f"The road is a server of {depot}, {address}; there is no broker.")
        narrator.say("Its tokens: one that may publish, promote and operate, one that may fetch and report, for the instances.")
        urls = [
            f"{address}?token_file={quote(str(_token(url, folder, name, scopes)))}"
            for name, scopes in (("publisher", PUBLISHER_SCOPES), ("instances", INSTANCE_SCOPES))
        ]
        yield Ground(urls[0], urls[1], url, "the server")


@contextmanager
def _broker(narrator: Narrator, *, keep: bool, choose: Callable[..., RunningBroker]) -> Generator[str]:
    began, node = time.monotonic(), PrivateNode(default_state_dir())
    was_running = node.status().running
    try:
        chosen = choose(note=narrator.say)
    except BaseException:
        if not was_running:
            node.stop()   # Ctrl-C while it starts would leave it running for good
        raise
    if chosen.started_here:
        narrator.say(f"It was started in {time.monotonic() - began:.1f} s: {BrokerUrl.parse(chosen.url)}")
    try:
        yield chosen.url
    finally:
        if chosen.started_here and chosen.kind == "node" and not keep:
            node.stop()
        elif chosen.started_here:
            stop = "modelcast broker stop" if chosen.kind == "node" else "docker compose -f docker-compose.rabbitmq.yml down"
            narrator.say(f"The broker goes on. It is stopped by: {stop}")


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "modelcast.shared.cli", *words]


@contextmanager
def _server(depot_url: str, folder: Path) -> Generator[str]:
    """Serve a directory; yields the address."""
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            _command("serve", depot_url, "--port", "0"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True,
            start_new_session=True,
        )  # fmt: skip
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        if not address:
            raise HostFault(f"The server did not start: {(folder / 'server.log').read_text(errors='replace').strip()}")
        yield address
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _token(depot_url: str, folder: Path, name: str, scopes: tuple[str, ...]) -> Path:
    """Make a token and return the file that holds it, which only its owner may read."""
    words = [word for scope in scopes for word in ("--scope", scope)]
    made = subprocess.run(
        _command("tokens", "create", "--depot", depot_url, "--name", name, *words), stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=COMMAND_SECONDS, check=False,
    )  # fmt: skip
    if made.returncode:
        raise HostFault(f"No token could be made: {made.stderr.strip()}")
    path = folder / f"{name}.token"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(made.stdout)
    return path
