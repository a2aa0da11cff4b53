"""Wires the gateway: settings -> connection pools -> application; run by `runtime.cli`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from gateway.api import UPSTREAM_PROBLEMS, routers
from gateway.api.cors import allow_origins
from gateway.clients import AVAILABILITY, BOOKING, CHANNEL_SYNC, Upstreams
from gateway.commands import token
from gateway.settings import GatewaySettings
from runtime.cli import Service
from runtime.http import create_app


def build(settings: GatewaySettings, roles: frozenset[str]) -> FastAPI:
    """The gateway's application; it has one role, `api`."""
    addresses = {
        BOOKING: str(settings.booking_url),
        AVAILABILITY: str(settings.availability_url),
        CHANNEL_SYNC: str(settings.channel_sync_url),
    }
    upstreams = Upstreams(addresses, settings.request_timeout_s)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with upstreams:
            yield

    app = create_app(
        "gateway",
        jwt_secret=settings.jwt_secret.get_secret_value(),
        lifespan=lifespan,
        routers=routers(upstreams, settings.request_timeout_s),
        readiness={"services": upstreams.ready},
        domain_errors=UPSTREAM_PROBLEMS,
        openapi_url=None,
        redirect_slashes=False,
    )
    allow_origins(app, settings.origins)
    return app


SERVICE = Service(name="gateway", roles=("api",), settings=GatewaySettings, build=build, commands=(token,))
