"""Each test of the contract runs twice: on the broker in memory and on RabbitMQ."""

from collections.abc import Callable, Iterator

import pytest
from tests.fakes.fake_broker import FakeBroker

from modelcast.shared.link import Broker, WaitingLink
from modelcast.shared.pika_link import PikaBroker


@pytest.fixture(params=["fake", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> Broker:
    """An empty broker."""
    if request.param == "fake":
        return FakeBroker()
    return PikaBroker(request.getfixturevalue("broker_url"))


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
