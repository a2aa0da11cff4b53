"""Which browser pages may call."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from pydantic import ValidationError

from tests.gateway.conftest import Gateway, Upstream, serving, settings_for

CONSOLE = "https://console.example"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def open_to_console(session_upstreams: dict[str, Upstream]) -> AsyncIterator[Gateway]:
    addresses = {name: upstream.address for name, upstream in session_upstreams.items()}
    async with serving(settings_for(addresses, allowed_origins=f"{CONSOLE}, http://localhost:5173")) as served:
        yield served


def asking(origin: str, method: str = "POST") -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,content-type,idempotency-key,traceparent",
    }


async def test_a_page_of_an_allowed_origin_may_call(open_to_console: Gateway, bearer: dict[str, str]) -> None:
    url = open_to_console.url("/api/v1/bookings")
    async with open_to_console.client.options(url, headers=asking(CONSOLE)) as answer:
        assert answer.status == 200
        assert answer.headers["Access-Control-Allow-Origin"] == CONSOLE
    async with open_to_console.client.get(url, headers={**bearer, "Origin": CONSOLE}) as answer:
        assert answer.headers["Access-Control-Allow-Origin"] == CONSOLE
        assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]


async def test_a_refusal_can_be_read_by_the_page_too(open_to_console: Gateway) -> None:
    url = open_to_console.url("/api/v1/bookings")
    async with open_to_console.client.get(url, headers={"Origin": CONSOLE}) as answer:
        assert answer.status == 401
        assert answer.headers["Access-Control-Allow-Origin"] == CONSOLE


async def test_a_page_of_another_origin_may_not(open_to_console: Gateway, bearer: dict[str, str]) -> None:
    url = open_to_console.url("/api/v1/bookings")
    async with open_to_console.client.options(url, headers=asking("https://evil.example")) as answer:
        assert answer.status == 400
        assert answer.content_type == "application/problem+json"
        assert "Access-Control-Allow-Origin" not in answer.headers
    async with open_to_console.client.get(url, headers={**bearer, "Origin": "https://evil.example"}) as answer:
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_without_allowed_origins_no_page_may_call(gateway: Gateway) -> None:
    async with gateway.client.options(gateway.url("/api/v1/bookings"), headers=asking(CONSOLE)) as answer:
        assert answer.status == 405
        assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("origins", ["console.example", "https://console.example/path", "ftp://x"])
def test_an_origin_with_a_path_or_without_a_scheme_refuses_to_start(origins: str) -> None:
    addresses = dict.fromkeys(("booking", "availability", "channel-sync"), "http://127.0.0.1:1")
    with pytest.raises(ValidationError, match="is not an origin"):
        settings_for(addresses, allowed_origins=origins)
