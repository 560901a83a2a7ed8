"""Orders that are held for long: longer than the broker waits for an acknowledgement, longer than a heartbeat, with the interpreter's lock or
without. The thread that talks to the broker lives, nothing stale is settled, nothing is promoted twice."""

from collections.abc import Iterator

import pytest
from tests.end_to_end.harness import Harness

from modelcast.shared.localbroker.node import PrivateNode

PATIENCE = "application:set_env(rabbit, consumer_timeout, {}), application:set_env(rabbit, channel_tick_interval, {})."
USUAL = (1_800_000, 60_000)
WITHOUT_LOCK, WITH_LOCK = "import threading; threading.Event().wait(7)", "sum(range(500_000_000))"


@pytest.fixture
def hurried(node: PrivateNode, broker_url: str) -> Iterator[str]:
    """A broker that waits two seconds for an acknowledgement instead of thirty minutes, and looks every half."""
    node.control("eval", PATIENCE.format(2000, 500))
    yield broker_url
    node.control("eval", PATIENCE.format(*USUAL))


def served(run: Harness, version: str) -> int:
    """How often a version was put into service."""
    return sum(event["kind"] == "serves" and event["version"] == version for event in run.running["one"].events)


def promotions(run: Harness, version: str) -> int:
    return sum(report.version == version and report.verdict == "promoted" for report in run.evidence.reports)


@pytest.mark.parametrize("slow", [{"steps": (WITHOUT_LOCK,)}, {"pondered": 7.0}], ids=["loading", "a validator"])
def test_work_that_takes_longer_than_the_broker_waits_goes_on_and_settles_what_is_given_out_again(
    hurried: str, node: PrivateNode, run: Harness, slow: dict[str, object]
) -> None:
    instance = run.joined("one", hurried)
    run.publish(hurried)
    instance.serves("1.1.0")
    before = instance.last["reconnects"]
    run.publish(hurried, **slow)
    instance.wait_for(lambda status: status["reconnects"] > before, "the broker to lose patience")
    assert instance.last["version"] == "1.1.0"
    instance.serves("1.2.0")
    run.finish(hurried)
    assert (served(run, "1.2.0"), promotions(run, "1.2.0")) == (1, 1)
    assert "delivery acknowledgement on channel" in node.log_text(2000)   # so it was the broker's patience
    assert "unknown delivery tag" not in node.log_text(2000)


def test_a_load_that_keeps_the_interpreters_lock_for_longer_than_the_heartbeat_costs_a_connection_and_nothing_else(
    broker_url: str, node: PrivateNode, run: Harness
) -> None:
    url = f"{broker_url}?heartbeat=1"
    instance = run.joined("one", url)
    run.publish(broker_url)
    instance.serves("1.1.0")
    run.publish(broker_url, steps=(WITH_LOCK,))
    instance.serves("1.2.0")
    run.finish(broker_url)
    assert run.longest_gap_ms() > 2000   # the lock was held for longer than two heartbeats
    assert (served(run, "1.2.0"), promotions(run, "1.2.0")) == (1, 1)
    assert "unknown delivery tag" not in node.log_text(2000)
