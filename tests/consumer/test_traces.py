"""Spans of updates: made after the fact from the times of the stages, children of what the order carries, and never a cost."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from tests.fakes.bench import Bench, Desk
from tests.fakes.fake_broker import FakeBroker
from tests.fakes.publisher_sim import PublisherSimulator, withheld
from tests.fakes.stage import Stage

from modelcast.consumer import Attempt, traces
from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.errors import MisuseError

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CARRIED = f"00-{TRACE}-{SPAN}-01"


class Recorder:
    """An application that has set OpenTelemetry up."""

    def __init__(self) -> None:
        self._exporter, self.provider = InMemorySpanExporter(), TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def spans(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())


class Watched:
    """A consumer whose attempts are made up."""

    def on_attempt(self, watcher) -> None:
        self.tell = watcher


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def stage(tmp_path: Path, signing_key) -> Iterator[Stage]:
    stage = Stage(tmp_path, signing_key)
    yield stage
    stage.stop()


def told(recorder: Recorder, **changes: object) -> list[ReadableSpan]:
    """The spans of one attempt; the one of the whole attempt comes last."""
    watched = Watched()
    traces.instrument(watched, tracer_provider=recorder.provider)
    fields: dict[str, object] = {
        "outcome": "promoted", "facts": {"model": "fraud", "version": "1.0.0", "sequence": 3, "reason": None, "stages_ms": {"loaded": 1}},
        "trace": None, "begun_ns": 1_000, "ended_ns": 9_000, "stages": (("received", 2_000, 4_000), ("loaded", 4_000, 8_000)),
    }
    watched.tell(Attempt(**(fields | changes)))   # type: ignore[arg-type]
    return recorder.spans()


def test_an_attempt_is_a_span_with_a_child_for_each_stage_at_the_time_it_took(recorder: Recorder) -> None:
    *stages, whole = told(recorder)
    assert [(span.name, span.start_time, span.end_time) for span in (*stages, whole)] == [
        ("received", 2_000, 4_000), ("loaded", 4_000, 8_000), ("update fraud", 1_000, 9_000),
    ]
    assert all(span.parent is not None and span.parent.span_id == whole.context.span_id for span in stages)
    assert (whole.kind, whole.status.status_code, whole.parent) == (SpanKind.CONSUMER, StatusCode.UNSET, None)
    assert dict(whole.attributes or {}) == {
        "modelcast.outcome": "promoted", "modelcast.model": "fraud", "modelcast.version": "1.0.0", "modelcast.sequence": 3,
    }


def test_what_the_order_carries_is_the_parent(recorder: Recorder) -> None:
    *_, whole = told(recorder, trace=CARRIED)
    assert whole.parent is not None
    assert (f"{whole.context.trace_id:032x}", f"{whole.parent.span_id:016x}") == (TRACE, SPAN)


@pytest.mark.parametrize("trace", ["", "nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", CARRIED[:-1], "x" * 64])
def test_what_is_no_traceparent_is_no_parent_and_no_fault(recorder: Recorder, trace: str) -> None:
    *_, whole = told(recorder, trace=trace)
    assert (whole.name, whole.parent) == ("update fraud", None)


def test_a_span_that_happens_to_be_current_is_no_parent(recorder: Recorder) -> None:
    with recorder.provider.get_tracer("the application").start_as_current_span("its own"):
        whole = told(recorder)[-1]
    assert whole.parent is None


@pytest.mark.parametrize(("outcome", "field"), [("rejected", "message"), ("put off", "fault")])
def test_a_failure_is_an_error_with_its_sentence(recorder: Recorder, outcome: str, field: str) -> None:
    *_, whole = told(recorder, outcome=outcome, facts={"model": "fraud", field: "It did not load."})
    assert (whole.status.status_code, whole.status.description) == (StatusCode.ERROR, "It did not load.")


def test_promotions_and_rejections_of_a_consumer_are_traced_from_publisher_to_instance(stage: Stage, recorder: Recorder) -> None:
    consumer = stage.consumer()
    traces.instrument(consumer, tracer_provider=recorder.provider)
    stage.joined(consumer)
    stage.sim.publish(stage.sim.release("1.0.0"), trace=CARRIED)
    stage.serves(consumer, "1.0.0")
    stage.sim.publish(stage.sim.release("1.1.0"), withheld(0))
    stage.eventually(lambda: len([span for span in recorder.spans() if span.name == "update fraud"]) == 2)
    spans = recorder.spans()
    first, second = (span for span in spans if span.name == "update fraud")
    assert first.parent is not None
    assert f"{first.context.trace_id:032x}" == TRACE
    assert second.parent is None
    by_parent = {whole.context.span_id: [s for s in spans if s.parent and s.parent.span_id == whole.context.span_id] for whole in (first, second)}
    assert [span.name for span in by_parent[first.context.span_id]] == ["received", "verified", "loaded", "probed", "promoted"]
    assert [span.name for span in by_parent[second.context.span_id]] == ["received"]
    for whole in (first, second):
        for span in by_parent[whole.context.span_id]:
            assert whole.start_time - 2_000_000 <= span.start_time <= span.end_time <= whole.end_time + 2_000_000   # type: ignore[operator]
    assert (second.attributes or {})["modelcast.reason"] == "chunks-missing"


def test_without_the_extra_it_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(MisuseError, match="OpenTelemetry") as caught:
        traces.instrument(Watched())
    assert "modelcast[traces]" in str(caught.value.hint)


def test_nothing_imports_the_library_before_it_is_asked_for() -> None:
    program = (
        "import sys, modelcast.consumer.member, modelcast.publisher.publisher, modelcast.publisher.operator\n"
        "import modelcast.consumer.traces, modelcast.publisher.traces; print([name for name in sys.modules if 'opentelemetry' in name])"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


def test_without_a_provider_nothing_is_recorded_and_nothing_fails() -> None:
    watched = Watched()
    traces.instrument(watched)
    watched.tell(Attempt("promoted", {"model": "fraud"}, CARRIED, 1, 2, (("loaded", 1, 2),)))


def test_what_a_watcher_raises_touches_no_update(stage: Stage) -> None:
    consumer, seen = stage.consumer(), list[str]()

    @consumer.on_attempt
    def broken(attempt: Attempt) -> None:
        seen.append(attempt.outcome)
        raise SystemExit("the disk of the traces is full")

    stage.joined(consumer)
    for version in ("1.0.0", "1.1.0"):
        stage.sim.publish(stage.sim.release(version))
        stage.serves(consumer, version)
    stage.eventually(lambda: len(seen) == 2)
    assert (seen, consumer.status().live, consumer.status().fault) == (["promoted", "promoted"], True, None)


def test_watchers_are_told_of_every_attempt_that_ended(tmp_path: Path, signing_key, key_ring) -> None:
    seen: list[Attempt] = []
    road = AmqpRoad(FakeBroker())
    sim = PublisherSimulator(road, signing_key)
    with Bench(tmp_path / "store", road, key_ring) as bench:
        desk = Desk(bench, now_ms=1_790_000_000_000)
        desk.verdicts.watchers = [seen.append]
        for body in (sim.publish(sim.release("1.0.0")), b"noise", sim.publish(sim.release("1.1.0"), withheld(0))):
            desk.deliver(body)
            desk.work()
        assert [(attempt.outcome, attempt.facts["version"], attempt.facts["instance"]) for attempt in seen] == [
            ("promoted", "1.0.0", "a"), ("rejected", None, "a"), ("rejected", "1.1.0", "a"),
        ]
        assert [name for name, _, _ in seen[0].stages] == ["received", "verified", "loaded", "probed", "promoted"]
        assert seen[0].begun_ns <= seen[0].stages[0][1] <= seen[0].stages[0][2] <= seen[0].stages[1][1] <= seen[0].ended_ns
        assert (seen[0].ended_ns, seen[1].begun_ns, seen[1].stages) == (desk.now_ms * 1_000_000, desk.now_ms * 1_000_000, ())
