"""Bytes from a peer, with a deadline for every wait and one buffer; the peer is one that a test directs."""

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.fakes.certificates import server_context
from tests.fakes.stream_peer import HEARTBEAT, StreamPeer, frame

from modelcast.shared.broker_url import BrokerUrl
from modelcast.shared.errors import BrokerUnreachable, MisuseError
from modelcast.shared.receive_window import AHEAD_BYTES
from modelcast.shared.stream_socket import Address, StreamSocket, tls_of

SOON = 20.0
PLAIN = BrokerUrl.parse("amqp://u:p@127.0.0.1/")
Connect = Callable[..., StreamSocket]


def silent(*_: object) -> bytes:
    return b""


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Connects to a peer that greets with some bytes; all is closed after the test."""
    things: list[StreamPeer | StreamSocket] = []

    def connected(greeting: bytes = b"", answers: Callable[..., bytes | None] = silent, url: BrokerUrl = PLAIN,
                  tls: ssl.SSLContext | None = None) -> StreamSocket:
        peer = StreamPeer(answers, greeting=greeting, tls=tls)
        things.append(peer)
        made = StreamSocket(Address("127.0.0.1", peer.port), url, SOON)
        things.append(made)
        return made

    yield connected
    for thing in reversed(things):
        thing.close()


def soon() -> float:
    return time.monotonic() + SOON


# --------------------------------------------------------------------------- the buffer


def test_bytes_stay_until_they_are_taken(connect: Connect) -> None:
    stream = connect(b"abcdef")
    assert bytes(stream.need(2, soon()) or b"") == b"ab"
    assert bytes(stream.need(4, soon()) or b"") == b"abcd"
    stream.take(3)
    assert bytes(stream.need(3, soon()) or b"") == b"def"


def test_a_wait_ends_at_its_deadline_and_what_came_is_kept(connect: Connect) -> None:
    stream = connect(b"abc")
    assert stream.need(4, time.monotonic() + 0.2) is None
    assert bytes(stream.need(3, time.monotonic()) or b"") == b"abc"


def test_a_large_piece_of_which_a_part_has_come_is_waited_for_no_longer_than_told(connect: Connect) -> None:
    half = bytes(range(256)) * 4_000
    stream = connect(half, lambda *_: half)
    began = time.monotonic()
    while stream.need(len(half), time.monotonic() + 0.1) is None:
        assert time.monotonic() < began + SOON
    assert stream.need(2 * len(half), time.monotonic() + 0.2) is None
    assert time.monotonic() < began + SOON
    stream.send(frame(HEARTBEAT, b""))
    assert bytes(stream.need(2 * len(half), soon()) or b"") == 2 * half


def test_what_has_come_already_is_had_without_waiting(connect: Connect) -> None:
    stream = connect(bytes(3 * AHEAD_BYTES))
    assert stream.need(1, soon())
    while stream.need(2 * AHEAD_BYTES, time.monotonic() - 1) is None:
        assert stream.need(1, soon())
    assert stream.capacity <= 3 * AHEAD_BYTES


def test_what_is_of_no_use_is_let_go_of_without_being_kept(connect: Connect) -> None:
    stream = connect(bytes(3_000_000) + b"end")
    before = stream.capacity
    assert stream.pass_over(3_000_000, soon()) == 0
    assert bytes(stream.need(3, soon()) or b"") == b"end"
    assert stream.capacity == before
    stream.take(3)
    assert stream.pass_over(10, time.monotonic() + 0.1) == 10


def test_the_end_of_the_connection_is_told(connect: Connect) -> None:
    stream = connect(b"ab", lambda *_: None)
    stream.send(frame(HEARTBEAT, b""))
    with pytest.raises(BrokerUnreachable, match="the other side ended it"):
        stream.need(3, soon())
    stream.close()
    with pytest.raises(BrokerUnreachable):
        stream.need(3, soon())
    with pytest.raises(BrokerUnreachable):
        stream.send(b"x")
    stream.close()


def test_heartbeats_are_sent_while_waiting(connect: Connect) -> None:
    heard: list[int] = []

    def answers(key: int, *_: object) -> bytes:
        heard.append(key)
        return b"beat"

    stream = connect(answers=answers)
    stream.beat, stream.heartbeat_seconds = frame(HEARTBEAT, b""), 1
    assert bytes(stream.need(8, soon()) or b"") == b"beatbeat"   # each answers one of ours
    assert heard[:2] == [HEARTBEAT] * 2


def test_a_peer_that_is_silent_for_two_heartbeats_is_gone(connect: Connect) -> None:
    stream = connect()
    stream.beat, stream.heartbeat_seconds = frame(HEARTBEAT, b""), 1
    with pytest.raises(BrokerUnreachable, match="nothing was heard of it for 2 s"):
        stream.need(1, soon())


def test_a_peer_that_falls_silent_in_the_middle_of_a_large_piece_is_gone(connect: Connect) -> None:
    stream = connect(bytes(100_000))
    stream.beat, stream.heartbeat_seconds = frame(HEARTBEAT, b""), 1
    with pytest.raises(BrokerUnreachable, match="nothing was heard of it for 2 s"):
        stream.need(1_000_000, soon())


def test_a_piece_that_comes_bit_by_bit_keeps_no_heartbeat_waiting(connect: Connect) -> None:
    heard: list[int] = []

    def answers(key: int, *_: object) -> bytes:
        heard.append(key)
        return b"beat"

    stream = connect(b"first", answers)
    stream.beat, stream.heartbeat_seconds = frame(HEARTBEAT, b""), 1
    assert stream.need(1_000_000, time.monotonic() + 1.3) is None   # longer than two beats, one call for each
    assert len(heard) >= 2


def test_a_peer_that_takes_nothing_is_gone(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelcast.shared.stream_socket.SEND_SECONDS", 0.3)
    listener = socket.create_server(("127.0.0.1", 0))   # accepts and never reads
    stream = StreamSocket(Address("127.0.0.1", listener.getsockname()[1]), PLAIN, SOON)
    with pytest.raises(BrokerUnreachable, match="took nothing"):
        stream.send(bytes(64 << 20))
    stream.close()
    listener.close()


def test_a_port_where_nobody_listens_and_a_host_that_is_none_are_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(BrokerUnreachable, match=str(port)):
            StreamSocket(Address("127.0.0.1", port), PLAIN, SOON)
    for host in ("no-such-host.invalid", "a" * 300, "x..y"):
        with pytest.raises(BrokerUnreachable):
            StreamSocket(Address(host, 5552), PLAIN, SOON)
    with pytest.raises(BrokerUnreachable):
        StreamSocket(Address("127.0.0.1", 4_000_000_000), PLAIN, SOON)   # what a broker may call a port


# --------------------------------------------------------------------------- TLS


@pytest.fixture
def server_tls(tmp_path: Path) -> ssl.SSLContext:
    """A server's TLS for 127.0.0.1, whose certificate is in ``tmp_path``/cert.pem."""
    return server_context(tmp_path)


