"""Facts about the host: what is known, that it is bounded, and that nothing it meets costs a report."""

import os
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.specimens import manifest

from modelcast.consumer.active import ActiveModel, Slot
from modelcast.consumer.companions import Companions, HostWorkshop
from modelcast.consumer.headroom import Headroom
from modelcast.consumer.host_facts import MAX_LIBRARIES, HostFacts
from modelcast.consumer.reporting import Reporter
from modelcast.shared.limits import DEFAULT_LIMITS
from modelcast.shared.report import Report
from modelcast.shared.road import Target

HERE = Target("fraud", "production", "a")


def serving(release: str = "a" * 64, **dependencies: str) -> ActiveModel:
    told = manifest(version="1.0.0")
    environment = told.environment.model_copy(update={"dependencies": dependencies})
    return Slot().swap("model", told.model_copy(update={"environment": environment}), release)


def test_it_says_which_libraries_of_the_model_in_service_are_installed() -> None:
    facts, active = HostFacts({"numpy": "2.1.0"}.get), serving(numpy="1.26.0", torch="2.0")
    assert "libraries" not in facts.now(active)   # nobody looked yet, and reports wait for nobody
    facts.know(active)
    assert facts.now(active)["libraries"] == {"numpy": "2.1.0", "torch": None}
    assert "libraries" not in facts.now(serving("b" * 64))   # those of another release
    assert "libraries" not in facts.now(None)


def test_libraries_are_looked_up_once_for_each_release() -> None:
    asked: list[str] = []
    facts = HostFacts(asked.append)   # type: ignore[arg-type]
    for release in ("a" * 64, "a" * 64, "b" * 64):
        facts.know(serving(release, numpy="1"))
    facts.know(None)
    assert asked == ["numpy", "numpy"]


def test_a_package_with_broken_metadata_costs_nothing_but_its_version() -> None:
    def broken(_name: str) -> str:
        raise KeyError("Version")

    facts = HostFacts(broken)
    facts.know(serving(numpy="1"))
    assert facts.now(serving(numpy="1"))["libraries"] == {"numpy": None}


def test_a_report_with_all_the_libraries_in_the_world_can_be_sent() -> None:
    active = serving(**{f"{number:04}{'ä' * 3000}": "1" for number in range(5000)})
    reporter = Reporter(HERE, host=HostFacts(lambda _name: "9" * 10_000))
    reporter.host.know(active)
    body = reporter.state(active)
    assert len(body) < DEFAULT_LIMITS.report_bytes / 2
    assert len(Report.parse(body).host["libraries"]) == MAX_LIBRARIES


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux")
def test_it_says_what_this_process_takes_and_what_is_left() -> None:
    memory = HostFacts().now(None)["memory"]
    assert 4 << 20 < memory["resident_bytes"] < 64 << 30
    assert memory["available_bytes"] > 0
    block = b"x" * (64 << 20)
    assert HostFacts().now(None)["memory"]["resident_bytes"] >= memory["resident_bytes"] + (60 << 20)
    del block


def test_the_tightest_limit_counts_and_none_of_the_address_space(tmp_path: Path) -> None:
    limits = [Headroom(900, 1000, "the host"), Headroom(-5, 100, "the group"), Headroom(-9, 10, "RLIMIT_AS", counts_mappings=True)]
    facts = HostFacts(headroom=lambda: limits, root=tmp_path)
    assert facts.now(None)["memory"] == {"available_bytes": 0, "total_bytes": 100, "limit": "the group"}


@pytest.mark.parametrize("text", [None, "", "12", "x y"])
def test_where_nothing_can_be_read_nothing_is_said(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/statm").write_text(text)
    assert HostFacts(headroom=list, root=tmp_path).now(None)["memory"] == {}


def test_the_longest_lateness_since_the_last_state_is_told() -> None:
    now = [0.0]
    reporter = Reporter(HERE, host=HostFacts(headroom=list, clock=lambda: now[0]))

    def wait(asked: float, took: float) -> None:
        with reporter.host.waiting(asked):
            now[0] += took

    def told(body: bytes) -> Any:
        return Report.parse(body).host["longest_stall_ms"]

    wait(1.0, 0.2)   # woken
    assert told(reporter.state(None)) == 0
    wait(1.0, 1.26)
    wait(1.0, 1.001)
    assert told(reporter.state(None)) == 260
    assert told(reporter.state(None)) == 0


def test_a_receiver_knows_the_libraries_before_it_reports(tmp_path: Path, signing_key, key_ring) -> None:
    import structlog
    from tests.fakes.bench import Bench
    from tests.fakes.fake_broker import FakeBroker
    from tests.fakes.publisher_sim import PublisherSimulator

    from modelcast.shared.amqp_road import AmqpRoad

    sim = PublisherSimulator(AmqpRoad(FakeBroker()), signing_key)
    with Bench(tmp_path / "store", sim._road, key_ring) as bench:
        facts = HostFacts()
        companions = Companions(bench.store, "a", structlog.get_logger())
        bench.workshop = HostWorkshop(bench.store, bench.journal, bench.slot, bench._tools, companions, facts=facts)
        bench.carry_out(sim.publish(sim.release("1.0.0")))
        assert facts.now(bench.slot.active)["libraries"] == {}
    assert facts.now(None)["pid"] == os.getpid()
