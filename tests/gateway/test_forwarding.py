"""What the gateway sends to the services and brings back."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl
from uuid import UUID

import aiohttp
import pytest
import yarl
from aiohttp import web

from gateway.api.table import PREFIX, ROUTES, PublicRoute
from tests.gateway.conftest import Gateway, Upstream

ID = UUID("0192f1c5-0b1f-7e33-a4d7-91b2c6d8ef03")
BODY = b'{"note": "\xc3\xa9", "spaces":   [1,\n2]}'


def path_of(route: PublicRoute, template: str) -> str:
    return re.sub(r"\{\w+\}", str(ID), template)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
async def test_every_public_route_reaches_its_service_with_method_query_and_body_unchanged(
    route: PublicRoute, gateway: Gateway, upstreams: dict[str, Upstream], bearer: dict[str, str]
) -> None:
    body = BODY if route.body is not None else None
    headers = {**({} if route.signed else bearer), "Content-Type": "application/json"}
    url = gateway.url(f"{PREFIX}{path_of(route, route.path)}?limit=3&name=a%20b")
    async with gateway.client.request(route.method, url, data=body, headers=headers) as answer:
        assert answer.status == 200
        assert await answer.json() == {"served_by": route.service}
    (seen,) = upstreams[route.service].seen
    assert seen.method == route.method
    path, _, query = seen.raw_path.partition("?")
    assert path == path_of(route, route.inside)
    assert parse_qsl(query) == [("limit", "3"), ("name", "a b")]
    assert seen.body == (body or b"")


async def test_the_answer_comes_back_byte_for_byte(
    gateway: Gateway, upstreams: dict[str, Upstream], bearer: dict[str, str]
) -> None:
    raw = b'{"z":1,  "a":"\\u00e9"}\n'
    headers = {
        "Content-Type": "application/problem+json",
        "Retry-After": "7",
        "Idempotent-Replayed": "true",
        "Set-Cookie": "inner=1",
        "X-Inner": "secret",
    }

    async def answering(_: web.Request) -> web.Response:
        return web.Response(status=409, body=raw, headers=headers)

    upstreams["booking"].answering = answering
    async with gateway.client.post(gateway.url("/api/v1/bookings"), data=BODY, headers=bearer) as answer:
        assert (answer.status, await answer.read()) == (409, raw)
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.headers["Retry-After"] == "7"
        assert answer.headers["Idempotent-Replayed"] == "true"
        assert "Set-Cookie" not in answer.headers
        assert "X-Inner" not in answer.headers


async def test_token_idempotency_key_content_type_and_trace_travel_on_and_nothing_else(
    gateway: Gateway, upstreams: dict[str, Upstream], bearer: dict[str, str]
) -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    sent = {
        **bearer,
        "Content-Type": "application/json; charset=utf-8",
        "Idempotency-Key": "key-1",
        "traceparent": f"00-{trace_id}-00f067aa0ba902b7-01",
        "Cookie": "session=1",
        "X-Agency-Id": "another",
        "X-PMS-Deadline-Ms": "999999999",
        "X-PMS-Signature": "00",
    }
    async with gateway.client.post(gateway.url("/api/v1/bookings"), data=BODY, headers=sent) as answer:
        assert answer.status == 200
    (seen,) = upstreams["booking"].seen
    for name in ("Authorization", "Content-Type", "Idempotency-Key"):
        assert seen.headers[name.lower()] == sent[name]
    assert seen.headers["traceparent"].split("-")[1] == trace_id
    for name in ("cookie", "x-agency-id", "x-pms-signature"):
        assert name not in seen.headers
    assert seen.headers["accept-encoding"] == "identity"


async def test_the_time_left_is_told_to_the_service(
    gateway: Gateway, hasty: Gateway, upstreams: dict[str, Upstream], bearer: dict[str, str]
) -> None:
    for served, limit_ms in ((gateway, 10_000), (hasty, 400)):
        async with served.client.get(served.url("/api/v1/bookings"), headers=bearer) as answer:
            assert answer.status == 200
        left_ms = int(upstreams["booking"].seen[-1].headers["x-pms-deadline-ms"])
        assert 0 < left_ms <= limit_ms


async def test_a_calendar_needs_no_token_and_is_asked_for_by_its_etag(
    gateway: Gateway, upstreams: dict[str, Upstream], bearer: dict[str, str]
) -> None:
    async def answering(_: web.Request) -> web.Response:
        return web.Response(status=304, headers={"ETag": '"a"'})

    upstreams["channel-sync"].answering = answering
    url = gateway.url(f"/api/v1/ical/{ID}.ics")
    async with gateway.client.get(url, headers={"If-None-Match": '"a"', **bearer}) as answer:
        assert (answer.status, answer.headers["ETag"], await answer.read()) == (304, '"a"', b"")
    (seen,) = upstreams["channel-sync"].seen
    assert seen.raw_path == f"/ical/{ID}"
    assert seen.headers["if-none-match"] == '"a"'
    assert "authorization" not in seen.headers


async def test_a_signed_revision_needs_no_token_and_travels_with_its_signature(
    gateway: Gateway, upstreams: dict[str, Upstream], bearer: dict[str, str]
) -> None:
    signature = {"X-PMS-Timestamp": "1790000000", "X-PMS-Signature": "ab" * 32}
    url = gateway.url(f"/api/v1/inbound/{ID}")
    async with gateway.client.post(url, data=BODY, headers={**signature, **bearer}) as answer:
        assert answer.status == 200
    (seen,) = upstreams["channel-sync"].seen
    assert seen.body == BODY
    assert seen.headers["x-pms-timestamp"] == signature["X-PMS-Timestamp"]
    assert seen.headers["x-pms-signature"] == signature["X-PMS-Signature"]
    assert "authorization" not in seen.headers


@pytest.mark.parametrize(
    "query",
    [
        "cursor=a%2Bb%2Fc%3D%3D",
        "cursor=..%2F..%2Finternal",
        "a=1&a=2&b=%26c%3D3",
        "q=%23fragment%3Fx",
        "q=a+b",
        "q=%E2%9C%93",
        "flag",
        "q=%00%0D%0AX-Evil%3A1",
    ],
)
async def test_query_strings_mean_the_same_to_the_service(
    query: str, gateway: Gateway, upstreams: dict[str, Upstream], bearer: dict[str, str]
) -> None:
    url = yarl.URL(gateway.url(f"/api/v1/bookings?{query}"), encoded=True)
    async with gateway.client.get(url, headers=bearer) as answer:
        assert answer.status == 200
    (seen,) = upstreams["booking"].seen
    path, _, got = seen.raw_path.partition("?")
    assert path == "/bookings"
    assert parse_qsl(got, keep_blank_values=True) == parse_qsl(query, keep_blank_values=True)
    assert "x-evil" not in seen.headers


@pytest.mark.parametrize(
    "tail", ["nope", "..", "%2e%2e", "..%2Fhealth", "0192f1c5", f"{ID}%2F..%2F..%2Finternal", f"{ID}%3Fx=1", f"{ID}%20"]
)
async def test_an_id_that_is_no_uuid_never_reaches_a_service(
    tail: str, gateway: Gateway, upstreams: dict[str, Upstream], bearer: dict[str, str]
) -> None:
    url = yarl.URL(gateway.url(f"/api/v1/bookings/{tail}"), encoded=True)
    async with gateway.client.get(url, headers=bearer, allow_redirects=False) as answer:
        assert answer.status in (404, 422)
        assert answer.content_type == "application/problem+json"
    assert all(not upstream.seen for upstream in upstreams.values())


async def test_a_malformed_id_is_a_validation_error_that_names_it(
    gateway: Gateway, upstreams: dict[str, Upstream], bearer: dict[str, str]
) -> None:
    async with gateway.client.get(gateway.url("/api/v1/properties/nope"), headers=bearer) as answer:
        problem = await answer.json()
        assert (answer.status, problem["code"]) == (422, "validation_error")
        assert problem["errors"][0]["field"] == "path.id"


async def test_an_id_reaches_the_service_in_its_canonical_form(
    gateway: Gateway, upstreams: dict[str, Upstream], bearer: dict[str, str]
) -> None:
    async with gateway.client.get(gateway.url(f"/api/v1/bookings/{ID.hex.upper()}"), headers=bearer) as answer:
        assert answer.status == 200
    assert upstreams["booking"].seen[0].raw_path == f"/bookings/{ID}"


async def test_a_redirect_of_a_service_is_not_followed(
    gateway: Gateway, upstreams: dict[str, Upstream], bearer: dict[str, str]
) -> None:
    async def answering(_: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": upstreams["channel-sync"].address})

    upstreams["booking"].answering = answering
    async with gateway.client.get(gateway.url("/api/v1/bookings"), headers=bearer, allow_redirects=False) as answer:
        assert answer.status == 307
    assert not upstreams["channel-sync"].seen


async def test_one_connection_serves_many_requests(
    gateway: Gateway, upstreams: dict[str, Upstream], bearer: dict[str, str]
) -> None:
    peers: set[object] = set()

    async def answering(request: web.Request) -> web.Response:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        return web.json_response({})

    upstreams["availability"].answering = answering
    for _ in range(10):
        async with gateway.client.get(gateway.url("/api/v1/availability"), headers=bearer) as answer:
            assert answer.status == 200
    assert len(peers) == 1


async def test_cookies_of_one_caller_s_answer_are_not_sent_with_the_next(
    gateway: Gateway, upstreams: dict[str, Upstream], bearer: dict[str, str]
) -> None:
    async def answering(_: web.Request) -> web.Response:
        return web.json_response({}, headers={"Set-Cookie": "who=first; Path=/"})

    upstreams["booking"].answering = answering
    async with aiohttp.ClientSession() as fresh:
        for _ in range(2):
            async with fresh.get(gateway.url("/api/v1/bookings"), headers=bearer) as answer:
                assert answer.status == 200
    assert "cookie" not in upstreams["booking"].seen[-1].headers
