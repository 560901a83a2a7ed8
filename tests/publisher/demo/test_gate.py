"""A closed gate refuses as a dead broker does; an open one passes every byte."""

import socket
import threading
from collections.abc import Iterator

import pytest

from modelcast.publisher.demo.gate import Gate
from modelcast.shared.broker_url import BrokerUrl
from modelcast.shared.errors import MisuseError


@pytest.fixture
def far() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        yield server


@pytest.fixture
def gate(far: socket.socket) -> Iterator[Gate]:
    gate = Gate(f"amqp://user:p%40ss@127.0.0.1:{far.getsockname()[1]}/%2F?heartbeat=5")
    yield gate
    gate.close()


def address(gate: Gate) -> tuple[str, int]:
    url = BrokerUrl.parse(gate.url)
    return url.host, url.port


def test_its_address_is_the_brokers_but_for_host_and_port(gate: Gate, far: socket.socket) -> None:
    assert gate.url == f"amqp://user:p%40ss@127.0.0.1:{address(gate)[1]}/%2F?heartbeat=5"
    assert address(gate)[1] != far.getsockname()[1]


def test_closed_it_refuses(gate: Gate) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address(gate), timeout=5)
    assert gate.passed == 0


def test_open_it_passes_bytes_both_ways_and_the_end(gate: Gate, far: socket.socket) -> None:
    gate.open()
    question, answer = b"q" * 200_000, b"a" * 300_000

    def echo() -> None:
        with far.accept()[0] as peer:
            left = len(question)
            while left:
                left -= len(peer.recv(65_536))
            peer.sendall(answer)

    thread = threading.Thread(target=echo)
    thread.start()
    with socket.create_connection(address(gate), timeout=10) as near:
        near.sendall(question)
        received = b""
        while piece := near.recv(65_536):   # ends when the far side closes
            received += piece
    thread.join()
    assert received == answer
    assert gate.passed == 1


def test_a_broker_that_is_away_ends_the_connection(gate: Gate, far: socket.socket) -> None:
    far.close()
    gate.open()
    with socket.create_connection(address(gate), timeout=10) as near:
        assert near.recv(1) == b""
    assert gate.passed == 0


def test_closing_cuts_what_is_open_and_may_be_repeated(gate: Gate, far: socket.socket) -> None:
    gate.open()
    with socket.create_connection(address(gate), timeout=10) as near, far.accept()[0]:
        gate.close()
        assert near.recv(1) == b""
    gate.close()


def test_tls_is_refused_with_the_reason() -> None:
    with pytest.raises(MisuseError, match="TLS"):
        Gate("amqps://broker.example/")
