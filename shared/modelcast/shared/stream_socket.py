"""The socket of a stream connection: bytes in and out, with a deadline for every wait and one buffer that is used again.

Decides how a node is reached, with TLS by the same options as AMQP, and when a peer counts as gone. Received bytes are handed out
as views of the buffer and never copied. Heartbeats are sent while waiting.
Each call that waits lets go of the interpreter, and beside a busy thread getting it back takes 5 ms: so few calls, and large ones.
Imports the buffer, the address and the errors; no thread.
"""

import ast
import select
import socket
import ssl
import struct
import sys
import time
from dataclasses import dataclass

from modelcast.shared.broker_url import BrokerUrl
from modelcast.shared.errors import BrokerUnreachable, MisuseError
from modelcast.shared.limits import shortened
from modelcast.shared.receive_window import LITTLE_BYTES, ReceiveWindow

SEND_SECONDS = 10.0
"""Longest wait for a peer to take a request of some hundred bytes."""
TRUSTED = (("ca_certs", "cafile"), ("ca_path", "capath"), ("ca_data", "cadata"))
"""The names that pika takes for whose certificates are trusted."""
GONE_MS = 60_000
"""What we sent must be acknowledged in that time (TCP), or the way is gone."""

_TIMEVAL = struct.Struct("@ll")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a node listens for the stream protocol."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class StreamSocket:
    """A TCP or TLS connection to a node; owned by one thread.

    Args:
        address: The node.
        url: Whether and how to use TLS.
        seconds: How long connecting may take.

    Attributes:
        beat: What is sent when nothing else was for half of ``heartbeat_seconds``.
        heartbeat_seconds: After two of them without a byte the peer counts as gone; 0 is never.
        capacity: How many bytes the buffer has.
        received: How many bytes came so far.

    Raises:
        BrokerUnreachable: Nothing answered in time, or TLS did not come about.
    """

    def __init__(self, address: Address, url: BrokerUrl, seconds: float) -> None:
        self._address, self._url = address, url
        self._window = ReceiveWindow()
        self.beat, self.heartbeat_seconds, self.received = b"", 0, 0
        self._socket = self._connected(time.monotonic() + seconds)
        self._is_plain = not isinstance(self._socket, ssl.SSLSocket)
        self._poll = select.poll()
        self._heard = self._spoke = time.monotonic()

    def _connected(self, deadline: float) -> socket.socket:
        try:
            plain = socket.create_connection((self._address.host, self._address.port), timeout=deadline - time.monotonic())
        except (OSError, ValueError, OverflowError) as error:
            raise BrokerUnreachable(
                f"No RabbitMQ answers at {self._address} by the stream protocol ({_reason(error)}).",
                hint="Is the plugin rabbitmq_stream enabled, and the port open?", facts={"url": str(self._url)},
            ) from error
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if sys.platform == "linux":
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GONE_MS)
            tls = tls_of(self._url)
            if tls is not None:
                context, name = tls
                plain.settimeout(max(0.001, deadline - time.monotonic()))
                plain = context.wrap_socket(plain, server_hostname=name or self._address.host)
            plain.setblocking(tls is None)   # with a limit of its own for each call; ssl has none that could be trusted
        except (OSError, ValueError) as error:   # a certificate that is refused is both
            plain.close()
            raise BrokerUnreachable(
                f"No TLS with {self._address} ({_reason(error)}).", facts={"url": str(self._url)}
            ) from error
        return plain

    @property
    def capacity(self) -> int:
        """How many bytes the buffer has."""
        return self._window.capacity

    def need(self, count: int, deadline: float) -> memoryview | None:
        """Return the next ``count`` bytes in one piece, and leave them there; None when not all have come by ``deadline``.

        The view is good until the next call.

        Raises:
            BrokerUnreachable: The connection broke, or nothing was heard for two heartbeats.
        """
        window = self._window
        while window.held < count:
            room = window.room(count)
            try:
                if not self._is_plain:
                    received = self._receive_decrypted(room, deadline)
                elif window.held:   # all that is missing, in one call
                    received = self._receive(room[: count - window.held], deadline, socket.MSG_WAITALL)
                else:   # whatever is there, be it much or little
                    received = self._receive(room, deadline, 0)
            except (OSError, ValueError) as error:
                raise self._lost(_reason(error)) from error
            if received is None:
                return None
            if not received:
                raise self._lost("the other side ended it")
            window.filled(received)
            self.received += received
            self._heard = time.monotonic()
        return window.view(count)

    def _receive(self, room: memoryview, deadline: float, flags: int) -> int | None:
        """Receive into ``room``; return how many bytes, 0 at the end of the connection, None when none came by ``deadline``."""
        while True:
            self.keep_alive()
            microseconds = int(self._patience(deadline) * 1e6)
            try:
                if microseconds <= 0:
                    return self._socket.recv_into(room, len(room), socket.MSG_DONTWAIT)
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEVAL.pack(*divmod(microseconds, 1_000_000)))
                return self._socket.recv_into(room, len(room), flags)
            except BlockingIOError:
                if self._is_over(deadline):
                    return None

    def _receive_decrypted(self, room: memoryview, deadline: float) -> int | None:
        """Receive a record of TLS, 16 KiB at most; like ``_receive``."""
        while True:
            self.keep_alive()
            try:
                return self._socket.recv_into(room)
            except (BlockingIOError, ssl.SSLWantReadError):
                event = select.POLLIN
            except ssl.SSLWantWriteError:
                event = select.POLLOUT
            while not self._ready(event, self._patience(deadline)):
                if self._is_over(deadline):
                    return None
                self.keep_alive()

    def take(self, count: int) -> None:
        """Let go of ``count`` bytes that ``need`` has shown."""
        self._window.take(count)

    def pass_over(self, count: int, deadline: float) -> int:
        """Let go of up to ``count`` bytes that are of no use, as they come; returns how many are left at ``deadline``."""
        while count:
            piece = min(count, LITTLE_BYTES)
            if self.need(piece, deadline) is None:
                break
            self.take(piece)
            count -= piece
            if time.monotonic() >= deadline:
                break   # whoever sends without end must not hold us here
        return count

    def send(self, frame: bytes) -> None:
        """Send a frame; raises BrokerUnreachable when the connection broke or the peer takes nothing."""
        left, deadline = memoryview(frame), time.monotonic() + SEND_SECONDS
        while left:
            try:
                left = left[self._socket.send(left, socket.MSG_DONTWAIT if self._is_plain else 0) :]
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
                event = select.POLLIN if isinstance(error, ssl.SSLWantReadError) else select.POLLOUT
                if not self._ready(event, deadline - time.monotonic()) and time.monotonic() >= deadline:
                    raise self._lost(f"it took nothing for {SEND_SECONDS:.0f} s") from None
            except (OSError, ValueError) as error:
                raise self._lost(_reason(error)) from error
        self._spoke = time.monotonic()

    def keep_alive(self) -> None:
        """Send a heartbeat when it is time; for owners that are busy between two waits."""
        if self.heartbeat_seconds and time.monotonic() - self._spoke >= self.heartbeat_seconds / 2:
            self.send(self.beat)

    def _patience(self, deadline: float) -> float:
        """Return for how many seconds to wait at once: to ``deadline``, or until a heartbeat is due on either side."""
        now = time.monotonic()
        if not self.heartbeat_seconds:
            return deadline - now
        return min(deadline, self._heard + 2 * self.heartbeat_seconds, self._spoke + self.heartbeat_seconds / 2) - now

    def _is_over(self, deadline: float) -> bool:
        """Whether ``deadline`` is reached; raises BrokerUnreachable when the peer was silent for too long."""
        now = time.monotonic()
        if self.heartbeat_seconds and now >= self._heard + 2 * self.heartbeat_seconds:
            raise self._lost(f"nothing was heard of it for {2 * self.heartbeat_seconds} s")
        return now >= deadline

    def _ready(self, event: int, seconds: float) -> bool:
        try:
            self._poll.register(self._socket, event)
            return bool(self._poll.poll(max(0.0, seconds) * 1000))
        except (OSError, ValueError) as error:
            raise self._lost(_reason(error)) from error

    def _lost(self, why: str) -> BrokerUnreachable:
        return BrokerUnreachable(f"The stream connection to {self._address} broke: {why}.", facts={"url": str(self._url)})

    def close(self) -> None:
        """Close the socket. Never raises."""
        try:
            self._socket.close()
        except OSError:
            return   # it is closed all the same


