"""A broker in alarm: a publisher waits and says so, or ends with an error that names the alarm; instances receive and acknowledge."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from structlog.testing import capture_logs
from tests.end_to_end.harness import Harness, eventually
from tests.fakes.operator import Operator

from modelcast.shared.errors import BrokerUnreachable
from modelcast.shared.localbroker.node import PrivateNode
from modelcast.shared.topology import instance_queue_name

ALARMS = {
    "memory": ("vm_memory_monitor:get_vm_memory_high_watermark().", ("set_vm_memory_high_watermark", "0.00001")),
    "disk": ("rabbit_disk_monitor:get_disk_free_limit().", ("set_disk_free_limit", "1000000GB")),
}
WAITS_SECONDS = 3
TORTURE = pytest.mark.torture


@pytest.fixture
def alarm(node: PrivateNode) -> Iterator[Callable[[str], Callable[[], None]]]:
    """Brings an alarm about; what is returned ends it."""
    begun: list[tuple[str, str]] = []

    def end() -> None:
        while begun:
            node.control(*begun.pop())

    def begin(kind: str) -> Callable[[], None]:
        question, command = ALARMS[kind]
        begun.append((command[0], node.control("eval", question).strip()))
        node.control(*command)
        return end

    yield begin
    end()


def impatient(url: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}blocked_connection_timeout={WAITS_SECONDS}"


@pytest.mark.parametrize("kind", ["memory", pytest.param("disk", marks=TORTURE)])
def test_a_publisher_waits_for_the_end_of_an_alarm_and_says_so(broker_url: str, run: Harness, alarm, kind: str) -> None:
    one = run.joined("one", broker_url)
    one.serves(run.publish(broker_url).version)
    end, version = alarm(kind), run.next_version()
    with capture_logs() as logs, ThreadPoolExecutor(1) as background:
        publishing = background.submit(run.publish, broker_url, version)
        eventually(lambda: [line for line in logs if line["event"] == "the broker takes no messages; it is waited for"], "the pause")
        assert not publishing.done()
        end()
        publishing.result(60)
    line = next(line for line in logs if line["event"].startswith("the broker takes no messages"))
    assert (line["log_level"], line["why"]) == ("warning", f"low on {kind}")
    assert line["hint"].endswith("rabbitmq-diagnostics alarms")
    one.serves(version)
    run.finish(broker_url)


@pytest.mark.torture
@pytest.mark.parametrize("kind", ALARMS)
def test_an_alarm_that_lasts_ends_publishing_with_its_name_and_instances_receive_and_acknowledge_meanwhile(
    node: PrivateNode, broker_url: str, run: Harness, alarm, kind: str
) -> None:
    url = impatient(broker_url)
    one, two = run.joined("one", url), run.joined("two", url)
    first = run.publish(broker_url).version
    for instance in (one, two):
        instance.serves(first)
    two.end()
    second = run.publish(broker_url).version   # waits in the queue of the one that is away
    one.serves(second)
    end = alarm(kind)
    two = run.start("two", url)
    two.serves(second)
    operator = Operator(node, broker_url)
    queue = instance_queue_name("fraud", "production", "two")
    eventually(lambda: operator.depths()[queue] == 0, "the order acknowledged")
    version = run.next_version()
    with pytest.raises(BrokerUnreachable) as caught:
        run.publish(url, version)
    assert f"takes no messages now: low on {kind}" in str(caught.value)
    assert caught.value.hint == "Free memory or disk on the broker's host: rabbitmq-diagnostics alarms"
    # reports wait longer than the connection that should carry them may be blocked: it is made anew, again and again
    status = two.wait_for(lambda status: status["reconnects"] >= 2 and status["fault"], "the connection made anew")
    assert f"low on {kind}" in status["fault"]
    two.wait_for(lambda status: status["connected"] and status["unsent_reports"] >= 1, "a report that waits")
    end()
    one.serves(run.publish(broker_url, version).version)
    two.serves(version)
    run.finish(broker_url)
