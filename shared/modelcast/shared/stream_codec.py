"""The RabbitMQ stream protocol as values and bytes: what a reader says, and what a broker answers.

Decides how requests are written and how frames are read; every length is checked against what is there and against a limit
before it is believed, and whatever is wrong is one error, ``ProtocolViolation``. What a Deliver frame carries is read by
``osiris_chunk``. Source: ``deps/rabbitmq_stream/docs/PROTOCOL.adoc`` of RabbitMQ. No I/O; imports the errors and limits.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeVar

from modelcast.shared.errors import ProtocolViolation
from modelcast.shared.limits import MIB, shortened

VERSION = 1
SIZE_BYTES = 4
HEAD_BYTES = 8
"""Size, key and version of a frame."""
MOST_CONTROL_BYTES = 1 * MIB
"""Largest frame that is no Deliver: what the broker itself takes (``stream.frame_max``)."""
MOST_ITEMS = 1_000
"""Most brokers, properties or mechanisms in one frame; a cluster has a handful."""

_IS_ANSWER = 0x8000


class Key(IntEnum):
    """The commands that a reader needs."""

    SUBSCRIBE = 0x07
    DELIVER = 0x08
    CREDIT = 0x09
    UNSUBSCRIBE = 0x0C
    METADATA = 0x0F
    METADATA_UPDATE = 0x10
    PEER_PROPERTIES = 0x11
    SASL_HANDSHAKE = 0x12
    SASL_AUTHENTICATE = 0x13
    TUNE = 0x14
    OPEN = 0x15
    CLOSE = 0x16
    HEARTBEAT = 0x17


class Code(IntEnum):
    """The answers of a broker that mean something of their own here."""

    OK = 0x01
    NO_STREAM = 0x02
    NOT_AVAILABLE = 0x06
    MECHANISM_UNKNOWN = 0x07
    AUTHENTICATION_FAILED = 0x08
    SASL_ERROR = 0x09
    LOOPBACK_ONLY = 0x0B
    VHOST_REFUSED = 0x0C
    ACCESS_REFUSED = 0x10


# --------------------------------------------------------------------------- requests


def _text(value: str) -> bytes:
    encoded = value.encode()
    return struct.pack(">H", len(encoded)) + encoded


def _frame(key: int, content: bytes, correlation: int | None = None) -> bytes:
    head = struct.pack(">HH", key, VERSION) + (b"" if correlation is None else struct.pack(">I", correlation))
    return struct.pack(">I", len(head) + len(content)) + head + content


def peer_properties(correlation: int, properties: Mapping[str, str]) -> bytes:
    """Say who is calling; the broker's operators see ``connection_name``."""
    items = b"".join(_text(key) + _text(value) for key, value in properties.items())
    return _frame(Key.PEER_PROPERTIES, struct.pack(">I", len(properties)) + items, correlation)


def sasl_handshake(correlation: int) -> bytes:
    """Ask for the ways to log in."""
    return _frame(Key.SASL_HANDSHAKE, b"", correlation)


def sasl_plain(correlation: int, user: str, password: str) -> bytes:
    """Log in with a password (RFC 4616)."""
    answer = b"\0" + user.encode() + b"\0" + password.encode()
    return _frame(Key.SASL_AUTHENTICATE, _text("PLAIN") + struct.pack(">I", len(answer)) + answer, correlation)


def tune(frame_bytes: int, heartbeat_seconds: int) -> bytes:
    """Agree on the largest frame that is sent to the broker, and on heartbeats."""
    return _frame(Key.TUNE, struct.pack(">II", frame_bytes, heartbeat_seconds))


def open_vhost(correlation: int, vhost: str) -> bytes:
    """Enter a virtual host."""
    return _frame(Key.OPEN, _text(vhost), correlation)


def metadata(correlation: int, stream: str) -> bytes:
    """Ask which nodes hold a stream."""
    return _frame(Key.METADATA, struct.pack(">I", 1) + _text(stream), correlation)


def subscribe(correlation: int, subscription: int, stream: str, offset: int | str, credit: int) -> bytes:
    """Read a stream from ``offset`` (a number, ``first`` or ``next``), ``credit`` osiris chunks ahead."""
    where = struct.pack(">H", {"first": 1, "next": 3}[offset]) if isinstance(offset, str) else struct.pack(">HQ", 4, offset)
    content = struct.pack(">B", subscription) + _text(stream) + where + struct.pack(">HI", credit, 0)
    return _frame(Key.SUBSCRIBE, content, correlation)


def credit(subscription: int, chunks: int) -> bytes:
    """Let the broker send ``chunks`` more osiris chunks."""
    return _frame(Key.CREDIT, struct.pack(">BH", subscription, chunks))


def heartbeat() -> bytes:
    """Say that one is still there."""
    return _frame(Key.HEARTBEAT, b"")


def close(correlation: int, reason: str) -> bytes:
    """Say goodbye."""
    return _frame(Key.CLOSE, struct.pack(">H", Code.OK) + _text(reason), correlation)


# --------------------------------------------------------------------------- answers


