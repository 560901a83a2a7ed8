"""Each test of a contract runs on all that keeps it: the broker in memory, RabbitMQ, a shared directory, a server over one."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.fakes.fake_broker import FakeBroker
from tests.fakes.http_host import HttpHost

from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.depot.depot import Depot
from modelcast.shared.link import Broker, WaitingLink
from modelcast.shared.localbroker.node import PrivateNode
from modelcast.shared.operating_road import OpenRoad
from modelcast.shared.pika_link import PikaBroker
from modelcast.shared.roads import open_road


@pytest.fixture(params=["fake", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> Broker:
    """An empty broker."""
    if request.param == "fake":
        return FakeBroker()
    return PikaBroker(request.getfixturevalue("broker_url"))


RETENTION_BYTES = 64 * 1024 * 1024


def road_of(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> OpenRoad:
    """Return an empty road: ``fake``, ``rabbitmq``, ``amqp`` or ``stream`` (how chunks are read), ``file``, ``file polled``, ``http``."""
    if kind == "http":
        host = HttpHost(tmp_path / "depot")
        request.addfinalizer(host.stop)
        return open_road(host.url)
    if kind.startswith("file"):
        folder = tmp_path / "depot"
        folder.mkdir(mode=0o700)
        Depot(folder).enter()
        return open_road(f"file://{folder}{'?poll=0.05' if kind == 'file polled' else ''}")
    if kind == "fake":
        return AmqpRoad(FakeBroker(), name="contract", retention_bytes=RETENTION_BYTES)
    url = request.getfixturevalue("broker_url")
    if kind == "rabbitmq":
        return AmqpRoad(PikaBroker(url), name="contract", retention_bytes=RETENTION_BYTES)
    port = request.getfixturevalue("node").status().stream_port
    return open_road(f"{url}?stream_port={port}&chunks={kind}", retention_bytes=RETENTION_BYTES)


@pytest.fixture(params=["fake", "rabbitmq", "file", "file polled", "http"])
def road(request: pytest.FixtureRequest, tmp_path: Path) -> OpenRoad:
    """Each road; a directory whose file system tells of changes, and one that is polled."""
    return road_of(request.param, request, tmp_path)


@pytest.fixture(params=["fake", "amqp", "stream", "file", "http"])
def chunk_road(request: pytest.FixtureRequest, tmp_path: Path) -> OpenRoad:
    """A road for each way to read chunks."""
    return road_of(request.param, request, tmp_path)


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
