"""Proves that whatever goes wrong in a service, the caller gets one shape: problem+json with code and trace id."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import aiohttp
import asyncpg
import pytest
import pytest_asyncio
import structlog
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import HTTPException
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from contracts.problems import Problem, ProblemCode
from contracts.values import RequestModel
from runtime.http import CallerOf, ServiceCaller, create_app
from runtime.http_client import UpstreamUnavailable
from runtime.postgres import DeadlockPersists
from runtime.problems import ProblemError
from runtime.telemetry import current_trace_id
from runtime.tokens import issue_service_token, issue_token
from tests.serving import serving

SECRET = "a-secret-of-the-runtime-tests-0123456789"
AGENCY = UUID("0192f1c4-0000-7000-8000-000000000001")
LIMIT = 1000
INTERNALS = "internals of the service"


class Domain(Exception):
    """A situation of the service."""


class Stay(RequestModel):
    """A body."""

    nights: int


def failures() -> dict[str, Exception]:
    return {
        "unforeseen": RuntimeError(INTERNALS),
        "refused-connection": ConnectionRefusedError(INTERNALS),
        "slow-database": TimeoutError(INTERNALS),
        "database-stops": asyncpg.AdminShutdownError(INTERNALS),
        "too-many-connections": asyncpg.TooManyConnectionsError(INTERNALS),
        "deadlock": DeadlockPersists(DeadlockPersists.__doc__),
        "wrong-sql": asyncpg.UndefinedColumnError(INTERNALS),
        "domain": Domain("The nights are taken."),
        "busy": ProblemError(429, ProblemCode.UNAVAILABLE, "Too many."),
        "teapot": HTTPException(418, "short and stout"),
    }


def routes() -> APIRouter:
    router = APIRouter()

    @router.get("/trace")
    async def trace() -> dict[str, str | None]:
        return {"trace_id": current_trace_id()}

    @router.post("/stays")
    async def stays(stay: Stay) -> dict[str, int]:
        return {"nights": stay.nights}

    @router.post("/raw")
    async def raw(request: Request) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    @router.get("/fail/{how}")
    async def fail(how: str) -> None:
        raise failures()[how]

    @router.get("/mine")
    async def mine(caller: CallerOf) -> dict[str, str]:
        return {"agency_id": str(caller.agency_id)}

    @router.get("/internal")
    async def internal(caller: ServiceCaller) -> dict[str, str]:
        return {"subject": caller.subject}

    return router


@dataclass
class Served:
    """A running application, a client of it, and the readiness of its one dependency."""

    port: int
    client: aiohttp.ClientSession
    missing: Callable[[], Awaitable[str | None]]


async def nothing_missing() -> str | None:
    return None


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def application() -> AsyncIterator[Served]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield

    async def dependency() -> str | None:
        return await served.missing()

    app = create_app(
        "tests",
        jwt_secret=SECRET,
        lifespan=lifespan,
        routers=[routes()],
        readiness={"dependency": dependency},
        domain_errors={Domain: lambda error: ProblemError(409, ProblemCode.INVENTORY_OVERLAP, str(error), found="x")},
        max_body_bytes=LIMIT,
    )
    async with serving(app) as port, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
        served = Served(port, client, nothing_missing)
        yield served


@pytest.fixture
def service(application: Served, spans: InMemorySpanExporter) -> Served:
    application.missing = nothing_missing
    return application


async def problem(answering: Any, status: int, code: ProblemCode) -> dict[str, Any]:
    """The problem document of an answer, which must be complete."""
    async with answering as answer:
        assert answer.status == status, await answer.text()
        assert answer.content_type == "application/problem+json"
        document: dict[str, Any] = await answer.json(content_type=None)
        Problem.model_validate(document)
        assert document["status"] == status
        assert document["code"] == code
        assert document["type"] == f"urn:pms:problem:{code}"
        assert len(document["trace_id"]) == 32
        return {**document, "headers": answer.headers}


async def test_an_unknown_route_is_a_problem(service: Served) -> None:
    await problem(service.client.get("/nowhere"), 404, ProblemCode.NOT_FOUND)


async def test_a_route_that_only_looks_like_health_is_a_problem_too(service: Served) -> None:
    await problem(service.client.get("/healthz"), 404, ProblemCode.NOT_FOUND)


async def test_a_wrong_method_is_a_problem_that_names_the_right_ones(service: Served) -> None:
    found = await problem(service.client.delete("/stays"), 405, ProblemCode.METHOD_NOT_ALLOWED)
    assert found["headers"]["Allow"] == "POST"


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"nights": ', "body"),
        (b"not json", "body"),
        (b'{"nights": "many"}', "body.nights"),
        (b'{"nights": 1, "other": 2}', "body.other"),
        (b"{}", "body.nights"),
        (b"[]", "body"),
        (b"", "body"),
    ],
)
async def test_a_body_that_cannot_be_read_names_its_field(service: Served, body: bytes, field: str) -> None:
    found = await problem(service.client.post("/stays", data=body, headers=JSON), 422, ProblemCode.VALIDATION_ERROR)
    assert found["errors"][0]["field"].startswith(field)
    assert found["detail"].startswith(found["errors"][0]["field"])
    assert found["errors"][0]["message"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"nights": "\xff\xfe"}',
        b'{"\\ud800": 1, "nights": 1}',
        b'{"nights": "\\ud800"}',
        b'{"nights": NaN}',
        b"[" * 900,
    ],
)
async def test_a_hostile_body_is_the_callers_fault(service: Served, body: bytes) -> None:
    async with service.client.post("/stays", data=body, headers=JSON) as answer:
        document = await answer.json(content_type=None)
        assert answer.status in (400, 422), document
        assert answer.content_type == "application/problem+json"
        Problem.model_validate(document)


async def chunks(count: int, size: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * size
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("path", ["/stays", "/raw"])
async def test_a_body_that_declares_more_than_the_limit_is_refused(service: Served, path: str) -> None:
    await problem(service.client.post(path, data=b"x" * (LIMIT + 1), headers=JSON), 413, ProblemCode.PAYLOAD_TOO_LARGE)


@pytest.mark.parametrize("path", ["/stays", "/raw"])
async def test_a_chunked_body_is_refused_once_it_exceeds_the_limit(service: Served, path: str) -> None:
    await problem(service.client.post(path, data=chunks(20, 100), headers=JSON), 413, ProblemCode.PAYLOAD_TOO_LARGE)


async def test_a_body_of_exactly_the_limit_passes(service: Served) -> None:
    for data in (b"x" * LIMIT, chunks(10, LIMIT // 10)):
        async with service.client.post("/raw", data=data) as answer:
            assert await answer.json() == {"bytes": LIMIT}


@pytest.mark.parametrize("how", ["unforeseen", "wrong-sql"])
async def test_an_unforeseen_error_is_a_500_that_tells_no_internals(service: Served, how: str) -> None:
    found = await problem(service.client.get(f"/fail/{how}"), 500, ProblemCode.INTERNAL_ERROR)
    assert INTERNALS not in str(found)
    assert "Error" not in found["detail"]


@pytest.mark.parametrize("how", ["refused-connection", "slow-database", "database-stops", "too-many-connections"])
async def test_a_dependency_that_is_down_is_a_503_that_says_when_to_come_back(service: Served, how: str) -> None:
    found = await problem(service.client.get(f"/fail/{how}"), 503, ProblemCode.UNAVAILABLE)
    assert int(found["headers"]["Retry-After"]) >= 1
    assert INTERNALS not in str(found)


async def test_a_deadlock_that_persists_is_a_503_with_its_own_words(service: Served) -> None:
    found = await problem(service.client.get("/fail/deadlock"), 503, ProblemCode.DEADLOCK)
    assert found["detail"] == "Database deadlock detected. Please retry your request."
    assert found["headers"]["Retry-After"]


async def test_a_situation_of_the_service_is_answered_as_the_service_says(service: Served) -> None:
    found = await problem(service.client.get("/fail/domain"), 409, ProblemCode.INVENTORY_OVERLAP)
    assert found["detail"] == "The nights are taken."
    assert found["found"] == "x"


async def test_a_refusal_for_too_many_requests_says_when_to_come_back(service: Served) -> None:
    found = await problem(service.client.get("/fail/busy"), 429, ProblemCode.UNAVAILABLE)
    assert found["headers"]["Retry-After"]


async def test_a_status_of_the_framework_without_a_code_of_ours_is_still_a_problem(service: Served) -> None:
    await problem(service.client.get("/fail/teapot"), 418, ProblemCode.HTTP_ERROR)


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc", "Bearer a.b.c"])
async def test_without_a_valid_bearer_token_the_answer_is_401(service: Served, header: str | None) -> None:
    headers = {"Authorization": header} if header is not None else {}
    found = await problem(service.client.get("/mine", headers=headers), 401, ProblemCode.UNAUTHENTICATED)
    assert found["headers"]["WWW-Authenticate"] == "Bearer"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_the_agency_is_taken_from_the_token(service: Served) -> None:
    token = issue_token(SECRET, subject="s", agency_id=AGENCY, roles=[])
    async with service.client.get("/mine", headers=bearer(token)) as answer:
        assert await answer.json() == {"agency_id": str(AGENCY)}


async def test_a_service_may_not_use_the_routes_of_agencies(service: Served) -> None:
    token = issue_service_token(SECRET, "availability")
    await problem(service.client.get("/mine", headers=bearer(token)), 403, ProblemCode.FORBIDDEN)
    async with service.client.get("/internal", headers=bearer(token)) as answer:
        assert await answer.json() == {"subject": "service:availability"}


@pytest.mark.parametrize("roles", [["manager"], ["service"]])
async def test_an_agency_may_not_use_the_routes_of_services(service: Served, roles: list[str]) -> None:
    token = issue_token(SECRET, subject="s", agency_id=AGENCY, roles=roles)
    await problem(service.client.get("/internal", headers=bearer(token)), 403, ProblemCode.FORBIDDEN)


async def test_a_process_is_alive_whatever_is_missing(service: Served) -> None:
    async def missing() -> str | None:
        return "the database does not answer"

    service.missing = missing
    async with service.client.get("/health") as answer:
        assert (answer.status, await answer.json()) == (200, {"status": "ok"})


async def test_readiness_names_what_is_missing(service: Served) -> None:
    async def missing() -> str | None:
        return "the database does not answer"

    async with service.client.get("/health/ready") as answer:
        assert (answer.status, await answer.json()) == (200, {"status": "ready", "checks": ["dependency"]})
    service.missing = missing
    async with service.client.get("/health/ready") as answer:
        assert answer.status == 503
        assert answer.content_type == "application/problem+json"
        assert answer.headers["Retry-After"]
        document = await answer.json(content_type=None)
        assert document["code"] == ProblemCode.UNAVAILABLE
        assert document["missing"] == {"dependency": "the database does not answer"}


async def test_a_readiness_check_that_breaks_is_not_ready(service: Served) -> None:
    async def missing() -> str | None:
        raise UpstreamUnavailable("it broke")

    service.missing = missing
    async with service.client.get("/health/ready") as answer:
        assert answer.status == 503
        assert "it broke" in (await answer.json(content_type=None))["detail"]


async def test_the_trace_of_a_request_is_continued(service: Served, spans: InMemorySpanExporter) -> None:
    trace_id, parent_id = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    headers = {"traceparent": f"00-{trace_id}-{parent_id}-01"}
    async with service.client.get("/trace", headers=headers) as answer:
        assert await answer.json() == {"trace_id": trace_id}
    found = await problem(service.client.get("/fail/unforeseen", headers=headers), 500, ProblemCode.INTERNAL_ERROR)
    assert found["trace_id"] == trace_id
    served, failed = spans.get_finished_spans()
    assert served.name == "GET /trace"
    assert failed.name == "GET /fail/{how}"
    assert served.parent is not None
    assert format(served.parent.span_id, "016x") == parent_id
    assert failed.attributes is not None
    assert failed.attributes["http.response.status_code"] == 500
    assert not failed.status.is_ok


async def test_a_request_without_a_trace_starts_one_of_its_own(service: Served) -> None:
    async with service.client.get("/trace") as one, service.client.get("/trace") as other:
        first, second = await one.json(), await other.json()
    assert len(first["trace_id"]) == 32
    assert first != second


async def test_a_malformed_traceparent_is_ignored(service: Served) -> None:
    async with service.client.get("/trace", headers={"traceparent": "00-zz-1-01"}) as answer:
        assert len((await answer.json())["trace_id"]) == 32


async def test_health_probes_leave_no_spans(service: Served, spans: InMemorySpanExporter) -> None:
    for path in ("/health", "/health/ready"):
        async with service.client.get(path) as answer:
            assert answer.status == 200
    assert [span.name for span in spans.get_finished_spans()] == []


async def test_a_caller_that_hangs_up_while_sending_leaves_no_error_behind(
    service: Served, caplog: pytest.LogCaptureFixture
) -> None:
    with structlog.testing.capture_logs() as lines, caplog.at_level(logging.ERROR):
        for path in (b"/raw", b"/stays"):
            _, writer = await asyncio.open_connection("127.0.0.1", service.port)
            head = b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            writer.write(head + b"Content-Length: 500\r\n\r\n{")
            await writer.drain()
            await asyncio.sleep(0.02)
            writer.close()
            await writer.wait_closed()
        await asyncio.sleep(0.1)
    assert [line for line in lines if line["log_level"] == "error"] == []
    assert caplog.records == []
