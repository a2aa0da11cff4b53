"""The HTTP application every service is built from: problems, tracing, body limit, health, readiness, callers."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.telemetry import TelemetryConfig
from opentelemetry.trace import SpanKind
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contracts.problems import ProblemCode
from runtime.logs import get_logger
from runtime.problems import (
    ProblemError,
    ToProblem,
    from_unforeseen,
    install_problem_handlers,
    problem_response,
    too_long_query,
)
from runtime.telemetry import note_status, span
from runtime.tokens import Caller, InvalidToken, verify_token

log = get_logger(__name__)

MAX_BODY_BYTES = 64 * 1024
MAX_QUERY_BYTES = 32 * 1024
JSON = "application/json"

# Returns None when ready, else one sentence saying what is missing.
ReadinessCheck = Callable[[], Awaitable[str | None]]


def create_app(
    title: str,
    *,
    jwt_secret: str,
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]],
    routers: Sequence[APIRouter],
    readiness: Mapping[str, ReadinessCheck],
    domain_errors: Mapping[type[Exception], ToProblem] | None = None,
    max_body_bytes: int = MAX_BODY_BYTES,
    **fastapi_options: Any,
) -> FastAPI:
    """An application with `/health` (liveness, no dependency), `/health/ready`, and problem+json for every error."""
    # FastAPI's own telemetry would add a second server span and three inner ones to every request.
    own_telemetry = TelemetryConfig(tracing=False, metrics=False, logs=False)
    app = FastAPI(title=title, lifespan=lifespan, telemetry=own_telemetry, **fastapi_options)
    app.state.jwt_secret = jwt_secret
    install_problem_handlers(app, domain_errors or {})
    for router in (_health_routes(readiness), *routers):
        app.include_router(router)
    app.add_middleware(RequestScope, max_body_bytes=max_body_bytes)
    return app


def bearer_token(request: Request) -> str:
    """The raw bearer token of a request; raises `InvalidToken` when there is none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise InvalidToken("an Authorization header with a bearer token is required")
    return token


def agency_of(caller: Caller) -> UUID:
    """The agency a verified caller of a public route belongs to."""
    if caller.agency_id is None:
        raise ProblemError(403, ProblemCode.FORBIDDEN, "This route needs a token of an agency.")
    return caller.agency_id


# FastAPI runs a plain function in a thread of its pool, which costs as much as the rest of a request: hence async.
async def verified_caller(request: Request) -> Caller:
    """The caller of a public route: a verified token with an agency."""
    caller = verify_token(request.app.state.jwt_secret, bearer_token(request))
    agency_of(caller)
    return caller


async def verified_service(request: Request) -> Caller:
    """The caller of an internal route: another service of the suite."""
    caller = verify_token(request.app.state.jwt_secret, bearer_token(request))
    if not caller.is_service:
        raise ProblemError(403, ProblemCode.FORBIDDEN, "This route is for services of the suite.")
    return caller


CallerOf = Annotated[Caller, Depends(verified_caller)]
ServiceCaller = Annotated[Caller, Depends(verified_service)]


def json_bytes(body: bytes | str, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer from ready JSON; spares the response model's cost on hot paths."""
    return Response(body, status_code=status, media_type=JSON, headers=dict(headers or {}))


def _health_routes(readiness: Mapping[str, ReadinessCheck]) -> APIRouter:
    router = APIRouter(tags=["ops"])

    @router.get("/health", summary="Is the process alive? Depends on nothing else.")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/health/ready", summary="Can it serve? Names what is missing.")
    async def ready() -> dict[str, Any]:
        missing = {name: reason for name, check in readiness.items() if (reason := await _ask(check)) is not None}
        if missing:
            detail = "; ".join(f"{name}: {reason}" for name, reason in missing.items())
            raise ProblemError(503, ProblemCode.UNAVAILABLE, detail, missing=missing)
        return {"status": "ready", "checks": sorted(readiness)}

    return router


async def _ask(check: ReadinessCheck) -> str | None:
    try:
        return await check()
    except Exception as error:  # a check that breaks is an answer, not a crash
        return f"{type(error).__name__}: {error}"


class RequestScope:
    """Pure ASGI middleware: one server span and one log line per request, limits on query and body."""

    def __init__(self, app: ASGIApp, max_body_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request inside its span."""
        if scope["type"] != "http" or scope["path"] in ("/health", "/health/ready"):
            await self._app(scope, receive, send)
            return
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        started = time.perf_counter()
        status = 0

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        attributes = {"http.request.method": scope["method"], "url.path": scope["path"]}
        with span(scope["method"], SpanKind.SERVER, parent=headers, attributes=attributes) as current:
            try:
                if len(scope["query_string"]) > MAX_QUERY_BYTES:
                    raise too_long_query(scope["query_string"], MAX_QUERY_BYTES)
                await self._app(scope, self._limited(headers, receive), watch)
            except Exception as error:  # answered inside the span, so that the problem carries its trace id
                if status:
                    raise
                problem = error if isinstance(error, ProblemError) else from_unforeseen(error)
                await problem_response(problem)(scope, receive, watch)
            route = getattr(scope.get("route"), "path", scope["path"])
            current.update_name(f"{scope['method']} {route}")
            current.set_attribute("http.route", route)
            note_status(current, status)
            ms = round((time.perf_counter() - started) * 1000, 1)
            log.info("request", method=scope["method"], route=route, status=status, ms=ms)

    def _limited(self, headers: Mapping[str, str], receive: Receive) -> Receive:
        limit = self._max_body_bytes
        too_large = ProblemError(413, ProblemCode.PAYLOAD_TOO_LARGE, f"The body is larger than {limit} bytes.")
        declared = headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > limit:
            raise too_large
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise too_large
            return message

        return counted
