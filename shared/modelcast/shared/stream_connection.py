"""A connection of the RabbitMQ stream protocol: logged in, in its virtual host, asking one thing at a time.

Decides how a login goes, what the broker's refusals mean in our errors, and which frames may come when; whatever else comes is a
``ProtocolViolation``. Every wait has a deadline. Imports the codec, the socket, the address and the errors.
"""

import time
from collections.abc import Callable
from typing import TypeVar

from modelcast.shared import stream_codec as codec
from modelcast.shared.broker_url import BrokerUrl
from modelcast.shared.errors import (
    AuthenticationRefused,
    BrokerUnreachable,
    HostFault,
    PermissionRefused,
    ProtocolViolation,
    TopologyMismatch,
    VhostMissing,
)
from modelcast.shared.limits import KIB
from modelcast.shared.stream_codec import Answer, Code, Control, FrameHead, Key, Placement
from modelcast.shared.stream_socket import Address, StreamSocket

HEARTBEAT_SECONDS = 30
"""As of the AMQP connection."""
REPLY_SECONDS = 10.0
"""Longest wait for an answer; a broker answers in milliseconds or is not there."""
FRAME_BYTES = 64 * KIB
"""Most that is sent to the broker in one frame; ours are below 1 KiB. What it sends may be larger."""

Wanted = TypeVar("Wanted", bound=Control)


