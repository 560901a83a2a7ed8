"""Spans of updates for OpenTelemetry, where the application asks for them: ``traces.instrument(consumer)``.

Decides what the spans are called and whose children they are. Goes through the API only, with the extra ``modelcast[traces]``, and
imports it when it is asked to. Spans are made from the times of the stages once an attempt has ended, in the thread that loads models.
"""

from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Protocol

from modelcast.consumer.trial import Attempt
from modelcast.shared.errors import MisuseError

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer, TracerProvider

EXTRA = "modelcast[traces]"


class Watched(Protocol):
    """What tells of its attempts: a ``ModelConsumer``."""

    def on_attempt(self, watcher: Callable[[Attempt], None], /) -> Any:
        """Have a function called with each attempt that ended."""
        ...


def instrument(consumer: Watched, *, tracer_provider: "TracerProvider | None" = None) -> None:
    """Make a span of each attempt at an update, with one child for each stage; a child of the span that its order carries.

    Args:
        consumer: Whose updates; once for each consumer, before it is started.
        tracer_provider: Of OpenTelemetry; the global one when left out.

    Raises:
        MisuseError: The extra ``modelcast[traces]`` is not installed.
    """
    try:
        from opentelemetry import trace  # noqa: PLC0415 - an optional library, for who traces only
    except ImportError as error:
        raise MisuseError("Traces need the API of OpenTelemetry.", hint=f"Install the extra: pip install '{EXTRA}'") from error
    consumer.on_attempt(partial(_record, trace.get_tracer("modelcast.consumer", version("modelcast"), tracer_provider)))


def _record(tracer: "Tracer", attempt: Attempt) -> None:
    from opentelemetry.context import Context  # noqa: PLC0415 - the caller ensured that it is there
    from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context  # noqa: PLC0415 - likewise
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415 - likewise

    carried = {} if attempt.trace is None else {"traceparent": attempt.trace}
    parent = TraceContextTextMapPropagator().extract(carried, Context())   # what is no traceparent is no parent
    told = {
        f"modelcast.{name}": value for name, value in {"outcome": attempt.outcome, **attempt.facts}.items()
        if isinstance(value, str | int | float)
    }
    span = tracer.start_span(
        f"update {attempt.facts['model']}", parent, SpanKind.CONSUMER, told, start_time=attempt.begun_ns
    )
    for stage, begun_ns, ended_ns in attempt.stages:
        tracer.start_span(stage, set_span_in_context(span, parent), start_time=begun_ns).end(ended_ns)
    problem = attempt.facts.get("message") or attempt.facts.get("fault")
    if problem is not None:
        span.set_status(StatusCode.ERROR, str(problem))
    span.end(attempt.ended_ns)
