"""Certificates that change, run out, or are somebody else's, while an instance is connected by TLS."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.fakes.certificates import Authority
from tests.fakes.life import Life

from modelcast.shared.broker_url import BrokerUrl
from modelcast.shared.roads import open_road


class TlsDoor:
    """Speaks TLS before a broker, with the certificate of the moment."""

    def __init__(self, port: int, authority: Authority) -> None:
        self.context, self._target = authority.server(), port
        self.connections = 0
        self._pairs: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(client, self.context), daemon=True).start()

    def _serve(self, client: socket.socket, context: ssl.SSLContext) -> None:
        with suppress(OSError), context.wrap_socket(client, server_side=True) as inside, \
                socket.create_connection(("127.0.0.1", self._target)) as broker:
            self.connections += 1
            self._pairs += [inside, broker]
            down = threading.Thread(target=_pass_on, args=(broker, inside), daemon=True)
            down.start()
            _pass_on(inside, broker)
            down.join()

    def cut(self) -> None:
        """End all connections."""
        pairs, self._pairs = self._pairs, []
        for sock in pairs:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.cut()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for sock in (source, sink):
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def door(broker_url: str, authority: Authority) -> Iterator[TlsDoor]:
    door = TlsDoor(BrokerUrl.parse(broker_url).port, authority)
    yield door
    door.close()


@pytest.fixture
def life(broker_url: str, door: TlsDoor, authority: Authority, tmp_path: Path, signing_key) -> Iterator[Life]:
    account, _, rest = broker_url.partition("://")[2].rpartition("@")
    options = f"{{'ca_certs':'{authority.path}'}}"
    life = Life(
        open_road(f"amqps://{account}@127.0.0.1:{door.port}/{rest.partition('/')[2]}?chunks=amqp&ssl_options={options}"), tmp_path, signing_key
    )
    yield life
    life.stop()


def test_a_certificate_that_is_replaced_or_runs_out_ends_no_connection_and_the_next_one_uses_what_is_there(
    life: Life, door: TlsDoor, authority: Authority
) -> None:
    consumer = life.joined()
    life.publisher.publish({"a": 1}, model="fraud", version="1.0.0")
    life.serves(consumer, "1.0.0")
    door.context = authority.server(days=-1)   # has run out: nobody new comes in
    assert (consumer.status().connected, consumer.status().reconnects) == (True, 0)
    door.cut()
    life.eventually(lambda: consumer.status().connection_failures >= 3)
    status = consumer.status()
    assert (status.live, status.ready, status.version) == (True, True, "1.0.0")
    assert "certificate has expired" in (status.fault or "")
    door.context = authority.server()   # renewed, by the same authority
    life.eventually(lambda: consumer.status().connected)
    life.publisher.publish({"a": 2}, model="fraud", version="1.1.0")
    life.serves(consumer, "1.1.0")
    assert consumer.status().rejected == 0


def test_a_certificate_of_another_authority_is_refused_and_says_so(
    life: Life, door: TlsDoor, tmp_path: Path
) -> None:
    consumer = life.joined()
    door.context = Authority(tmp_path / "stranger").server()
    door.cut()
    life.eventually(lambda: consumer.status().connection_failures >= 2)
    assert "certificate verify failed" in (consumer.status().fault or "")
