"""The trace of an order: what is current where it is sent goes into it, signed, and into nothing else."""

import sys
import threading
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from tests.fakes.fake_broker import FakeBroker

from modelcast.publisher import Operator, Publisher, traces
from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.errors import MisuseError
from modelcast.shared.limits import DEFAULT_LIMITS
from modelcast.shared.order import ORDER_FORMATS, Order, OrderMessage
from modelcast.shared.road import InstanceRoad, Target
from modelcast.shared.signing import Envelope, SigningKey

CARRIED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def road() -> AmqpRoad:
    return AmqpRoad(FakeBroker())


@pytest.fixture
def inbox(road: AmqpRoad) -> Iterator[InstanceRoad]:
    joined = road.join(Target("fraud", "production", "a"))
    yield joined
    joined.close()


@pytest.fixture
def publisher(road: AmqpRoad, signing_key: SigningKey) -> Publisher:
    return Publisher(road, signing_key=signing_key)


def next_order(inbox: InstanceRoad) -> Order:
    arrived = inbox.next_order(10)
    assert arrived is not None
    inbox.settle(arrived, accept=True)
    envelope = Envelope.from_bytes(OrderMessage.from_bytes(arrived.body).order, what="order")
    return Order.from_bytes(envelope.payload, what="order", formats=ORDER_FORMATS, max_bytes=DEFAULT_LIMITS.order_bytes)


def test_orders_of_every_kind_carry_the_trace_in_which_they_are_sent(
    road: AmqpRoad, publisher: Publisher, inbox: InstanceRoad, signing_key: SigningKey
) -> None:
    operator = Operator(road, order_key=signing_key)
    with traces.carry(CARRIED):
        publisher.publish({"a": 1}, model="fraud", version="1.0.0")
        publisher.publish({"a": 2}, model="fraud", version="1.1.0")
        operator.rollback("fraud")
        operator.promote("fraud", "1.1.0", to_channel="production", again=True)
    publisher.publish({"a": 3}, model="fraud", version="1.2.0")
    assert [next_order(inbox).trace for _ in range(5)] == [CARRIED] * 4 + [None]


def test_a_span_is_made_and_carried(publisher: Publisher, inbox: InstanceRoad) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with traces.span("publish fraud", tracer_provider=provider, model="fraud", version="1.0.0") as trace:
        publisher.publish({"a": 1}, model="fraud", version="1.0.0")
    [span] = exporter.get_finished_spans()
    assert (span.name, span.kind) == ("publish fraud", SpanKind.PRODUCER)
    assert dict(span.attributes or {}) == {"modelcast.model": "fraud", "modelcast.version": "1.0.0"}
    assert trace == next_order(inbox).trace
    assert trace is not None
    assert trace.startswith(f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-")


def test_without_a_provider_there_is_nothing_to_carry(publisher: Publisher, inbox: InstanceRoad) -> None:
    with traces.span("publish fraud") as trace:
        publisher.publish({"a": 1}, model="fraud", version="1.0.0")
    assert (trace, next_order(inbox).trace) == (None, None)


@pytest.mark.parametrize("trace", ["", "nonsense", CARRIED.upper(), CARRIED + "\n", CARRIED + "-more"])
def test_what_is_no_traceparent_is_refused_before_anything_is_sent(trace: str) -> None:
    with pytest.raises(MisuseError, match="no traceparent"), traces.carry(trace):
        pass


def test_another_thread_carries_no_trace_of_ours() -> None:
    seen: list[str | None] = []
    with traces.carry(CARRIED):
        thread = threading.Thread(target=lambda: seen.append(traces.TRACE.get()))
        thread.start()
        thread.join()
        assert traces.TRACE.get() == CARRIED
    assert (seen, traces.TRACE.get()) == ([None], None)


def test_without_the_extra_it_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(MisuseError, match="OpenTelemetry") as caught, traces.span("publish"):
        pass
    assert "modelcast[traces]" in str(caught.value.hint)
