"""What is changed inside pika does what pika does, with fewer copies; and is left alone where pika looks different."""

import socket
import ssl
import struct
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pika
import pika.adapters.utils.io_services_utils as transports
import pika.data
import pika.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.certificates import server_context

from modelcast.shared.pika_frames import FrameReader
from modelcast.shared.pika_levers import (
    READ_BYTES,
    LeanConnection,
    Pieces,
    body_pieces,
    hang_up,
    publish,
    read_in_place,
    send_pieces,
    tolerate_strange_headers,
)
from modelcast.shared.pika_link import PikaBroker, PikaLink
from modelcast.shared.topology import Queue


def table(*entries: bytes) -> bytes:
    body = b"".join(entries)
    return struct.pack(">I", len(body)) + body


POISON = b"\x01xT" + struct.pack(">Q", 2**62)
GOOD = b"\x01yI" + struct.pack(">i", 7)


@pytest.mark.parametrize("bad", [POISON, b"\x01x?unknown", b"\x01xF" + table(POISON), GOOD + POISON], ids=repr)
def test_a_table_that_cannot_be_decoded_counts_as_empty_and_reading_goes_on_behind_it(bad: bytes) -> None:
    for _ in range(2):
        tolerate_strange_headers()   # once is enough, twice does no harm
    encoded = b"before" + table(bad) + b"behind"
    decoded, offset = pika.data.decode_table(encoded, 6)
    assert decoded in ({}, {"x": {}})
    assert encoded[offset:] == b"behind"


def test_a_good_table_is_decoded_as_before() -> None:
    tolerate_strange_headers()
    assert pika.data.decode_table(table(GOOD), 0) == ({"y": 7}, len(table(GOOD)))


def test_pika_still_looks_as_the_levers_expect(broker_url: str) -> None:
    assert transports._AsyncTransportBase._MAX_CONSUME_BYTES < READ_BYTES
    for name in ("_send_message", "_output_marshaled_frames", "_on_data_available", "_process_frame"):
        assert callable(getattr(pika.SelectConnection, name))
    pikas_own = transports._AsyncTransportBase._sigint_safe_recv
    link: PikaLink = PikaBroker(broker_url).connect(name="levers")
    connection = link._connection
    assert isinstance(connection._reader, FrameReader)
    assert (connection._transport._MAX_CONSUME_BYTES, connection._frame_buffer) == (READ_BYTES, b"")
    assert connection._transport._sigint_safe_recv is not pikas_own
    link.close()
    assert transports._AsyncTransportBase._MAX_CONSUME_BYTES < READ_BYTES   # other connections of this process are left alone
    assert transports._AsyncTransportBase._sigint_safe_recv is pikas_own


def test_the_heartbeat_of_pika_still_goes_by_the_bytes_that_are_counted_here(broker_url: str) -> None:
    link: PikaLink = PikaBroker(broker_url).connect(name="counted")
    before = link._connection.bytes_received
    checker = link._connection._heartbeat_checker
    assert checker.bytes_received_on_connection == before > 0
    link.declare([Queue("q")])
    assert checker.bytes_received_on_connection > before
    link.close()


@given(st.binary(max_size=300), st.integers(min_value=1, max_value=100))
def test_pieces_are_the_frames_that_pika_would_send(body: bytes, most_bytes: int) -> None:
    frames = [pika.frame.Body(3, body[at : at + most_bytes]).marshal() for at in range(0, len(body), most_bytes)]
    assert b"".join(body_pieces(3, memoryview(body), most_bytes)) == b"".join(frames)


@pytest.mark.parametrize("size", [0, 1, 131_000, 131_064, 131_065, 3_000_001])
def test_a_view_arrives_as_the_bytes_that_it_shows(broker_url: str, size: int) -> None:
    link = PikaBroker(broker_url).connect(name="views")
    link.declare([Queue("q")])
    content = memoryview(bytearray(index % 251 for index in range(size)))
    outbox, inbox = link.outbox(window=4), link.inbox("q", prefetch=4)
    for body in (content, bytes(content)):
        outbox.post("", body, headers={"x": 1}, routing_key="q")
    outbox.flush()
    for _ in range(2):
        delivery = inbox.receive(10.0)
        assert delivery is not None
        assert (delivery.body, delivery.headers["x"]) == (bytes(content), 1)
    link.close()


class Stingy:
    """Takes a few bytes a time."""

    def __init__(self, limits: list[int]) -> None:
        self.limits, self.taken = limits, b""

    def sendmsg(self, pieces: list[bytes]) -> int:
        joined = b"".join(pieces)[: self.limits.pop() if self.limits else None]
        self.taken += joined
        return len(joined)


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=12), st.lists(st.integers(min_value=0, max_value=40), max_size=12))
def test_pieces_that_are_sent_a_few_bytes_a_time_arrive_whole(parts: list[bytes], limits: list[int]) -> None:
    sock, left = Stingy(limits), Pieces(parts)
    while len(left):
        left = left[left.send(sock) :]   # as pika puts back what was not sent
    assert sock.taken == b"".join(parts)


