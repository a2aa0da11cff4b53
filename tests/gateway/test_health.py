"""Liveness and readiness of the gateway."""

from __future__ import annotations

from tests.gateway.conftest import Gateway, Upstream, closed_address, serving, settings_for


async def test_liveness_depends_on_no_service(lonely: Gateway) -> None:
    for path in ("/health", "/api/v1/health"):
        async with lonely.client.get(lonely.url(path)) as answer:
            assert (answer.status, await answer.json()) == (200, {"status": "ok"})


async def test_with_all_services_reachable_it_is_ready(gateway: Gateway) -> None:
    async with gateway.client.get(gateway.url("/health/ready")) as answer:
        assert answer.status == 200
    async with gateway.client.get(gateway.url("/api/v1/health/ready")) as answer:
        assert (answer.status, await answer.json()) == (200, {"status": "ready", "unreachable": {}})


async def test_one_dead_service_leaves_it_ready_and_is_named(session_upstreams: dict[str, Upstream]) -> None:
    addresses = {name: upstream.address for name, upstream in session_upstreams.items()}
    async with serving(settings_for({**addresses, "booking": closed_address()})) as served:
        async with served.client.get(served.url("/health/ready")) as answer:
            assert answer.status == 200
        async with served.client.get(served.url("/api/v1/health/ready")) as answer:
            document = await answer.json()
            assert (answer.status, document["status"]) == (200, "degraded")
            assert list(document["unreachable"]) == ["booking"]


async def test_with_no_service_reachable_it_is_not_ready_and_names_all(lonely: Gateway) -> None:
    for path in ("/health/ready", "/api/v1/health/ready"):
        async with lonely.client.get(lonely.url(path)) as answer:
            text = await answer.text()
            assert answer.status == 503
            assert answer.content_type == "application/problem+json"
            for service in ("booking", "availability", "channel-sync"):
                assert service in text
