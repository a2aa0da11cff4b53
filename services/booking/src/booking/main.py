"""Wires booking: settings, pools, HTTP application, consumers, relay and workers; the only place that does."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

from fastapi import FastAPI

from booking.api import DepsOf, routes
from booking.api.accounts import ACCOUNT_PROBLEMS, AccessOf, account_routes
from booking.api.selling import SELLING_PROBLEMS
from booking.clients import TopicLog
from booking.commands import COMMANDS
from booking.consumers import handlers
from booking.domain.errors import (
    AnswerErased,
    ConflictClosed,
    DatesUnavailable,
    GuestExists,
    HoldNotActive,
    IllegalTransition,
    InvalidStay,
    NotFound,
    PriceChanged,
    RulesMoved,
    StayRulesViolated,
    TermsRefused,
)
from booking.service.accounts.deps import AccessDeps, Seal
from booking.service.accounts.passwords import Passwords
from booking.service.audits import Auditor
from booking.service.grouping import LedgerCalls
from booking.service.writing import Deps
from booking.settings import Settings
from booking.workers import access_purge, auditing, expiry, retention, snapshot_publisher
from contracts.problems import ProblemCode
from contracts.topics import BOOKING_PROPERTIES, BOOKING_RESERVATIONS, owned_by
from runtime.cli import Service
from runtime.consumer import Consumers
from runtime.http import create_app
from runtime.idempotency import idempotency_problems
from runtime.kafka import TopicWriter
from runtime.loops import Loops
from runtime.postgres import Pool, answers, create_pool
from runtime.problems import ProblemError, ToProblem
from runtime.relay import Relay
from runtime.tokens import issue_token

ROLES = ("api", "consumer", "relay", "worker")
MIGRATIONS = Path(__file__).parents[2] / "migrations"
AUDIT_INTERVAL_S = 0.5
RETENTION_INTERVAL_S = 10.0
ACCESS_PURGE_INTERVAL_S = 3600.0


def build(settings: Settings, roles: frozenset[str]) -> FastAPI:
    """The application with the given roles running inside it."""
    deps, access = DepsOf(), AccessOf()
    running = _Running(settings, roles, deps, access)
    return create_app(
        "booking",
        jwt_secret=settings.jwt_secret.get_secret_value(),
        lifespan=running.lifespan,
        routers=[routes(deps), account_routes(access)] if "api" in roles else [],
        readiness={"postgres": running.postgres_ready, "consumers": running.consumers_ready},
        domain_errors=PROBLEMS,
    )


class _Running:
    """What runs while the application is up."""

    def __init__(self, settings: Settings, roles: frozenset[str], deps: DepsOf, access: AccessOf) -> None:
        self._settings = settings
        self._roles = roles
        self._deps = deps
        self._access = access
        self._pool: Pool | None = None
        self._consumers: Consumers | None = None

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        """Start what the roles need, in order; stop it in reverse."""
        settings = self._settings
        async with AsyncExitStack() as stack:
            system = await self._open_pool(stack, settings.system_database_url.get_secret_value(), "booking-system")
            app_pool = await self._open_pool(stack, settings.database_url.get_secret_value(), "booking")
            self._pool = app_pool
            # Closed after the loops that use them have ended.
            closing = await stack.enter_async_context(AsyncExitStack())
            loops = await stack.enter_async_context(Loops())
            relay = Relay(system, settings, "booking", [BOOKING_RESERVATIONS])
            wake = relay.wake if "relay" in self._roles else _nobody_to_wake
            ttl = timedelta(seconds=settings.pending_ttl_s)
            calls = LedgerCalls(settings.booking_group_size)
            self._deps.api = Deps(app_pool, wake, settings.kafka_partitions, ttl, calls=calls)
            self._deps.system = Deps(system, wake, settings.kafka_partitions, ttl)
            if "api" in self._roles:
                self._access.deps = self._access_deps(system)
            if "relay" in self._roles:
                closing.push_async_callback(relay.close)
                loops.keep(relay.run, "relay")
            if "worker" in self._roles:
                await self._start_workers(closing, loops, self._deps.system)
            if "consumer" in self._roles:
                consumers = Consumers(settings, "booking", handlers(self._deps.system))
                closing.push_async_callback(consumers.stop)
                loops.keep(consumers.run, "consumers")
                self._consumers = consumers
            yield

    def _access_deps(self, system: Pool) -> AccessDeps:
        secret = self._settings.jwt_secret.get_secret_value()
        return AccessDeps(self._deps.api, system, Passwords(), Seal(secret), partial(issue_token, secret))

    async def _open_pool(self, stack: AsyncExitStack, dsn: str, name: str) -> Pool:
        pool = await create_pool(dsn, size=self._settings.database_pool_size, application_name=name)
        stack.push_async_callback(pool.close)
        return pool

    async def _start_workers(self, closing: AsyncExitStack, loops: Loops, deps: Deps) -> None:
        settings = self._settings
        writer = TopicWriter(settings.kafka_bootstrap_servers)
        closing.push_async_callback(writer.close)

        async def send(partition: int, key: bytes, value: bytes | None) -> None:
            await writer.send(BOOKING_PROPERTIES.name, partition, key, value)

        async def end_offset(partition: int) -> int:
            return await writer.end_offset(BOOKING_RESERVATIONS.name, partition)

        loops.every(1.0, expiry(deps), "expiry")
        publisher = snapshot_publisher(deps, settings.kafka_partitions, end_offset, send)
        loops.every(settings.snapshot_interval_s, publisher, "snapshots")
        log = TopicLog(settings.kafka_bootstrap_servers, BOOKING_RESERVATIONS.name, settings.kafka_partitions)
        auditor = Auditor(deps.pool, log, BOOKING_RESERVATIONS.name)
        closing.push_async_callback(auditor.close)
        loops.every(AUDIT_INTERVAL_S, auditing(auditor), "auditor")
        loops.every(RETENTION_INTERVAL_S, retention(deps), "retention")
        loops.every(ACCESS_PURGE_INTERVAL_S, access_purge(deps), "access purge")

    async def postgres_ready(self) -> str | None:
        """Readiness of the database."""
        return "not connected yet" if self._pool is None else await answers(self._pool)

    async def consumers_ready(self) -> str | None:
        """Readiness of the consumers, where this process runs them."""
        if "consumer" not in self._roles:
            return None
        return "not started yet" if self._consumers is None else await self._consumers.ready()


def _nobody_to_wake() -> None:
    """The relay runs in another process and polls."""


def _overlap(error: DatesUnavailable) -> ProblemError:
    taken = error.competitor
    conflict = {"kind": taken.kind, "start_date": taken.start_date, "end_date": taken.end_date}
    return ProblemError(409, ProblemCode.INVENTORY_OVERLAP, str(error), conflict=conflict)


def _violated(error: StayRulesViolated) -> ProblemError:
    return ProblemError(422, ProblemCode.STAY_RULES_VIOLATED, str(error), violations=list(error.violations))


PROBLEMS: dict[type[Exception], ToProblem] = {
    **idempotency_problems(),
    **ACCOUNT_PROBLEMS,
    **SELLING_PROBLEMS,
    DatesUnavailable: _overlap,
    StayRulesViolated: _violated,
    IllegalTransition: lambda error: ProblemError(
        409, ProblemCode.ILLEGAL_TRANSITION, str(error), allowed=list(error.allowed)
    ),
    TermsRefused: lambda error: ProblemError(422, ProblemCode.VALIDATION_ERROR, str(error)),
    GuestExists: lambda error: ProblemError(409, ProblemCode.ALREADY_EXISTS, str(error)),
    AnswerErased: lambda error: ProblemError(410, ProblemCode.ERASED, str(error)),
    ConflictClosed: lambda error: ProblemError(409, ProblemCode.ILLEGAL_TRANSITION, str(error), allowed=[]),
    InvalidStay: lambda error: ProblemError(
        422, ProblemCode.VALIDATION_ERROR, f"body.check_in, body.check_out: {error}"
    ),
    PriceChanged: lambda error: ProblemError(
        409, ProblemCode.PRICE_CHANGED, str(error), total_amount_minor=error.total_minor
    ),
    HoldNotActive: lambda error: ProblemError(409, ProblemCode.HOLD_NOT_ACTIVE, str(error)),
    NotFound: lambda error: ProblemError(404, ProblemCode.NOT_FOUND, str(error)),
    RulesMoved: lambda error: ProblemError(503, ProblemCode.UNAVAILABLE, str(error)),
}

SERVICE = Service(
    name="booking",
    roles=ROLES,
    settings=Settings,
    build=build,
    migrations=MIGRATIONS,
    topics=owned_by("booking"),
    commands=COMMANDS,
)
