"""Owns booking's whole application served over real HTTP on the real database; for tests of every route at once."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import aiohttp
import asyncpg
import orjson

from booking.main import build
from booking.settings import Settings
from runtime.tokens import issue_service_token, issue_token
from tests.booking.conftest import Ledger
from tests.conftest import Provisioned
from tests.serving import serving

SECRET = "the-secret-of-the-tests-of-every-route-0123456789"
ROLES = ("admin", "manager", "staff")
METHODS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True)
class Answer:
    """What a route answered; `body` is None when it answered nothing."""

    status: int
    media_type: str
    text: str
    headers: dict[str, str]

    @property
    def body(self) -> Any:
        """The parsed answer."""
        return orjson.loads(self.text) if self.text else None


@dataclass(frozen=True)
class Operation:
    """One method of one path, as the application's own OpenAPI document has it."""

    method: str
    path: str
    spec: dict[str, Any]

    @property
    def name(self) -> str:
        """Such as `POST /bookings`."""
        return f"{self.method} {self.path}"

    @property
    def body_schema(self) -> dict[str, Any] | None:
        """The schema of its body; None for an operation without one."""
        content = self.spec.get("requestBody", {}).get("content")
        return None if content is None else dict(content["application/json"]["schema"])

    @property
    def needs_body(self) -> bool:
        """Whether it refuses to go without a body."""
        return bool(self.spec.get("requestBody", {}).get("required", False))

    def parameters(self, place: str) -> list[dict[str, Any]]:
        """Its parameters in `path` or `query`."""
        return [found for found in self.spec.get("parameters", []) if found["in"] == place]

    def url(self, ids: dict[str, str]) -> str:
        """Its path with ids filled in."""
        return self.path.format(**ids)


@dataclass(frozen=True)
class Served:
    """The application on a real port."""

    ledger: Ledger
    document: dict[str, Any]
    client: aiohttp.ClientSession
    address: str

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        agency_id: UUID,
        data: Any = None,
        headers: dict[str, str] | None = None,
        params: dict[str, str] | None = None,
    ) -> Answer:
        """One request of an agency; `data` goes out as it is, in place of a body."""
        service = path.startswith("/internal/")
        token = issue_service_token(SECRET, "tests") if service else bearer(agency_id)
        sent = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", **(headers or {})}
        if data is None and body is not None:
            data = orjson.dumps(body)
        async with self.client.request(method, path, data=data, headers=sent, params=params) as response:
            return Answer(response.status, response.content_type, await response.text(), dict(response.headers))

    def operations(self) -> list[Operation]:
        """Everything that is served, but for health."""
        return operations_of(self.document)


def bearer(agency_id: UUID) -> str:
    """A bearer token of an agency that may do everything."""
    return issue_token(SECRET, subject="tests", agency_id=agency_id, roles=ROLES)


def operations_of(document: dict[str, Any]) -> list[Operation]:
    """Every operation of an OpenAPI document, but for health."""
    return [
        Operation(method.upper(), path, item[method])
        for path, item in document["paths"].items()
        for method in METHODS
        if method in item and not path.startswith("/health")
    ]


def settings_of(provisioned: Provisioned) -> Settings:
    """What booking needs to know, with everything it connects to being real."""
    urls = provisioned.databases.booking
    return Settings.model_validate(
        {
            "port": 1,
            "jwt_secret": SECRET,
            "kafka_bootstrap_servers": provisioned.stack.kafka_bootstrap,
            "database_url": urls.app,
            "system_database_url": urls.system,
            "database_pool_size": 4,
        }
    )


def document_of_booking() -> dict[str, Any]:
    """The OpenAPI document of booking's application; connects to nothing."""
    nowhere = {"database_url": "x", "system_database_url": "x", "kafka_bootstrap_servers": "x"}
    settings = Settings.model_validate({"port": 1, "jwt_secret": SECRET, **nowhere})
    return build(settings, frozenset({"api"})).openapi()


@asynccontextmanager
async def served_booking(ledger: Ledger, provisioned: Provisioned) -> AsyncIterator[Served]:
    """Booking's application as `main` builds it, with the role `api`."""
    app = build(settings_of(provisioned), frozenset({"api"}))
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(serving(app))
        address = f"http://127.0.0.1:{port}"
        client = await stack.enter_async_context(aiohttp.ClientSession(address))
        yield Served(ledger, app.openapi(), client, address)


async def contents(ledger: Ledger) -> dict[str, tuple[int, int]]:
    """How many rows each table of booking has, and a sum over what they hold."""
    connection = await asyncpg.connect(ledger.admin_dsn)
    try:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        found = {}
        for table in tables:
            query = f"SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0) FROM {table['tablename']} AS t"
            row = await connection.fetchrow(query)
            assert row is not None
            found[str(table["tablename"])] = (int(row[0]), int(row[1]))
        return found
    finally:
        await connection.close()
