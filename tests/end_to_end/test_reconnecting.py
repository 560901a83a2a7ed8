"""What an operator may do to a broker under a running instance: it comes back by itself, and the next release goes through."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.end_to_end.conftest import InstanceProcess

from modelcast.publisher import Publisher
from modelcast.shared.broker_url import BrokerUrl
from modelcast.shared.localbroker.node import PrivateNode
from modelcast.shared.topology import history_name, instance_queue_name, orders_name

DELETE_EXCHANGE = """
rabbit_exchange:delete(rabbit_misc:r(<<"{vhost}">>, exchange, <<"{name}">>), false, <<"operator">>).
"""


def delete(kind: str, name: str) -> Callable[[PrivateNode, str], None]:
    def act(node: PrivateNode, vhost: str) -> None:
        if kind == "queue":
            node.control("delete_queue", name, "-p", vhost)
        else:
            node.control("eval", DELETE_EXCHANGE.format(vhost=vhost, name=name))

    return act


def close_connections(node: PrivateNode, vhost: str) -> None:
    node.control("close_all_connections", "-p", vhost, "maintenance")


ACTS = {
    "all connections closed": close_connections,
    "the instance's queue deleted": delete("queue", instance_queue_name("fraud", "production", "one")),
    "the history stream deleted": delete("queue", history_name("fraud", "production")),
    "the order exchange deleted": delete("exchange", orders_name("fraud", "production")),
}


@pytest.mark.parametrize("act", ACTS)
def test_the_instance_comes_back_by_itself_and_takes_the_next_release(
    node: PrivateNode, broker_url: str, keys: tuple[Path, Path], start_instance: Callable[..., InstanceProcess], tmp_path: Path,
    act: str,
) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(b"weights")
    publisher = Publisher(broker_url, signing_key=keys[0])
    instance = start_instance("one")
    publisher.publish(path, model="fraud", version="1.0.0", format="files", lineage={})
    instance.serves("1.0.0")
    ACTS[act](node, BrokerUrl.parse(broker_url).vhost)
    if act != "the order exchange deleted":   # nothing tells an instance that, until an order comes by the history alone
        instance.wait_for(lambda status: status["reconnects"] >= 1, "the loss")
        instance.wait_for(lambda status: status["connected"], "the connection")
    path.write_bytes(b"better weights")
    publisher.publish(path, model="fraud", version="1.1.0", format="files", lineage={})
    status = instance.serves("1.1.0")
    assert status["rejected"] == 0
