"""Turning every error of an HTTP service into RFC 9457 problem details; installed by `runtime.http`."""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from contracts.problems import PROBLEM_MEDIA_TYPE, ProblemCode
from runtime.logs import get_logger
from runtime.postgres import DeadlockPersists, is_transient
from runtime.telemetry import current_trace_id
from runtime.tokens import InvalidToken

log = get_logger(__name__)

_CODE_OF_STATUS = {
    401: ProblemCode.UNAUTHENTICATED,
    403: ProblemCode.FORBIDDEN,
    404: ProblemCode.NOT_FOUND,
    405: ProblemCode.METHOD_NOT_ALLOWED,
    413: ProblemCode.PAYLOAD_TOO_LARGE,
    422: ProblemCode.VALIDATION_ERROR,
    503: ProblemCode.UNAVAILABLE,
}


class ProblemError(Exception):
    """An answer that is a problem: HTTP status, stable code, one sentence; `extra` members join the document."""

    def __init__(
        self,
        status: int,
        code: ProblemCode,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})
        self.extra = extra


ToProblem = Callable[[Any], ProblemError]


def problem_body(status: int, code: ProblemCode, detail: str, **extra: Any) -> bytes:
    """The bytes of a problem document; absent extras are left out."""
    document = {
        "type": f"urn:pms:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
        "trace_id": current_trace_id(),
        **extra,
    }
    return orjson.dumps({key: value for key, value in document.items() if value is not None})


def problem_response(error: ProblemError) -> Response:
    """The HTTP answer of a problem; 503 always says when to come back."""
    headers = dict(error.headers)
    if error.status in (429, 503):
        headers.setdefault("Retry-After", "1")
    if error.status == 401:
        headers.setdefault("WWW-Authenticate", "Bearer")
    return Response(
        problem_body(error.status, error.code, error.detail, **error.extra),
        status_code=error.status,
        media_type=PROBLEM_MEDIA_TYPE,
        headers=headers,
    )


def install_problem_handlers(app: FastAPI, domain_errors: Mapping[type[Exception], ToProblem]) -> None:
    """Answer problem+json for the framework's errors and the service's domain errors."""
    app.add_exception_handler(ProblemError, _handler(lambda error: error))
    app.add_exception_handler(RequestValidationError, _handler(_from_validation))
    app.add_exception_handler(HTTPException, _handler(_from_http))
    app.add_exception_handler(InvalidToken, _handler(_from_token))
    app.add_exception_handler(ClientDisconnect, _handler(_from_disconnect))
    for error_class, to_problem in domain_errors.items():
        app.add_exception_handler(error_class, _handler(to_problem))


def _handler(to_problem: ToProblem) -> Callable[[Request, Exception], Awaitable[Response]]:
    # Asynchronous, because Starlette runs a plain function in a thread: too slow for refusals.
    async def handle(_: Request, error: Exception) -> Response:
        return problem_response(to_problem(error))

    return handle


def _from_validation(error: RequestValidationError) -> ProblemError:
    errors = [
        {
            "field": ".".join(str(part) for part in item["loc"]),
            "code": item["type"],
            "message": item["msg"].removeprefix("Value error, "),
        }
        for item in error.errors()
    ]
    first = errors[0]
    return ProblemError(422, ProblemCode.VALIDATION_ERROR, f"{first['field']}: {first['message']}", errors=errors)


def _from_http(error: HTTPException) -> ProblemError:
    code = _CODE_OF_STATUS.get(error.status_code, ProblemCode.HTTP_ERROR)
    return ProblemError(error.status_code, code, str(error.detail), headers=error.headers)


def _from_token(error: InvalidToken) -> ProblemError:
    return ProblemError(401, ProblemCode.UNAUTHENTICATED, f"The bearer token was refused: {error}.")


def _from_disconnect(_: ClientDisconnect) -> ProblemError:
    return ProblemError(400, ProblemCode.HTTP_ERROR, "The caller hung up while sending.")


def from_unforeseen(error: Exception) -> ProblemError:
    """The problem of an error nobody handled: 503 when a dependency is away, else 500, logged."""
    if isinstance(error, DeadlockPersists):
        return ProblemError(503, ProblemCode.DEADLOCK, str(error))
    if is_transient(error):
        log.warning("dependency unavailable", error=repr(error))
        return ProblemError(503, ProblemCode.UNAVAILABLE, "A dependency did not answer. Please retry your request.")
    log.error("unforeseen error", exc_info=error)
    return ProblemError(
        500, ProblemCode.INTERNAL_ERROR, "Something went wrong here. The trace id finds it in our logs."
    )
