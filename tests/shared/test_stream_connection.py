"""Logging in by the stream protocol: at a real node, and at one that answers wrongly, in part or not at all."""

import struct
import time
from collections.abc import Callable, Iterator

import pytest
from tests.fakes import stream_peer as peer
from tests.fakes.stream_peer import GoodNode, StreamPeer

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
from modelcast.shared.localbroker.node import PrivateNode
from modelcast.shared.pika_link import PikaBroker
from modelcast.shared.stream_connection import StreamConnection
from modelcast.shared.stream_socket import Address
from modelcast.shared.topology import stream

SOON = 20.0
BRIEF = 0.3
URL = BrokerUrl.parse("amqp://user:se%20cret@127.0.0.1/fraud")
Talk = Callable[..., StreamConnection]


@pytest.fixture
def talk() -> Iterator[Talk]:
    """Connects to a node that answers as told; all is closed after the test."""
    things: list[StreamPeer | StreamConnection] = []

    def connected(answers: peer.Answers, *, url: BrokerUrl = URL, reply_seconds: float = SOON, greeting: bytes = b"") -> StreamConnection:
        node = StreamPeer(answers, greeting=greeting)
        things.append(node)
        made = StreamConnection(Address("127.0.0.1", node.port), url, "test", connect_seconds=SOON, reply_seconds=reply_seconds)
        things.append(made)
        return made

    yield connected
    for thing in reversed(things):
        thing.close()


def at(node: PrivateNode, url: str) -> StreamConnection:
    port = node.status().stream_port
    assert port is not None
    return StreamConnection(Address("127.0.0.1", port), BrokerUrl.parse(url), "test", connect_seconds=SOON)


# --------------------------------------------------------------------------- a real node


def test_a_node_lets_in_who_may_and_says_where_it_is(node: PrivateNode, broker_url: str) -> None:
    connection = at(node, broker_url)
    assert connection.advertised == Address("127.0.0.1", node.status().stream_port or 0)
    connection.close()
    connection.close()
    with pytest.raises(HostFault):
        connection.placement("s")


def test_a_wrong_password_is_refused_without_showing_it(node: PrivateNode, broker_url: str) -> None:
    user = BrokerUrl.parse(broker_url).user
    wrong = f"amqp://{user}:wrong-secret@{broker_url.rpartition('@')[2]}"
    with pytest.raises(AuthenticationRefused, match=user) as caught:
        at(node, wrong)
    assert "wrong-secret" not in f"{caught.value} {caught.value.hint} {caught.value.facts}"


def test_a_virtual_host_that_is_not_there_is_named(node: PrivateNode, broker_url: str) -> None:
    with pytest.raises(VhostMissing, match="no-such-vhost"):
        at(node, broker_url.rpartition("/")[0] + "/no-such-vhost")


def test_a_stream_that_is_not_there_is_named(node: PrivateNode, broker_url: str) -> None:
    connection = at(node, broker_url)
    with pytest.raises(TopologyMismatch, match="no-such-stream"):
        connection.placement("no-such-stream")
    with pytest.raises(TopologyMismatch, match="no-such-stream"):
        connection.subscribe(0, "no-such-stream", "first", 1)
    connection.close()


def test_a_stream_that_one_may_not_read_is_refused(node: PrivateNode, broker_url: str) -> None:
    vhost = BrokerUrl.parse(broker_url).vhost
    link = PikaBroker(broker_url).connect(name="maker")
    link.declare([stream("secret", max_bytes=1 << 24, segment_bytes=1 << 24)])
    link.close()
    node.control("add_user", f"blind-{vhost}", "p")
    node.control("set_permissions", "-p", vhost, f"blind-{vhost}", "", "", "")
    connection = at(node, f"amqp://blind-{vhost}:p@{broker_url.rpartition('@')[2]}")
    with pytest.raises(PermissionRefused, match="secret"):
        connection.subscribe(0, "secret", "first", 1)
    connection.close()


def test_the_amqp_port_does_not_speak_the_stream_protocol(node: PrivateNode, broker_url: str) -> None:
    url = BrokerUrl.parse(broker_url)
    with pytest.raises(HostFault):
        StreamConnection(Address(url.host, url.port), url, "test", connect_seconds=SOON)


# --------------------------------------------------------------------------- what is said


def test_a_node_hears_who_calls_and_what_was_agreed(talk: Talk) -> None:
    node = GoodNode(heartbeat=7)
    connection = talk(node)
    heard = dict(node.heard)
    assert b"connection_name\x00\x04test" in heard[peer.PEER]
    assert heard[peer.LOGIN].endswith(b"\0user\0se cret")
    assert heard[peer.TUNE] == struct.pack(">II", 65_536, 7)   # the lower heartbeat
    assert heard[peer.OPEN].endswith(peer.text("fraud"))
    assert connection.socket.heartbeat_seconds == 7