@dataclass(frozen=True, slots=True)
class FrameHead:
    """The first eight bytes of a frame.

    Attributes:
        key: The command; an answer's has the highest bit set.
        version: Of the command.
        body_bytes: How many bytes follow.
    """

    key: int
    version: int
    body_bytes: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What a broker says to a request: ``code`` is ``Code.OK`` or why not. ``words`` are what came with it."""

    key: int
    correlation: int
    code: int
    words: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Tuning:
    """What a broker proposes: the largest frame in bytes and the heartbeat in seconds; 0 is none."""

    frame_bytes: int
    heartbeat_seconds: int


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a stream is: addresses of the nodes, the leader first or None where there is none at the moment."""

    correlation: int
    code: int
    leader: tuple[str, int] | None
    replicas: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Closing:
    """The broker closes the connection."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The broker ended the subscriptions of a stream: it was deleted, or its node went."""

    code: int
    stream: str


@dataclass(frozen=True, slots=True)
class CreditRefused:
    """The broker did not take a credit."""

    code: int


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The broker is still there."""


Control = Answer | Tuning | Placement | Closing | Ended | CreditRefused | Heartbeat
"""What comes besides the osiris chunks."""

Item = TypeVar("Item")


class _Fields:
    """Takes one field after the other out of a frame, and nothing that is not there."""

    def __init__(self, content: bytes | memoryview) -> None:
        self._content, self._at = memoryview(content), 0

    def take(self, count: int) -> memoryview:
        """Return the next ``count`` bytes; raises ProtocolViolation when there are fewer."""
        end = self._at + count
        if end > len(self._content):
            raise ProtocolViolation(f"A frame of {len(self._content)} bytes ends in the middle of a field.")
        taken, self._at = self._content[self._at : end], end
        return taken

    def number(self, count: int) -> int:
        """Return an unsigned number of ``count`` bytes, the highest first."""
        return int.from_bytes(self.take(count), "big")

    def text(self) -> str:
        """Return a text behind its length of two bytes; empty for null."""
        length = self.number(2)
        return "" if length == 0xFFFF else str(self.take(length), "utf-8", "replace")   # 0xFFFF is -1: null

    def several(self, one: Callable[[], Item]) -> list[Item]:
        """Return an array behind its length of four bytes, of at most ``MOST_ITEMS``; ``one`` takes each."""
        count = self.number(4)
        if count > MOST_ITEMS:
            raise ProtocolViolation(f"A frame claims to hold {count} items; {MOST_ITEMS} are the most.")
        return [one() for _ in range(count)]

    def pair(self) -> tuple[str, str]:
        """Return two texts."""
        return self.text(), self.text()

    @property
    def is_empty(self) -> bool:
        """Whether all was taken."""
        return self._at == len(self._content)


def read_head(head: bytes | memoryview) -> FrameHead:
    """Read the first ``HEAD_BYTES`` of a frame; raises ProtocolViolation when they cannot begin one."""
    fields = _Fields(head)
    size, key, version = fields.number(4), fields.number(2), fields.number(2)
    if size < HEAD_BYTES - SIZE_BYTES:
        raise ProtocolViolation(f"A frame claims to have {size} bytes.")
    if version != VERSION:
        raise ProtocolViolation(f"A frame has version {version} of command {key:#x}; only {VERSION} was agreed on.")
    if key != Key.DELIVER and size > MOST_CONTROL_BYTES:
        raise ProtocolViolation(f"A frame of command {key:#x} claims to have {size} bytes.")
    return FrameHead(key, version, size - (HEAD_BYTES - SIZE_BYTES))


def read_control(head: FrameHead, content: bytes | memoryview) -> Control:
    """Read a frame that is no Deliver; raises ProtocolViolation when it is none that a broker may send."""
    fields, key = _Fields(content), head.key & ~_IS_ANSWER
    if head.key & _IS_ANSWER:
        if key == Key.CREDIT:
            return CreditRefused(fields.number(2))
        if key == Key.METADATA:
            return _placement(fields)
        return _answer(key, fields)
    if key == Key.HEARTBEAT:
        return Heartbeat()
    if key == Key.TUNE:
        return Tuning(fields.number(4), fields.number(4))
    if key == Key.CLOSE:
        fields.number(4)
        return Closing(fields.number(2), shortened(fields.text(), 300))
    if key == Key.METADATA_UPDATE:
        return Ended(fields.number(2), shortened(fields.text(), 300))
    raise ProtocolViolation(f"The broker sent a command that was not asked for ({head.key:#x}).")


def _answer(key: int, fields: _Fields) -> Answer:
    correlation, code = fields.number(4), fields.number(2)
    words: dict[str, str] = {}
    if not fields.is_empty and key in {Key.PEER_PROPERTIES, Key.OPEN}:
        words = dict(fields.several(fields.pair))
    elif not fields.is_empty and key == Key.SASL_HANDSHAKE:
        words = dict.fromkeys(fields.several(fields.text), "")
    return Answer(key, correlation, code, words)


def _placement(fields: _Fields) -> Placement:
    correlation = fields.number(4)
    nodes = dict(fields.several(lambda: (fields.number(2), (fields.text(), fields.number(4)))))
    found = fields.several(lambda: (fields.text(), fields.number(2), fields.number(2), fields.several(lambda: fields.number(2))))
    if len(found) != 1:
        raise ProtocolViolation(f"The broker was asked for one stream and told of {len(found)}.")
    _, code, leader, replicas = found[0]
    return Placement(correlation, code, nodes.get(leader), tuple(nodes[number] for number in replicas if number in nodes))
