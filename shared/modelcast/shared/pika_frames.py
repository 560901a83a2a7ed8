"""Cuts what a connection receives into pika's frames, the bytes of a body written once: where they stay.

Decides where the next bytes are to land, and that the body of a message becomes one frame, however many carried it. What a
frame means decides pika, whose decoder reads every other one. Does no I/O. Figures: ``docs/adr/0017-levers-in-pika.md``. Only
``pika_levers`` imports this module.
"""

import struct
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pika.frame
import pika.spec
from pika.exceptions import InvalidFrameError

from modelcast.shared.limits import DEFAULT_LIMITS, KIB, MIB

HEAD = struct.Struct(">BHI")
"""Type, channel and size of the payload (AMQP 0-9-1, 4.2.3)."""
BUFFER_BYTES = 128 * KIB
"""What is read at once outside of bodies: a frame of the largest size that RabbitMQ sends by default."""
BEHIND_BYTES = 1 * KIB
"""What is read at once behind a frame of a body: its end and the next head, or all that stands before the next body."""
MOST_BODY_BYTES = DEFAULT_LIMITS.chunk_bytes
"""Largest body that gets its memory as soon as it is announced; of a larger one memory is taken as it comes, as in pika."""
MOST_FRAME_BYTES = 16 * MIB
"""Largest frame that is waited for. RabbitMQ sends 128 KiB unless it is told otherwise, and message headers in one frame."""


GAP_BYTES = 1 + HEAD.size
"""Between the payloads of two frames: an end and a head."""
FRAMES_AHEAD = 8
"""Frames that may be read at once after the one that is being read: with 128 KiB each as much as a chunk."""


def _between(channel: int, size: int) -> bytes:
    """Return the end of a frame and the head of the next, which holds ``size`` bytes of a body."""
    return bytes([pika.spec.FRAME_END]) + HEAD.pack(pika.spec.FRAME_BODY, channel, size)


class _Body:
    """The body of one message while it comes in: ``bytes`` that nobody has seen yet, and so may still be written."""

    def __init__(self, channel: int, size: int) -> None:
        self.channel, self.size, self.filled = channel, size, 0
        self._content = BytesIO(bytes(size))   # takes them over, not a copy, as nobody else holds them
        self.view = self._content.getbuffer()

    def finish(self) -> Any:
        """Return what came so far as one frame."""
        self.view.release()
        content = self._content.getvalue()   # the very bytes, not a copy
        return pika.frame.Body(self.channel, content if self.filled == self.size else content[: self.filled])


