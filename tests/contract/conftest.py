"""Each test of the contract runs twice: on the broker in memory and on RabbitMQ."""

from collections.abc import Callable, Iterator

import pytest
from tests.fakes.fake_broker import FakeBroker

from modelcast.shared.link import Broker, WaitingLink
from modelcast.shared.localbroker.node import PrivateNode
from modelcast.shared.pika_link import PikaBroker


@pytest.fixture(params=["fake", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> Broker:
    """An empty broker."""
    if request.param == "fake":
        return FakeBroker()
    return PikaBroker(request.getfixturevalue("broker_url"))


class Operator:
    """What somebody with rights on the broker does behind our back."""

    def __init__(self, broker: Broker, node: PrivateNode | None) -> None:
        self._broker, self._node = broker, node

    def delete_queue(self, name: str) -> None:
        """Delete a queue with all that is in it."""
        if isinstance(self._broker, FakeBroker):
            self._broker.delete_queue(name)
        else:
            self._control("delete_queue", "--vhost", self._vhost, name)

    def drop_links(self) -> None:
        """Close every connection to this virtual host."""
        if isinstance(self._broker, FakeBroker):
            self._broker.drop_links()
        else:
            self._control("close_all_connections", "--vhost", self._vhost, "a test")

    @property
    def _vhost(self) -> str:
        assert isinstance(self._broker, PikaBroker)
        return self._broker.url.vhost

    def _control(self, *arguments: str) -> None:
        assert self._node is not None
        self._node.control(*arguments)


@pytest.fixture
def operator(request: pytest.FixtureRequest, broker: Broker) -> Operator:
    """Somebody with rights on the broker."""
    return Operator(broker, None if isinstance(broker, FakeBroker) else request.getfixturevalue("node"))


@pytest.fixture
def connect(broker: Broker) -> Iterator[Callable[[], WaitingLink]]:
    """Opens links that are closed after the test."""
    opened: list[WaitingLink] = []

    def connect() -> WaitingLink:
        opened.append(broker.connect(name="contract"))
        return opened[-1]

    yield connect
    for link in opened:
        link.close()
