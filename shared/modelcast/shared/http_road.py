"""The HTTP road: a server of releases, reached by pulls alone; for firewalls, and where no broker is.

Decides how an instance and an operator use a server; ``http_publishing`` is the publisher's half, ``http_reading`` what reads
chunks and reports. An instance's question for orders stays with the server until there is one. Imports the line and the wire.
"""

import secrets
import time
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from contextlib import suppress
from typing import Any, cast

from modelcast.shared.errors import HostFault, MisuseError, ModelcastError, ProtocolViolation
from modelcast.shared.http_answers import ServerBusy
from modelcast.shared.http_getting import HttpChunkFinder, spread
from modelcast.shared.http_letters import HttpLetterDesk, list_of
from modelcast.shared.http_line import Ask, Query, Server, rested
from modelcast.shared.http_publishing import HttpPublisherRoad, read_register
from modelcast.shared.http_reading import WAIT_SECONDS, HttpChunkSource, HttpReportSource
from modelcast.shared.http_sending import Sending
from modelcast.shared.http_wire import Bell
from modelcast.shared.road import ArrivedOrder, Bookmark, Confirmed, DeadLetter, Target, Wanted

GOODBYE_SECONDS = 2.0
"""Longest wait for what was sent last, and for the goodbye itself: a server that is gone must not hold up an application's end."""
TELLING_SECONDS = 5.0
"""Longest wait for the answer to a report before the next one: the I/O thread does nothing slow."""
SETTLED_BEFORE = frozenset({404})
"""Answers to a settlement that came twice, since a connection broke between."""


class HttpRoad:
    """See ``road.Road``.

    Args:
        server: The server.
    """

    def __init__(self, server: Server) -> None:
        self.server = server

    def publish(self, model: str, channel: str, *, sends: bool = True) -> HttpPublisherRoad:
        """See ``road.Road.publish``."""
        return HttpPublisherRoad(self.server, model, channel, sends=sends)

    def join(self, target: Target, *, bookmark: Bookmark | None = None) -> "HttpInstanceRoad":
        """See ``road.Road.join``."""
        return HttpInstanceRoad(self.server, target, bookmark)

    def chunks(self, model: str, offset: int | None, wanted: Wanted | None = None) -> HttpChunkSource:
        """See ``road.Road.chunks``."""
        return HttpChunkSource(self.server, model, offset, wanted)

    def finder(self, model: str) -> HttpChunkFinder:
        """See ``finding.FindingRoad.finder``."""
        return HttpChunkFinder(self.server, model)

    def records(self, model: str) -> Sequence[bytes]:
        """See ``road.Road.records``."""
        line = self.server.line()
        try:
            return read_register(lambda query: line.call(Ask("GET", f"/models/{model}/register", query), "register"))
        finally:
            line.close()

    def reports(self, *, since_minutes: int | None) -> HttpReportSource:
        """See ``road.Road.reports``."""
        return HttpReportSource(self.server, since_minutes)

    def letters(self) -> HttpLetterDesk:
        """See ``operating_road.LetterRoad.letters``."""
        return HttpLetterDesk(self.server)

    def dead_letters(self, limit: int) -> Generator[DeadLetter]:
        """See ``road.DeadLetterRoad.dead_letters``."""
        desk = self.letters()
        try:
            yield from desk.read(limit)
        finally:
            desk.close()

    def retire(self, model: str, channel: str, instances: Iterable[str]) -> None:
        """See ``road.OpenRoad.retire``: all that the model has goes, whoever uses it."""
        del channel, instances
        line = self.server.line()
        try:
            line.call(Ask("DELETE", f"/models/{model}"), "removal of a model")
        finally:
            line.close()


