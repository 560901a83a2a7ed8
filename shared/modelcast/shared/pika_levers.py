"""What modelcast does inside pika, each lever guarded: where pika looks different it is not pulled, and pika works as it comes.

Decides nothing about AMQP. Changes only modelcast's own connections, but for the decoder of header tables, which pika has once
for all. Figures: ``docs/adr/0017-levers-in-pika.md``. Only ``pika_link`` imports this module.
"""

import ssl
import struct
from collections import deque
from collections.abc import Sequence
from typing import Any, cast

import pika
import pika.data
import pika.frame
import pika.spec
from pika.exceptions import AMQPError

from modelcast.shared.pika_frames import FrameReader

MOST_PIECES = 512
"""Pieces that one call sends: Linux takes 1,024 (``IOV_MAX``), others fewer; 8 MiB, the largest chunk, are 129."""
READ_BYTES = 1024 * 1024
"""What a connection reads before others have a turn: less than a millisecond's work, and one chunk; pika 100 KiB."""


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


def hang_up(connection: Any) -> bool:
    """Let go of a connection's socket without a goodbye, in the next turn of its loop; returns whether it looked as expected."""
    abort = getattr(getattr(connection, "_transport", None), "abort", None)
    if callable(abort):
        abort()
    return callable(abort)


def unsent_bytes(connection: Any) -> int:
    """Return how many bytes wait to be sent: in pika, and in the system as far as it tells; 0 where pika looks different.

    Falls as long as the other side takes something, however slowly.
    """
    transport = getattr(connection, "_transport", None)
    waiting = getattr(transport, "_tx_buffered_byte_count", 0)
    try:
        import fcntl  # noqa: PLC0415 - not on every system
        import termios  # noqa: PLC0415

        (queued,) = struct.unpack("i", fcntl.ioctl(transport._sock.fileno(), termios.TIOCOUTQ, bytes(4)))   # type: ignore[union-attr]  # noqa: SLF001
    except (ImportError, AttributeError, OSError, ValueError):
        queued = 0
    return int(waiting) + int(queued)


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
    """A connection that sends large bodies as they lie in memory, and receives them where they stay.

    pika copies a body four times on its way to the socket: cut out, joined, put behind the head of its frame and before its
    end. Here heads, ends and views of the body between them are sent together by one call (``Pieces``), or one after the other
    where that cannot be. The caller must leave a body alone until it is confirmed.

    When receiving it reads 4 KiB at a time, appends each to one ``bytes``, cuts frames out of it, bodies out of those, and joins
    these. Here a ``FrameReader`` says where the next bytes go, which for most of a body is where they stay.
    """

    _reader: FrameReader | None = None
    _sends_pieces: bool | None = None

    def _on_data_available(self, data: "bytes | InPlace") -> None:
        """Process what was received: bytes, or a count of them when they lie where the reader wanted them."""
        self._reader = self._reader or read_in_place(self)
        if self._reader is None:
            super()._on_data_available(data)
            return
        self.bytes_received += len(data)   # by which pika knows that the broker is alive
        frames = self._reader.take(len(data)) if isinstance(data, InPlace) else self._reader.feed(data)
        for frame in frames:
            self._process_frame(frame)

    @property
    def body_bytes(self) -> int:
        """How many bytes of bodies came so far; 0 where pika reads by itself, which does not tell."""
        return 0 if self._reader is None else self._reader.body_bytes

    def _send_message(self, channel_number: int, method_frame: Any, content: Sequence[Any]) -> None:
        try:
            pieces = body_pieces(channel_number, content[1], self._body_max_length)
            header = pika.frame.Header(channel_number, len(content[1]), content[0])
            pieces[0] = pika.frame.Method(channel_number, method_frame).marshal() + header.marshal() + pieces[0]
            output = self._output_marshaled_frames
            if self._sends_pieces is None:
                self._sends_pieces = send_pieces(self._transport)
        except AttributeError:   # another pika than the one that this was written for
            super()._send_message(channel_number, method_frame, content)
        else:
            output([Pieces(pieces)] if self._sends_pieces else pieces)


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


class Pieces:
    """What lies in several places and is sent as one; in pika's queue it looks like one ``bytes``.

    A body of 1 MiB is 17 pieces. Each by a call of its own is a packet of its own, for which the broker wakes, and half of
    them hold 8 bytes.
    """

    __slots__ = ("_pieces", "_size")

    def __init__(self, pieces: "Sequence[bytes | memoryview]") -> None:
        self._pieces = pieces
        self._size = sum(len(piece) for piece in pieces)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, rest: slice) -> "Pieces":
        """Return what is left when ``rest.start`` bytes were sent."""
        sent = rest.start
        for index, piece in enumerate(self._pieces):
            if sent < len(piece):
                return Pieces([memoryview(piece)[sent:], *self._pieces[index + 1 :]])
            sent -= len(piece)
        return Pieces([])

    def send(self, sock: Any) -> int:
        """Send as much as one call sends; returns how many bytes. TLS knows no pieces and sends one."""
        if isinstance(sock, ssl.SSLSocket):
            return sock.send(self._pieces[0])
        return int(sock.sendmsg(self._pieces[:MOST_PIECES]))


def send_pieces(transport: Any) -> bool:
    """Let a transport take ``Pieces``; returns whether it looks as expected. Set on this transport, not on pika's class."""
    pikas_own = getattr(transport, "_sigint_safe_send", None)
    if not (callable(pikas_own) and isinstance(getattr(transport, "_tx_buffers", None), deque) and hasattr(transport, "_produce")):
        return False

    def send(sock: Any, data: "bytes | Pieces") -> int:
        """Send some of what stands first in the queue; returns how many bytes."""
        return data.send(sock) if isinstance(data, Pieces) else cast("int", pikas_own(sock, data))

    vars(transport).update(_sigint_safe_send=send)
    return True


class InPlace:
    """So many bytes that were received, and lie where the reader of the connection wants them."""

    __slots__ = ("_count",)

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count


def read_in_place(connection: Any) -> FrameReader | None:
    """Let the transport of a connection write to a reader, which is returned; None when they do not look as expected.

    Set on this transport, not on pika's class: other users of pika in this process are left alone.
    """
    transport = getattr(connection, "_transport", None)
    most_bytes, pikas_own = (getattr(transport, name, None) for name in ("_MAX_CONSUME_BYTES", "_sigint_safe_recv"))
    process, counted = (getattr(connection, name, None) for name in ("_process_frame", "bytes_received"))
    if not (isinstance(most_bytes, int) and isinstance(counted, int) and callable(pikas_own) and callable(process)):
        return None
    if getattr(connection, "_frame_buffer", None) != b"":   # pika holds the beginning of a frame
        return None
    reader = FrameReader()

    def receive(sock: Any, _most_bytes: int) -> InPlace:
        """Read where the reader wants it; what is returned goes to ``_on_data_available``."""
        room = reader.room()
        if len(room) == 1 or isinstance(sock, ssl.SSLSocket):   # which cannot read into several pieces
            return InPlace(sock.recv_into(room[0]))
        return InPlace(sock.recvmsg_into(room)[0])

    vars(transport).update(_sigint_safe_recv=receive, _MAX_CONSUME_BYTES=max(READ_BYTES, most_bytes))
    return reader
