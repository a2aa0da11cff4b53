"""A real gateway on a real port, with real HTTP services behind it whose answers the tests choose."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from uuid import UUID

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from fastapi import FastAPI

from gateway.main import build
from gateway.settings import GatewaySettings
from runtime.tokens import issue_token
from tests.e2e.infra.web_server import close, listen
from tests.serving import closed_port
from tests.serving import serving as served_app

SECRET = "a-secret-of-the-gateway-tests-0123456789"
AGENCY = UUID("0192f1c4-0000-7000-8000-000000000001")
SERVICES = ("booking", "availability", "channel-sync")
HASTY_S = 0.4

Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Seen:
    """One request a service got."""

    method: str
    raw_path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Upstream:
    """A small HTTP server in the place of one service: notes every request, answers what the test says."""

    name: str
    address: str = ""
    seen: list[Seen] = field(default_factory=list)
    answering: Answering | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        if request.path != "/health":
            self.seen.append(Seen(request.method, request.raw_path, headers, body))
            if self.answering is not None:
                return await self.answering(request)
        return web.json_response({"served_by": self.name})


@dataclass(frozen=True)
class Gateway:
    """A running gateway and a client of it."""

    address: str
    app: FastAPI
    client: aiohttp.ClientSession

    def url(self, path: str) -> str:
        return f"{self.address}{path}"


@contextlib.asynccontextmanager
async def running(upstream: Upstream) -> AsyncIterator[Upstream]:
    """Serve one upstream on a free port."""
    app = web.Application(client_max_size=2**20)
    app.router.add_route("*", "/{tail:.*}", upstream.handle)
    runner = await listen(app, shutdown_timeout=0.1)
    upstream.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield upstream
    await close(runner)


@contextlib.asynccontextmanager
async def serving(settings: GatewaySettings) -> AsyncIterator[Gateway]:
    """Serve a gateway on a free port, in this process, over real sockets."""
    app = build(settings, frozenset({"api"}))
    async with served_app(app) as port, aiohttp.ClientSession() as client:
        yield Gateway(f"http://127.0.0.1:{port}", app, client)


def settings_for(addresses: dict[str, str], **changes: object) -> GatewaySettings:
    """Gateway settings for these services."""
    values: dict[str, object] = {
        "jwt_secret": SECRET,
        "booking_url": addresses["booking"],
        "availability_url": addresses["availability"],
        "channel_sync_url": addresses["channel-sync"],
        **changes,
    }
    return GatewaySettings.model_validate(values)


def closed_address() -> str:
    """An address of this machine where nothing listens."""
    return f"http://127.0.0.1:{closed_port()}"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def session_upstreams() -> AsyncIterator[dict[str, Upstream]]:
    async with contextlib.AsyncExitStack() as stack:
        yield {name: await stack.enter_async_context(running(Upstream(name))) for name in SERVICES}


@pytest.fixture
def upstreams(session_upstreams: dict[str, Upstream]) -> dict[str, Upstream]:
    """The three services, with nothing seen and their default answer."""
    for upstream in session_upstreams.values():
        upstream.seen.clear()
        upstream.answering = None
    return session_upstreams


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def gateway(session_upstreams: dict[str, Upstream]) -> AsyncIterator[Gateway]:
    """A gateway with the default deadline."""
    settings = settings_for({name: upstream.address for name, upstream in session_upstreams.items()})
    async with serving(settings) as served:
        yield served


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def hasty(session_upstreams: dict[str, Upstream]) -> AsyncIterator[Gateway]:
    """A gateway that gives a request 400 ms."""
    addresses = {name: upstream.address for name, upstream in session_upstreams.items()}
    async with serving(settings_for(addresses, request_timeout_s=HASTY_S)) as served:
        yield served


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def lonely() -> AsyncIterator[Gateway]:
    """A gateway none of whose services listens."""
    address = closed_address()
    async with serving(settings_for(dict.fromkeys(SERVICES, address))) as served:
        yield served


@pytest.fixture
def bearer() -> dict[str, str]:
    """The header of a caller of one agency."""
    return {"Authorization": f"Bearer {issue_token(SECRET, subject='tester', agency_id=AGENCY, roles=['manager'])}"}
