"""Metrics for Prometheus: named as its conventions want, read from what is kept anyway, and nothing without being asked."""

import math
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.openmetrics import exposition
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse
from tests.fakes.publisher_sim import withheld
from tests.fakes.stage import Doubler, Stage

from modelcast.consumer import metrics
from modelcast.consumer.metrics import COMMON, FAMILIES, ConsumerCollector
from modelcast.consumer.status import LastVerdict, Status
from modelcast.consumer.tallies import BUCKETS, STAGES, Tallies
from modelcast.shared.errors import MisuseError
from modelcast.shared.reasons import Reason

SERVES = Status(
    live=True, ready=True, fresh=False, state="idle", detail="Serves 1.0.0.", instance="web-1", model="fraud", channel="production",
    role="receiver", version="1.0.0", release="ab" * 32, created="2026-01-01T00:00:00Z", active_since_ms=1_500, in_hand_seconds=2.5,
    connected=True, last_contact_ms=2_500, last_verdict=LastVerdict("promoted", "1.0.0", None, None, 3_500), foreign=4, reconnects=5,
    unsent_reports=6, connection_failures=7, update_failures=8,
)
EMPTY = Status(live=False, ready=False, fresh=False, state="stopped", detail="", instance="", model="fraud", channel="production")


class Fixed:
    """A consumer in any state."""

    def __init__(self, status: Status) -> None:
        self._status, self.tallies = status, Tallies()

    def status(self) -> Status:
        return self._status


@pytest.fixture
def stage(tmp_path: Path, signing_key) -> Iterator[Stage]:
    stage = Stage(tmp_path, signing_key)
    yield stage
    stage.stop()


def scraped(*consumers: Any) -> dict[str, Metric]:
    """What Prometheus sees."""
    registry = CollectorRegistry()
    metrics.register(*consumers, registry=registry)
    return {found.name: found for found in parse(generate_latest(registry).decode())}


def values(*consumers: Any, but: tuple[str, ...] = COMMON) -> dict[tuple[str, ...], float]:
    """Each sample: its name and the values of its own labels, and its value."""
    return {
        (sample.name, *(value for label, value in sorted(sample.labels.items()) if label not in but)): sample.value
        for metric in scraped(*consumers).values() for sample in metric.samples
    }


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_names_follow_the_conventions(family: metrics.Family) -> None:
    assert re.fullmatch(r"modelcast(_[a-z]+)+", family.name)
    assert family.name.endswith("_total") == (family.kind == "counter")
    assert not re.search(r"_(ms|milliseconds|kib|mib|minutes|count|sum|bucket)(_|$)", family.name)
    assert not set(family.labels) & {*COMMON, "instance", "job", "le", "quantile"}   # Prometheus has its own of these names
    assert family.help.endswith(".")


def test_every_family_comes_with_its_type_its_help_and_the_labels_that_it_promises() -> None:
    found = scraped(Fixed(SERVES))
    assert set(found) == {family.name.removesuffix("_total") for family in FAMILIES}
    for family in FAMILIES:
        metric = found[family.name.removesuffix("_total")]
        assert (metric.type, metric.documentation) == (family.kind, family.help)
        assert {sample.name for sample in metric.samples} == set(family.series)
        for sample in metric.samples:
            assert set(sample.labels) - {"le"} == {*COMMON, *family.labels}
            assert [sample.labels[label] for label in COMMON] == ["fraud", "production", "web-1"]


def test_the_status_is_told_in_numbers_seconds_and_labels() -> None:
    told = values(Fixed(SERVES))
    expected: dict[tuple[str, ...], float] = {
        ("live",): 1, ("ready",): 1, ("fresh",): 0, ("connected",): 1, ("active_release_info", "ab" * 6, "1.0.0"): 1,
        ("active_since_timestamp_seconds",): 1.5, ("active_created_timestamp_seconds",): 1_767_225_600, ("in_hand_seconds",): 2.5,
        ("last_contact_timestamp_seconds",): 2.5, ("last_verdict_timestamp_seconds",): 3.5, ("foreign_messages_total",): 4,
        ("reconnects_total",): 5, ("unsent_reports",): 6, ("consecutive_failures", "connection"): 7, ("consecutive_failures", "update"): 8,
    }
    for (name, *labels), value in expected.items():
        assert told["modelcast_" + name, *labels] == value, name