def tls_url(tmp_path: Path, more: str = "") -> BrokerUrl:
    return BrokerUrl.parse(f"amqps://u:p@127.0.0.1/?ssl_options={{'ca_certs':'{tmp_path}/cert.pem'{more}}}")


@pytest.mark.parametrize("more", ["", ",'server_hostname':'broker'"], ids=["by address", "by name"])
def test_bytes_come_through_tls(connect: Connect, server_tls: ssl.SSLContext, tmp_path: Path, more: str) -> None:
    body = bytes(range(256)) * 4_000
    stream = connect(body, url=tls_url(tmp_path, more), tls=server_tls)
    assert bytes(stream.need(len(body), soon()) or b"") == body
    assert stream.need(len(body) + 1, time.monotonic() + 0.2) is None


@pytest.mark.parametrize("url", ["unknown authority", "other name"])
def test_a_certificate_that_is_not_trusted_is_refused(connect: Connect, server_tls: ssl.SSLContext, tmp_path: Path, url: str) -> None:
    refused = BrokerUrl.parse("amqps://u:p@127.0.0.1/") if url == "unknown authority" else tls_url(tmp_path, ",'server_hostname':'else'")
    with pytest.raises(BrokerUnreachable, match="No TLS"):
        connect(url=refused, tls=server_tls)


def test_a_peer_that_speaks_no_tls_is_refused(connect: Connect, tmp_path: Path, server_tls: ssl.SSLContext) -> None:
    with pytest.raises(BrokerUnreachable, match="No TLS"):
        connect(b"plain text, and much of it", url=tls_url(tmp_path))


def test_the_options_mean_what_they_mean_to_the_amqp_library(tmp_path: Path, server_tls: ssl.SSLContext) -> None:
    assert tls_of(PLAIN) is None
    assert tls_of(BrokerUrl.parse("amqp://h/?ssl_options=None")) is None
    default = tls_of(BrokerUrl.parse("amqps://h/"))
    assert default is not None
    assert (default[0].verify_mode, default[1]) == (ssl.CERT_REQUIRED, None)
    client = f",'certfile':'{tmp_path}/cert.pem','keyfile':'{tmp_path}/key.pem','ciphers':'HIGH'"
    own = tls_of(tls_url(tmp_path, client))
    assert own is not None
    assert own[0].check_hostname
    for wrong in ("{", "7", "{'ca_certs':'/no/such/file'}"):
        with pytest.raises(MisuseError, match="ssl_options"):
            tls_of(BrokerUrl.parse(f"amqps://h/?ssl_options={wrong}"))
