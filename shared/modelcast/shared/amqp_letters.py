"""Dead letters on a broker: looked at, sent back to who refused them, taken away.

Decides how: a letter is held unsettled by one connection while it is at its desk, is sent back through the default exchange to the
queue that it died in, and is acknowledged only when the broker has confirmed that. Imports link, topology and the road's values.
"""

from collections.abc import Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from modelcast.shared import topology as names
from modelcast.shared.chunk_message import REPLAY
from modelcast.shared.digest import digest
from modelcast.shared.errors import HostFault, NotFound, TopologyMismatch
from modelcast.shared.link import Delivery, FullLink, Inbox, Outbox
from modelcast.shared.order import order_id
from modelcast.shared.road import DeadLetter, Target

MOST_UNSETTLED = 65_535
"""AMQP counts unsettled messages in 16 bits."""
MOST_REPLAY_CHARACTERS = 64
RECEIVE_SECONDS = 5.0
WINDOW = 256
"""Letters that the broker sends ahead; each is an order of some ten kilobytes."""


@dataclass(slots=True, eq=False)
class _Window:
    """One subscription: how many letters the broker sends ahead in it, and how many of them are held."""

    inbox: Inbox
    size: int
    held: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class _Receipt:
    """What it takes to remove a letter, and the name of the replay that came to this death, if one did."""

    window: _Window
    tag: int
    replay: str | None


class AmqpLetterDesk:
    """See ``operating_road.LetterDesk``: what is at one desk, no other one sees meanwhile.

    Args:
        link: A connection of its own; closed with the desk.
    """

    def __init__(self, link: FullLink) -> None:
        self._link = link
        link.declare(names.common_parts())
        self._windows: list[_Window] = []
        self._outbox: Outbox | None = None

    def read(self, limit: int) -> Generator[DeadLetter]:
        """See ``operating_road.LetterDesk.read``; what is not removed before the next one is asked for is held until the desk closes.

        The broker sends ahead as many as one window takes. When all of a window are held another one is opened, so that the
        client never has more than one window of bodies, however many it passes over.
        """
        self._give_back()
        waiting = min(limit, self._link.depth(names.DEAD), MOST_UNSETTLED)
        window: _Window | None = None
        for done in range(waiting):   # what is refused meanwhile stands behind, and is not looked at
            if window is None or window.held >= window.size:
                size = min(WINDOW, waiting - done)
                window = _Window(self._link.inbox(names.DEAD, prefetch=size), size)
                self._windows.append(window)
            delivery = window.inbox.receive(RECEIVE_SECONDS)
            if delivery is None:
                return   # somebody else took or purged some meanwhile
            window.held += 1
            yield _dead_letter(delivery, _Receipt(window, delivery.tag, replay_of(delivery)))

    def send_back(self, letter: DeadLetter) -> None:
        """See ``operating_road.LetterDesk.send_back``."""
        if letter.target is None:
            raise NotFound("This letter does not say who refused it.", hint="Publish again: a new order reaches every instance.")
        target = letter.target
        queue = names.instance_queue_name(target.model, target.channel, target.instance)
        headers = {names.HEADER_KIND: REPLAY, names.HEADER_REPLAY: _replay(letter)}
        if self._outbox is None:
            self._outbox = self._link.companion().outbox(window=1)   # in an alarm the broker must not stop taking what we remove
        try:
            self._outbox.post(names.DEFAULT_EXCHANGE, letter.body, headers=headers, routing_key=queue)
            self._outbox.flush()
        except TopologyMismatch as error:
            with suppress(HostFault):
                self._outbox.flush()   # the broker's confirm follows what it gave back
            raise NotFound(
                f"{target.instance} of {target.model}/{target.channel} has no queue (any more).",
                hint="It was away for a week, or never came back under this name; when it joins it gets what was ordered last.",
                facts={"queue": queue},
            ) from error

    def remove(self, letter: DeadLetter) -> None:
        """See ``operating_road.LetterDesk.remove``."""
        receipt = letter.receipt
        if isinstance(receipt, _Receipt) and receipt.window in self._windows:
            receipt.window.inbox.accept(Delivery(b"", tag=receipt.tag))
            receipt.window.held -= 1

    def _give_back(self) -> None:
        for window in self._windows:
            window.inbox.close()
        self._windows.clear()

    def close(self) -> None:
        """See ``operating_road.LetterDesk.close``."""
        self._link.close()


def replay_of(delivery: Delivery) -> str | None:
    """Return which replay a message of an instance's queue claims to be, or None."""
    if delivery.headers.get(names.HEADER_KIND) != REPLAY:
        return None
    replay = delivery.headers.get(names.HEADER_REPLAY)
    return replay[:MOST_REPLAY_CHARACTERS] if isinstance(replay, str) and replay else None


def _replay(letter: DeadLetter) -> str:
    """Return the name of sending a letter back: the same one when it is done again after a crash, another one for another death.

    The broker tells deaths apart by the second only; a letter of an order that was sent back before still has the name of that.
    """
    before = letter.receipt.replay if isinstance(letter.receipt, _Receipt) else None
    return digest(f"{order_id(letter.body)} {letter.target} {letter.died_ms} {before}".encode()).hex()[:24]


def _dead_letter(delivery: Delivery, receipt: object) -> DeadLetter:
    deaths = delivery.headers.get("x-death")
    first = deaths[0] if isinstance(deaths, list) and deaths and isinstance(deaths[0], Mapping) else {}
    parts = names.target_of_queue(str(first.get("queue", "")))
    when = first.get("time")
    died_ms = int(when.timestamp() * 1000) if isinstance(when, datetime) else None
    target = Target(*parts) if parts else None
    every = tuple(deaths) if isinstance(deaths, list) else ()
    return DeadLetter(delivery.body, target, died_ms, str(first.get("reason", "unknown")), every, receipt)
