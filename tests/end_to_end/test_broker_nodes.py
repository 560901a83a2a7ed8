"""A broker that restarts, is killed, or is not there yet: who serves goes on, and what was published last is everywhere in the end."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.end_to_end.harness import Harness

from modelcast.shared.errors import BrokerUnreachable, HostFault
from modelcast.shared.localbroker.node import PrivateNode

pytestmark = [pytest.mark.torture, pytest.mark.timeout(300)]
LONG_SECONDS = 120.0
LARGE_KIBIBYTES = 96 * 1024


@pytest.fixture
def mortal(rabbitmq_installed: None, tmp_path: Path) -> Iterator[PrivateNode]:
    """A node of a test's own."""
    node = PrivateNode(tmp_path / "mortal")
    node.start()
    yield node
    node.stop()


def settle(node: PrivateNode) -> None:
    """Let a node write down that it coordinates streams: RabbitMQ 3.10 does so when it stops, and every three minutes."""
    node.stop()
    node.start()


def restart_application(node: PrivateNode) -> None:
    node.control("stop_app")
    node.control("start_app")


def restart(node: PrivateNode) -> None:
    node.stop()
    node.start()


def kill(node: PrivateNode) -> None:
    node.kill()
    node.start()


RESTARTS = {"stop_app": restart_application, "stopped": restart, "killed": kill}


@pytest.mark.parametrize("how", RESTARTS)
def test_a_broker_that_restarts_while_all_is_quiet_is_found_again_with_all_that_it_had(
    mortal: PrivateNode, run: Harness, how: str
) -> None:
    url = mortal.application_url
    one = run.joined("one", url)
    one.serves(run.publish(url).version)
    two = run.joined("two", url)
    settle(mortal)
    second = run.publish_at_last(url).version
    for instance in (one, two):
        instance.serves(second)
        instance.is_connected()
    two.end()
    third = run.publish_at_last(url).version
    one.serves(third)
    before = one.look()["reconnects"]
    RESTARTS[how](mortal)
    one.wait_for(lambda status: status["reconnects"] > before, "the loss")
    assert one.look()["version"] == third
    run.start("two", url).serves(third, LONG_SECONDS)   # its order was kept
    run.finish(url, LONG_SECONDS)


@pytest.mark.parametrize("how", RESTARTS)
def test_a_broker_that_restarts_in_mid_transfer_ends_it_and_publishing_again_finishes_it(
    mortal: PrivateNode, run: Harness, how: str
) -> None:
    url = mortal.application_url
    one = run.joined("one", url)
    first = run.publish(url).version
    one.serves(first)
    settle(mortal)
    one.wait_for(lambda status: status["reconnects"] >= 1 and status["connected"], "the node again")
    version = run.next_version()
    with ThreadPoolExecutor(1) as background:
        publishing = background.submit(run.publish_at_last, url, version, LONG_SECONDS, kibibytes=LARGE_KIBIBYTES)
        one.wait_for(lambda status: status["state"] == "ahead", "receiving ahead of the order")
        RESTARTS[how](mortal)
        publishing.result(LONG_SECONDS)
    one.serves(version, LONG_SECONDS)
    run.finish(url, LONG_SECONDS)


def test_an_instance_starts_without_a_broker_serves_what_it_had_and_joins_when_it_comes(mortal: PrivateNode, run: Harness) -> None:
    url = mortal.application_url
    one = run.joined("one", url)
    version = run.publish(url).version
    one.serves(version)
    one.end()
    mortal.stop()
    one = run.start("one", url)
    assert one.serves(version)["connected"] is False
    status = one.wait_for(lambda status: status["reconnects"] >= 3, "tries")
    assert "No RabbitMQ answers at 127.0.0.1" in status["detail"]
    new = run.start("new", url)   # has nothing yet
    status = new.wait_for(lambda status: status["reconnects"] >= 3, "tries")
    assert (status["live"], status["ready"]) == (True, False)
    with pytest.raises(HostFault, match="No RabbitMQ answers"):
        run.publish(url)
    mortal.start()
    new.serves(version, LONG_SECONDS)
    run.finish(url, LONG_SECONDS)


def test_a_node_killed_in_its_first_minutes_gets_its_streams_back_or_the_way_out_is_told_which_is_another_virtual_host(
    mortal: PrivateNode, run: Harness
) -> None:
    url = mortal.application_url
    one = run.joined("one", url)
    version = run.publish(url).version
    one.serves(version)
    kill(mortal)   # within three minutes of its first stream, which RabbitMQ survives at times
    lost: list[BrokerUnreachable] = []
    try:
        run.publish_at_last(url, version, 20)
    except BrokerUnreachable as fault:
        lost.append(fault)
    for fault in lost:
        assert "down or inaccessible" in str(fault)
        assert "Use another virtual host, and publish again." in str(fault.hint)
        status = one.wait_for(lambda status: "has not got everything back yet" in status["detail"], "what is the matter")
        assert "Use another virtual host, and publish again." in status["detail"]
        assert status["version"] == version
        mortal.control("add_vhost", "other")
        mortal.control("set_permissions", "-p", "other", "modelcast", ".*", ".*", ".*")
        url = url.replace("%2F", "other")
        one.end()
        run.lost_messages("one")   # told to the streams that are gone
        one = run.start("one", url)
        one.serves(version)
    run.finish(url)
