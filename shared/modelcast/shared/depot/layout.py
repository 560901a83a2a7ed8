"""Where everything in a depot lies: names of folders and files, as text. Pure.

Decides the layout, and nothing else does; the table in ``docs/files.md`` shows it. What publishers write lies below
``models/<model>``, all but ``channels/<channel>/at``; what instances write lies there, in ``reports`` and in ``dead-letters``.
Imports the names and errors.
"""

import re

from modelcast.shared.errors import InvalidName
from modelcast.shared.names import check_name

MARKER = "modelcast-depot"
"""The file that says that this folder is a depot, and of which format."""
MARKER_TEXT = b"modelcast depot 1\n"
MARKER_PREFIX = b"modelcast depot "
REPORTS, DEAD_LETTERS, MODELS, TOKENS = "reports", "dead-letters", "models", "tokens"
PACKED = ".zst"
"""Ending of a chunk that is kept as a zstd frame; its name is the digest of what is in the frame."""
NUMBER_DIGITS = 12
_NUMBER = re.compile(r"[0-9]{12}")
_CHUNK = re.compile(r"[0-9a-f]{64}(\.zst)?")
_CHUNK_FOLDER = re.compile(r"[0-9a-f]{2}")
_SEGMENT = re.compile(r"([0-9]{10})\.([a-z0-9_-]+)\.([a-z0-9_-]+)\.([a-z0-9_-]+)\.([0-9a-f]{8})")
_LETTER = re.compile(r"[0-9]{13,20}-[0-9a-f]{24}")


class ModelPlaces:
    """The places of one model, relative to the depot.

    Attributes:
        folder: All that the model has.
        publishing: The lock of its publisher.
        ordering: The lock of whoever orders.
        incoming: What is being written; swept by the next publisher.
        chunks: The chunks, in a folder for each first two digits.
        index: Which chunk came when: one entry for each, appended.
        register: The register's records, numbered.
        channels: A folder for each channel.
    """

    def __init__(self, model: str) -> None:
        self.folder = f"{MODELS}/{check_name('model', model)}"
        self.publishing, self.ordering = f"{self.folder}/publishing", f"{self.folder}/ordering"
        self.incoming = f"{self.folder}/incoming"
        self.chunks = f"{self.folder}/chunks"
        self.index = f"{self.folder}/index"
        self.register = f"{self.folder}/register"
        self.channels = f"{self.folder}/channels"

    def chunk(self, digest: str, *, is_packed: bool) -> str:
        """Return where a chunk lies, by its digest in hexadecimal."""
        return f"{self.chunks}/{digest[:2]}/{digest}{PACKED if is_packed else ''}"


class ChannelPlaces:
    """The places of one channel.

    Attributes:
        folder: All that the channel has.
        orders: Its orders, numbered.
        announcements: The newest announcement, numbered.
    """

    def __init__(self, model: str, channel: str) -> None:
        self.folder = f"{ModelPlaces(model).channels}/{check_name('channel', channel)}"
        self.orders = f"{self.folder}/orders"
        self.announcements = f"{self.folder}/announcements"


class InstancePlaces:
    """The places of one instance.

    Attributes:
        folder: All that the instance has, besides its reports and dead letters.
        lock: Held while the instance is connected.
        settled: Which orders it is done with.
        incoming: What it is writing; swept when it comes again.
        replays: Orders that it refused and an operator sent back, until they are settled.
    """

    def __init__(self, model: str, channel: str, instance: str) -> None:
        self.folder = f"{ChannelPlaces(model, channel).folder}/at/{check_name('instance', instance)}"
        self.lock = f"{self.folder}/lock"
        self.settled = f"{self.folder}/settled"
        self.incoming = f"{self.folder}/incoming"
        self.replays = f"{self.folder}/replays"


def is_name(name: str) -> bool:
    """Whether a folder of this name can be a model's or a channel's; what else lies there is not ours."""
    try:
        check_name("model", name)
    except InvalidName:
        return False
    return True


def number_name(number: int) -> str:
    """Return the name of a numbered record: names and numbers have one order."""
    return f"{number:0{NUMBER_DIGITS}d}"


def number_of(name: str) -> int | None:
    """Return the number of a record's name, or None if it is no such name."""
    return int(name) if _NUMBER.fullmatch(name) else None


def digest_of(name: str) -> str | None:
    """Return the digest, in hexadecimal, of the chunk in a file of this name, or None if it is no such name."""
    return name.removesuffix(PACKED) if _CHUNK.fullmatch(name) else None


def is_chunk_folder(name: str) -> bool:
    """Whether a folder of this name holds chunks: two digits."""
    return _CHUNK_FOLDER.fullmatch(name) is not None


def segment_name(hour: str, model: str, channel: str, instance: str, nonce: str) -> str:
    """Return the name of a file of reports: one instance's, of one hour (``YYYYMMDDHH``, UTC) and one connection."""
    return f"{hour}.{model}.{channel}.{instance}.{nonce}"


def segment_hour(name: str) -> str | None:
    """Return the hour of a file of reports, or None if it is no such name."""
    found = _SEGMENT.fullmatch(name)
    return found.group(1) if found else None


def letter_name(died_ms: int, identity: str) -> str:
    """Return the name of a dead letter: by its time, then by what died where (24 hexadecimal digits)."""
    return f"{died_ms:013d}-{identity}"


def is_letter(name: str) -> bool:
    """Whether a file of this name is a dead letter."""
    return _LETTER.fullmatch(name) is not None
