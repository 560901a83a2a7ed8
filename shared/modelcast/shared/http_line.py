"""A connection that is kept: one request at a time, sent now and answered later.

Decides when a kept connection is stale and opened anew, and how long an answer may take. The protocol itself is ``http.client``'s.
Imports the wire and the answers.
"""

import http.client
import random
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlencode

from modelcast.shared.errors import BrokerUnreachable, ProtocolViolation
from modelcast.shared.http_answers import MAX_ANSWER_BYTES, Answer, ServerBusy, fault_of
from modelcast.shared.http_url import HttpUrl
from modelcast.shared.http_wire import Bell, Wire, tls_of
from modelcast.shared.limits import shortened

ANSWER_SECONDS = 30.0
"""Longest time until an answer begins, beyond what was asked to wait for."""
MOST_BUSY_SECONDS = 60.0
"""How long a call goes on asking a server that says it is busy."""
MESSAGE_TYPE = "application/vnd.modelcast"
NOTHING_SENT = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)
SUCCESS = range(200, 300)
Query = Mapping[str, str | int | float | None]


@dataclass(frozen=True, slots=True)
class Ask:
    """A request.

    Attributes:
        method: Its method.
        path: Its path below ``/v1``, with a slash at its beginning.
        query: Options; those that are None are left out.
        body: Its body, in pieces with the header ``Content-Length``, or None.
        headers: Further headers.
        wait_seconds: How long the server is asked to hold it back until there is something to tell.
    """

    method: str
    path: str
    query: Query = field(default_factory=dict[str, str | int | float | None])
    body: bytes | memoryview | Sequence[bytes | memoryview] | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    wait_seconds: float = 0.0

    @property
    def target(self) -> str:
        """Path and options as they are sent."""
        query = {name: value for name, value in self.query.items() if value is not None}
        return f"/v1{self.path}" + (f"?{urlencode(query)}" if query else "")


class Server:
    """Where lines lead: address, trust and token. Opens nothing by itself.

    Args:
        url: The address.
        token: The token, or None.
    """

    def __init__(self, url: HttpUrl, token: str | None) -> None:
        self.url, self._token = url, token
        self._tls = tls_of(url)

    def line(self) -> "Line":
        """Return a line that connects when it is first needed."""
        return Line(self.url, self._tls, {"Authorization": f"Bearer {self._token}"} if self._token else {})


class _Connection(http.client.HTTPConnection):
    """``http.client`` on a wire."""

    def __init__(self, url: HttpUrl, tls: ssl.SSLContext | None) -> None:
        super().__init__(url.host, url.port)
        self._url, self._tls = url, tls
        self.wire: Wire | None = None

    def connect(self) -> None:
        """See ``http.client.HTTPConnection.connect``."""
        self.wire = self.sock = cast("Any", Wire(self._url, self._tls))   # it has all that http.client uses of a socket

    def close(self) -> None:
        """See ``http.client.HTTPConnection.close``."""
        super().close()   # an answer that says that it is the last one is read all the same
        self.wire = None

    def end(self) -> None:
        """Close it, whatever is still to come."""
        wire = self.wire
        self.close()
        if wire is not None:
            wire.end()


