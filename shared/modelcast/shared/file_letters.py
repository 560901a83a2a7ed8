"""Dead letters of a shared directory: sent back to who refused them, taken away; and how the instance finds what was sent back.

Decides that an order which is sent back is a file in the instance's own folder, with the name of the letter. Imports the depot.
"""

from collections import deque
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path

from modelcast.shared.depot.depot import Depot
from modelcast.shared.depot.disk import Disk
from modelcast.shared.depot.layout import NUMBER_DIGITS, is_letter
from modelcast.shared.errors import NotFound, StorageFault
from modelcast.shared.limits import DEFAULT_LIMITS
from modelcast.shared.road import DeadLetter

FIRST_REPLAY = 9 * 10 ** (NUMBER_DIGITS - 1)
"""Replays are numbered from here on, for one connection: no channel has so many orders."""


class FileLetterDesk:
    """See ``operating_road.LetterDesk``.

    Args:
        depot: The depot, which was entered.
    """

    def __init__(self, depot: Depot) -> None:
        self._depot, self._box = depot, depot.letters()

    def read(self, limit: int) -> Generator[DeadLetter]:
        """See ``operating_road.LetterDesk.read``."""
        yield from self._box.read(limit)

    def send_back(self, letter: DeadLetter) -> None:
        """See ``operating_road.LetterDesk.send_back``."""
        if letter.target is None or not isinstance(letter.receipt, str):
            raise NotFound("This letter does not say who refused it.", hint="Publish again: a new order reaches every instance.")
        replays = self._depot.replays_of(letter.target)
        if replays is None:
            target = letter.target
            raise NotFound(
                f"{target.instance} of {target.model}/{target.channel} has no place for it (any more).",
                hint="It must have joined once with this version of modelcast, or a newer one.", facts={"instance": target.instance},
            )
        self._box.send_back(letter.receipt, letter, replays)

    def remove(self, letter: DeadLetter) -> None:
        """See ``operating_road.LetterDesk.remove``."""
        if isinstance(letter.receipt, str):
            self._box.remove(letter.receipt)

    def close(self) -> None:
        """See ``operating_road.LetterDesk.close``."""


class Replays:
    """What was sent back to one instance.

    Args:
        disk: The disk.
        folder: Where it lies; it exists.
    """

    def __init__(self, disk: Disk, folder: Path) -> None:
        self._disk, self._folder = disk, folder
        self._numbers: dict[str, int] = {}
        self._waiting: deque[str] = deque()
        self._next = FIRST_REPLAY

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self._folder

    def look(self) -> None:
        """Note what came."""
        for name in self._disk.names(self._folder):
            if is_letter(name) and name not in self._numbers:
                self._numbers[name], self._next = self._next, self._next + 1
                self._waiting.append(name)

    def next(self) -> tuple[int, str, bytes] | None:
        """Return number, name and order of the next one, or None; one that cannot be read now is noted again later."""
        while self._waiting:
            name = self._waiting.popleft()
            body = None
            with suppress(StorageFault):
                body = self._disk.read_if_there(self._folder / name, DEFAULT_LIMITS.order_bytes)
            if body is not None:
                return self._numbers[name], name, body
            del self._numbers[name]
        return None

    def name_of(self, number: int) -> str | None:
        """Return the name of a replay that was given out and not settled, or None."""
        return next((name for name, other in self._numbers.items() if other == number), None) if number >= FIRST_REPLAY else None

    def settle(self, name: str) -> None:
        """Remove a replay that is settled; after a power cut it may come once more, and is answered as before."""
        self._disk.remove(self._folder / name)
        self._numbers.pop(name, None)
