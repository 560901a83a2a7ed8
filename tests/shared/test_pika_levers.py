"""What is changed inside pika does what pika does, with fewer copies; and is left alone where pika looks different."""

import struct
from types import SimpleNamespace

import pika
import pika.adapters.utils.io_services_utils as transports
import pika.data
import pika.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelcast.shared.pika_levers import (
    READ_BYTES,
    LeanConnection,
    body_pieces,
    publish,
    read_more_at_once,
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
    assert transports._AsyncTransportBase._MAX_RECV_BYTES < READ_BYTES
    for name in ("_send_message", "_output_marshaled_frames"):
        assert callable(getattr(pika.SelectConnection, name))
    link: PikaLink = PikaBroker(broker_url).connect(name="levers")
    transport = link._connection._transport
    assert (transport._MAX_RECV_BYTES, transport._MAX_CONSUME_BYTES) == (READ_BYTES, READ_BYTES)
    link.close()
    assert transports._AsyncTransportBase._MAX_RECV_BYTES < READ_BYTES   # other connections of this process are left alone


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


class Recorder(SimpleNamespace):
    """Looks like a pika channel, as far as ``publish`` looks."""

    def basic_publish(self, *arguments: object, **options: object) -> None:
        self.published = (arguments, options)


def test_where_pika_looks_different_it_is_used_as_it_comes() -> None:
    assert not read_more_at_once(SimpleNamespace())
    assert not read_more_at_once(SimpleNamespace(_transport=SimpleNamespace(_MAX_RECV_BYTES=4096)))
    channel = Recorder(is_open=True)
    publish(channel, "exchange", "key", memoryview(b"body"), "properties")
    assert channel.published == (("exchange", "key", b"body", "properties"), {"mandatory": True})


def test_a_connection_without_a_frame_size_sends_as_pika_does(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[object] = []
    monkeypatch.setattr(pika.SelectConnection, "_send_message", lambda _self, *arguments: sent.append(arguments))
    connection = LeanConnection.__new__(LeanConnection)
    connection._send_message(1, "method", ("properties", b"body"))
    assert sent == [(1, "method", ("properties", b"body"))]