class HttpInstanceRoad:
    """See ``road.InstanceRoad``: one line asks for orders and waits, the other one tells."""

    def __init__(self, server: Server, target: Target, bookmark: Bookmark | None = None) -> None:
        self._target, self._join = target, secrets.token_hex(8)
        self._bookmark = None if bookmark is None else f"{bookmark.offset}:{bookmark.order}"
        self._path = f"/models/{target.model}/channels/{target.channel}/instances/{target.instance}"
        self._asking, self._sending, self._bell = server.line(), Sending(server.line(), TELLING_SECONDS), Bell()
        self._arrived = deque[ArrivedOrder]()
        self._not_before = 0.0
        try:
            self._asking.send(self._question(0.0))
            self._take()
        except BaseException:
            self._let_go()
            raise

    def _question(self, wait_seconds: float) -> Ask:
        query: Query = {"wait": round(wait_seconds, 1), "joined": self._join, "bookmark": self._bookmark}
        return Ask("GET", f"{self._path}/orders", query, wait_seconds=wait_seconds)

    def _take(self) -> None:
        """Take the answer; one name that two use is a fault of the host to both."""
        try:
            page = self._asking.answer("orders").message("list of orders")
        except MisuseError as error:
            raise HostFault(str(error), hint="Give each instance a name of its own.", facts=error.facts) from error
        self._arrived.extend(self._order(told) for told in list_of(page, "orders"))

    def _order(self, told: Any) -> ArrivedOrder:
        try:
            body, number, is_history = told["body"], told["number"], told["is_history"] is True
            is_announcement, offset, replay = told.get("is_announcement") is True, told.get("offset"), told.get("replay")
        except (KeyError, TypeError, AttributeError) as error:
            raise ProtocolViolation("The server's list of orders holds one that is none.") from error
        if not isinstance(body, bytes):
            raise ProtocolViolation("The server's list of orders holds one without a body.")
        receipt = None if is_history else (self, number)
        return ArrivedOrder(
            body, receipt, is_announcement=is_announcement, offset=offset if isinstance(offset, int) else None,
            replay=replay if isinstance(replay, str) else None,
        )

    def next_order(self, seconds: float) -> ArrivedOrder | None:
        """See ``road.InstanceRoad.next_order``."""
        self._sending.hear(0.0)
        if not self._arrived:
            self._wait(seconds)
            self._sending.hear(0.0)
        return self._arrived.popleft() if self._arrived else None

    def _wait(self, seconds: float) -> None:
        if not self._asking.is_waiting:
            pause = self._not_before - time.monotonic()
            if pause > 0:
                self._bell.wait(min(pause, seconds))
                return
            self._asking.send(self._question(spread(WAIT_SECONDS)))
        if not self._asking.has_answer(seconds, self._bell, self._sending.line):
            return
        try:
            self._take()
        except ServerBusy as busy:
            self._not_before = time.monotonic() + rested(busy)

    def settle(self, arrived: ArrivedOrder, *, accept: bool) -> None:
        """See ``road.InstanceRoad.settle``; what the server says to it is heard with the next call."""
        if arrived.receipt is None:
            return
        owner, number = cast("tuple[HttpInstanceRoad, int | None]", arrived.receipt)
        if owner is not self or number is None:
            return   # it is given out again by this connection, and that one will be settled; an announcement never is
        body = b'{"accept": true}' if accept else b'{"accept": false}'
        ask = Ask(
            "POST", f"{self._path}/orders/{number}/settlement", {"joined": self._join}, body, {"Content-Type": "application/json"}
        )
        self._sending.send(ask, "settlement of an order", allowed=SETTLED_BEFORE)

    def report(self, body: bytes) -> Confirmed:
        """See ``road.InstanceRoad.report``."""
        target = self._target
        query = {"model": target.model, "channel": target.channel, "instance": target.instance}
        return self._sending.send(Ask("POST", "/reports", query, body), "report")

    def wake(self) -> None:
        """See ``road.Wakeable.wake``."""
        self._bell.ring()

    def close(self) -> None:
        """See ``road.InstanceRoad.close``."""
        with suppress(ModelcastError):
            self._sending.finish(GOODBYE_SECONDS)
            if not self._sending.is_busy:
                self._sending.send(Ask("DELETE", self._path, {"joined": self._join}), "goodbye")
                self._sending.finish(GOODBYE_SECONDS)
        self._let_go()

    def _let_go(self) -> None:
        self._asking.close()
        self._sending.close()
        self._bell.close()