class StreamConnection:
    """A connection to one node; owned by one thread.

    Args:
        address: The node.
        url: User, password, virtual host and TLS, the same as for AMQP.
        name: What the broker's operators see the connection as.
        connect_seconds: How long the node may take to answer at all.
        reply_seconds: How long it may take for an answer, and for the whole login.

    Attributes:
        address: The node, as it was asked for.
        advertised: The node's own word for where it is, or None when it says nothing.
        socket: Where the bytes come from.

    Raises:
        BrokerUnreachable: Nothing answered in time.
        AuthenticationRefused: Wrong user or password.
        VhostMissing: No such virtual host, or not for this user.
        ProtocolViolation: What answered does not speak the stream protocol.
    """

    def __init__(
        self, address: Address, url: BrokerUrl, name: str, *, connect_seconds: float, reply_seconds: float = REPLY_SECONDS
    ) -> None:
        self.address, self._url, self._reply_seconds = address, url, reply_seconds
        self.advertised: Address | None = None
        self._correlation = 0
        self.socket = StreamSocket(address, url, connect_seconds)
        self.socket.beat = codec.heartbeat()
        try:
            self._log_in(name, time.monotonic() + reply_seconds)
        except BaseException:
            self.socket.close()
            raise

    def _log_in(self, name: str, deadline: float) -> None:
        url = self._url
        self.ask(lambda number: codec.peer_properties(number, {"product": "modelcast", "connection_name": name}), deadline)
        offered = self.ask(codec.sasl_handshake, deadline)
        if "PLAIN" not in offered.words:
            raise AuthenticationRefused(f"The broker at {self.address} offers no login by password.", facts={"url": str(url)})
        answer = self.ask(lambda number: codec.sasl_plain(number, url.user, url.password), deadline)
        if answer.code != Code.OK:
            raise AuthenticationRefused(
                f"The broker at {self.address} refuses user {url.user!r} with this password.",
                hint=f"Check the URL; set a new password with: rabbitmqctl change_password {url.user}",
                facts={"url": str(url), "code": answer.code},
            )
        tuning = self._await(codec.Tuning, deadline)
        option = url.option("heartbeat") or ""
        ours = int(option) if option.isascii() and option.isdecimal() else HEARTBEAT_SECONDS
        beats = [seconds for seconds in (ours, tuning.heartbeat_seconds) if seconds]
        self.socket.heartbeat_seconds = min(beats, default=0)
        self.socket.send(codec.tune(min(FRAME_BYTES, tuning.frame_bytes or FRAME_BYTES), self.socket.heartbeat_seconds))
        opened = self.ask(lambda number: codec.open_vhost(number, url.vhost), deadline)
        if opened.code != Code.OK:
            raise VhostMissing(
                f"There is no virtual host {url.vhost!r} at {self.address}, or user {url.user!r} may not enter it.",
                facts={"url": str(url), "code": opened.code},
            )
        host, port = opened.words.get("advertised_host"), opened.words.get("advertised_port", "")
        if host and port.isascii() and port.isdecimal() and len(port) <= 5:
            self.advertised = Address(host, int(port))

    # ----------------------------------------------------------------- requests

    def ask(self, request: Callable[[int], bytes], deadline: float | None = None) -> Answer:
        """Send a request and return the broker's answer to it.

        Args:
            request: Makes the frame from the number by which the answer will be known.
            deadline: Of ``time.monotonic``; ``reply_seconds`` from now when None.

        Raises:
            HostFault: The connection broke, or no answer came in time.
        """
        number = self._say(request)
        answer = self._await(Answer, deadline)
        if answer.correlation != number:
            raise ProtocolViolation(f"The broker answered request {answer.correlation}; it was asked {number}.")
        return answer

    def placement(self, stream: str) -> Placement:
        """Ask which nodes have a stream.

        Raises:
            TopologyMismatch: There is no such stream.
            HostFault: No node has it at the moment, or like ``ask``.
        """
        number = self._say(lambda correlation: codec.metadata(correlation, stream))
        found = self._await(Placement, None)
        if found.correlation != number:
            raise ProtocolViolation(f"The broker answered request {found.correlation}; it was asked {number}.")
        self._check(found.code, stream)
        return found

    def subscribe(self, subscription: int, stream: str, offset: int | str, credit: int) -> None:
        """Let the broker send ``credit`` osiris chunks of ``stream`` from ``offset`` on.

        Raises:
            TopologyMismatch: There is no such stream.
            PermissionRefused: This user may not read it.
            HostFault: The node does not have it at the moment, or like ``ask``.
        """
        answer = self.ask(lambda number: codec.subscribe(number, subscription, stream, offset, credit))
        self._check(answer.code, stream)

    def _check(self, code: int, stream: str) -> None:
        if code == Code.OK:
            return
        facts = {"stream": stream, "code": code}
        if code == Code.NO_STREAM:
            raise TopologyMismatch(
                f"There is no stream {stream!r} at {self.address}.", hint="The first publisher of a model makes it.", facts=facts
            )
        if code == Code.ACCESS_REFUSED:
            raise PermissionRefused(
                f"The broker does not let user {self._url.user!r} read the stream {stream!r}.",
                hint="Grant the user the permission to read it.", facts=facts,
            )
        raise BrokerUnreachable(f"The node at {self.address} does not give out {stream!r} now (code {code:#x}).", facts=facts)

    def _say(self, request: Callable[[int], bytes]) -> int:
        self._correlation += 1
        self.socket.send(request(self._correlation))
        return self._correlation

    def _await(self, wanted: type[Wanted], deadline: float | None) -> Wanted:
        deadline = time.monotonic() + self._reply_seconds if deadline is None else deadline
        while True:
            head = self.next_head(deadline)
            control = None if head is None else self.control(head, deadline)
            if control is None:
                raise BrokerUnreachable(f"The broker at {self.address} did not answer within {self._reply_seconds:.0f} s.")
            if isinstance(control, wanted):
                return control
            if not isinstance(control, codec.Heartbeat):
                raise ProtocolViolation(f"The broker sent {type(control).__name__} where {wanted.__name__} was due.")

    # ----------------------------------------------------------------- frames

    def next_head(self, deadline: float) -> FrameHead | None:
        """Return how the next frame begins, and leave it there; None when it has not come by ``deadline``."""
        head = self.socket.need(codec.HEAD_BYTES, deadline)
        return None if head is None else codec.read_head(head)

    def control(self, head: FrameHead, deadline: float) -> Control | None:
        """Take the frame of ``head``, which is no Deliver; None when not all of it has come by ``deadline``.

        Raises:
            HostFault: It ends the connection or the subscription, or should not have come.
        """
        if head.key == Key.DELIVER:
            raise ProtocolViolation("The broker delivered what nobody subscribed to.")
        frame = self.socket.need(codec.HEAD_BYTES + head.body_bytes, deadline)
        if frame is None:
            return None
        control = codec.read_control(head, frame[codec.HEAD_BYTES :])
        self.socket.take(len(frame))
        if isinstance(control, codec.Closing):
            raise BrokerUnreachable(f"The broker at {self.address} closed the connection: {control.reason}.")
        if isinstance(control, codec.Ended):
            raise BrokerUnreachable(f"The broker ended the reading of {control.stream!r}: it was deleted, or its node went.")
        if isinstance(control, codec.CreditRefused):
            raise BrokerUnreachable(f"The broker at {self.address} forgot the subscription (code {control.code:#x}).")
        return control

    def close(self) -> None:
        """Say goodbye and close the socket; nothing is waited for. Never raises."""
        try:
            self._say(lambda number: codec.close(number, "done"))
        except HostFault:
            pass   # it is gone already
        finally:
            self.socket.close()