class FrameReader:
    """Bytes in, frames out. Write what arrives into ``room()``, one piece after the other, then ``take`` its count.

    One body at a time is put together here; a second one, on another channel, is left to pika.

    Args:
        buffer_bytes: Size of the buffer for everything else; more only for a single frame that is larger.
        most_body_bytes: Largest body that is put together here.
    """

    def __init__(self, buffer_bytes: int = BUFFER_BYTES, most_body_bytes: int = MOST_BODY_BYTES) -> None:
        self._buffer_bytes, self._most_body_bytes = buffer_bytes, most_body_bytes
        self._buffer = memoryview(bytearray(buffer_bytes))
        self._start = self._end = 0
        self._body: _Body | None = None
        self._seen: dict[int, tuple[int, int]] = {}   # by channel: what pika has of a body that is not whole, and its size
        self._missing: int | None = None   # of the frame of that body that is being read; None between frames
        self.body_bytes = 0   # of all bodies so far
        self._frame_bytes = 0   # of the payload of that frame
        gaps = memoryview(bytearray(GAP_BYTES * FRAMES_AHEAD))
        self._gaps = [gaps[at : at + GAP_BYTES] for at in range(0, len(gaps), GAP_BYTES)]
        self._pieces: list[memoryview] = []   # where the next bytes go when they go into the body

    def room(self) -> list[memoryview]:
        """Return where the next bytes go, at least one piece; none is empty."""
        end, body, missing = self._end, self._body, self._missing
        if body is None or end >= HEAD.size:
            return [self._buffer[end:]]
        behind = self._buffer[end : end + BEHIND_BYTES]
        if not missing:
            return [behind]
        at = body.filled + missing
        pieces = [body.view[body.filled : at]]
        for gap in self._gaps:   # a guess: frames like this one follow, until the body is whole
            if at >= body.size:
                break
            pieces += [gap, body.view[at : at + self._frame_bytes]]
            at += self._frame_bytes
        pieces.append(behind)
        self._pieces = pieces
        return pieces

    def take(self, count: int) -> Iterator[Any]:
        """Yield the frames that the ``count`` bytes which were written into ``room()`` complete; go on to the last of them.

        Raises:
            InvalidFrameError: What pika's decoder raises, or a frame is larger than ``MOST_FRAME_BYTES``.
        """
        if self._missing and self._body is not None:
            astray = self._take_into_body(self._body, self._missing, count)
        else:
            self._end += count
            astray = b""
        while self._start < self._end:
            if self._missing is not None:
                if (finished := self._go_on_with_body(self._missing)) is not None:
                    yield finished
            elif not self._enter_body():
                size = self._whole_frame()
                if not size:
                    break
                yield from self._decode(size)
        self._move_to_front()
        if astray:
            yield from self.feed(astray)

    def _take_into_body(self, body: _Body, missing: int, count: int) -> bytes:
        """Count what landed in the body and behind it; returns a copy of what stands elsewhere than was guessed."""
        pieces, self._pieces = self._pieces, []
        here = min(count, missing)
        self._fill(body, here)
        self._missing, count = missing - here, count - here
        for index in range(1, len(pieces) - 1, 2):
            if not count:
                return b""
            size = len(pieces[index + 1])
            if count < GAP_BYTES or bytes(pieces[index]) != _between(body.channel, size):
                return b"".join(pieces[index:])[:count]
            here = min(count - GAP_BYTES, size)
            self._fill(body, here)
            self._missing, count = size - here, count - GAP_BYTES - here
        self._end += count
        return b""

    def _fill(self, body: _Body, count: int) -> None:
        body.filled += count
        self.body_bytes += count

    def feed(self, data: bytes) -> Iterator[Any]:
        """Yield the frames that ``data``, which lies elsewhere, completes; raises like ``take``."""
        rest = memoryview(data)
        while rest:
            room = self.room()[0]
            count = min(len(room), len(rest))
            room[:count] = rest[:count]
            rest = rest[count:]
            yield from self.take(count)

    def _go_on_with_body(self, missing: int) -> Any | None:
        """Move what lies in the buffer to the body, or pass the end of its frame; returns the body when that was the last."""
        body = self._body
        assert body is not None
        if missing:
            count = min(missing, self._end - self._start)
            body.view[body.filled : body.filled + count] = self._buffer[self._start : self._start + count]
            self._fill(body, count)
            self._start += count
            self._missing = missing - count
            return None
        if self._buffer[self._start] != pika.spec.FRAME_END:
            raise InvalidFrameError("Invalid FRAME_END marker")   # pika's words
        self._start += 1
        self._missing = None
        if body.filled < body.size:
            return None
        self._body = None
        self._seen.pop(body.channel, None)
        return body.finish()

    def _enter_body(self) -> bool:
        """Pass the head of a frame that belongs to the body; returns whether there was one."""
        body = self._body
        if body is None or self._end - self._start < HEAD.size:
            return False
        kind, channel, size = HEAD.unpack_from(self._buffer, self._start)
        if kind != pika.spec.FRAME_BODY or channel != body.channel or size > body.size - body.filled:
            return False
        self._start += HEAD.size
        self._missing = self._frame_bytes = size
        return True

    def _whole_frame(self) -> int:
        """Return the size of the frame that begins the buffer, or 0 as long as it is not all there."""
        there = self._end - self._start
        if there < HEAD.size:
            return 0
        size = HEAD.size + HEAD.unpack_from(self._buffer, self._start)[2] + pika.spec.FRAME_END_SIZE
        if bytes(self._buffer[self._start : self._start + 4]) == b"AMQP":
            size = HEAD.size + 1   # a protocol header, by which a broker says that it speaks another version
        if size > MOST_FRAME_BYTES:
            raise InvalidFrameError(f"A frame of {size} bytes; at most {MOST_FRAME_BYTES} are waited for")
        if self._start + size > len(self._buffer):
            self._move_to_front(size)
        return size if there >= size else 0

    def _decode(self, size: int) -> Iterator[Any]:
        """Let pika read a frame; a body that is announced is put together here from now on."""
        _, frame = pika.frame.decode_frame(bytes(self._buffer[self._start : self._start + size]))
        self._start += size
        channel = getattr(frame, "channel_number", -1)   # a protocol header has none
        if self._body is not None and self._body.channel == channel:
            broken, self._body = self._body, None   # pika shall see what came of it, and say what is wrong
            self._seen[channel] = broken.filled, broken.size
            yield broken.finish()
        if isinstance(frame, pika.frame.Header):
            self._announced(channel, frame.body_size)
        elif isinstance(frame, pika.frame.Body):
            self._passed_on(channel, len(frame.fragment))
        yield frame

    def _announced(self, channel: int, size: int) -> None:
        """Take note of the size of a body; it is put together here unless pika has a part of one to which it would add this."""
        seen = self._seen.get(channel, (0, 0))[0]
        self._seen[channel] = seen, size
        if not size:
            del self._seen[channel]
        elif not seen and self._body is None and size <= self._most_body_bytes:
            self._body = _Body(channel, size)

    def _passed_on(self, channel: int, count: int) -> None:
        """Take note of a part of a body that pika puts together."""
        self.body_bytes += count
        seen, size = self._seen.get(channel, (0, 0))
        self._seen[channel] = seen + count, size
        if seen + count == size:
            del self._seen[channel]

    def _move_to_front(self, size: int = 0) -> None:
        """Make room behind what is not read yet, for a frame of ``size`` bytes; a large one gets a buffer of its own."""
        before, there = self._buffer, self._end - self._start
        if size > len(before) or (there == 0 and len(before) > self._buffer_bytes):
            self._buffer = memoryview(bytearray(max(size, self._buffer_bytes)))
        if self._start or self._buffer is not before:
            self._buffer[:there] = before[self._start : self._end]
        self._start, self._end = 0, there
