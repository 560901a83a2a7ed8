"""What a broker forbids, lacks or dropped: it is said, with what an operator must do; instances serve, and try again at a pace."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.end_to_end.conftest import InstanceProcess
from tests.end_to_end.harness import Harness, Serving
from tests.fakes.operator import Operator

from modelcast.publisher import Publication, Publisher
from modelcast.shared.errors import BrokerUnreachable, HostFault, PermissionRefused, TopologyMismatch, VhostMissing
from modelcast.shared.limits import MIB
from modelcast.shared.localbroker.node import PrivateNode
from modelcast.shared.topology import DEAD, REPORTS, chunks_name, orders_name

TRIES = 10
"""Failed connections that are waited for to see their pace."""
FEWEST_SECONDS = 0.0125 * (1 + 2 + 4 + 8) + 0.125 * (TRIES - 5)
"""A quarter of the bounds between so many: what chance may draw at the least."""


@pytest.fixture
def operator(node: PrivateNode, broker_url: str) -> Operator:
    """Somebody with rights on the virtual host of the test."""
    return Operator(node, broker_url)


def lost(operator: Operator, serving: Serving) -> dict[str, object]:
    """Cut the instance off, see that it tries again at a pace, and return what it says then."""
    before = serving.look()["reconnects"]
    operator.close_connections()
    serving.wait_for(lambda status: status["reconnects"] > before, "the loss")
    since = time.monotonic()
    status = serving.wait_for(lambda status: status["reconnects"] >= before + TRIES and not status["connected"], "more tries")
    assert time.monotonic() - since >= FEWEST_SECONDS * 0.8   # the first may have been seen late
    assert status["ready"]
    return status


def refused(kind: type[HostFault], run: Harness, url: str, version: str) -> HostFault:
    with pytest.raises(HostFault) as caught:
        run.publish(url, version)
    assert type(caught.value) is kind, caught.value
    assert caught.value.hint
    return caught.value


def test_a_limit_of_connections_is_named_with_the_command_that_shows_it(operator: Operator, broker_url: str, run: Harness) -> None:
    one, version = run.joined("one", broker_url), run.next_version()
    one.serves(run.publish(broker_url).version)
    operator.limit_connections(0)
    status = lost(operator, one)
    assert "connection limit (0) is reached" in str(status["detail"])
    fault = refused(BrokerUnreachable, run, broker_url, version := run.next_version())
    assert "connection limit (0) is reached" in str(fault)
    assert f"rabbitmqctl list_vhost_limits -p {operator.vhost}" in str(fault.hint)
    operator.limit_connections(-1)
    one.serves(run.publish(broker_url, version).version)
    run.finish(broker_url)


@pytest.mark.torture
def test_permissions_that_were_taken_are_named_with_the_command_that_gives_them_back(
    operator: Operator, broker_url: str, run: Harness
) -> None:
    one = run.joined("one", broker_url)
    one.serves(run.publish(broker_url).version)
    operator.forbid()
    fault = refused(VhostMissing, run, broker_url, version := run.next_version())
    assert f"rabbitmqctl set_permissions -p {operator.vhost} {operator.user} '.*' '.*' '.*'" in str(fault.hint)
    assert f"user {operator.user!r} may not enter it" in str(lost(operator, one)["detail"])
    operator.node.control("set_permissions", "-p", operator.vhost, operator.user, "^$", "^$", ".*")
    fault = refused(PermissionRefused, run, broker_url, version)
    assert f"access to queue 'modelcast.fraud.publishing' in vhost '{operator.vhost}' refused" in str(fault)
    one.wait_for(lambda status: "access to exchange 'modelcast.fraud.production'" in status["detail"], "the words")
    operator.allow_again()
    one.serves(run.publish(broker_url, version).version)
    run.finish(broker_url)


@pytest.mark.torture
@pytest.mark.parametrize("name", [chunks_name("fraud"), orders_name("fraud", "production"), REPORTS, DEAD])
def test_an_exchange_of_another_type_is_named_and_deleting_it_is_all_that_is_needed(
    operator: Operator, broker_url: str, run: Harness, name: str
) -> None:
    one = run.joined("one", broker_url)
    one.serves(run.publish(broker_url).version)
    run.lost_messages("one")
    operator.retype_exchange(name, "topic")
    fault = refused(TopologyMismatch, run, broker_url, version := run.next_version())
    assert f"inequivalent arg 'type' for exchange '{name}'" in str(fault)
    assert "delete the one that is named" in str(fault.hint)
    if name != chunks_name("fraud"):   # which only publishers need
        assert f"inequivalent arg 'type' for exchange '{name}'" in str(lost(operator, one)["detail"])
    operator.delete_exchange(name)
    one.serves(run.publish(broker_url, version).version)
    run.finish(broker_url)


@pytest.fixture
def publish(broker_url: str, keys: tuple[Path, Path], tmp_path: Path) -> Callable[..., Publication]:
    """Publishes noise into a stream that keeps 64 MiB."""
    publisher = Publisher(broker_url, signing_key=keys[0], retention_bytes=64 * MIB)

    def call(version: str, seed: int, channel: str = "production") -> Publication:
        path = tmp_path / "model.bin"
        path.write_bytes(np.random.default_rng(seed).bytes(30 * MIB))
        return publisher.publish(path, model="fraud", version=version, channel=channel, format="files", lineage={})

    return call


@pytest.mark.torture
def test_chunks_that_retention_dropped_before_an_instance_came_are_sent_again_by_publishing_the_same_again(
    publish: Callable[..., Publication], start_instance: Callable[..., InstanceProcess], modelcast
) -> None:
    one = start_instance("one")
    publish("1.0.0", 0)
    one.serves("1.0.0")
    for number in range(6):   # the other channel's releases push them out
        publish(f"0.{number}.0", 100 + number, channel="other")
    late = start_instance("late")
    status = late.wait_for(lambda status: status["rejected"] == 1, "the refusal")
    assert status["last_verdict"]["reason"] == "chunks-missing"
    assert "Publish the same version again" in status["detail"]
    assert json.loads(modelcast("dead-letters", "list", "--json").stdout)["dead_letters"] == []   # it came by the history
    again = publish("1.0.0", 0)
    assert (again.was_current, again.sent_bytes) == (False, 30 * MIB)
    late.serves("1.0.0")
    assert publish("1.0.0", 0).was_current
    publish("1.1.0", 1)
    late.serves("1.1.0")
    assert one.serves("1.1.0")["rejected"] == 0
