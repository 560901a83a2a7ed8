"""What a GET of a chunk costs a server: ``python -m tests.benchmarks.chunk_gets [NAME ...]``, for ``docs/adr/0026-http-server.md``.

Four clients fetch chunks of 1 MiB and throw them away; printed are MB/s and the server's CPU. nginx comes from ``make bench-setup``,
granian from ``pip install granian``; who is missing is left out.
"""

import contextlib
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

from tests.benchmarks.servers import LOOPBACK, NGINX_CONF, find_program, free_port

from modelcast.publisher.server.settings import ServerLimits
from modelcast.shared.digest import digest
from modelcast.shared.file_road import FileRoad
from modelcast.shared.file_url import FileUrl
from modelcast.shared.limits import GIB, MIB

CHUNKS, ROUNDS, CLIENTS, RUNS = 128, 7, 4, 2   # nginx ends a connection after 1,000 requests
BARE = """
import os
FOLDER = "{folder}/"

async def body(scope, receive, send):
    with open(FOLDER + scope["path"], "rb", buffering=0) as file:
        content = file.read()
    await send({{"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(content)).encode())]}})
    await send({{"type": "http.response.body", "body": content}})

async def pathsend(scope, receive, send):
    path = FOLDER + scope["path"]
    await send({{"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(os.stat(path).st_size).encode())]}})
    await send({{"type": "http.response.pathsend", "path": path}})
"""


def fetch(port: int, paths: list[str], begin: Any, done: Any) -> None:
    """Fetch every path so many times over one connection."""
    buffer, total = memoryview(bytearray(MIB)), 0
    with socket.create_connection((LOOPBACK, port)) as connection:
        begin.wait()
        for path in paths * ROUNDS:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(65536)
            fields, _, body = head.partition(b"\r\n\r\n")
            assert b" 200 " in fields[:20], fields
            left = int(fields.lower().partition(b"content-length:")[2].split(b"\r\n")[0]) - len(body)
            while left:
                got = connection.recv_into(buffer)
                assert got
                left -= got
            total += MIB
    done.put(total)


def cpu_seconds(pid: int) -> float:
    """Return the CPU that a process and its children have used."""
    total = 0
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            name, _, fields = entry.read_text().rpartition(")")
            values = fields.split()
            if int(name.split()[0]) == pid or int(values[1]) == pid:
                total += int(values[11]) + int(values[12])
    return total / os.sysconf("SC_CLK_TCK")


def run(name: str, pid: int, port: int, paths: list[str]) -> None:
    """Let the clients fetch, and print what it cost."""
    done, begin = multiprocessing.Queue(), multiprocessing.Barrier(CLIENTS + 1)
    clients = [multiprocessing.Process(target=fetch, args=(port, paths, begin, done)) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    begin.wait(60)
    cpu, began = cpu_seconds(pid), perf_counter()
    total = sum(done.get(timeout=300) for _ in clients)
    seconds, used = perf_counter() - began, cpu_seconds(pid) - cpu
    for client in clients:
        client.join()
    print(f"{name:32} {total / seconds / 1e6:6.0f} MB/s  {used / (total / GIB):.2f} s of CPU per GiB", flush=True)


def contenders(folder: Path, depot: Path) -> Iterator[tuple[str, list[str], str]]:
    """Yield the name, the command and the prefix of the paths of each server that is there."""
    binaries, limits = Path(sys.executable).parent, ServerLimits()
    rate = ["--rate", str(100 * limits.requests_per_second)]
    yield "modelcast", [str(binaries / "modelcast"), "serve", f"file://{depot}", "--port", "PORT", "--insecure-no-tokens", *rate], "/v1/models/m/chunks"
    yield "uvicorn-body", [str(binaries / "uvicorn"), "--port", "PORT", "--no-access-log", "--lifespan", "off", "bare:body"], ""
    if find_spec("granian"):
        for way in ("body", "pathsend"):
            yield f"granian-{way}", [str(binaries / "granian"), "--interface", "asginl", "--port", "PORT", "--no-ws", f"bare:{way}"], ""
    if nginx := find_program("nginx"):
        yield "nginx", [nginx, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")], ""


def main(names: list[str]) -> None:
    """Run those that are named, or all."""
    folder = Path(tempfile.mkdtemp(prefix="chunk-gets-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    try:
        depot, flat = folder / "depot", folder / "files"
        depot.mkdir(mode=0o700)
        flat.mkdir()
        digests = publish(depot, flat)
        (folder / "bare.py").write_text(BARE.format(folder=flat))
        for name, command, prefix in contenders(folder, depot):
            if not names or name in names:
                serve(name, command, folder, [f"{prefix}/{identity}" for identity in digests])
    finally:
        shutil.rmtree(folder)


def publish(depot: Path, flat: Path) -> list[str]:
    """Make the chunks, in the depot and as plain files."""
    session, digests = FileRoad(FileUrl(str(depot))).publish("m", "production"), list[str]()
    for index in range(CHUNKS):
        body = os.urandom(MIB)
        digests.append(digest(body).hex())
        session.chunks.send(body, version="1.0.0", index=index, count=CHUNKS, digest=digests[-1])
        (flat / digests[-1]).write_bytes(body)
    session.close()
    return digests


def serve(name: str, command: list[str], folder: Path, paths: list[str]) -> None:
    """Start a server, measure, and end it by its process id."""
    port = free_port()
    user = "user root;\n" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(NGINX_CONF.format(folder=folder, port=port, user=user))
    with (folder / "log").open("wb") as log:
        started = [part.replace("PORT", str(port)) for part in command]
        server = subprocess.Popen(started, cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        pause = threading.Event()
        for _ in range(400):
            with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=1):
                break
            pause.wait(0.05)
        for _ in range(RUNS):
            run(name, server.pid, port, paths)
    finally:
        server.terminate()
        server.wait(30)


if __name__ == "__main__":
    main(sys.argv[1:])
