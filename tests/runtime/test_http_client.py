"""Proves what a service learns when another one does not answer, and that the trace goes along."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from runtime.http_client import Answer, HttpClient, UpstreamTimeout, UpstreamUnavailable
from runtime.telemetry import current_trace_id, span
from tests.e2e.infra.web_server import close, listen
from tests.serving import closed_port


async def answer(request: web.Request) -> web.StreamResponse:
    """A service in many moods."""
    mood = request.match_info["mood"]
    if mood == "slow":
        await asyncio.sleep(1.0)
    if mood == "cut":
        assert request.transport is not None
        request.transport.abort()
    if mood == "moved":
        raise web.HTTPFound("/fine")
    body = {"query": request.query_string} | {name: request.headers.get(name) for name in ("traceparent", "cookie")}
    response = web.json_response(body, status=500 if mood == "broken" else 200)
    response.set_cookie("session", "of somebody")
    return response


def json_of(found: Answer) -> dict[str, str | None]:
    parsed: dict[str, str | None] = json.loads(found.body)
    return parsed


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def address() -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{mood}", answer)
    runner = await listen(app, shutdown_timeout=0.1)
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await close(runner)


async def test_the_trace_goes_along_and_the_answer_is_read_whole(address: str, spans: InMemorySpanExporter) -> None:
    async with HttpClient(f"{address}/", peer="other", timeout_s=2) as client:
        with span("caller"):
            trace_id = current_trace_id()
            found = await client.request("GET", "/fine", query="a=1")
    client_span = spans.get_finished_spans()[0]
    assert client_span.name == "GET other"
    assert client_span.context is not None
    parent = json_of(found)["traceparent"]
    assert parent is not None
    assert parent.startswith(f"00-{trace_id}-{client_span.context.span_id:016x}-")
    assert (found.status, json_of(found)["query"]) == (200, "a=1")


async def test_an_answer_that_says_failure_is_an_answer(address: str, spans: InMemorySpanExporter) -> None:
    async with HttpClient(address, peer="other", timeout_s=2) as client:
        assert (await client.request("POST", "/broken", body=b"{}")).status == 500
        assert (await client.request("GET", "/moved")).status == 302
    assert [found.status.is_ok for found in spans.get_finished_spans()] == [False, True]


async def test_a_slow_service_is_a_timeout_at_the_deadline(address: str) -> None:
    async with HttpClient(address, peer="other", timeout_s=5) as client:
        started = time.monotonic()
        with pytest.raises(UpstreamTimeout, match="other did not answer in time"):
            await client.request("GET", "/slow", timeout_s=0.1)
        assert time.monotonic() - started < 0.8


async def test_a_service_that_cuts_the_connection_is_unavailable_and_not_a_timeout(address: str) -> None:
    async with HttpClient(address, peer="other", timeout_s=2) as client:
        with pytest.raises(UpstreamUnavailable) as refusal:
            await client.request("GET", "/cut")
    assert not isinstance(refusal.value, UpstreamTimeout)


async def test_a_service_that_does_not_listen_is_unavailable() -> None:
    async with HttpClient(f"http://127.0.0.1:{closed_port()}", peer="other", timeout_s=2) as client:
        with pytest.raises(UpstreamUnavailable, match="other cannot be reached") as refusal:
            await client.request("GET", "/fine")
    assert not isinstance(refusal.value, UpstreamTimeout)


async def test_no_cookie_of_one_caller_is_sent_for_another(address: str) -> None:
    async with HttpClient(address, peer="other", timeout_s=2) as client:
        first = await client.request("GET", "/fine")
        assert "Set-Cookie" in first.headers
        assert json_of(await client.request("GET", "/fine"))["cookie"] is None
