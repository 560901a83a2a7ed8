"""The servers that the contenders need, each a private process on loopback with its files in one folder, ended by its process id.

Decides how each is configured: as its own documentation recommends for this job. Imports contender.
"""

import contextlib
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

LOOPBACK = "127.0.0.1"
READY_SECONDS = 20.0
POLL_SECONDS = 0.02
SBIN = "/usr/sbin:/usr/local/sbin"


def find_program(name: str) -> str | None:
    """Return the path of a program, looked for where servers are as well."""
    return shutil.which(name) or shutil.which(name, path=SBIN)


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


class RabbitMq:
    """A private node as ``modelcast broker start`` makes it; shared by modelcast and plain pika.

    On RabbitMQ's own ports modelcast finds the stream protocol by itself; a private node has other ports, so ``url`` names that one.
    """

    def __init__(self) -> None:
        self._node: Any = None
        self._settings: dict[str, Any] = {}

    def missing(self) -> str | None:
        """Say what to install."""
        found = find_program("rabbitmq-server")
        return None if found else "rabbitmq-server is not installed (make bench-setup)"

    def start(self, folder: Path) -> dict[str, Any]:
        """Start the node, or find it running, and make a key pair."""
        from modelcast.shared.keyfiles import generate
        from modelcast.shared.localbroker.node import PrivateNode

        if self._node is None:
            folder.mkdir(parents=True)
            key, public = generate(folder / "training")
            self._node = PrivateNode(folder / "node")
            url, status = self._node.start(), self._node.status()
            self._settings = {
                "amqp_url": url, "url": f"{url}?stream_port={status.stream_port}", "pid": status.pid,
                "key": str(key), "trust": str(public),
            }
        return self._settings

    def clean(self, label: str, instances: int) -> None:
        """Delete a model's queues, streams and exchanges."""
        import pika

        from modelcast.shared.topology import Exchange, Queue, channel_parts, instance_parts, model_parts

        parts = [*model_parts(label), *channel_parts(label, "production")]
        for number in range(instances):
            parts += instance_parts(label, "production", f"i{number}")
        with contextlib.closing(pika.BlockingConnection(pika.URLParameters(self._settings["amqp_url"]))) as connection:
            channel = connection.channel()
            for part in parts:
                if isinstance(part, Queue) and part.name.startswith(f"modelcast.{label}."):
                    channel.queue_delete(part.name)
                elif isinstance(part, Exchange) and part.name.startswith(f"modelcast.{label}."):
                    channel.exchange_delete(part.name)

    def stop(self) -> None:
        """Stop the node."""
        if self._node is not None:
            self._node.stop()
            self._node = None


class SharedDirectory:
    """A directory for the file road: no server at all."""

    def __init__(self) -> None:
        self._settings: dict[str, Any] = {}

    def missing(self) -> str | None:
        """Nothing can be missing."""
        return None

    def start(self, folder: Path) -> dict[str, Any]:
        """Make the directory and a key pair."""
        from modelcast.shared.keyfiles import generate
        from modelcast.shared.roads import open_road

        if not self._settings:
            (folder / "depot").mkdir(mode=0o700, parents=True)
            key, public = generate(folder / "training")
            self._settings = {"url": f"file://{folder / 'depot'}", "key": str(key), "trust": str(public)}
            open_road(self._settings["url"]).publish("first", "production").close()   # instances that wait need a depot to look at
        return self._settings

    def clean(self, label: str, instances: int) -> None:
        """Remove what a model has in it."""
        from modelcast.shared.roads import open_road

        open_road(self._settings["url"]).retire(label, "production", [])

    def stop(self) -> None:
        """Nothing runs."""
        self._settings = {}


class HttpDepot:
    """A directory that ``modelcast serve`` serves."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._settings: dict[str, Any] = {}

    def missing(self) -> str | None:
        """Say what to install."""
        return None if find_spec("uvicorn") and find_spec("httptools") else "the extra modelcast[server] is not installed"

    def start(self, folder: Path) -> dict[str, Any]:
        """Start the server if it does not run."""
        if self._process is None:
            from modelcast.shared.keyfiles import generate

            depot = folder / "depot"
            depot.mkdir(mode=0o700, parents=True)
            key, public = generate(folder / "training")
            command = [sys.executable, "-m", "modelcast.shared.cli", "serve", f"file://{depot}", "--port", "0", "--insecure-no-tokens"]
            with (folder / "log").open("wb") as log:
                self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True)
            assert self._process.stdout is not None
            url = self._process.stdout.readline().strip()
            self._settings = {"url": url, "pid": self._process.pid, "key": str(key), "trust": str(public)}
        return self._settings

    def clean(self, label: str, instances: int) -> None:
        """Remove what a model has in it."""
        from modelcast.shared.roads import open_road

        open_road(self._settings["url"]).retire(label, "production", [])

    def stop(self) -> None:
        """End it by its process id and wait."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.wait(30)
            assert process.stdout is not None
            process.stdout.close()


