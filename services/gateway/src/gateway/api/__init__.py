"""HTTP in: the public routes, their documentation, health of the whole, and CORS; put together by `main`."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from contracts.problems import ProblemCode
from gateway.api.documentation import documentation_routes, operation
from gateway.api.forward import UPSTREAM_PROBLEMS, forwarder, refuser
from gateway.api.problem_examples import problem_responses
from gateway.api.table import PREFIX, ROUTES
from gateway.clients import Upstreams
from runtime.problems import ProblemError

__all__ = ["UPSTREAM_PROBLEMS", "routers"]

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class DirectRoute(APIRoute):
    """A route FastAPI documents and matches, whose endpoint gets the request as it is.

    There is nothing to parse, inject or serialise in front of a forward, and FastAPI's machinery for it doubles what a
    route costs (measured: 110 against 60 us of CPU for an empty endpoint). Endpoints take the request alone:
    dependencies and parameters declared on such a route would be documented and never run.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The endpoint itself."""
        endpoint: Callable[[Request], Coroutine[Any, Any, Response]] = self.endpoint
        return endpoint


def routers(upstreams: Upstreams, timeout_s: float) -> tuple[APIRouter, ...]:
    """Everything the gateway serves besides the health routes of `runtime.http`."""
    return (_public_routes(upstreams, timeout_s), _health_routes(upstreams), documentation_routes())


def _public_routes(upstreams: Upstreams, timeout_s: float) -> APIRouter:
    router = APIRouter(prefix=PREFIX, route_class=DirectRoute)
    for route in ROUTES:
        endpoint = forwarder(route, upstreams.client(route.service), timeout_s)
        router.add_api_route(route.path, endpoint, methods=[route.method], **operation(route))
    for path in dict.fromkeys(route.path for route in ROUTES):
        allowed = tuple(route.method for route in ROUTES if route.path == path)
        others = sorted(METHODS.difference(allowed))
        # Starlette's own 405 names the methods of one route of the path, not of all.
        router.add_api_route(path, refuser(allowed), methods=others, include_in_schema=False)
    return router


def _health_routes(upstreams: Upstreams) -> APIRouter:
    router = APIRouter(prefix=PREFIX, tags=["ops"])

    @router.get("/health", summary="Is the process alive? Depends on nothing else.")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @router.get(
        "/health/ready",
        summary="Can any service be reached? Names those that cannot.",
        responses=problem_responses((ProblemCode.UNAVAILABLE,)),
    )
    async def ready() -> dict[str, Any]:
        unreachable = await upstreams.unreachable()
        if await upstreams.ready() is not None:
            detail = "No service can be reached."
            raise ProblemError(503, ProblemCode.UNAVAILABLE, detail, unreachable=unreachable)
        return {"status": "degraded" if unreachable else "ready", "unreachable": unreachable}

    return router