@pytest.mark.parametrize("created", ["yesterday", "2026-01-01T00:00:00", ""])
def test_a_time_that_cannot_be_read_is_no_sample(created: str) -> None:
    assert ("modelcast_active_created_timestamp_seconds",) not in values(Fixed(replace(SERVES, created=created)))


def test_what_is_not_known_is_no_sample_rather_than_a_zero() -> None:
    missing = {name for name, *_ in values(Fixed(SERVES))} - {name for name, *_ in values(Fixed(EMPTY))}
    assert missing == {
        "modelcast_active_release_info", "modelcast_active_since_timestamp_seconds", "modelcast_active_created_timestamp_seconds",
        "modelcast_last_contact_timestamp_seconds", "modelcast_last_verdict_timestamp_seconds",
    }


def test_what_may_be_counted_is_there_with_zero_so_that_the_first_time_is_a_rise() -> None:
    told = values(Fixed(EMPTY))
    assert {(name, *labels) for name, *labels in told if name == "modelcast_verdicts_total"} == {
        ("modelcast_verdicts_total", "", "promoted"), ("modelcast_verdicts_total", "", "superseded"), ("modelcast_verdicts_total", "", "deferred"),
        *(("modelcast_verdicts_total", reason.value, "rejected") for reason in Reason),
    }
    assert {stage for name, *labels in told if name.endswith("seconds_count") for stage in labels} == set(STAGES)
    assert not any(value for (name, *_), value in told.items() if name.endswith(("_total", "_bucket", "_sum", "_count")))


def test_durations_are_a_histogram_whose_buckets_are_bounded_and_add_up() -> None:
    consumer = Fixed(SERVES)
    for seconds in (0.001, 0.2, 7, 10_000):
        consumer.tallies.worked({"loaded": seconds * 1000}, {})
    told = scraped(consumer)["modelcast_stage_duration_seconds"]
    buckets = [
        (float(sample.labels["le"]), sample.value) for sample in told.samples
        if sample.name.endswith("_bucket") and sample.labels["stage"] == "loaded"
    ]
    assert buckets == [(0.01, 1), (0.1, 1), (0.5, 2), (1, 2), (5, 2), (30, 3), (120, 3), (600, 3), (math.inf, 4)]
    assert [bound for bound, _ in buckets[:-1]] == list(BUCKETS)
    assert values(consumer)["modelcast_stage_duration_seconds_sum", "loaded"] == pytest.approx(10_007.201)


def test_it_is_read_by_the_openmetrics_format_too() -> None:
    registry = CollectorRegistry()
    metrics.register(Fixed(SERVES), registry=registry)
    found = list(parse_openmetrics(exposition.generate_latest(registry).decode()))
    assert len(found) == len(FAMILIES)


def test_several_consumers_of_a_process_are_told_apart() -> None:
    other = Fixed(replace(SERVES, model="churn", version="7.0.0"))
    told = values(Fixed(SERVES), other, but=("channel", "instance_id"))
    assert told["modelcast_active_release_info", "fraud", "ab" * 6, "1.0.0"] == told["modelcast_active_release_info", "churn", "ab" * 6, "7.0.0"] == 1


def test_a_second_registration_says_how_it_is_done() -> None:
    registry = CollectorRegistry()
    first = metrics.register(Fixed(SERVES), registry=registry)
    with pytest.raises(MisuseError, match="already") as caught:
        metrics.register(Fixed(SERVES), registry=registry)
    assert "register(a, b)" in str(caught.value.hint)
    registry.unregister(first)
    metrics.register(Fixed(SERVES), registry=registry)


def test_without_a_registry_it_is_the_default_one() -> None:
    collector = metrics.register(Fixed(SERVES))
    try:
        assert REGISTRY.get_sample_value("modelcast_ready", {"model": "fraud", "channel": "production", "instance_id": "web-1"}) == 1
    finally:
        REGISTRY.unregister(collector)


