"""Owns the wiring of channel-sync: settings, pools, application, consumers, relay, workers; called by `__main__`."""

import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from fastapi import FastAPI

from channel_sync.adapters import ADAPTERS
from channel_sync.api import router
from channel_sync.clients.booking import BookingClient
from channel_sync.clients.channels import ChannelClient
from channel_sync.commands import COMMANDS
from channel_sync.consumers import handlers
from channel_sync.domain.addresses import AddressRefused
from channel_sync.domain.errors import (
    AdapterUnknown,
    BatchUnknown,
    CalendarMapped,
    CalendarNotTold,
    CalendarUnknown,
    ChannelDisabled,
    ConnectionUnknown,
    ListingTaken,
    ListingUnknown,
    NothingToReprocess,
    NothingToRetry,
    OperationUnknown,
    PropertyUnknown,
    RevisionUnknown,
    SignatureInvalid,
    UnparseableRevision,
)
from channel_sync.domain.revisions import MAX_REVISION_BYTES
from channel_sync.service.deps import Cipher, Deps, PushLimits
from channel_sync.service.ledger_reads import LedgerReads
from channel_sync.settings import ChannelSyncSettings
from channel_sync.workers import Pusher, start_workers
from contracts.problems import ProblemCode
from contracts.topics import CHANNEL_SYNC_ACTIVITY, CHANNEL_SYNC_RESERVATIONS, owned_by
from runtime.cli import Service
from runtime.consumer import Consumers
from runtime.http import create_app
from runtime.http_client import HttpClient, UpstreamUnavailable
from runtime.idempotency import idempotency_problems
from runtime.loops import Loops
from runtime.postgres import answers, create_pool
from runtime.problems import ProblemError, ToProblem
from runtime.relay import Relay

NAME = "channel-sync"
ROLES = ("api", "consumer", "relay", "worker")
MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"
LEASE_MARGIN_S = 5.0


def build(settings: ChannelSyncSettings, roles: frozenset[str]) -> FastAPI:
    """The application, with the given roles running inside its lifespan.

    Switched off it does no OTA work; the relay still drains what was acknowledged before.
    """
    if not settings.channel_manager_enabled:
        roles -= {"consumer", "worker"}
    running = _Running(settings, roles)
    app = create_app(
        NAME,
        jwt_secret=settings.jwt_secret.get_secret_value(),
        lifespan=running.lifespan,
        routers=[router] if "api" in roles else [],
        readiness={"postgres": running.postgres_ready, "consumers": running.consumers_ready},
        domain_errors=_problems(),
        max_body_bytes=MAX_REVISION_BYTES,
    )
    app.state.enabled = settings.channel_manager_enabled
    return app


class _Running:
    """What runs while the application is up."""

    def __init__(self, settings: ChannelSyncSettings, roles: frozenset[str]) -> None:
        self._settings = settings
        self._roles = roles
        self._deps: Deps | None = None
        self._consumers: Consumers | None = None

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """Start what the roles need, in order; stop it in reverse."""
        settings, roles = self._settings, self._roles
        async with AsyncExitStack() as stack:
            pusher = Pusher(settings.push_concurrency)
            deps, relay = await _connect(stack, settings, pusher)
            app.state.deps = self._deps = deps
            loops = await stack.enter_async_context(Loops())
            if "relay" in roles:
                stack.push_async_callback(relay.close)
                loops.keep(relay.run, "relay")
            if "worker" in roles:
                start_workers(loops, deps, pusher)
            if "consumer" in roles:
                consumers = Consumers(settings, NAME, handlers(deps))
                stack.push_async_callback(consumers.stop)
                loops.keep(consumers.run, "consumers")
                self._consumers = consumers
            yield

    async def postgres_ready(self) -> str | None:
        """Readiness of the database."""
        return "not connected yet" if self._deps is None else await answers(self._deps.pool)

    async def consumers_ready(self) -> str | None:
        """Readiness of the consumers, where this process runs them."""
        if "consumer" not in self._roles:
            return None
        return "not started yet" if self._consumers is None else await self._consumers.ready()


