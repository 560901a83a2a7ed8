"""The trace that an order belongs to: whoever publishes, promotes or rolls back inside ``carry`` or ``span`` sends it along.

Decides how it gets into the order: by a context variable, so that no call has one more argument. ``span`` makes spans through the
API of OpenTelemetry, with the extra ``modelcast[traces]``; its library is imported when it is called, never before.
"""

import re
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.metadata import version
from typing import TYPE_CHECKING

from modelcast.shared.errors import MisuseError

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

EXTRA = "modelcast[traces]"
TRACE: ContextVar[str | None] = ContextVar("modelcast_trace", default=None)
"""What orders of this thread or task carry."""
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


@contextmanager
def carry(traceparent: str | None) -> Generator[None]:
    """Let the orders sent inside carry a trace that exists already, of a pipeline for example; None carries none.

    Raises:
        MisuseError: It is no ``traceparent`` of W3C Trace Context.
    """
    if traceparent is not None and _TRACEPARENT.fullmatch(traceparent) is None:
        raise MisuseError(f"{traceparent[:80]!r} is no traceparent.", hint="It looks like 00-<32 digits>-<16 digits>-01.")
    token = TRACE.set(traceparent)
    try:
        yield
    finally:
        TRACE.reset(token)


@contextmanager
def span(name: str, *, tracer_provider: "TracerProvider | None" = None, **attributes: str | float) -> Generator[str | None]:
    """Make a span of what is done inside, and let the orders sent inside carry its trace.

    Args:
        name: Its name, such as ``publish fraud``.
        tracer_provider: Of OpenTelemetry; the global one when left out.
        attributes: Of the span; each gets the prefix ``modelcast.``.

    Yields:
        Its ``traceparent``; None where OpenTelemetry was not set up, so that nothing is recorded.

    Raises:
        MisuseError: The extra ``modelcast[traces]`` is not installed.
    """
    try:
        from opentelemetry import trace  # noqa: PLC0415 - an optional library, for who traces only
        from opentelemetry.trace.propagation import tracecontext  # noqa: PLC0415 - likewise
    except ImportError as error:
        raise MisuseError("Traces need the API of OpenTelemetry.", hint=f"Install the extra: pip install '{EXTRA}'") from error
    tracer = trace.get_tracer("modelcast.publisher", version("modelcast"), tracer_provider)
    told = {f"modelcast.{key}": value for key, value in attributes.items()}
    with tracer.start_as_current_span(name, kind=trace.SpanKind.PRODUCER, attributes=told):
        headers: dict[str, str] = {}
        tracecontext.TraceContextTextMapPropagator().inject(headers)
        with carry(headers.get("traceparent")):
            yield headers.get("traceparent")
