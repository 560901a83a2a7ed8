"""What receiving a GiB over HTTP costs the client, by the library that is used: why the road uses the one it does.

``python -m tests.benchmarks.http_clients``. A process of its own sends chunks of 1 MiB from a file by sendfile(2); each client receives
a GiB, hashes every chunk with BLAKE3 and copies it to where an artifact would be. Decides nothing. Imports httpx, requests, urllib3.
"""

import multiprocessing
import os
import socket
import tempfile
import time
from collections.abc import Callable
from statistics import median

import click
import httpx
import requests
import urllib3
from blake3 import blake3
from rich.console import Console
from rich.table import Table

from modelcast.shared.http_line import Ask, Server
from modelcast.shared.http_url import HttpUrl

CHUNK_BYTES = 1024 * 1024
CHUNKS = 1024
ROUNDS = 5
Take = Callable[[memoryview | bytes], None]


def serve(listening: socket.socket) -> None:
    """Answer every request with the same chunk."""
    with tempfile.TemporaryFile() as file:
        file.write(os.urandom(CHUNK_BYTES))
        file.flush()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {CHUNK_BYTES}\r\n\r\n".encode()
        while True:
            connection, _ = listening.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with connection:
                while connection.recv(65536):
                    connection.sendall(head)
                    done = 0
                    while done < CHUNK_BYTES:
                        done += os.sendfile(connection.fileno(), file.fileno(), done, CHUNK_BYTES - done)


def by_the_road(port: int, take: Take) -> None:
    """``http.client`` on the road's wire, into one buffer."""
    line, buffer = Server(HttpUrl.parse(f"http://127.0.0.1:{port}"), None).line(), memoryview(bytearray(CHUNK_BYTES))
    for _ in range(CHUNKS):
        line.send(Ask("GET", "/chunk"))
        response, done = line.begin(), 0
        while count := line.read_into(response, buffer[done : done + 256 * 1024]):
            done += count
        take(buffer)
    line.close()


def by_urllib3(port: int, take: Take) -> None:
    """urllib3, ``preload_content=False`` and ``readinto``."""
    buffer = memoryview(bytearray(CHUNK_BYTES))
    with urllib3.HTTPConnectionPool("127.0.0.1", port) as pool:
        for _ in range(CHUNKS):
            response, done = pool.request("GET", "/v1/chunk", preload_content=False), 0
            while count := response.readinto(buffer[done:]):
                done += count
            response.release_conn()
            take(buffer)


def by_requests(port: int, take: Take) -> None:
    """requests, a session and ``content``."""
    with requests.Session() as session:
        session.trust_env = False
        for _ in range(CHUNKS):
            take(session.get(f"http://127.0.0.1:{port}/v1/chunk").content)


def by_httpx(port: int, take: Take) -> None:
    """httpx, a client and ``content``."""
    with httpx.Client(trust_env=False) as client:
        for _ in range(CHUNKS):
            take(client.get(f"http://127.0.0.1:{port}/v1/chunk").content)


CLIENTS = {"http.client on the road's wire": by_the_road, "urllib3 readinto": by_urllib3, "requests": by_requests, "httpx": by_httpx}


@click.command()
@click.option("--rounds", default=ROUNDS, show_default=True)
def main(rounds: int) -> None:
    """Show the CPU seconds that a GiB takes each client; the median."""
    target = memoryview(bytearray(CHUNK_BYTES))

    def take(chunk: memoryview | bytes) -> None:
        blake3(chunk).digest()
        target[:] = chunk

    table = Table("client", "CPU s/GiB", "MB/s", title="What a GiB over HTTP costs its receiver, BLAKE3 and one copy included")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = multiprocessing.get_context("fork").Process(target=serve, args=(listening,), daemon=True)
        server.start()
        for name, client in CLIENTS.items():
            rows = [_measured(client, listening.getsockname()[1], take) for _ in range(rounds)]
            table.add_row(name, f"{median(cpu for cpu, _ in rows):.2f}", f"{median(speed for _, speed in rows):.0f}")
        server.terminate()
        server.join()
    Console().print(table)


def _measured(client: Callable[[int, Take], None], port: int, take: Take) -> tuple[float, float]:
    """Return CPU seconds and MB/s of one round."""
    cpu, begin = time.process_time(), time.perf_counter()
    client(port, take)
    size = CHUNKS * CHUNK_BYTES
    return (time.process_time() - cpu) * 1024**3 / size, size / 1e6 / (time.perf_counter() - begin)


if __name__ == "__main__":
    main()
