"""What modelcast does inside pika, each lever guarded: where pika looks different it is not pulled, and pika works as it comes.

Decides nothing about AMQP. Changes only modelcast's own connections, but for the decoder of header tables, which pika has once
for all. Figures: ``docs/adr/0017-levers-in-pika.md``. Only ``pika_link`` imports this module.
"""

import struct
from collections.abc import Sequence
from typing import Any

import pika
import pika.data
import pika.frame
import pika.spec
from pika.exceptions import AMQPError

READ_BYTES = 256 * 1024
"""One read of the socket, two frames of the largest size that RabbitMQ sends by default. pika reads 4 KiB at a time, and
appends each to one ``bytes``: three fifths of a receiver's user time."""


def tolerate_strange_headers() -> None:
    """Let pika read past a header table that it cannot decode, instead of breaking the connection.

    A timestamp beyond the year 9999, an unknown type or deep nesting in a header, which anybody with write permission can send,
    ends the connection in pika up to 1.4.4 (pika#1698, mended on its main branch), and again whenever the broker gives the
    message out: one such message would keep an instance from every later order. The table then counts as empty; what pika
    can decode is decoded as before. Done at the first connection, once, and not at all where pika looks different.
    """
    original = getattr(pika.data, "decode_table", None)
    if original is None or getattr(original, "is_tolerant", False):
        return

    def decode_table(encoded: bytes, offset: int) -> tuple[dict[str, Any], int]:
        """Decode a table, or pass over it by the length that it claims; returns where the next field begins."""
        try:
            decoded: tuple[dict[str, Any], int] = original(encoded, offset)
        except (ValueError, ArithmeticError, LookupError, OSError, RecursionError, struct.error, AMQPError):
            return {}, offset + 4 + int.from_bytes(encoded[offset : offset + 4], "big")
        return decoded

    decode_table.is_tolerant = True   # type: ignore[attr-defined]
    pika.data.decode_table = decode_table


def read_more_at_once(connection: Any) -> bool:
    """Let one connection read ``READ_BYTES`` at a time; returns whether its transport could be told so.

    Set on the transport of this connection, not on pika's class: other users of pika in this process are left alone.
    """
    transport = getattr(connection, "_transport", None)
    names = ("_MAX_RECV_BYTES", "_MAX_CONSUME_BYTES")
    if transport is None or not all(isinstance(getattr(transport, name, None), int) for name in names):
        return False
    for name in names:
        setattr(transport, name, max(READ_BYTES, getattr(transport, name)))
    return True


def publish(
    channel: Any, exchange: str, routing_key: str, body: bytes | memoryview, properties: Any, *, mandatory: bool = True
) -> None:
    """Publish a message; a view goes without being copied first, which ``basic_publish`` would want it to be."""
    send = getattr(channel, "_send_method", None)
    if isinstance(body, bytes) or send is None or not channel.is_open:
        channel.basic_publish(exchange, routing_key, bytes(body), properties, mandatory=mandatory)
    else:
        send(pika.spec.Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=mandatory), (properties, body))


_SelectConnection: Any = pika.SelectConnection   # pika ships no types, and none at all for what is its own


class LeanConnection(_SelectConnection):  # type: ignore[misc] # see above
    """A connection that sends large bodies as they lie in memory.

    pika copies a body four times on its way to the socket: cut out, joined, put behind the head of its frame and before its
    end. Here heads and ends are frames' worth of their own in the queue of what is to be sent, and between them stand views of
    the body. The caller must leave a body alone until it is confirmed.
    """

    def _send_message(self, channel_number: int, method_frame: Any, content: Sequence[Any]) -> None:
        try:
            pieces = body_pieces(channel_number, content[1], self._body_max_length)
            header = pika.frame.Header(channel_number, len(content[1]), content[0])
            pieces[0] = pika.frame.Method(channel_number, method_frame).marshal() + header.marshal() + pieces[0]
            output = self._output_marshaled_frames
        except AttributeError:   # another pika than the one that this was written for
            super()._send_message(channel_number, method_frame, content)
        else:
            output(pieces)


def body_pieces(channel_number: int, body: bytes | memoryview, most_bytes: int) -> list[bytes | memoryview]:
    """Cut a body into frames of at most ``most_bytes``, as pieces to be sent one after the other; the first holds no body.

    Source: AMQP 0-9-1, 4.2.3: type 3, channel, size of the payload, payload, end ``0xCE``.
    """
    view, end = memoryview(body).cast("B"), bytes([pika.spec.FRAME_END])
    pieces: list[bytes | memoryview] = []
    tail = b""
    for start in range(0, len(view), most_bytes):
        part = view[start : start + most_bytes]
        pieces += [tail + struct.pack(">BHI", pika.spec.FRAME_BODY, channel_number, len(part)), part]
        tail = end
    return [*pieces, tail] if pieces else [b""]