async def _connect(stack: AsyncExitStack, settings: ChannelSyncSettings, pusher: Pusher) -> tuple[Deps, Relay]:
    pools = [
        await create_pool(dsn.get_secret_value(), size=settings.database_pool_size, application_name=NAME)
        for dsn in (settings.database_url, settings.system_database_url)
    ]
    for pool in pools:
        stack.push_async_callback(pool.close)
    booking = HttpClient(settings.booking_url, peer="booking", timeout_s=settings.booking_timeout_s)
    channels = ChannelClient(settings.push_timeout_s, allows_private=settings.allow_private_channels)
    await stack.enter_async_context(booking)
    await stack.enter_async_context(channels)
    relay = Relay(pools[1], settings, NAME, [CHANNEL_SYNC_RESERVATIONS, CHANNEL_SYNC_ACTIVITY])
    ledger = BookingClient(booking, settings.jwt_secret.get_secret_value())
    deps = Deps(
        pool=pools[0],
        system_pool=pools[1],
        cipher=Cipher(settings.credentials_key.get_secret_value()),
        booking=ledger,
        reads=LedgerReads(ledger, settings.horizon_days),
        channels=channels,
        adapters=ADAPTERS,
        partitions=settings.kafka_partitions,
        public_url=settings.public_url,
        process=f"{socket.gethostname()}/{os.getpid()}",
        push=PushLimits(
            timeout_s=settings.push_timeout_s,
            settle_s=settings.push_settle_s,
            lease_s=max(settings.push_lease_s, settings.booking_timeout_s + settings.push_timeout_s + LEASE_MARGIN_S),
            gather_s=settings.push_gather_s,
            listings_at_once=settings.push_listings_at_once,
            breaker_failures=settings.breaker_failures,
            breaker_s=settings.breaker_s,
            batch_window_s=settings.push_batch_window_s,
            feed_poll_s=settings.feed_poll_s,
            calendar_poll_s=settings.calendar_poll_s,
            calendar_grace_s=settings.calendar_grace_s,
        ),
        wake_relay=relay.wake,
        wake_pusher=pusher.wake,
    )
    return deps, relay


def _problems() -> dict[type[Exception], ToProblem]:
    def not_found(error: Exception) -> ProblemError:
        return ProblemError(404, ProblemCode.NOT_FOUND, str(error))

    def conflict(error: Exception) -> ProblemError:
        return ProblemError(409, ProblemCode.ILLEGAL_TRANSITION, str(error))

    return {
        **idempotency_problems(),
        ConnectionUnknown: not_found,
        PropertyUnknown: not_found,
        BatchUnknown: not_found,
        OperationUnknown: not_found,
        ListingUnknown: not_found,
        RevisionUnknown: not_found,
        CalendarUnknown: not_found,
        CalendarMapped: conflict,
        CalendarNotTold: conflict,
        AdapterUnknown: lambda error: _invalid("adapter", "unknown", str(error)),
        AddressRefused: lambda error: _invalid("endpoint_url", "address_refused", str(error)),
        ChannelDisabled: conflict,
        NothingToRetry: conflict,
        NothingToReprocess: conflict,
        ListingTaken: lambda error: ProblemError(409, ProblemCode.ALREADY_EXISTS, str(error)),
        SignatureInvalid: lambda error: ProblemError(401, ProblemCode.SIGNATURE_INVALID, str(error)),
        UnparseableRevision: _unparseable,
        UpstreamUnavailable: lambda error: ProblemError(503, ProblemCode.UNAVAILABLE, f"{error}."),
    }


def _invalid(field: str, code: str, message: str) -> ProblemError:
    errors = [{"field": field, "code": code, "message": message}]
    return ProblemError(422, ProblemCode.VALIDATION_ERROR, f"{field}: {message}", errors=errors)


def _unparseable(error: UnparseableRevision) -> ProblemError:
    fields = [{"field": error.field, "code": error.code, "message": error.reason}]
    return ProblemError(422, ProblemCode.VALIDATION_ERROR, str(error), errors=fields, log_id=str(error.log_id))


SERVICE = Service(
    name=NAME,
    roles=ROLES,
    settings=ChannelSyncSettings,
    build=build,
    migrations=MIGRATIONS,
    topics=owned_by(NAME),
    commands=COMMANDS,
)
