"""What is particular to the real link; what it must do as a link stands in ``tests/contract``."""

import socket
import time

import pytest
from tests.fakes.proxy import Proxy

from modelcast.shared import pika_link
from modelcast.shared.amqp_channel import AmqpInbox
from modelcast.shared.broker_url import BrokerUrl
from modelcast.shared.errors import BrokerUnreachable, MisuseError
from modelcast.shared.pika_link import (
    BLOCKED_SECONDS,
    HEARTBEAT_SECONDS,
    PikaBroker,
    PikaLink,
    _parameters,
)
from modelcast.shared.topology import Queue


def test_a_url_that_is_none_is_refused_before_anything_is_opened() -> None:
    with pytest.raises(MisuseError):
        PikaBroker("http://broker")


def test_the_defaults_are_ours_and_the_url_overrides_them() -> None:
    ours = _parameters(BrokerUrl.parse("amqp://broker/v"), "name")
    assert (ours.heartbeat, ours.blocked_connection_timeout) == (HEARTBEAT_SECONDS, BLOCKED_SECONDS)
    assert ours.client_properties["connection_name"] == "name"
    query = "heartbeat=7&blocked_connection_timeout=8&socket_timeout=9"
    theirs = _parameters(BrokerUrl.parse(f"amqp://broker/v?{query}"), "name")
    assert (theirs.heartbeat, theirs.blocked_connection_timeout, theirs.socket_timeout) == (7, 8, 9)


@pytest.mark.parametrize("query", ["heartbeat=abc", "nonsense=1", "ssl_options={", "blocked_connection_timeout=-1"])
def test_an_option_that_cannot_be_read_is_said_before_anything_is_connected(query: str) -> None:
    with pytest.raises(MisuseError, match="option in the broker's URL"):
        PikaBroker(f"amqp://broker/v?{query}")


@pytest.mark.parametrize("error", [ValueError("bad frame"), OverflowError("too large"), RecursionError("too deep")])
def test_a_message_that_the_library_cannot_decode_is_a_broken_link(broker_url: str, error: Exception) -> None:
    link: PikaLink = PikaBroker(broker_url).connect(name="poison")

    def poison() -> bool:
        raise error

    with pytest.raises(BrokerUnreachable, match=str(error)):
        link.pump(poison, 1.0)
    link.close()


def test_inboxes_that_were_closed_are_forgotten(broker_url: str) -> None:
    link = PikaBroker(broker_url).connect(name="forgetful")
    link.declare([Queue("q")])
    for _ in range(5):
        inbox = link.inbox("q", prefetch=1)
        assert isinstance(inbox, AmqpInbox)
        inbox.close()
    assert len(link._inboxes) == 1
    link.close()


def test_a_broker_that_takes_the_connection_and_says_nothing_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pika_link, "CONNECT_SECONDS", 0.3)   # sooner than pika gives up by itself, and so it is closed while it opens
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(BrokerUnreachable, match="no answer"):
        PikaBroker(f"amqp://127.0.0.1:{silent.getsockname()[1]}/?socket_timeout=20&stack_timeout=20").connect(name="hopeful")


def test_a_broker_that_does_not_answer_a_goodbye_keeps_no_socket_open(broker_url: str) -> None:
    account, _, rest = broker_url.rpartition("@")
    with Proxy(BrokerUrl.parse(broker_url).port) as proxy:
        link = PikaBroker(f"{account}@127.0.0.1:{proxy.port}/{rest.partition('/')[2]}").connect(name="left")
        used = [link._connection._transport._sock, link.companion()._connection._transport._sock]
        proxy.black_hole()
        began = time.monotonic()
        link.close()
        assert time.monotonic() - began < 10
        assert [sock.fileno() for sock in used] == [-1, -1]


def test_a_line_that_is_slower_than_the_patience_is_no_silent_broker(broker_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pika_link, "REPLY_SECONDS", 0.6)
    with Proxy(BrokerUrl.parse(broker_url).port, buffer_bytes=16 * 1024) as proxy:
        account, _, rest = broker_url.rpartition("@")
        link = PikaBroker(f"{account}@127.0.0.1:{proxy.port}/{rest.partition('/')[2]}").connect(name="slow")
        link.declare([Queue("q")])
        outbox = link.outbox(window=8)
        proxy.set(proxy.up, rate=200_000)
        for _ in range(4):
            outbox.post("", bytes(128 * 1024), routing_key="q")
        began = time.monotonic()
        outbox.flush()
        assert time.monotonic() - began > 2 * pika_link.REPLY_SECONDS
        proxy.black_hole()
        outbox.post("", b"lost", routing_key="q")
        with pytest.raises(BrokerUnreachable, match="did not answer within"):   # what waits does not go out any more
            outbox.flush()
        link.close()
