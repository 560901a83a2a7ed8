"""A message as a stream stores it: AMQP 1.0, in which RabbitMQ wraps what was published by AMQP 0-9-1.

Decides what is read of it: the body, without a copy, and the application properties that are asked for. Everything else is
passed over by its encoded size. Whoever may write to a stream may store any bytes there, so each length is checked, and what is
no message is one error, ``ProtocolViolation``. Source: OASIS AMQP 1.0, parts 1 (types) and 3 (messaging). No I/O; imports the errors.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from modelcast.shared.errors import ProtocolViolation

MOST_SECTIONS = 64
"""RabbitMQ writes five."""
MOST_PROPERTIES = 256
"""Ours have seven; the broker adds a few."""
MOST_CHARACTERS = 1_024
"""Longest property that is read; ours are digests and words."""

_PROPERTIES, _DATA = 0x74, 0x75
_SECTIONS = range(0x70, 0x79)
_DESCRIBED, _SMALL_ULONG, _ULONG = 0x00, 0x53, 0x80
_FIXED_BYTES = {0x4: 0, 0x5: 1, 0x6: 2, 0x7: 4, 0x8: 8, 0x9: 16}
_LENGTH_BYTES = {0xA: 1, 0xB: 4, 0xC: 1, 0xD: 4, 0xE: 1, 0xF: 4}
_BINARY, _MAPS, _TEXTS = {0xA0, 0xB0}, {0xC1, 0xD1}, {0xA1, 0xB1}
_INTEGERS = {
    0x50: False, 0x60: False, 0x70: False, 0x52: False, 0x43: False, 0x80: False, 0x53: False, 0x44: False,
    0x51: True, 0x61: True, 0x71: True, 0x54: True, 0x81: True, 0x55: True,
}
"""Codes of integers, and whether they have a sign; one of no bytes is zero."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredMessage:
    """A message of a stream.

    Attributes:
        body: Its bytes, a view into what was read; empty when it has none.
        properties: Those of the application properties that were asked for and are texts or integers.
    """

    body: memoryview
    properties: Mapping[str, str | int]


def read_message(message: memoryview, wanted: Collection[str]) -> StoredMessage:
    """Read a message; ``wanted`` names the properties to look for.

    Raises:
        ProtocolViolation: The bytes are no AMQP 1.0 message.
    """
    at, bodies = 0, list[memoryview]()
    properties: dict[str, str | int] = {}
    for _ in range(MOST_SECTIONS):
        if at == len(message):
            break
        section, at = _section(message, at)
        code, start, end = _value(message, at)
        if section == _DATA:
            if code not in _BINARY:
                raise ProtocolViolation("A data section of a message holds no bytes.")
            bodies.append(message[start:end])
        elif section == _PROPERTIES and code in _MAPS:
            properties = _plain(message[start:end], 1 if code == 0xC1 else 4, wanted)
        at = end
    else:
        raise ProtocolViolation(f"A message has more than {MOST_SECTIONS} sections.")
    if len(bodies) == 1:
        return StoredMessage(bodies[0], properties)
    return StoredMessage(memoryview(b"".join(bodies)), properties)   # nobody of ours writes a body in pieces


def _section(message: memoryview, at: int) -> tuple[int, int]:
    """Return which section begins at ``at``, and where its value does."""
    head = bytes(message[at : at + 10])
    if len(head) > 2 and head[0] == _DESCRIBED:
        if head[1] == _SMALL_ULONG and head[2] in _SECTIONS:
            return head[2], at + 3
        if head[1] == _ULONG and len(head) == 10 and int.from_bytes(head[2:10], "big") in _SECTIONS:
            return head[9], at + 10
    raise ProtocolViolation("An entry of a stream is no AMQP message.")


def _value(message: memoryview, at: int) -> tuple[int, int, int]:
    """Return the type of the value at ``at``, and where its content begins and ends."""
    if at >= len(message):
        raise ProtocolViolation("A message ends where a value should begin.")
    code = message[at]
    start, kind = at + 1, code >> 4
    if kind in _FIXED_BYTES:
        end = start + _FIXED_BYTES[kind]
    elif kind in _LENGTH_BYTES:
        count = _LENGTH_BYTES[kind]
        if start + count > len(message):
            raise ProtocolViolation("A message ends in the middle of a length.")
        size = int.from_bytes(message[start : start + count], "big")
        start += count
        end = start + size
    else:   # a described value within a message: RabbitMQ writes none for us
        raise ProtocolViolation(f"A message holds a value of an unknown type ({code:#x}).")
    if end > len(message):
        raise ProtocolViolation("A message ends in the middle of a value.")
    return code, start, end


def _plain(content: memoryview, count_bytes: int, wanted: Collection[str]) -> dict[str, str | int]:
    """Return the texts and integers of a map whose keys are ``wanted``."""
    count = int.from_bytes(content[:count_bytes], "big")
    if count > 2 * MOST_PROPERTIES or count % 2:
        raise ProtocolViolation(f"A message claims to have {count} keys and values.")
    found: dict[str, str | int] = {}
    at = count_bytes
    for _ in range(count // 2):
        key_code, key_start, key_end = _value(content, at)
        code, start, at = _value(content, key_end)
        if key_code in _TEXTS and max(key_end - key_start, at - start) <= MOST_CHARACTERS:
            key = str(content[key_start:key_end], "utf-8", "replace")
            if key in wanted and code in _TEXTS:
                found[key] = str(content[start:at], "utf-8", "replace")
            elif key in wanted and code in _INTEGERS:
                found[key] = int.from_bytes(content[start:at], "big", signed=_INTEGERS[code])
    return found