@pytest.mark.parametrize(("option", "proposed", "agreed"), [("", 60, 30), ("?heartbeat=5", 60, 5), ("?heartbeat=0", 60, 60), ("", 0, 30)])
def test_the_lower_heartbeat_that_is_not_none_is_taken(talk: Talk, option: str, proposed: int, agreed: int) -> None:
    node = GoodNode(heartbeat=proposed)
    connection = talk(node, url=BrokerUrl.parse(f"amqp://u:p@127.0.0.1/{option}"))
    assert connection.socket.heartbeat_seconds == agreed


def test_where_a_stream_is_is_told(talk: Talk) -> None:
    node = GoodNode()
    node.nodes, node.leader, node.replicas = [("a", 1), ("b", 2)], 1, [0]
    found = talk(node).placement("s")
    assert (found.leader, found.replicas) == (("b", 2), (("a", 1),))


# --------------------------------------------------------------------------- what may go wrong

STEPS = [peer.PEER, peer.SASL, peer.LOGIN, peer.OPEN]
JUNK = {
    "nothing fits": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "too long": b"\xff\xff\xff\xff\x80\x11\x00\x01",
    "too short": b"\x00\x00\x00\x01\x80\x11\x00\x01",
    "wrong number": peer.answer(peer.PEER, 4_711),
    "a delivery": peer.deliver(0, b"x"),
    "an update": peer.frame(peer.UPDATE, struct.pack(">H", 6) + peer.text("s")),
    "the end": peer.frame(peer.CLOSE, struct.pack(">IH", 1, 1) + peer.text("go away")),
    "a refused credit": peer.frame(0x8009, struct.pack(">HB", 4, 0)),
    "a request": peer.frame(peer.SUBSCRIBE, b"\0" * 20),
    "a cut answer": peer.frame(0x8011, b"\0\0\0"),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("junk", JUNK.values(), ids=JUNK.keys())
def test_a_wrong_answer_at_any_step_is_an_error_of_the_host(talk: Talk, step: int, junk: bytes) -> None:
    with pytest.raises(HostFault):
        talk(GoodNode(instead={step: junk}))


@pytest.mark.parametrize("step", STEPS)
def test_a_node_that_hangs_up_at_any_step_is_unreachable(talk: Talk, step: int) -> None:
    with pytest.raises(BrokerUnreachable):
        talk(GoodNode(instead={step: None}))


@pytest.mark.parametrize("said", [b"", b"\x00\x00\x00\x30\x80\x11\x00\x01half"], ids=["nothing", "half"])
@pytest.mark.parametrize("step", STEPS)
def test_a_node_that_falls_silent_at_any_step_is_given_up_at_the_deadline(talk: Talk, step: int, said: bytes) -> None:
    began = time.monotonic()
    with pytest.raises(BrokerUnreachable, match="did not answer"):
        talk(GoodNode(instead={step: said}), reply_seconds=BRIEF)
    assert time.monotonic() - began >= BRIEF


def test_heartbeats_do_not_lengthen_the_wait_for_an_answer(talk: Talk) -> None:
    with pytest.raises(BrokerUnreachable, match="did not answer"):
        talk(GoodNode(instead={peer.PEER: peer.frame(peer.HEARTBEAT, b"") * 3}), reply_seconds=BRIEF)


def test_a_node_without_login_by_password_refuses_everybody(talk: Talk) -> None:
    def external(key: int, correlation: int, _: bytes) -> bytes:
        return peer.answer(key, correlation, rest=struct.pack(">I", 1) + peer.text("EXTERNAL") if key == peer.SASL else b"")

    with pytest.raises(AuthenticationRefused, match="password"):
        talk(external)


def test_a_refused_subscription_says_why(talk: Talk) -> None:
    for code, error in ((2, TopologyMismatch), (6, BrokerUnreachable), (0x10, PermissionRefused), (0x11, BrokerUnreachable)):
        node = GoodNode(instead={peer.SUBSCRIBE: peer.answer(peer.SUBSCRIBE, 5, code)})
        with pytest.raises(error, match="'s'"):
            talk(node).subscribe(0, "s", "first", 1)


def test_an_answer_about_another_request_is_a_violation(talk: Talk) -> None:
    for key in (peer.SUBSCRIBE, peer.METADATA):
        wrong = peer.answer(key, 99) if key == peer.SUBSCRIBE else peer.placement(99, [], 0, [])
        connection = talk(GoodNode(instead={key: wrong}))
        with pytest.raises(ProtocolViolation, match="99"):
            connection.placement("s") if key == peer.METADATA else connection.subscribe(0, "s", 1, 1)


def test_a_strange_name_for_itself_is_no_address(talk: Talk) -> None:
    for words in ({}, {"advertised_host": "h", "advertised_port": "²"}, {"advertised_host": "h", "advertised_port": "9" * 400}):
        node = GoodNode(instead={peer.OPEN: peer.answer(peer.OPEN, 4, rest=peer.words(words))})
        assert talk(node).advertised is None