class Line:
    """One kept connection; owned by one thread.

    Args:
        url: Where to.
        tls: How certificates are checked, or None.
        headers: What goes with every request.
    """

    def __init__(self, url: HttpUrl, tls: ssl.SSLContext | None, headers: Mapping[str, str]) -> None:
        self._url, self._headers = url, dict(headers)
        self._connection = _Connection(url, tls)
        self._asked: Ask | None = None
        self._answered: http.client.HTTPResponse | None = None
        self._is_fresh = True
        self._due = 0.0

    @property
    def is_waiting(self) -> bool:
        """Whether a request is on its way."""
        return self._asked is not None

    @property
    def wire(self) -> Wire | None:
        """The connection, or None when there is none at this moment."""
        return self._connection.wire

    def send(self, ask: Ask) -> None:
        """Send a request; its answer is read later.

        Raises:
            BrokerUnreachable: Nobody takes it.
        """
        if self._answered is not None and not self._answered.isclosed():
            self._connection.end()   # the rest of the last answer was left there
        wire = self._connection.wire
        if wire is not None and wire.has_bytes(0.0):
            self._connection.end()   # it was closed from the other side
        self._answered = None
        self._is_fresh = self._connection.wire is None
        self._post(ask)

    def _post(self, ask: Ask) -> None:
        kind = {"Content-Type": MESSAGE_TYPE} if ask.body is not None else {}
        headers = {"Accept": f"{MESSAGE_TYPE}, application/json", **kind, **self._headers, **ask.headers}
        try:
            self._connection.request(ask.method, self._url.prefix + ask.target, ask.body, headers)
        except (OSError, http.client.HTTPException) as error:
            self._connection.end()
            if not isinstance(error, NOTHING_SENT):
                raise self._lost(error) from error
            if self._is_fresh:   # it may have answered before it closed: a body that is too large, above all
                raise self._lost(error) from error
            self._is_fresh = True
            self._post(ask)
            return
        self._asked, self._due = ask, time.monotonic() + ask.wait_seconds + ANSWER_SECONDS

    def has_answer(self, seconds: float, bell: Bell | None = None, beside: "Line | None" = None) -> bool:
        """Wait for the beginning of the answer.

        Returns False after ``seconds``, when the bell rings, or when what the line ``beside`` waits for is there.

        Raises:
            BrokerUnreachable: It is overdue.
        """
        wire = self._connection.wire
        other = beside.wire if beside is not None and beside.is_waiting else None
        if self._asked is None or wire is None or wire.has_bytes(seconds, bell, other):
            return True
        if time.monotonic() > self._due:
            self.close()
            raise BrokerUnreachable(f"{self._url} did not answer in time.", facts={"url": str(self._url)})
        return False

    def begin(self) -> http.client.HTTPResponse:
        """Read the head of the answer; its body is read from what is returned.

        Raises:
            BrokerUnreachable: The connection broke.
            ProtocolViolation: It is no HTTP.
        """
        ask = self._asked
        while not self.has_answer(ANSWER_SECONDS):
            pass
        self._asked = None
        try:
            self._answered = self._connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            self._connection.end()
            is_repeatable = ask is not None and ask.method in {"GET", "HEAD", "PUT", "DELETE"}
            if ask is not None and is_repeatable and not self._is_fresh and isinstance(error, NOTHING_SENT):
                self._is_fresh = True   # it was closed while the request was on its way
                self._post(ask)
                return self.begin()
            raise self._lost(error) from error
        return self._answered

    def answer(self, what: str, *, allowed: frozenset[int] = frozenset()) -> Answer:
        """Read the whole answer.

        Args:
            what: What was asked for, for errors.
            allowed: Further statuses that the caller understands.

        Raises:
            ModelcastError: See ``http_answers.fault_of``.
        """
        response = self.begin()
        answer = Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, self.rest_of(response))
        if answer.status in SUCCESS or answer.status in allowed:
            return answer
        raise fault_of(answer, what)

    def rest_of(self, response: http.client.HTTPResponse) -> bytes:
        """Read what is left of an answer's body, which must not be large."""
        try:
            body = response.read(MAX_ANSWER_BYTES + 1)
            if response.length and len(body) <= MAX_ANSWER_BYTES:   # http.client says nothing of what did not come
                raise http.client.IncompleteRead(b"", response.length)
        except (OSError, http.client.HTTPException) as error:
            self._connection.end()
            raise self._lost(error) from error
        if len(body) > MAX_ANSWER_BYTES:
            self._connection.end()
            raise ProtocolViolation(f"{self._url} gave more than {MAX_ANSWER_BYTES} bytes at a time.")
        return body

    def call(self, ask: Ask, what: str, *, allowed: frozenset[int] = frozenset()) -> Answer:
        """Send a request and wait for its whole answer; a server that is busy is asked again when it says."""
        until = time.monotonic() + MOST_BUSY_SECONDS
        while True:
            self.send(ask)
            try:
                return self.answer(what, allowed=allowed)
            except ServerBusy as busy:
                rest = rested(busy)
                if time.monotonic() + rest > until:
                    raise
                time.sleep(rest)

    def read_into(self, response: http.client.HTTPResponse, room: memoryview) -> int:
        """Receive some bytes of a body, straight into ``room``; 0 is its end.

        Raises:
            BrokerUnreachable: The connection broke before its end.
        """
        try:
            count = response.readinto(room)
            if count == 0 and response.length:
                raise http.client.IncompleteRead(b"", response.length)
        except (OSError, http.client.HTTPException) as error:
            self._connection.end()
            raise self._lost(error) from error
        return count

    def _lost(self, error: BaseException) -> BrokerUnreachable | ProtocolViolation:
        self._asked = None
        strange = isinstance(error, http.client.HTTPException) and not isinstance(
            error, http.client.RemoteDisconnected | http.client.IncompleteRead
        )
        if strange:
            return ProtocolViolation(f"What answers at {self._url} speaks no HTTP.", hint="Is this a server of modelcast?")
        text = "it was closed" if isinstance(error, http.client.HTTPException) else shortened(error, 200)
        return BrokerUnreachable(f"The connection to {self._url} broke ({text}).", facts={"url": str(self._url)})

    def close(self) -> None:
        """Close the connection; the next request opens another one. Never raises."""
        self._asked = None
        self._connection.end()


def rested(busy: ServerBusy) -> float:
    """Return how long to rest: at least what the server said, and not all at the same moment."""
    return busy.rest_seconds * random.uniform(1.0, 1.5) + random.uniform(0.0, 0.5)  # noqa: S311 - spreads a fleet, guards nothing
