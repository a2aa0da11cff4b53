"""What the gateway answers itself: every refusal and failure is a problem document."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import aiohttp
import jwt
import pytest
from aiohttp import web

from contracts.problems import Problem
from gateway.api.table import PREFIX, ROUTES, PublicRoute
from runtime.http import MAX_BODY_BYTES
from runtime.tokens import AUDIENCE, ISSUER, issue_token
from tests.gateway.conftest import AGENCY, SECRET, Gateway, Upstream

ID = UUID("0192f1c5-0b1f-7e33-a4d7-91b2c6d8ef03")


async def problem_of(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    """The problem document of an answer, held against its contract."""
    assert answer.content_type == "application/problem+json"
    document: dict[str, Any] = await answer.json()
    problem = Problem.model_validate(document)
    assert problem.status == answer.status
    assert problem.type == f"urn:pms:problem:{problem.code}"
    return document


def forged(**claims: Any) -> str:
    now = int(time.time())
    base = {"iss": ISSUER, "aud": AUDIENCE, "sub": "x", "nbf": now, "exp": now + 60, "agency_id": str(AGENCY)}
    return jwt.encode({**base, **claims}, SECRET, algorithm="HS256")


@pytest.mark.parametrize(
    "route", [route for route in ROUTES if not (route.signed or route.public)], ids=lambda route: route.name
)
async def test_without_a_token_every_route_answers_401_and_no_service_is_asked(
    route: PublicRoute, gateway: Gateway, upstreams: dict[str, Upstream]
) -> None:
    url = gateway.url(PREFIX + re.sub(r"\{\w+\}", str(ID), route.path))
    async with gateway.client.request(route.method, url) as answer:
        assert (await problem_of(answer))["code"] == "unauthenticated"
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert all(not upstream.seen for upstream in upstreams.values())


@pytest.mark.parametrize(
    "token",
    [
        "",
        "not-a-token",
        issue_token("another-secret-0123456789012345678901234567", subject="x", agency_id=AGENCY, roles=[]),
        forged(exp=int(time.time()) - 60, nbf=int(time.time()) - 120),
        forged(exp=int(time.time()) + 86_400),
        forged(aud="someone-else"),
        forged(agency_id="no-uuid"),
        jwt.encode({"sub": "x", "agency_id": str(AGENCY)}, "", algorithm="none"),
    ],
    ids=["empty", "garbage", "other secret", "expired", "lives too long", "other audience", "bad agency", "unsigned"],
)
async def test_a_token_the_suite_did_not_sign_or_that_is_over_gets_401(
    token: str, gateway: Gateway, upstreams: dict[str, Upstream]
) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    async with gateway.client.get(gateway.url("/api/v1/bookings"), headers=headers) as answer:
        assert (answer.status, (await problem_of(answer))["code"]) == (401, "unauthenticated")
    assert not upstreams["booking"].seen


async def test_what_a_token_allows_is_left_to_the_service(gateway: Gateway, upstreams: dict[str, Upstream]) -> None:
    token = issue_token(SECRET, subject="platform", agency_id=None, roles=["platform"])
    headers = {"Authorization": f"Bearer {token}"}
    async with gateway.client.get(gateway.url("/api/v1/bookings"), headers=headers) as answer:
        assert answer.status == 200
    assert len(upstreams["booking"].seen) == 1


async def test_a_body_over_64_kib_gets_413_whether_or_not_its_length_is_declared(
    gateway: Gateway, upstreams: dict[str, Upstream], bearer: dict[str, str]
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(9):
            yield b"x" * 8192

    for data in (b"x" * (MAX_BODY_BYTES + 1), pieces()):
        async with gateway.client.post(gateway.url("/api/v1/bookings"), data=data, headers=bearer) as answer:
            assert (answer.status, (await problem_of(answer))["code"]) == (413, "payload_too_large")
    assert not upstreams["booking"].seen
    full = b"x" * MAX_BODY_BYTES
    async with gateway.client.post(gateway.url("/api/v1/bookings"), data=full, headers=bearer) as answer:
        assert answer.status == 200
    assert upstreams["booking"].seen[0].body == full


async def test_an_unknown_path_gets_404(gateway: Gateway, bearer: dict[str, str]) -> None:
    for path in ("/", "/api/v1/nothing", "/api/v1/bookings/", "/api/v1/internal/properties", "/internal/properties"):
        async with gateway.client.get(gateway.url(path), headers=bearer, allow_redirects=False) as answer:
            assert (answer.status, (await problem_of(answer))["code"]) == (404, "not_found")


async def test_deleting_a_booking_gets_405_and_names_what_is_allowed(
    gateway: Gateway, upstreams: dict[str, Upstream], bearer: dict[str, str]
) -> None:
    async with gateway.client.delete(gateway.url(f"/api/v1/bookings/{ID}"), headers=bearer) as answer:
        assert (answer.status, (await problem_of(answer))["code"]) == (405, "method_not_allowed")
        assert answer.headers["Allow"] == "GET, PATCH"
    async with gateway.client.put(gateway.url("/api/v1/bookings"), headers=bearer) as answer:
        assert answer.status == 405
        assert answer.headers["Allow"] == "POST, GET"
    assert not upstreams["booking"].seen


@pytest.mark.parametrize("service", ["booking", "availability", "channel-sync"])
async def test_a_service_that_does_not_listen_gets_503_that_names_it(
    service: str, lonely: Gateway, bearer: dict[str, str]
) -> None:
    path = next(route.path for route in ROUTES if route.service == service and route.method == "GET")
    async with lonely.client.get(lonely.url(PREFIX + path.format(id=ID)), headers=bearer) as answer:
        problem = await problem_of(answer)
        assert (answer.status, problem["code"]) == (503, "unavailable")
        assert problem["detail"].startswith(f"{service} cannot be reached")
        assert int(answer.headers["Retry-After"]) >= 1


async def test_a_service_that_cuts_the_connection_gets_503(
    gateway: Gateway, upstreams: dict[str, Upstream], bearer: dict[str, str]
) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b'{"half":')
        assert request.transport is not None
        request.transport.abort()
        return response

    upstreams["booking"].answering = cut
    async with gateway.client.post(gateway.url("/api/v1/bookings"), data=b"{}", headers=bearer) as answer:
        assert (answer.status, (await problem_of(answer))["code"]) == (503, "unavailable")


async def test_a_service_that_is_slower_than_the_deadline_gets_503_and_the_gateway_does_not_wait(
    hasty: Gateway, upstreams: dict[str, Upstream], bearer: dict[str, str]
) -> None:
    async def sleep(_: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return web.Response()

    upstreams["booking"].answering = sleep
    started = time.monotonic()
    async with hasty.client.get(hasty.url("/api/v1/bookings"), headers=bearer) as answer:
        problem = await problem_of(answer)
        assert (answer.status, problem["code"]) == (503, "deadline_exceeded")
        assert problem["detail"].startswith("booking did not answer in time")
        assert int(answer.headers["Retry-After"]) >= 1
    assert time.monotonic() - started < 3


async def test_a_body_that_trickles_past_the_deadline_gets_408(
    hasty: Gateway, upstreams: dict[str, Upstream], bearer: dict[str, str]
) -> None:
    async def trickle() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(1)
        yield b"}"

    async with hasty.client.post(hasty.url("/api/v1/bookings"), data=trickle(), headers=bearer) as answer:
        assert answer.status == 408
        await problem_of(answer)
    assert not upstreams["booking"].seen


async def test_a_caller_that_hangs_up_while_sending_leaves_the_gateway_well(
    gateway: Gateway, upstreams: dict[str, Upstream], bearer: dict[str, str]
) -> None:
    host, port = gateway.address.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /api/v1/bookings HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer['Authorization']}\r\n"
    writer.write(f"{head}Content-Length: 10\r\n\r\n123".encode())
    await writer.drain()
    writer.transport.abort()
    async with gateway.client.get(gateway.url("/api/v1/bookings"), headers=bearer) as answer:
        assert answer.status == 200
    assert [seen.method for seen in upstreams["booking"].seen] == ["GET"]
