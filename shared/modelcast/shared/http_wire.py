"""The bytes of one connection to a server: TCP or TLS, a deadline for every wait, and a wait that another thread can end.

Decides how a server is reached and when it counts as gone. Bytes go from the socket to where the caller wants them, without a copy
between. Looks like a socket to ``http.client``. Imports the address and the errors; no thread.
"""

import io
import os
import select
import socket
import ssl
import sys
import threading
from contextlib import suppress
from typing import Any

from modelcast.shared.errors import BrokerUnreachable, MisuseError
from modelcast.shared.http_url import HttpUrl
from modelcast.shared.limits import KIB, shortened

CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 20.0
"""Longest pause between two bytes, either way: a server or a way that is gone is noticed then, or within twice that when it
goes in the middle of a large read."""
GATHERED_BYTES = 512 * KIB
"""Of a large read so much is waited for at once: a wake for each packet costs more than the packet."""
LARGE_BYTES = 64 * KIB
GONE_MS = 60_000
"""What we sent must be acknowledged in that time (TCP), or the way is gone."""


class Bell:
    """Ends a wait in another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._out, self._in = os.pipe()
        self._is_open = True
        os.set_blocking(self._out, False)
        os.set_blocking(self._in, False)

    def ring(self) -> None:
        """End the wait that goes on, or the next one; any thread may, at any time."""
        with self._lock:
            if self._is_open:
                with suppress(BlockingIOError):   # full of calls already
                    os.write(self._in, b"!")

    def fileno(self) -> int:
        """Return what becomes readable when it rings."""
        return self._out

    def wait(self, seconds: float) -> None:
        """Wait ``seconds``, or until it rings."""
        poll = select.poll()
        poll.register(self._out, select.POLLIN)
        if poll.poll(1000 * max(0.0, seconds)):
            self.hush()

    def hush(self) -> None:
        """Forget that it rang."""
        with suppress(BlockingIOError):
            os.read(self._out, 4096)

    def close(self) -> None:
        """Let go of it. Never raises."""
        with self._lock:
            if self._is_open:
                self._is_open = False
                os.close(self._in)
                os.close(self._out)


def tls_of(url: HttpUrl) -> ssl.SSLContext | None:
    """Return how certificates are checked, or None without TLS.

    Raises:
        MisuseError: The file of trusted authorities cannot be read.
    """
    if not url.is_tls:
        return None
    try:
        context = ssl.create_default_context(cafile=url.ca_file)
    except OSError as error:   # an SSLError, too
        raise MisuseError(f"Nobody's certificates can be read from {url.ca_file}: {_reason(error)}.") from error
    context.set_alpn_protocols(["http/1.1"])
    return context


class Wire:
    """A connection; owned by one thread.

    Args:
        url: Where to.
        tls: See ``tls_of``.

    Raises:
        BrokerUnreachable: Nobody answered, or the certificate is not good.
    """

    def __init__(self, url: HttpUrl, tls: ssl.SSLContext | None) -> None:
        self._url = url
        self._socket = self._connected(tls)
        self._first = b""
        self._least = 1
        self._reading, self._is_done = 0, False
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)

    def _connected(self, tls: ssl.SSLContext | None) -> socket.socket:
        url = self._url
        try:
            plain = socket.create_connection((url.host, url.port), timeout=CONNECT_SECONDS)
        except (OSError, ValueError, OverflowError) as error:
            raise BrokerUnreachable(
                f"No server answers at {url} ({_reason(error)}).", hint="Is it running (modelcast serve), and the port open?",
                facts={"url": str(url)},
            ) from error
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if sys.platform == "linux":
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GONE_MS)
            whole = plain if tls is None else tls.wrap_socket(plain, server_hostname=url.host)
            whole.settimeout(SILENCE_SECONDS)
        except (OSError, ValueError) as error:
            plain.close()
            raise BrokerUnreachable(
                f"No safe connection to {url} came about ({_reason(error)}).",
                hint="Name the file of the authority that signed its certificate: ?ca_file=/etc/ssl/models-ca.pem",
                facts={"url": str(url)},
            ) from error
        return whole

    def fileno(self) -> int:
        """Return what becomes readable when bytes are there."""
        return self._socket.fileno()

    def has_bytes(self, seconds: float, bell: Bell | None = None, beside: "Wire | None" = None) -> bool:
        """Wait until bytes or the end of the connection are there.

        Returns False after ``seconds``, when the bell rings, or when something came over the connection ``beside``.
        """
        if self._first:
            return True
        for each in (self, beside):
            if each is not None:
                each.gather(1)
        others = [other.fileno() for other in (bell, beside) if other is not None]
        for descriptor in others:
            self._poll.register(descriptor, select.POLLIN)
        try:
            ready = {descriptor for descriptor, _ in self._poll.poll(1000 * max(0.0, seconds))}
        finally:
            for descriptor in others:
                self._poll.unregister(descriptor)
        if bell is not None and bell.fileno() in ready:
            bell.hush()
        return self._socket.fileno() in ready and self._peeked()

    def _peeked(self) -> bool:
        """Whether what arrived is for us: with TLS it may be a record of its own, such as a session ticket."""
        if not isinstance(self._socket, ssl.SSLSocket):
            return True
        self._socket.settimeout(0.0)
        try:
            self._first = self._socket.recv(1)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except OSError:
            return True   # whoever reads is told
        finally:
            self._socket.settimeout(SILENCE_SECONDS)
        return True

    def receive_into(self, buffer: Any) -> int:
        """Receive some bytes; 0 is the end of the connection."""
        if self._first:
            memoryview(buffer)[:1] = self._first
            self._first = b""
            return 1
        count = len(buffer)
        self.gather(min(count, GATHERED_BYTES) if count >= LARGE_BYTES else 1)
        try:
            return self._socket.recv_into(buffer)
        except TimeoutError:
            if self._least == 1:
                raise
            return self._left_over(buffer)

    def gather(self, least: int) -> None:
        """Let the kernel wake us when so many bytes are there, or the end; it has no say in what TLS makes of them."""
        if least != self._least and sys.platform == "linux" and not isinstance(self._socket, ssl.SSLSocket):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, least)
            self._least = least

    def _left_over(self, buffer: Any) -> int:
        """Receive what is there, fewer bytes than were waited for: a slow line is not silent. Raises TimeoutError when it is."""
        self._socket.settimeout(0.0)
        try:
            return self._socket.recv_into(buffer)
        except BlockingIOError:
            raise TimeoutError("timed out") from None
        finally:
            self._socket.settimeout(SILENCE_SECONDS)

    def sendall(self, content: Any) -> None:
        """Send all of it; raises like ``socket.sendall``, but TimeoutError only when nothing of it went for ``SILENCE_SECONDS``."""
        left = memoryview(content).cast("B")
        while left:
            left = left[self._socket.send(left) :]

    def makefile(self, mode: str = "rb", *_: Any, **__: Any) -> io.BufferedReader:
        """See ``socket.makefile``: what one answer is read from; closing it leaves the connection open."""
        del mode
        self._reading += 1
        return io.BufferedReader(_Inflow(self))

    def let_go(self) -> None:
        """Take note that an answer was read, or is of no interest any more."""
        self._reading -= 1
        if self._is_done and not self._reading:
            self.end()

    def close(self) -> None:
        """See ``socket.close``: an answer that is being read is read to its end before the connection is closed. Never raises."""
        self._is_done = True
        if not self._reading:
            self.end()

    def end(self) -> None:
        """Close the connection at once. Never raises."""
        with suppress(OSError):
            self._socket.close()


class _Inflow(io.RawIOBase):
    """What comes in, as a raw file: a large read goes past the buffer above it, straight to where it is wanted."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def readable(self) -> bool:
        """See ``io.RawIOBase.readable``."""
        return True

    def readinto(self, buffer: Any) -> int:
        """See ``io.RawIOBase.readinto``."""
        return self._wire.receive_into(buffer)

    def close(self) -> None:
        """See ``io.IOBase.close``."""
        if not self.closed:
            self._wire.let_go()
        super().close()


def _reason(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    return shortened(getattr(error, "strerror", None) or str(error) or type(error).__name__, 200)
