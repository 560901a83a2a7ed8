"""HTTP: nginx serves the file with sendfile, every instance fetches it with requests.

The file lies in the server's folder from the first moment (a hard link), so nothing is counted for bringing it there.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.contender import PIECE, Arriving, Notice
from tests.benchmarks.servers import LOOPBACK, Nginx
from tests.benchmarks.task import Mark, Task


class OverHttp:
    """``requests.get(stream=True)`` and ``iter_content`` of 1 MiB."""

    name = "http"
    title = "HTTP (nginx, requests)"
    is_late = False

    def __init__(self) -> None:
        self.server = Nginx()

    def missing(self) -> str | None:
        """Say what to install."""
        return self.server.missing()

    def publish(self, task: Task) -> Iterator[Mark]:
        """Put the file where nginx finds it."""
        yield Mark.now("ready")
        os.link(task.source, Path(task.server["files"]) / task.label)
        yield Mark.now("published")

    def receive(self, task: Task, notice: Notice) -> Iterator[Mark]:
        """Fetch it."""
        import requests

        url = f"http://{LOOPBACK}:{task.server['port']}/{task.label}"
        with requests.Session() as session, Arriving(task) as arriving:
            yield Mark.now("ready")
            notice()
            with session.get(url, stream=True, timeout=60) as answer:
                answer.raise_for_status()
                for piece in answer.iter_content(PIECE):
                    arriving.write(piece)
            yield arriving.verified()
