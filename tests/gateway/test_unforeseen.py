"""An error nobody handled is a problem with its trace id; seen through the gateway, true of every service."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from gateway.clients import Upstreams
from tests.gateway.conftest import Gateway


async def test_an_unforeseen_error_gets_500_with_the_trace_id_and_no_detail_of_it(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_: Upstreams) -> dict[str, str]:
        raise ZeroDivisionError("inner secret")

    monkeypatch.setattr(Upstreams, "unreachable", broken)
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}
    url = gateway.url("/api/v1/health/ready")
    with capture_logs() as logged:
        async with gateway.client.get(url, headers=headers) as answer:
            problem = await answer.json()
    assert answer.status == 500
    assert answer.content_type == "application/problem+json"
    assert (problem["code"], problem["trace_id"]) == ("internal_error", trace_id)
    assert "secret" not in str(problem)
    assert [line["log_level"] for line in logged if line["event"] == "unforeseen error"] == ["error"]
    assert [line["status"] for line in logged if line["event"] == "request"] == [500]
