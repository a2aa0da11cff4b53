"""Which browser pages may call the API; added around the application by `main`."""

from collections.abc import Sequence

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from contracts.problems import ProblemCode
from gateway.api.forward import SENT_BACK, SENT_ON
from gateway.api.table import ROUTES
from runtime.problems import ProblemError, problem_response

TRACE_HEADERS = ("traceparent", "tracestate")


class ProblemCors(CORSMiddleware):
    """Starlette's middleware, with its refusals as problems."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """The answer to a browser's question whether it may call."""
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return response
        error = ProblemError(response.status_code, ProblemCode.HTTP_ERROR, f"{bytes(response.body).decode()}.")
        return problem_response(error)


def allow_origins(app: FastAPI, origins: Sequence[str]) -> None:
    """Let pages of these origins call; without any, browsers are told nothing. Callers send tokens, never cookies."""
    if not origins:
        return
    app.add_middleware(
        ProblemCors,
        allow_origins=origins,
        allow_methods=sorted({route.method for route in ROUTES}),
        allow_headers=(*SENT_ON, *TRACE_HEADERS),
        expose_headers=SENT_BACK,
    )
