"""Dead letters on disk: one file for each order that an instance refused.

Decides the record and its name, by which the same refusal after a crash is found again instead of kept twice. Imports disk,
the layout, packing and the road's values.
"""

from collections.abc import Generator
from pathlib import Path

from modelcast.shared.depot.disk import Disk, temporary_name
from modelcast.shared.depot.layout import is_letter, letter_name
from modelcast.shared.digest import digest
from modelcast.shared.errors import SenderFault
from modelcast.shared.limits import DEFAULT_LIMITS, KIB
from modelcast.shared.packing import pack, unpack
from modelcast.shared.road import DeadLetter, Target

MAX_BYTES = DEFAULT_LIMITS.order_bytes + 4 * KIB
CAUSE = "rejected"


class LetterBox:
    """The dead letters of a depot.

    Args:
        disk: The disk.
        folder: Where they lie; it exists.
    """

    def __init__(self, disk: Disk, folder: Path) -> None:
        self._disk, self._folder = disk, folder

    def add(self, target: Target, number: int | str, body: bytes, died_ms: int, incoming: Path) -> None:
        """Keep an order that an instance refused, durably; one that is kept already is left as it is.

        Args:
            target: Who refused it.
            number: Number of the order in its channel, or the name of the letter that was sent back and is refused again.
            body: The order.
            died_ms: When, milliseconds since 1970 UTC.
            incoming: Where it is written before it has its name, on the same file system.
        """
        whose = f"{target.model} {target.channel} {target.instance} {number} ".encode()
        identity = digest(whose + digest(body)).hex()[:24]
        if any(name.endswith(f"-{identity}") for name in self._names()):
            return
        content = pack({
            "format": 1, "model": target.model, "channel": target.channel, "instance": target.instance, "number": number,
            "died_ms": died_ms, "cause": CAUSE, "body": body,
        })
        self._disk.replace_whole(self._folder / letter_name(died_ms, identity), content, incoming / temporary_name())

    def _names(self) -> list[str]:
        return [name for name in self._disk.names(self._folder) if is_letter(name)]

    def read(self, limit: int, *, after: str = "") -> Generator[DeadLetter]:
        """Yield up to ``limit`` dead letters, oldest first, each with its name as receipt; what is none is passed over.

        ``after`` names the letter behind which they begin, whether it is still there or not.
        """
        for name in self._names():
            if limit <= 0:
                return
            letter = self.get(name) if name > after else None
            if letter is not None:
                limit -= 1
                yield letter

    def get(self, name: str) -> DeadLetter | None:
        """Return the letter of a name, or None when it is not there (any more) or none."""
        if not is_letter(name):
            return None
        content = self._disk.read_if_there(self._folder / name, MAX_BYTES)
        return None if content is None else _letter(content, name)

    def remove(self, name: str) -> None:
        """Remove a letter; one that is gone is passed over. After a power cut it may be there again, which loses nothing."""
        if is_letter(name):
            self._disk.remove(self._folder / name)

    def send_back(self, name: str, letter: DeadLetter, replays: Path) -> None:
        """Put the order of a letter into its instance's folder of replays, durably.

        It has the letter's name there: done again after a crash it is the same file, and refused again it is another letter.
        """
        self._disk.replace_whole(replays / name, letter.body, replays / temporary_name())

    def remove_of(self, model: str) -> None:
        """Remove the dead letters of a model."""
        for name in self._names():
            letter = self.get(name)
            if letter is not None and letter.target is not None and letter.target.model == model:
                self._disk.remove(self._folder / name)


def _letter(content: bytes, name: str) -> DeadLetter | None:
    try:
        fields = unpack(content, what="dead letter", max_bytes=MAX_BYTES)
        target = Target(str(fields["model"]), str(fields["channel"]), str(fields["instance"]))
        body, died_ms, cause = fields["body"], int(fields["died_ms"]), str(fields["cause"])
    except (SenderFault, KeyError, TypeError, ValueError):
        return None
    if not isinstance(body, bytes):
        return None
    deaths = ({"reason": cause, "number": fields.get("number"), "time": died_ms},)
    return DeadLetter(body, target, died_ms, cause, deaths, name)
