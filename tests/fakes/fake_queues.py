"""Queues and streams of the fake broker: what waits where, and who gets it next.

Decides order, redelivery and offsets as RabbitMQ does. Knows no link and no thread: the broker holds its lock around every call.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from modelcast.shared.link import Offset
from modelcast.shared.topology import Queue

SECONDS_OF_UNIT = {"s": 1, "m": 60, "h": 3600, "D": 86_400, "M": 2_592_000, "Y": 31_536_000}


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it was published."""

    body: bytes
    headers: Mapping[str, object]
    exchange: str
    routing_key: str


@dataclass(frozen=True, slots=True)
class Held:
    """A message at its place in a queue or stream: the place is where it goes back to."""

    place: int
    message: Message
    redelivered: bool = False
    time: float = 0.0
    segment: int = 0


class Consumer(Protocol):
    """Who a queue hands its messages to."""

    @property
    def capacity(self) -> int:
        """How many more messages may be unsettled."""
        ...

    def hand_out(self, held: Held, offset: int | None) -> None:
        """Take a message."""
        ...

    def cancel(self) -> None:
        """Learn that the queue was deleted."""
        ...


class ClassicQueue:
    """A classic queue: first in, first out; each message to one consumer in turn; unsettled ones go back to their place."""

    def __init__(self, part: Queue, owner: object = None) -> None:
        self.part, self.owner = part, owner
        self.ready: list[Held] = []
        self.consumers: deque[Consumer] = deque()
        self._places = 0

    @property
    def depth(self) -> int:
        """Messages that wait, without those that a consumer has."""
        return len(self.ready)

    def put(self, message: Message) -> None:
        """Add a message at the end."""
        self._places += 1
        self.ready.append(Held(self._places, message))
        self.dispatch()

    def subscribe(self, consumer: Consumer, _offset: Offset | None) -> None:
        """Begin to hand out messages."""
        self.consumers.append(consumer)
        self.dispatch()

    def unsubscribe(self, consumer: Consumer, unsettled: list[Held]) -> None:
        """Take back what the consumer did not settle, at its old place and marked as redelivered."""
        if consumer in self.consumers:
            self.consumers.remove(consumer)
        for held in unsettled:
            insort(self.ready, Held(held.place, held.message, redelivered=True), key=lambda other: other.place)
        self.dispatch()

    def dispatch(self) -> None:
        """Hand out what waits to consumers with capacity, one each in turn."""
        while self.ready:
            free = next((consumer for consumer in self.consumers if consumer.capacity > 0), None)
            if free is None:
                return
            self.consumers.remove(free)
            self.consumers.append(free)
            free.hand_out(self.ready.pop(0), None)


class StreamQueue:
    """A stream: every consumer reads all of it from where it likes; retention removes whole segments from the front.

    Offsets have gaps, because RabbitMQ's have: whoever counts messages by offsets is wrong and shall find out here.
    """

    def __init__(self, part: Queue, clock: Callable[[], float]) -> None:
        self.part, self.owner = part, None
        self._clock = clock
        self._held: list[Held] = []
        self._cursors: dict[Consumer, int] = {}
        self._next = self._segment = self._segment_bytes = 0

    @property
    def consumers(self) -> list[Consumer]:
        """Who reads it now."""
        return list(self._cursors)

    @property
    def depth(self) -> int:
        """Messages that are kept."""
        return len(self._held)

    def put(self, message: Message) -> None:
        """Append a message."""
        self._held.append(Held(self._next, message, time=self._clock(), segment=self._segment))
        self._next += 2 if self._next % 5 == 3 else 1
        self._segment_bytes += len(message.body)
        if self._segment_bytes >= _whole(self.part.arguments.get("x-stream-max-segment-size-bytes"), 500_000_000):
            self._segment, self._segment_bytes = self._segment + 1, 0
            self._drop_old_segments()
        self.dispatch()

    def _drop_old_segments(self) -> None:
        keep_bytes = _whole(self.part.arguments.get("x-max-length-bytes"), 2**63)
        while self._held and sum(len(held.message.body) for held in self._held) > keep_bytes:
            oldest = self._held[0].segment
            self._held = [held for held in self._held if held.segment != oldest]

    def subscribe(self, consumer: Consumer, offset: Offset | None) -> None:
        """Begin at an offset: a number, ``first``, ``last``, ``next`` (also if none is given), an age or a time."""
        self._cursors[consumer] = self._start(offset)
        self.dispatch()

    def _start(self, offset: Offset | None) -> int:
        if isinstance(offset, int):
            return offset
        if offset in {None, "next"} or not self._held:
            return self._next
        if offset == "first":
            return 0
        if offset == "last":
            return self._held[-1].place
        assert offset is not None
        is_time = isinstance(offset, datetime)
        since = offset.timestamp() if is_time else self._clock() - int(offset[:-1]) * SECONDS_OF_UNIT[offset[-1]]
        return next((held.place for held in self._held if held.time >= since), self._next)

    def unsubscribe(self, consumer: Consumer, _unsettled: list[Held]) -> None:
        """Forget a consumer; nothing goes back, because nothing was taken out."""
        self._cursors.pop(consumer, None)

    def dispatch(self) -> None:
        """Hand every consumer what it may have."""
        for consumer, cursor in list(self._cursors.items()):
            at = bisect_left(self._held, cursor, key=lambda held: held.place)
            for held in self._held[at : at + consumer.capacity]:
                self._cursors[consumer] = held.place + 1
                consumer.hand_out(held, held.place)


def _whole(argument: object, default: int) -> int:
    return argument if isinstance(argument, int) else default
