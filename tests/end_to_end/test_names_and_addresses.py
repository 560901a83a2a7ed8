"""A broker's name with several addresses, of which some answer, and one whose address changes."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.life import Life
from tests.fakes.proxy import Proxy

from modelcast.shared.broker_url import BrokerUrl
from modelcast.shared.localbroker.node import PrivateNode
from modelcast.shared.roads import open_road

NAME = "broker.example"
Look = Callable[..., list[tuple[Any, ...]]]


class Names:
    """What a name is resolved to; the system is asked for all others."""

    def __init__(self, look: Look) -> None:
        self.ports: list[int] = []
        self.asked = 0
        self._look = look

    def resolve(self, host: Any, port: Any, *rest: Any, **options: Any) -> list[tuple[Any, ...]]:
        if host != NAME:
            return self._look(host, port, *rest, **options)
        self.asked += 1
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", each)) for each in self.ports]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    names = Names(socket.getaddrinfo)
    monkeypatch.setattr(socket, "getaddrinfo", names.resolve)
    return names


@pytest.fixture
def hosts(broker_url: str) -> Iterator[tuple[Proxy, Proxy]]:
    """Two hosts through which the broker can be reached."""
    port = BrokerUrl.parse(broker_url).port
    with Proxy(port) as one, Proxy(port) as other:
        yield one, other


@pytest.fixture
def life(broker_url: str, node: PrivateNode, tmp_path: Path, signing_key) -> Iterator[Life]:
    account, _, rest = broker_url.rpartition("@")
    life = Life(open_road(f"{account}@{NAME}:5000/{rest.partition('/')[2]}?chunks=amqp"), tmp_path, signing_key)
    yield life
    life.stop()


def test_an_address_that_does_not_answer_is_passed_over_for_the_next_one(life: Life, names: Names, hosts: tuple[Proxy, Proxy]) -> None:
    dead, alive = hosts
    dead.refuse()
    names.ports = [dead.port, alive.port]
    consumer = life.joined()
    life.publisher.publish({"a": 1}, model="fraud", version="1.0.0")
    life.serves(consumer, "1.0.0")
    assert (dead.connections, consumer.status().reconnects) == (0, 0)


def test_when_the_host_dies_the_other_address_of_the_name_is_taken(life: Life, names: Names, hosts: tuple[Proxy, Proxy]) -> None:
    first, second = hosts
    names.ports = [first.port, second.port]
    consumer = life.joined()
    life.publisher.publish({"a": 1}, model="fraud", version="1.0.0")
    life.serves(consumer, "1.0.0")
    first.refuse()
    first.cut()
    life.eventually(lambda: consumer.status().reconnects == 1 and consumer.status().connected)
    life.publisher.publish({"a": 2}, model="fraud", version="1.1.0")
    life.serves(consumer, "1.1.0")
    assert second.connections >= 2


def test_a_name_that_moves_to_another_address_is_looked_up_again(life: Life, names: Names, hosts: tuple[Proxy, Proxy]) -> None:
    old, new = hosts
    names.ports = [old.port]
    consumer = life.joined()
    old.refuse()
    old.cut()
    life.eventually(lambda: consumer.status().reconnects >= 1)
    names.ports = [new.port]
    life.eventually(lambda: consumer.status().connected)
    life.publisher.publish({"a": 1}, model="fraud", version="1.0.0")
    life.serves(consumer, "1.0.0")
    assert new.connections >= 1