def test_without_the_extra_it_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(MisuseError, match="prometheus_client") as caught:
        ConsumerCollector(Fixed(SERVES))
    assert "modelcast[metrics]" in str(caught.value.hint)


def test_nothing_imports_the_library_before_something_is_registered() -> None:
    program = (
        "import sys, modelcast.consumer, modelcast.consumer.member, modelcast.consumer.metrics as m; print('prometheus_client' in sys.modules)\n"
        "m.register(); print('prometheus_client' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False\nTrue\n"


def test_a_consumer_that_was_not_started_is_told_as_that(stage: Stage) -> None:
    told = values(stage.consumer(), but=(*COMMON, "library"))
    assert (told["modelcast_consumer_info", "stopped"], told["modelcast_live",], told["modelcast_ready",]) == (1, 0, 0)


def test_promotions_rejections_and_bytes_are_counted_as_they_happen(stage: Stage) -> None:
    consumer = stage.joined()
    common = {f"part-{number}.bin": bytes([number]) * 1000 for number in range(3)}
    first = stage.sim.release("1.0.0", common)
    stage.sim.publish(first)
    stage.serves(consumer, "1.0.0")
    told = values(consumer)
    assert told["modelcast_verdicts_total", "", "promoted"] == 1
    assert (told["modelcast_fetched_bytes_total", "amqp"], told["modelcast_reused_bytes_total",]) == (3000, 0)
    assert told["modelcast_wire_bytes_total",] >= 3000

    stage.sim.publish(stage.sim.release("1.1.0", {**common, "new.bin": b"n" * 500}), withheld(0))   # what is new is not sent
    stage.eventually(lambda: consumer.status().rejected == 1)
    told = values(consumer)
    assert told["modelcast_verdicts_total", "chunks-missing", "rejected"] == 1
    assert told["modelcast_consecutive_failures", "update"] == 1
    assert (told["modelcast_fetched_bytes_total", "amqp"], told["modelcast_reused_bytes_total",]) == (3000, 3000)

    stage.sim.publish(stage.sim.release("1.2.0", {**common, "new.bin": b"o" * 500}))
    stage.serves(consumer, "1.2.0")
    told = values(consumer)
    assert told["modelcast_verdicts_total", "", "promoted"] == 2
    assert told["modelcast_consecutive_failures", "update"] == 0
    assert (told["modelcast_fetched_chunks_total",], told["modelcast_reused_chunks_total",]) == (4, 6)
    assert {stage: told["modelcast_stage_duration_seconds_count", stage] for stage in STAGES} == {
        "received": 3, "verified": 2, "loaded": 2, "probed": 2, "awaited": 0, "promoted": 2,
    }
    assert [labels[1] for name, *labels in told if name == "modelcast_active_release_info"] == ["1.2.0"]


def test_counters_go_on_when_a_consumer_is_stopped_and_started_again(stage: Stage) -> None:
    consumer = stage.joined()
    stage.sim.publish(stage.sim.release("1.0.0"))
    stage.serves(consumer, "1.0.0")
    consumer.stop(30)
    assert values(consumer)["modelcast_verdicts_total", "", "promoted"] == 1
    stage.joined(consumer)
    stage.sim.publish(stage.sim.release("1.1.0"))
    stage.serves(consumer, "1.1.0")
    assert values(consumer)["modelcast_verdicts_total", "", "promoted"] == 2


def test_a_follower_tells_what_it_serves_and_leaves_verdicts_to_its_receiver(stage: Stage) -> None:
    receiver = stage.joined()
    follower = stage.started()
    stage.sim.publish(stage.sim.pickled("1.0.0", Doubler()))
    stage.eventually(lambda: follower.status().version == "1.0.0" and follower.status().fresh and follower.status().connected)
    stage.serves(receiver, "1.0.0")
    told = values(follower, but=(*COMMON, "library", "release"))
    assert told["modelcast_consumer_info", "follower"] == told["modelcast_active_release_info", "1.0.0"] == 1
    assert told["modelcast_live",] == told["modelcast_ready",] == told["modelcast_fresh",] == told["modelcast_connected",] == 1
    assert told["modelcast_verdicts_total", "", "promoted"] == 0
    assert values(receiver)["modelcast_verdicts_total", "", "promoted"] == 1
