"""Owns the running suite as the e2e tests see it: its processes, databases, topics, OTA and spans; made by conftest."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import asyncpg

from deploy.local.journey_client import Agency, Api, public_api
from deploy.local.ports import HOST, free_port
from deploy.local.prepare import create_all_topics, migrate_databases
from deploy.local.provision import in_database
from deploy.local.services import AVAILABILITY, BOOKING, GATEWAY, Suite, http_ready
from deploy.local.stack import Stack
from deploy.local.supervisor import ProcessSpec, Supervisor
from runtime.tokens import issue_service_token
from tests.e2e.infra.ota_simulator import OtaSimulator
from tests.e2e.infra.span_receiver import SpanReceiver
from tests.e2e.infra.topic_reader import TopicReader

if TYPE_CHECKING:
    Pool = asyncpg.Pool[asyncpg.Record]
else:
    Pool = asyncpg.Pool

# Read once: a session that runs past midnight must not mix two days.
TODAY = datetime.now(UTC).date()
BOOKING_ROLES = ("api", "relay", "consumer", "worker")
# Exported soon: by default a span up to 5 s after its end, and counts once a minute.
SOON_EXPORTED = {"OTEL_BSP_SCHEDULE_DELAY": "200", "OTEL_METRIC_EXPORT_INTERVAL": "500"}


@dataclass
class Running:
    """The four services on one stack. `ledger` and `channel` are pools of an administrator on the two databases.

    `replicas` are the names of the availability processes, each with its base address. Whatever a test stops or adds it
    restores; conftest looks.
    """

    supervisor: Supervisor
    stack: Stack
    suite: Suite
    ota: OtaSimulator
    spans: SpanReceiver
    ledger: Pool
    channel: Pool
    replicas: dict[str, str] = field(default_factory=dict)

    @property
    def topics(self) -> TopicReader:
        """The topics, read from outside."""
        return TopicReader(self.suite.kafka_bootstrap, self.suite.kafka_partitions)

    def agency(self, agency_id: str | None = None, *, at: str | None = None) -> Agency:
        """A client of one agency, a new one unless its id is given, of the public API or of one process; enter it."""
        return Agency(at or public_api(self.suite.url(GATEWAY)), self.suite.secrets.jwt_secret, agency_id)

    def service_api(self, base_url: str) -> Api:
        """A client of one process that calls as another service would; enter it."""
        return Api(base_url, lambda: issue_service_token(self.suite.secrets.jwt_secret, "e2e"))

    async def start(self, spec: ProcessSpec) -> None:
        """Start a process and wait until it is ready."""
        await asyncio.to_thread(self.supervisor.start, spec)

    async def stop(self, *names: str) -> None:
        """Stop processes cleanly."""
        for name in names:
            await asyncio.to_thread(self.supervisor.stop, name)

    async def kill(self, name: str) -> None:
        """`kill -9`; returns when it is gone."""
        await asyncio.to_thread(self.supervisor.kill, name)

    async def restart(self, name: str, *, wait: bool = True) -> None:
        """Start again what was started before, on the same port; with `wait` until it is ready."""
        await asyncio.to_thread(self.supervisor.restart, name, wait=wait)

    def role(
        self, service: str, role: str, *, name: str | None = None, env: Mapping[str, str] | None = None
    ) -> ProcessSpec:
        """One more process of a service in one role, on a port of its own; every role answers its readiness there."""
        port = free_port()
        spec = self.suite.process(service, role, name=name, port=port, env=env)
        return dataclasses.replace(spec, ready=http_ready(f"http://{HOST}:{port}/health/ready"))

    @asynccontextmanager
    async def added(self, *specs: ProcessSpec) -> AsyncIterator[list[str]]:
        """More processes for a while; their base addresses."""
        try:
            for spec in specs:
                await asyncio.to_thread(self.supervisor.start, spec, wait=False)
            await asyncio.to_thread(self.supervisor.wait_ready, *(spec.name for spec in specs))
            yield [f"http://{HOST}:{spec.env['PORT']}" for spec in specs]
        finally:
            await self.stop(*(spec.name for spec in reversed(specs)))

    @asynccontextmanager
    async def second_replica(self) -> AsyncIterator[str]:
        """Another replica of availability for a while; its base address."""
        spec = self.role(AVAILABILITY, "serve", name="availability-2")
        async with self.added(spec) as (url,):
            self.replicas[spec.name] = url
            try:
                yield url
            finally:
                del self.replicas[spec.name]

    @asynccontextmanager
    async def booking_by_roles(self) -> AsyncIterator[dict[str, str]]:
        """Booking as production runs it for a while, a process per role; their names by role."""
        await self.stop(BOOKING)
        specs = {role: self.role(BOOKING, role) for role in BOOKING_ROLES}
        specs["api"] = self.suite.process(BOOKING, "api")
        try:
            async with self.added(*specs.values()):
                yield {role: spec.name for role, spec in specs.items()}
        finally:
            await self.restart(BOOKING)


@asynccontextmanager
async def started_suite(supervisor: Supervisor, stack: Stack, suite: Suite) -> AsyncIterator[Running]:
    """Migrate, create topics, start the four services and the OTA; everything is stopped at the end."""
    async with AsyncExitStack() as closing:
        spans = await closing.enter_async_context(SpanReceiver())
        ota = await closing.enter_async_context(OtaSimulator())
        suite = dataclasses.replace(suite, extra={"OTEL_EXPORTER_OTLP_ENDPOINT": spans.endpoint, **SOON_EXPORTED})
        await migrate_databases(suite.databases)
        await create_all_topics(suite)
        pools = [
            await closing.enter_async_context(
                asyncpg.create_pool(in_database(stack.postgres_admin_dsn, name), min_size=1, max_size=4)
            )
            for name in ("pms_booking", "pms_channel_sync")
        ]
        running = Running(supervisor, stack, suite, ota, spans, pools[0], pools[1])
        running.replicas[AVAILABILITY] = suite.url(AVAILABILITY)
        async with running.added(*suite.services()):
            yield running


def days(first: int, last: int) -> tuple[date, date]:
    """Nights from `first` to before `last`, counted from 30 days after today."""
    day = TODAY + timedelta(days=30)
    return day + timedelta(days=first), day + timedelta(days=last)
