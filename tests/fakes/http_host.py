"""The real server of releases on a loopback port, in a thread of the test's process, over a directory of its own."""

import asyncio
from pathlib import Path
from threading import Thread

from modelcast.publisher.server.serving import Listening, make_server
from modelcast.shared.file_url import FileUrl


class HttpHost:
    """Serves a directory from ``start`` to ``stop``.

    Args:
        folder: The directory; made if it is not there.
        needs_tokens: Whether it asks for tokens.
        port: Where it listens; 0 is any free port.
        tls: Files of the certificate and its key.
    """

    def __init__(self, folder: Path, *, needs_tokens: bool = False, port: int = 0, tls: tuple[str, str] | None = None) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self.folder = folder
        listening = Listening("127.0.0.1", port, *(tls or ()))
        self._server, self._bound = make_server(FileUrl(str(folder)), listening, needs_tokens=needs_tokens)
        self.port: int = self._bound.getsockname()[1]
        self.url = f"http{'s' if tls else ''}://localhost:{self.port}"
        self._bound.listen(64)   # who connects before the loop runs waits
        self._thread = Thread(target=lambda: asyncio.run(self._server.serve(sockets=[self._bound])), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop in order, and wait until it did."""
        self._server.should_exit = True
        self._thread.join(10)
        assert not self._thread.is_alive()
