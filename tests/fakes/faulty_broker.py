"""A broker that wraps another one and breaks things on the way: cut links, lost, doubled and damaged chunks.

A fault is an object with three hooks; several may be given. The broker that is wrapped, fake or real, knows nothing of it.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from modelcast.shared.errors import BrokerUnreachable
from modelcast.shared.link import Broker, Delivery, FullLink, Inbox, Offset, Outbox
from modelcast.shared.topology import HEADER_KIND, Part


class Fault:
    """No fault at all; a real one overrides a hook."""

    def before(self, operation: str) -> None:
        """Called before ``connect``, ``declare``, ``post``, ``receive``, …; raises BrokerUnreachable to cut the link."""

    def posting(self, body: bytes, headers: Mapping[str, str | int]) -> list[bytes]:
        """Return the bodies that reach the broker in place of ``body``."""
        return [body]

    def arriving(self, delivery: Delivery) -> list[Delivery]:
        """Return what the reader sees in place of ``delivery``."""
        return [delivery]


class CutAfter(Fault):
    """Cuts the link that makes the operation after ``operations`` others; links opened later live.

    Args:
        operations: How many operations go well, over all links.
        of: Count only operations with these names; all when empty.
        times: How many operations in a row are cut, over all links.
    """

    def __init__(self, operations: int, *of: str, times: int = 1) -> None:
        self._left, self._of, self._times = operations, of, times

    def before(self, operation: str) -> None:
        """See ``Fault.before``."""
        if not self._of or operation in self._of:
            self._left -= 1
            if -self._times <= self._left < 0:
                raise BrokerUnreachable(f"The link was cut before {operation}.")

    def heal(self) -> None:
        """Cut no more."""
        self._times = 0

    @property
    def happened(self) -> bool:
        """Whether it has cut a link."""
        return self._left < 0


class Alter(Fault):
    """Alters some chunk messages and leaves every other message alone.

    Args:
        alter: From a chunk's bytes to what takes their place: none, one or several.
        chosen: Whether to alter the chunk with this number, counted from 0 in the order in which they pass.
        sending: Alter on the way to the broker, so that every reader sees it, also when it reads again; else on the way
            from it.
    """

    def __init__(
        self, alter: Callable[[bytes], list[bytes]], chosen: Callable[[int], bool] = lambda number: True, *, sending: bool = False
    ) -> None:
        self._alter, self._chosen, self._sending = alter, chosen, sending
        self._passed = 0

    def _altered(self, body: bytes, headers: Mapping[str, object]) -> list[bytes]:
        if headers.get(HEADER_KIND) != "chunk":
            return [body]
        self._passed += 1
        return self._alter(body) if self._chosen(self._passed - 1) else [body]

    def posting(self, body: bytes, headers: Mapping[str, str | int]) -> list[bytes]:
        """See ``Fault.posting``."""
        return self._altered(body, headers) if self._sending else [body]

    def arriving(self, delivery: Delivery) -> list[Delivery]:
        """See ``Fault.arriving``."""
        if self._sending:
            return [delivery]
        return [replace(delivery, body=body) for body in self._altered(delivery.body, delivery.headers)]


def dropped(_body: bytes) -> list[bytes]:
    """Lose a chunk."""
    return []


def doubled(body: bytes) -> list[bytes]:
    """Send a chunk twice."""
    return [body, body]


def flipped(body: bytes) -> list[bytes]:
    """Flip the lowest bit of a chunk's middle byte."""
    at = len(body) // 2
    return [body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]]


def cut_short(body: bytes) -> list[bytes]:
    """Lose the last byte of a chunk."""
    return [body[:-1]]


class FaultyBroker:
    """A broker whose links suffer from ``faults``."""

    def __init__(self, inner: Broker, *faults: Fault) -> None:
        self._inner, self._faults = inner, faults

    def connect(self, *, name: str) -> "FaultyLink":
        """See ``link.Broker.connect``."""
        for fault in self._faults:
            fault.before("connect")
        return FaultyLink(self._inner.connect(name=name), self._faults)


