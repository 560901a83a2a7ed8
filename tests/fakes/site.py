"""A real server in this process, on a free port of this host, over a real directory; and a client that says what it wants."""

import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgpack
import requests

from modelcast.publisher.server.serving import Listening, make_server, run
from modelcast.publisher.server.settings import ServerLimits
from modelcast.publisher.server.tokens import Grant, Scope, TokenBook, made
from modelcast.shared.digest import digest
from modelcast.shared.file_url import FileUrl

SECONDS = 30
EVERYTHING = tuple(str(scope) for scope in Scope)


class Site:
    """A server that runs.

    Args:
        root: Its depot's directory; made when it is not there.
    """

    def __init__(self, root: Path, limits: ServerLimits | None = None, *, needs_tokens: bool = True, **listening: Any) -> None:
        root.mkdir(mode=0o700, exist_ok=True)
        self.root = root
        self.server, bound = make_server(FileUrl(str(root)), Listening(port=0, **listening), limits, needs_tokens=needs_tokens)
        self.address = bound.getsockname()[:2]
        scheme = "https" if "tls_cert" in listening else "http"
        self.url = f"{scheme}://{self.address[0]}:{self.address[1]}/v1"
        self._thread = threading.Thread(target=run, args=(self.server, bound), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop it, as a signal would."""
        self.server.should_exit = True
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()

    def token(self, *scopes: str, expires_ms: int | None = None) -> str:
        """Make a token with scopes, or with all."""
        token, text = made("a test", [Grant.parse(scope) for scope in scopes or EVERYTHING], 0, expires_ms)
        TokenBook(self.root / "tokens").add(token)
        return text

    def client(self, *scopes: str, token: str | None = None) -> "Client":
        """Return a client with a token of its own."""
        return Client(self.url, token or self.token(*scopes))

    def raw(self) -> socket.socket:
        """Return a bare connection."""
        return socket.create_connection(self.address, timeout=SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


class Client:
    """Talks to a server.

    Args:
        url: Its address, with the version.
        token: What it sends, or None.
    """

    def __init__(self, url: str, token: str | None) -> None:
        self.url, self.http = url, requests.Session()
        self.http.trust_env = False
        if token is not None:
            self.http.headers["Authorization"] = f"Bearer {token}"
        self.session: dict[str, str] = {}

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        """Send a request; in a session, with its header."""
        headers = {**self.session, **options.pop("headers", {})}
        return self.http.request(method, f"{self.url}{path}", headers=headers, timeout=SECONDS, **options)

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.ask("GET", path, **options)

    def post(self, path: str, **options: Any) -> requests.Response:
        return self.ask("POST", path, **options)

    def wire(self, path: str, **options: Any) -> Any:
        """Get a map in msgpack."""
        answer = self.get(path, **options)
        assert answer.status_code == 200, answer.text
        return msgpack.unpackb(answer.content)

    def begin(self, model: str, channel: str = "production", **wishes: bool) -> requests.Response:
        """Open a publisher's session, and go on in it."""
        answer = self.post(f"/models/{model}/publishing", json={"channel": channel, **wishes})
        if answer.status_code == 201:
            self.session = {"Modelcast-Session": answer.json()["session"]}
        return answer

    def end(self, model: str) -> None:
        """End it."""
        assert self.ask("DELETE", f"/models/{model}/publishing/{self.session['Modelcast-Session']}").status_code == 204
        self.session = {}

    def put(self, model: str, body: bytes, *, claim: str | None = None, **headers: str) -> requests.Response:
        """Send a chunk."""
        about = {"Modelcast-Version": "1.0.0", "Modelcast-Index": "0", "Modelcast-Count": "1", **headers}
        return self.ask("PUT", f"/models/{model}/chunks/{claim or digest(body).hex()}", data=body, headers=about)

    def close(self) -> None:
        """Let go of the connections."""
        self.http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
