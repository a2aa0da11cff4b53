"""Owns what the tests of accounts share: agencies and members, the use cases on the real database, and the routes."""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal
from uuid import UUID, uuid4

import aiohttp
import asyncpg
from argon2 import PasswordHasher
from fastapi import FastAPI

from booking.api.accounts import ACCOUNT_PROBLEMS, AccessOf, account_routes
from booking.domain.accounts import Grant, User
from booking.domain.errors import NotFound
from booking.service.accounts import login, operator
from booking.service.accounts.deps import AccessDeps, Seal
from booking.service.accounts.login import Session
from booking.service.accounts.passwords import Passwords
from contracts.problems import ProblemCode
from runtime.http import create_app
from runtime.idempotency import idempotency_problems
from runtime.problems import ProblemError
from runtime.tokens import Caller, issue_token
from tests.booking.conftest import Ledger
from tests.serving import serving

SECRET = "the-jwt-secret-of-the-account-tests-0123456789"
PASSWORD = "correct horse battery"


class CountingHasher(PasswordHasher):
    """argon2id with the least work, counting what it is asked."""

    def __init__(self, time_cost: int = 1) -> None:
        super().__init__(time_cost, memory_cost=64, parallelism=1)
        self.verified = 0

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002 - the library's name
        """Count and verify."""
        self.verified += 1
        return super().verify(hash, password)


@dataclass(frozen=True)
class Answer:
    """What a route answered."""

    status: int
    text: str
    body: Any
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Scene:
    """The use cases with the hasher behind them, and a client of the routes."""

    ledger: Ledger
    access: AccessDeps
    hasher: CountingHasher
    client: aiohttp.ClientSession

    async def agency(self) -> UUID:
        """A new agency."""
        return await operator.create_agency(self.ledger.system.pool, "Casas do Mar")

    async def member(
        self, agency_id: UUID, *roles: str, properties: Collection[UUID] | None = None, email: str | None = None
    ) -> User:
        """A user who accepted their invitation with `PASSWORD`."""
        grant = Grant(frozenset(roles), frozenset(properties) if properties is not None else None)
        address = email or f"{uuid4().hex}@example.com"
        link = await operator.invite(self.ledger.system.pool, agency_id, address, grant)
        return await login.accept_link(self.access, link.token, PASSWORD)

    async def log_in(self, user: User, password: str = PASSWORD) -> Session:
        """A login that names the agency."""
        return await login.exchange_password(self.access, user.email, password, user.agency_id)

    async def call(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, key: str | None = None
    ) -> Answer:
        """One request."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if key is not None:
            headers["Idempotency-Key"] = key
        async with self.client.request(method, path, json=body, headers=headers) as response:
            text = await response.text()
            parsed = await response.json(content_type=None) if text else None
            return Answer(response.status, text, parsed, response.headers)

    async def dump(self) -> str:
        """Every row of every table as text."""
        connection = await asyncpg.connect(self.ledger.admin_dsn)
        try:
            tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
            rows = [
                row[0]
                for table in tables
                for row in await connection.fetch(f"SELECT t::text FROM {table['tablename']} AS t")
            ]
        finally:
            await connection.close()
        return "\n".join(rows)


@asynccontextmanager
async def account_scene(ledger: Ledger) -> AsyncIterator[Scene]:
    """The routes served on a real port over the real database."""
    hasher = CountingHasher()
    access = AccessDeps(ledger.api, ledger.system.pool, Passwords(hasher), Seal(SECRET), partial(issue_token, SECRET))
    holder = AccessOf()
    holder.deps = access

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield

    app = create_app(
        "accounts",
        jwt_secret=SECRET,
        lifespan=lifespan,
        routers=[account_routes(holder)],
        readiness={},
        domain_errors={
            **idempotency_problems(),
            NotFound: lambda error: ProblemError(404, ProblemCode.NOT_FOUND, str(error)),
            **ACCOUNT_PROBLEMS,
        },
    )
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(serving(app))
        client = await stack.enter_async_context(aiohttp.ClientSession(f"http://127.0.0.1:{port}"))
        yield Scene(ledger, access, hasher, client)


def caller(user: User) -> Caller:
    """A user as a verified token names them."""
    return Caller(f"user:{user.id}", user.agency_id, user.grant.roles)


def operator_caller(agency_id: UUID, *roles: str) -> Caller:
    """The bearer of a token that names no user: one made with the suite's secret by hand."""
    return Caller("local", agency_id, frozenset(roles))


def token_of(who: Caller) -> str:
    """A bearer token of a caller."""
    return issue_token(SECRET, subject=who.subject, agency_id=who.agency_id, roles=who.roles)
