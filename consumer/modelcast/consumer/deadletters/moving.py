"""Dead letters that are sent back or taken away.

Decides which they are, once and before anything is done: what dies meanwhile is not among them. Each is done with before the next
one is begun, and a letter is removed only after its order is kept elsewhere, so that an end at any moment loses none. Imports
browse, choosing and the road's protocols.
"""

from collections.abc import Collection, Generator, Iterable
from contextlib import closing
from typing import Protocol

from modelcast.consumer.deadletters.browse import MOST_LOOKED_AT, BrowsableRoad, find_letter, read_letters
from modelcast.consumer.deadletters.choosing import ANY, Wish
from modelcast.consumer.deadletters.letter import Letter, letter_id
from modelcast.shared.errors import NotFound
from modelcast.shared.operating_road import LetterDesk, LetterRoad
from modelcast.shared.road import DeadLetter

REFUSED = "rejected"
"""The road's word for an order that an instance refused; what was lost otherwise nobody has judged."""


class MovingRoad(BrowsableRoad, LetterRoad, Protocol):
    """A road whose dead letters can be read, sent back and taken away."""


def choose(road: BrowsableRoad, ids: Collection[str], wish: Wish = ANY, *, spreads: bool = False) -> list[Letter]:
    """Return the letters that are meant, oldest first, without what is large of them.

    Args:
        road: Where they are.
        ids: Beginnings of their ids; all when empty.
        wish: What is asked of them besides.
        spreads: Also those of other instances that refused the same orders.

    Raises:
        NotFound: One of the ids is of no letter, or of several.
        HostFault: The road broke.
    """
    fitting = read_letters(road, limit=MOST_LOOKED_AT, wish=wish, with_facts=False)
    named = [find_letter(fitting, wanted) for wanted in ids] if ids else fitting
    if not spreads:
        meant = {letter.id for letter in named}
        return [letter for letter in fitting if letter.id in meant]
    orders = {(letter.model, letter.channel, letter.order_id) for letter in named}
    every = fitting if wish.is_any else read_letters(road, limit=MOST_LOOKED_AT, with_facts=False)
    return [letter for letter in every if (letter.model, letter.channel, letter.order_id) in orders]


def remove(road: LetterRoad, letters: Iterable[Letter]) -> Generator[Letter]:
    """Take letters away; yields each when it is gone. Those that somebody else took away meanwhile are passed over.

    Raises:
        HostFault: The road broke; those that were not yielded may be there.
    """
    desk = road.letters()
    try:
        for letter, dead in _at(desk, letters):
            desk.remove(dead)
            yield letter
    finally:
        desk.close()


def send_back(road: LetterRoad, letters: Iterable[Letter], *, tries: bool = False) -> Generator[tuple[Letter, str | None]]:
    """Send orders back to who refused them; yields each letter with None when that is done, or with why it stays.

    An order that one instance refused more than once is sent to it once. ``tries`` changes nothing: of each it yields what can be
    said before.

    Raises:
        HostFault: The road broke; those that were not yielded are there.
    """
    if tries:
        yield from ((letter, _hindrance(letter)) for letter in letters)
        return
    desk = road.letters()
    sent: set[tuple[str, str | None, str | None, str | None]] = set()
    try:
        for letter, dead in _at(desk, letters):
            problem, whose = _hindrance(letter), (letter.order_id, letter.model, letter.channel, letter.instance)
            if problem is None and whose not in sent:
                try:
                    desk.send_back(dead)
                    sent.add(whose)
                except NotFound as error:
                    problem = f"{error} {error.hint or ''}".rstrip()
            if problem is None:
                desk.remove(dead)
            yield letter, problem
    finally:
        desk.close()


def _hindrance(letter: Letter) -> str | None:
    if letter.instance is None:
        return "It does not say who refused it."
    return None if letter.cause == REFUSED else f"Nobody refused it ({letter.cause}): publish again."


def _at(desk: LetterDesk, letters: Iterable[Letter]) -> Generator[tuple[Letter, DeadLetter]]:
    """Yield those of some letters that are there, each with what the road needs to move it."""
    meant = {letter.id: letter for letter in letters}
    if not meant:
        return
    with closing(desk.read(MOST_LOOKED_AT)) as every:
        for dead in every:
            letter = meant.get(letter_id(dead))
            if letter is not None:
                yield letter, dead
