"""Takes a public request to the service that owns it and its answer back, byte for byte; the endpoints of `api`."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from uuid import UUID

from fastapi import Request, Response

from contracts.channel_sync_http_v1 import SIGNATURE_HEADER, TIMESTAMP_HEADER
from contracts.problems import ProblemCode
from gateway.api.table import PublicRoute
from gateway.auth import refuse_unverified
from runtime.http_client import HttpClient, UpstreamTimeout, UpstreamUnavailable
from runtime.idempotency import HEADER as IDEMPOTENCY_HEADER
from runtime.idempotency import REPLAYED_HEADER
from runtime.problems import ProblemError, ToProblem

DEADLINE_HEADER = "X-PMS-Deadline-Ms"
SENT_ON = ("Authorization", "Content-Type", "Accept", IDEMPOTENCY_HEADER)
SENT_ON_PUBLIC = ("Accept", "If-None-Match")
SENT_ON_SIGNED = ("Content-Type", "Accept", TIMESTAMP_HEADER, SIGNATURE_HEADER)
SENT_BACK = (
    "Content-Type",
    "Retry-After",
    REPLAYED_HEADER,
    "Location",
    "Allow",
    "WWW-Authenticate",
    "Cache-Control",
    "ETag",
)
RETRY_AFTER_S = "1"

Endpoint = Callable[[Request], Awaitable[Response]]


def forwarder(route: PublicRoute, client: HttpClient, timeout_s: float) -> Endpoint:
    """The endpoint of one public route.

    Raises `InvalidToken`, `ProblemError` for a malformed id or a body that does not arrive in time, and what
    `HttpClient.request` raises. Bodies are not parsed here: their owner validates them once.
    """
    wanted = SENT_ON_SIGNED if route.signed else SENT_ON_PUBLIC if route.public else SENT_ON

    async def forward(request: Request) -> Response:
        deadline = asyncio.get_running_loop().time() + timeout_s
        if not (route.signed or route.public):
            refuse_unverified(request)
        path = route.inside.format_map(_ids(request.path_params)) if request.path_params else route.inside
        body = await _body(request, deadline) if route.body is not None else None
        left_s = max(deadline - asyncio.get_running_loop().time(), 0.001)  # zero would mean no limit
        headers = {name: value for name in wanted if (value := request.headers.get(name)) is not None}
        headers[DEADLINE_HEADER] = str(int(left_s * 1000))
        headers["Accept-Encoding"] = "identity"  # else the client library asks for encodings nobody decodes
        answer = await client.request(
            route.method,
            path,
            headers=headers,
            body=body,
            query=request.scope["query_string"].decode("latin-1"),
            timeout_s=left_s,
        )
        returned = {name: value for name in SENT_BACK if (value := answer.headers.get(name)) is not None}
        return Response(answer.body, answer.status, returned)

    return forward


def refuser(allowed: tuple[str, ...]) -> Endpoint:
    """The endpoint of the methods a path does not take; names those it takes."""
    names = ", ".join(allowed)

    async def refuse(request: Request) -> Response:
        detail = f"{request.method} is not allowed here; allowed: {names}."
        raise ProblemError(405, ProblemCode.METHOD_NOT_ALLOWED, detail, headers={"Allow": names})

    return refuse


def _ids(path_params: Mapping[str, str]) -> dict[str, UUID]:
    # Only a UUID in its canonical form gets into the inner path: no "..", no encoded slash.
    return {name: _uuid(name, value) for name, value in path_params.items()}


def _uuid(name: str, value: str) -> UUID:
    try:
        return UUID(value)
    except ValueError:
        message = "Input should be a valid UUID"
        errors = [{"field": f"path.{name}", "code": "uuid_parsing", "message": message}]
        detail = f"path.{name}: {message}"
        raise ProblemError(422, ProblemCode.VALIDATION_ERROR, detail, errors=errors) from None


async def _body(request: Request, deadline: float) -> bytes | None:
    try:
        async with asyncio.timeout_at(deadline):
            return await request.body() or None
    except TimeoutError:
        detail = "The request's body did not arrive in time."
        raise ProblemError(408, ProblemCode.HTTP_ERROR, detail) from None


def _unreachable(error: UpstreamUnavailable) -> ProblemError:
    detail = f"{error}. Please retry your request, with the same {IDEMPOTENCY_HEADER} if it creates."
    return ProblemError(503, ProblemCode.UNAVAILABLE, detail, headers={"Retry-After": RETRY_AFTER_S})


def _timed_out(error: UpstreamTimeout) -> ProblemError:
    detail = f"{error}; whether the request took effect is unknown. Retry it with the same {IDEMPOTENCY_HEADER}."
    return ProblemError(503, ProblemCode.DEADLINE_EXCEEDED, detail, headers={"Retry-After": RETRY_AFTER_S})


UPSTREAM_PROBLEMS: Mapping[type[Exception], ToProblem] = {
    UpstreamUnavailable: _unreachable,
    UpstreamTimeout: _timed_out,
}
