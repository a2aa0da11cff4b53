"""Owns a receiver of spans and counts, OTLP over HTTP as services export them; tests look at what really arrived."""

from __future__ import annotations

import gzip
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from aiohttp import web
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from deploy.local.journey_client import NotYet, until
from tests.e2e.infra.web_server import close, listen

CONTENT_TYPE = "application/x-protobuf"


@dataclass(frozen=True)
class ReceivedSpan:
    """One exported span; ids are hexadecimal, `parent_id` is empty for a root."""

    service: str
    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, str]


class SpanReceiver:
    """`async with SpanReceiver() as spans`: services export to `spans.endpoint`."""

    def __init__(self) -> None:
        self.endpoint = ""
        self._traces: dict[str, list[ReceivedSpan]] = defaultdict(list)
        self._counts: dict[tuple[str, str], list[tuple[dict[str, str], int]]] = {}
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        """Listen; the endpoint is known afterwards."""
        application = web.Application(client_max_size=64 * 1024 * 1024)
        application.router.add_post("/v1/traces", self._receive)
        application.router.add_post("/v1/metrics", self._receive_counts)
        self._runner = await listen(application)
        self.endpoint = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Stop listening."""
        assert self._runner is not None
        await close(self._runner)

    def trace(self, trace_id: str) -> list[ReceivedSpan]:
        """The spans of a trace that arrived so far."""
        return list(self._traces[trace_id])

    def count(self, service: str, name: str, **attributes: str) -> int:
        """The sum of a service's count over its attributes but those given, as it arrived last; 0 before."""
        points = self._counts.get((service, name), [])
        return sum(value for found, value in points if attributes.items() <= found.items())

    async def wait_for(
        self, trace_id: str, what: str, is_complete: Callable[[list[ReceivedSpan]], bool]
    ) -> list[ReceivedSpan]:
        """The spans of a trace once they are complete; raises `Unexpected` with what arrived."""

        async def look() -> list[ReceivedSpan]:
            spans = self.trace(trace_id)
            if not is_complete(spans):
                raise NotYet(f"{[f'{span.service}: {span.name}' for span in spans]}")
            return spans

        return await until(look, what)

    async def _receive_counts(self, request: web.Request) -> web.Response:
        message = ExportMetricsServiceRequest.FromString(await _body_of(request))
        for resource in message.resource_metrics:
            service = _texts(resource.resource.attributes).get("service.name", "")
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    points = [(_texts(point.attributes), point.as_int) for point in metric.sum.data_points]
                    self._counts[service, metric.name] = points
        return web.Response(body=ExportMetricsServiceResponse().SerializeToString(), content_type=CONTENT_TYPE)

    async def _receive(self, request: web.Request) -> web.Response:
        message = ExportTraceServiceRequest.FromString(await _body_of(request))
        for resource in message.resource_spans:
            service = _texts(resource.resource.attributes).get("service.name", "")
            for scope in resource.scope_spans:
                for span in scope.spans:
                    received = ReceivedSpan(
                        service,
                        span.name,
                        span.kind,
                        span.trace_id.hex(),
                        span.span_id.hex(),
                        span.parent_span_id.hex(),
                        _texts(span.attributes),
                    )
                    self._traces[received.trace_id].append(received)
        return web.Response(body=ExportTraceServiceResponse().SerializeToString(), content_type=CONTENT_TYPE)


async def _body_of(request: web.Request) -> bytes:
    body = await request.read()
    if request.headers.get("Content-Encoding") == "gzip" and body[:2] == b"\x1f\x8b":
        return gzip.decompress(body)
    return body


def _texts(attributes: Iterable[KeyValue]) -> dict[str, str]:
    return {item.key: item.value.string_value or str(item.value.int_value) for item in attributes}
