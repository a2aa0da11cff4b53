"""Turning every error of an HTTP service into RFC 9457 problem details; installed by `runtime.http`."""

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_plus

import orjson
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as PlainHTTPException
from starlette.requests import ClientDisconnect

from contracts.problems import PROBLEM_MEDIA_TYPE, ProblemCode
from runtime.logs import get_logger
from runtime.postgres import DeadlockPersists, is_transient, sqlstate
from runtime.telemetry import current_trace_id
from runtime.tokens import InvalidToken

log = get_logger(__name__)

_CODE_OF_STATUS = {404: ProblemCode.NOT_FOUND, 405: ProblemCode.METHOD_NOT_ALLOWED}
_SOON = {"Retry-After": "1"}
_HEADERS_OF_STATUS = {401: {"WWW-Authenticate": "Bearer"}, 429: _SOON, 503: _SOON}
# PostgreSQL's text and jsonb cannot hold NUL, which JSON can: 22021 in text, 22P05 in jsonb.
_NOT_STORABLE = ("22021", "22P05")


class ProblemError(HTTPException):
    """An answer that is a problem: HTTP status, stable code, one sentence; `extra` members join the document.

    FastAPI's own class, because it turns any other error that it meets while it reads a body into a 400.
    """

    def __init__(
        self, status: int, code: ProblemCode, detail: str, *, headers: Mapping[str, str] | None = None, **extra: Any
    ) -> None:
        super().__init__(status, detail, headers)
        self.status = status
        self.code = code
        self.extra = extra


ToProblem = Callable[[Any], ProblemError]


def problem_response(error: ProblemError) -> Response:
    """The HTTP answer of a problem; absent extras are left out, and 503 always says when to come back."""
    document = {
        "type": f"urn:pms:problem:{error.code}",
        "title": HTTPStatus(error.status).phrase,
        "status": error.status,
        "code": error.code,
        "detail": error.detail,
        "trace_id": current_trace_id(),
        **error.extra,
    }
    headers = {**_HEADERS_OF_STATUS.get(error.status, {}), **(error.headers or {})}
    body = orjson.dumps({key: value for key, value in document.items() if value is not None})
    return Response(body, error.status, headers, PROBLEM_MEDIA_TYPE)


def install_problem_handlers(app: FastAPI, domain_errors: Mapping[type[Exception], ToProblem]) -> None:
    """Answer problem+json for the framework's errors and the service's domain errors."""
    for error_class, to_problem in {**_COMMON_ERRORS, **domain_errors}.items():
        app.add_exception_handler(error_class, partial(_answer, to_problem))


# Asynchronous, because Starlette runs a plain function in a thread: too slow for refusals.
async def _answer(to_problem: ToProblem, _: Request, error: Exception) -> Response:
    return problem_response(to_problem(error))


def _from_validation(error: RequestValidationError) -> ProblemError:
    errors = []
    for item in error.errors()[:20]:  # an answer must not outgrow its request
        field, message = ".".join(map(str, item["loc"])), item["msg"].removeprefix("Value error, ")
        errors.append({"field": field, "code": item["type"], "message": message})
    return ProblemError(422, ProblemCode.VALIDATION_ERROR, "{field}: {message}".format(**errors[0]), errors=errors)


def too_long_query(query: bytes, limit: int) -> ProblemError:
    """The problem of a query string over a limit; it names the parameter that takes up most of it."""
    sizes = Counter[bytes]()
    for parameter in query.split(b"&"):
        sizes[parameter.partition(b"=")[0]] += len(parameter)
    name = unquote_plus(sizes.most_common(1)[0][0][:200].decode("latin-1"))
    found = {"loc": ("query", name), "type": "too_long", "msg": f"the query string is longer than {limit} bytes"}
    return _from_validation(RequestValidationError([found]))


def _from_http(error: PlainHTTPException) -> ProblemError:
    code = _CODE_OF_STATUS.get(error.status_code, ProblemCode.HTTP_ERROR)
    return ProblemError(error.status_code, code, str(error.detail), headers=error.headers)


_COMMON_ERRORS: Mapping[type[Exception], ToProblem] = {
    ProblemError: lambda error: error,
    RequestValidationError: _from_validation,
    PlainHTTPException: _from_http,
    InvalidToken: lambda why: ProblemError(401, ProblemCode.UNAUTHENTICATED, f"The bearer token was refused: {why}."),
    ClientDisconnect: lambda _: ProblemError(400, ProblemCode.HTTP_ERROR, "The caller hung up while sending."),
    DeadlockPersists: lambda error: ProblemError(503, ProblemCode.DEADLOCK, str(error)),
}


def from_unforeseen(error: Exception) -> ProblemError:
    """The problem of an error nobody handled: 503 when a dependency is away, 422 for text the database cannot
    hold, else 500, logged.
    """
    if is_transient(error):
        log.warning("dependency unavailable", error=repr(error))
        return ProblemError(503, ProblemCode.UNAVAILABLE, "A dependency did not answer. Please retry your request.")
    if sqlstate(error) in _NOT_STORABLE:
        return ProblemError(422, ProblemCode.VALIDATION_ERROR, "The request holds the character NUL.")
    log.error("unforeseen error", exc_info=error)
    detail = "Something went wrong here. The trace id finds it in our logs."
    return ProblemError(500, ProblemCode.INTERNAL_ERROR, detail)