class ServerProcess:
    """A server that is one program, for the classes below.

    Args:
        program: Its name.
        module: The Python client that goes with it.
    """

    def __init__(self, program: str, module: str) -> None:
        self._program, self._module = program, module
        self._process: subprocess.Popen[bytes] | None = None
        self.settings: dict[str, Any] = {}

    def missing(self) -> str | None:
        """Say what to install."""
        if find_program(self._program) is None:
            return f"{self._program} is not installed (make bench-setup)"
        return None if find_spec(self._module) else f"the Python package {self._module} is not installed (make bench-setup)"

    def start(self, folder: Path) -> dict[str, Any]:
        """Start it if it does not run."""
        if self._process is None:
            folder.mkdir(parents=True)
            port = free_port()
            with (folder / "log").open("wb") as log:
                command = [str(find_program(self._program)), *self.arguments(folder, port)]
                self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder)
            self._wait(port, folder / "log")
            self.settings.update(port=port, pid=self._process.pid)
        return self.settings

    def arguments(self, folder: Path, port: int) -> Sequence[str]:
        """Write its configuration into ``folder`` and return its arguments."""
        raise NotImplementedError

    def clean(self, label: str, instances: int) -> None:
        """Remove what a round left."""

    def stop(self) -> None:
        """End it by its process id and wait."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def _wait(self, port: int, log: Path) -> None:
        pause = threading.Event()
        for _ in range(round(READY_SECONDS / POLL_SECONDS)):
            with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=1):
                return
            if self._process is None or self._process.poll() is not None:
                break
            pause.wait(POLL_SECONDS)
        raise RuntimeError(f"{self._program} did not start: {log.read_text(errors='replace')[-2000:]}")


NGINX_CONF = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
{user}worker_processes auto;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    default_type application/octet-stream;
    client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
    uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
    server {{ listen 127.0.0.1:{port}; root {folder}/files; }}
}}
"""


class Nginx(ServerProcess):
    """nginx that serves a folder with sendfile."""

    def __init__(self) -> None:
        super().__init__("nginx", "requests")

    def arguments(self, folder: Path, port: int) -> Sequence[str]:
        """Write ``nginx.conf``."""
        import os

        (folder / "files").mkdir()
        self.settings["files"] = str(folder / "files")
        user = "user root;\n" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(NGINX_CONF.format(folder=folder, port=port, user=user))
        return ["-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]

    def clean(self, label: str, instances: int) -> None:
        """Remove the file."""
        (Path(self.settings["files"]) / label).unlink(missing_ok=True)


class Redis(ServerProcess):
    """Redis without persistence: faster than what most run."""

    def __init__(self) -> None:
        super().__init__("redis-server", "redis")

    def arguments(self, folder: Path, port: int) -> Sequence[str]:
        """Everything is an option."""
        return ["--port", str(port), "--bind", LOOPBACK, "--save", "", "--appendonly", "no", "--dir", str(folder)]

    def clean(self, label: str, instances: int) -> None:
        """Forget everything."""
        import redis

        with redis.Redis(host=LOOPBACK, port=self.settings["port"]) as client:
            client.flushall()


class Nats(ServerProcess):
    """NATS with JetStream, its store a folder."""

    def __init__(self) -> None:
        super().__init__("nats-server", "nats")

    def arguments(self, folder: Path, port: int) -> Sequence[str]:
        """Everything is an option."""
        return ["-a", LOOPBACK, "-p", str(port), "-js", "-sd", str(folder / "store")]

    def clean(self, label: str, instances: int) -> None:
        """Delete the bucket."""
        import asyncio

        async def delete() -> None:
            import nats

            client = await nats.connect(f"nats://{LOOPBACK}:{self.settings['port']}")
            await client.jetstream().delete_object_store(label)
            await client.close()

        asyncio.run(delete())