def tls_of(url: BrokerUrl) -> tuple[ssl.SSLContext, str | None] | None:
    """Return the TLS context that a URL asks for and the name that the certificate must have (None: the host's), or None.

    The option ``ssl_options`` means what it means to pika, so that one URL serves both protocols.

    Raises:
        MisuseError: The option cannot be read.
    """
    option = url.option("ssl_options")
    if option is None or option == "None":
        return (ssl.create_default_context(), None) if url.is_tls else None
    try:
        given = ast.literal_eval(option)
        context = ssl.SSLContext(given.get("protocol", ssl.PROTOCOL_TLS_CLIENT))
        context.load_verify_locations(*(given.get(new) or given.get(old) for new, old in TRUSTED))
        if "certfile" in given:
            context.load_cert_chain(given["certfile"], given.get("keyfile"), given.get("password"))
        if "ciphers" in given:
            context.set_ciphers(given["ciphers"])
        return context, given.get("server_hostname")
    except (ValueError, TypeError, SyntaxError, AttributeError, OSError) as error:
        raise MisuseError(f"The option 'ssl_options' in the broker's URL cannot be read: {_reason(error)}.") from error


def _reason(error: BaseException) -> str:
    return shortened(getattr(error, "strerror", None) or str(error) or type(error).__name__, 200).rstrip(".")