class FaultyLink:
    """See ``link.WaitingLink``."""

    def __init__(self, inner: FullLink, faults: Iterable[Fault]) -> None:
        self._inner, self._faults = inner, tuple(faults)

    def suffer(self, operation: str) -> None:
        """Let the faults happen; a cut closes the wrapped link, so that everything of it is dead from now on."""
        try:
            for fault in self._faults:
                fault.before(operation)
        except BrokerUnreachable:
            self._inner.close()
            raise

    def declare(self, parts: Iterable[Part]) -> None:
        """See ``link.Link.declare``."""
        self.suffer("declare")
        self._inner.declare(parts)

    def outbox(self, *, window: int) -> "FaultyOutbox":
        """See ``link.Link.outbox``."""
        self.suffer("outbox")
        return FaultyOutbox(self, self._inner.outbox(window=window), self._faults)

    def inbox(self, queue: str, *, prefetch: int, offset: Offset | None = None, exclusive: bool = False) -> "FaultyInbox":
        """See ``link.Link.inbox``."""
        self.suffer("inbox")
        return FaultyInbox(self, self._inner.inbox(queue, prefetch=prefetch, offset=offset, exclusive=exclusive), self._faults)

    def remove(self, parts: Iterable[Part]) -> None:
        """See ``link.OperatorLink.remove``."""
        self.suffer("remove")
        self._inner.remove(parts)

    def close(self) -> None:
        """See ``link.Link.close``."""
        self._inner.close()

    def wait(self, seconds: float) -> None:
        """See ``link.WaitingLink.wait``."""
        self.suffer("wait")
        self._inner.wait(seconds)

    def wake(self) -> None:
        """See ``link.WaitingLink.wake``."""
        self._inner.wake()

    @property
    def body_bytes(self) -> int:
        """See ``link.WaitingLink.body_bytes``."""
        return self._inner.body_bytes

    def companion(self) -> "FaultyLink":
        """See ``link.WaitingLink.companion``."""
        self.suffer("companion")
        return FaultyLink(self._inner.companion(), self._faults)

    def depth(self, queue: str) -> int:
        """See ``link.WaitingLink.depth``."""
        self.suffer("depth")
        return self._inner.depth(queue)


class FaultyInbox:
    """See ``link.Inbox``."""

    def __init__(self, link: FaultyLink, inner: Inbox, faults: tuple[Fault, ...]) -> None:
        self._link, self._inner, self._faults = link, inner, faults
        self._arrived: deque[Delivery] = deque()
        self._copies: list[Delivery] = []

    def receive(self, seconds: float) -> Delivery | None:
        """See ``link.Inbox.receive``."""
        self._link.suffer("receive")
        while not self._arrived:
            original = self._inner.receive(seconds)
            if original is None:
                return None
            altered = [original]
            for fault in self._faults:
                altered = [after for before in altered for after in fault.arriving(before)]
            if not altered:
                self._inner.accept(original)   # lost for the reader; the broker must go on sending
            self._arrived.extend(altered[:1])
            for copy in altered[1:]:   # the reader settles each, but the broker knows of one only
                self._arrived.append(replace(copy))
                self._copies.append(self._arrived[-1])
        return self._arrived.popleft()

    def accept(self, delivery: Delivery) -> None:
        """See ``link.Inbox.accept``."""
        self._link.suffer("accept")
        if delivery not in self._copies:
            self._inner.accept(delivery)

    def refuse(self, delivery: Delivery) -> None:
        """See ``link.Inbox.refuse``."""
        self._link.suffer("refuse")
        if delivery not in self._copies:
            self._inner.refuse(delivery)

    def close(self) -> None:
        """See ``link.Inbox.close``."""
        self._inner.close()


class FaultyOutbox:
    """See ``link.Outbox``."""

    def __init__(self, link: FaultyLink, inner: Outbox, faults: tuple[Fault, ...]) -> None:
        self._link, self._inner, self._faults = link, inner, faults

    def post(
        self, exchange: str, body: bytes | memoryview, *, headers: Mapping[str, str | int] | None = None, routing_key: str = "",
        mandatory: bool = True,
    ) -> int:
        """See ``link.Outbox.post``."""
        self._link.suffer("post")
        bodies = [bytes(body)]
        for fault in self._faults:
            bodies = [after for before in bodies for after in fault.posting(before, headers or {})]
        number = 0
        for altered in bodies:
            number = self._inner.post(exchange, altered, headers=headers, routing_key=routing_key, mandatory=mandatory)
        return number

    def is_confirmed(self, number: int) -> bool:
        """See ``link.Outbox.is_confirmed``."""
        self._link.suffer("is_confirmed")
        return self._inner.is_confirmed(number)

    def flush(self) -> None:
        """See ``link.Outbox.flush``."""
        self._link.suffer("flush")
        self._inner.flush()