def test_a_large_body_is_few_calls(broker_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    link: PikaLink = PikaBroker(broker_url).connect(name="pieces")
    link.declare([Queue("pieces")])
    outbox, calls = link.outbox(window=1), 0
    pikas_own, whole = transports._AsyncTransportBase._sigint_safe_send, Pieces.send

    def counted(pieces: Pieces, sock: Any) -> int:
        nonlocal calls
        calls += 1
        return whole(pieces, sock)

    monkeypatch.setattr(Pieces, "send", counted)
    outbox.post("", memoryview(bytes(1_000_000)), routing_key="pieces")
    outbox.flush()
    assert 0 < calls < len(body_pieces(1, bytes(1_000_000), 131_064))
    assert transports._AsyncTransportBase._sigint_safe_send is pikas_own   # other connections of this process are left alone
    link.close()


@pytest.mark.parametrize("lacks", ["_sigint_safe_send", "_tx_buffers", "_produce"])
def test_a_transport_that_looks_different_gets_one_piece_a_time(lacks: str) -> None:
    parts = {"_sigint_safe_send": len, "_tx_buffers": deque[bytes](), "_produce": len}
    assert send_pieces(SimpleNamespace(**parts))
    del parts[lacks]
    assert not send_pieces(SimpleNamespace(**parts))


@pytest.fixture
def through_tls(tmp_path: Path) -> Iterator[tuple[ssl.SSLSocket, ssl.SSLSocket]]:
    """Both ends of a connection."""
    ends, server_tls = socket.socketpair(), server_context(tmp_path)
    with ThreadPoolExecutor(1) as other:
        served = other.submit(server_tls.wrap_socket, ends[0], server_side=True)
        client = ssl.create_default_context(cafile=str(tmp_path / "cert.pem")).wrap_socket(ends[1], server_hostname="broker")
        server = served.result(20.0)
    yield server, client
    server.close()
    client.close()


def looks_like_pika() -> Any:
    """A connection and its transport, as far as ``read_in_place`` looks."""
    transport = SimpleNamespace(_sigint_safe_recv=len, _MAX_CONSUME_BYTES=1)
    return SimpleNamespace(_transport=transport, _process_frame=len, _frame_buffer=b"", bytes_received=0)


def test_a_body_is_read_in_place_through_tls_too(through_tls: tuple[ssl.SSLSocket, ssl.SSLSocket]) -> None:
    server, client = through_tls
    connection = looks_like_pika()
    reader = read_in_place(connection)
    assert reader is not None
    body = bytes(range(250)) * 200
    wire = b"".join(frame.marshal() for frame in (pika.frame.Header(1, len(body), pika.BasicProperties()), pika.frame.Body(1, body)))
    frames: list[Any] = []
    with ThreadPoolExecutor(1) as other:
        other.submit(server.sendall, wire)
        while len(frames) < 2:
            frames += reader.take(len(connection._transport._sigint_safe_recv(client, 4096)))
    assert frames[1].fragment == body


def test_pieces_go_through_tls_one_a_time(through_tls: tuple[ssl.SSLSocket, ssl.SSLSocket]) -> None:
    server, client = through_tls
    left = Pieces([b"head", memoryview(bytes(1000)), b"end"])
    while len(left):
        left = left[left.send(client) :]
    assert b"".join(server.recv(2000) for _ in range(3)) == b"head" + bytes(1000) + b"end"


class Recorder(SimpleNamespace):
    """Looks like a pika channel, as far as ``publish`` looks."""

    def basic_publish(self, *arguments: object, **options: object) -> None:
        self.published = (arguments, options)


def test_where_pika_looks_different_it_is_used_as_it_comes() -> None:
    assert read_in_place(looks_like_pika()) is not None
    for name, value in {"_transport": SimpleNamespace(), "_process_frame": None, "_frame_buffer": [], "bytes_received": None}.items():
        connection = looks_like_pika()
        setattr(connection, name, value)
        assert read_in_place(connection) is None
    channel = Recorder(is_open=True)
    publish(channel, "exchange", "key", memoryview(b"body"), "properties")
    assert channel.published == (("exchange", "key", b"body", "properties"), {"mandatory": True})


def test_what_has_no_transport_cannot_be_hung_up_on() -> None:
    assert not hang_up(SimpleNamespace(_transport=None))
    assert not hang_up(SimpleNamespace(_transport=SimpleNamespace(abort=None)))


def test_a_connection_that_cannot_be_read_in_place_receives_as_pika_does(monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[object] = []
    monkeypatch.setattr(pika.SelectConnection, "_on_data_available", lambda _self, data: received.append(data))
    connection = LeanConnection.__new__(LeanConnection)
    connection._on_data_available(b"bytes")
    assert received == [b"bytes"]


def test_a_connection_without_a_frame_size_sends_as_pika_does(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[object] = []
    monkeypatch.setattr(pika.SelectConnection, "_send_message", lambda _self, *arguments: sent.append(arguments))
    connection = LeanConnection.__new__(LeanConnection)
    connection._send_message(1, "method", ("properties", b"body"))
    assert sent == [(1, "method", ("properties", b"body"))]
