"""Tracing and counting: set up by `runtime.cli`; spans and W3C context cross HTTP, outbox rows and Kafka records.

Spans are the suite's own rather than the instrumentation packages': those emit a span for every BEGIN and COMMIT and
overwrite the context stored in an outbox row.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import Attributes

_PROPAGATOR = TraceContextTextMapPropagator()
_TRACER = trace.get_tracer("pms")

Carrier = Mapping[str, str]


def configure_telemetry(service: str) -> None:
    """Start tracing and counting, exported by OTLP over HTTP when `OTEL_EXPORTER_OTLP_ENDPOINT` is set.

    The sampler follows `OTEL_TRACES_SAMPLER` (default: parent based, always on). Without an endpoint nothing is
    recorded: a request still has its trace id, in answers, logs and history.
    """
    is_exported = bool(os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"))
    sampler = None if is_exported else ALWAYS_OFF
    resource = Resource.create({SERVICE_NAME: service})
    provider = TracerProvider(sampler, resource)
    if is_exported:
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())], resource))
    trace.set_tracer_provider(provider)


def counter(name: str, unit: str, description: str) -> metrics.Counter:
    """A count that only grows, with attributes of few values; may be made before `configure_telemetry`."""
    return metrics.get_meter("pms").create_counter(name, unit, description)


@contextmanager
def span(
    name: str, kind: SpanKind = SpanKind.INTERNAL, *, parent: Carrier | None = None, attributes: Attributes = None
) -> Iterator[Span]:
    """A span that is current inside the block; `parent` is a carrier of W3C headers, else the current span.

    An exception marks the span as failed and passes on.
    """
    context = None if parent is None else _PROPAGATOR.extract(parent)
    with _TRACER.start_as_current_span(name, context, kind, attributes) as current:
        yield current


def publish_span(name: str, carrier: Carrier, attributes: Attributes) -> tuple[Span, Carrier]:
    """A PRODUCER span as child of a stored context, and its headers; not made current, the caller ends it.

    When nothing is recorded the stored context is passed on as it is.
    """
    if getattr(trace.get_tracer_provider(), "sampler", ALWAYS_OFF) is ALWAYS_OFF:
        return trace.INVALID_SPAN, carrier
    current = _TRACER.start_span(name, _PROPAGATOR.extract(carrier), SpanKind.PRODUCER, attributes)
    return current, carrier_of(current)


def carrier_of(current: Span | None = None) -> dict[str, str]:
    """W3C headers of a span (default: the current one); empty when there is none."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, None if current is None else trace.set_span_in_context(current))
    return carrier


def carrier_from_headers(headers: Iterable[tuple[str, bytes]]) -> dict[str, str]:
    """W3C headers among the headers of a Kafka record."""
    return {name: value.decode("latin-1") for name, value in headers if name in _PROPAGATOR.fields and value}


def current_trace_id() -> str | None:
    """Trace id of the current span, 32 hexadecimal digits."""
    context = trace.get_current_span().get_span_context()
    return format(context.trace_id, "032x") if context.is_valid else None


def note_status(current: Span, status: int) -> None:
    """Note the status of an HTTP answer, one's own or another's; from 500 on the span has failed."""
    current.set_attribute("http.response.status_code", status)
    if status >= 500:
        mark_failed(current, str(status))


def mark_failed(current: Span, reason: str) -> None:
    """Mark a span as failed without an exception."""
    current.set_status(Status(StatusCode.ERROR, reason))
