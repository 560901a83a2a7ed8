"""What taking in a release costs the HTTP server: ``python -m tests.benchmarks.chunk_puts``, for ``docs/adr/0026-http-server.md``.

A publisher's road sends chunks of 1 MiB that the server does not have; printed are MB/s and CPU seconds per GiB of server and client.
Hashing by the client is not in it. Linux, for ``/proc``.
"""

import os
import resource
import tempfile
import time
from pathlib import Path

import click
from tests.benchmarks.ground import SHARED_MEMORY
from tests.benchmarks.read_stream import broker_cpu
from tests.benchmarks.servers import HttpDepot

from modelcast.shared import http_publishing
from modelcast.shared.digest import digest
from modelcast.shared.limits import GIB, MIB
from modelcast.shared.publishing_road import PublisherRoad
from modelcast.shared.roads import open_road


def own_cpu() -> float:
    """Return the CPU seconds that this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def upload(road: PublisherRoad, bodies: list[bytes], names: list[str]) -> None:
    """Send chunks, and have the server make them durable."""
    road.chunks.mark()
    for index, (body, name) in enumerate(zip(bodies, names, strict=True)):
        road.chunks.send(body, version="1.0.0", index=index, count=len(bodies), digest=name)
    road.chunks.finish("ab" * 32)


@click.command()
@click.option("--mib", default=512, show_default=True, help="Size of the release.")
@click.option("--rounds", default=5, show_default=True)
@click.option("--lines", default=http_publishing.LINES, show_default=True, help="Over how many connections at once.")
def main(mib: int, rounds: int, lines: int) -> None:
    """Measure."""
    http_publishing.LINES = lines
    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY) as folder:
        depot = HttpDepot()
        server = depot.start(Path(folder) / "depot")
        try:
            for number in range(rounds):
                bodies = [os.urandom(MIB) for _ in range(mib)]
                names = [digest(body).hex() for body in bodies]
                road = open_road(server["url"]).publish(f"model-{number}", "production")
                before, own, began = broker_cpu(server["pid"]), own_cpu(), time.monotonic()
                upload(road, bodies, names)
                seconds, share = time.monotonic() - began, GIB / (mib * MIB)
                spent = (broker_cpu(server["pid"]) - before) * share
                print(f"{mib * MIB / seconds / 1e6:>6.0f} MB/s  server {spent:.2f} s/GiB  client {(own_cpu() - own) * share:.2f} s/GiB", flush=True)
                road.close()
        finally:
            depot.stop()


if __name__ == "__main__":
    main()
