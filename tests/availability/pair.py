"""Owns a real booking with its availability on a stack of their own; for tests of what memory repairs from booking."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from contracts.topics import BOOKING_RESERVATIONS
from contracts.values import EventModel
from deploy.local.journey_client import Agency, NotYet, until
from deploy.local.places import remove_run_dir
from deploy.local.ports import HOST, free_port
from deploy.local.prepare import create_all_topics, migrate_database
from deploy.local.provision import in_database, provision
from deploy.local.secrets_file import load_secrets
from deploy.local.services import AVAILABILITY, BOOKING, Ports, Suite
from deploy.local.stack import EmbeddedStack
from deploy.local.supervisor import Supervisor
from runtime.kafka import new_producer, partition_of
from tests.availability.booking_topics import day, envelope
from tests.conftest import new_run_dir

# Two, because `ends_of` and `expire` know the partitions of this folder's topics.
PARTITIONS = 2
STAY = (day(0), day(3))
WINDOW = (day(-1), day(30))
ONE_ROUND = {"DIGEST_ROUND_S": "3600"}
"""Anti-entropy goes round once at the start: whatever comes later it does not repair."""


@dataclass(frozen=True)
class Pair:
    """A booking and its availability, asked as one agency."""

    supervisor: Supervisor
    stack: EmbeddedStack
    suite: Suite
    booking: Agency
    availability: Agency

    async def new_property(self) -> str:
        """A property with a reservation of `STAY`, known to availability."""
        created = (await self.booking.create_property()).expect(201)
        property_id = str(created["id"])
        booked = (await self.booking.book(property_id, STAY)).expect(201)
        await self.from_cache(self.availability, property_id, booked["inventory_version"])
        return property_id

    async def from_cache(self, replica: Agency, property_id: str, version: int) -> dict[str, Any]:
        """The answer at this version, once memory gives it."""

        async def look() -> dict[str, Any]:
            reply = await replica.availability(property_id, WINDOW)
            body: dict[str, Any] = reply.body
            if (reply.status, body.get("source"), body.get("inventory_version")) != (200, "cache", version):
                raise NotYet(f"{reply.status} {body}")
            return body

        return await until(look, f"version {version} from the cache")

    async def put(self, property_id: str, value: bytes) -> None:
        """Write a record about a property that booking never wrote."""
        producer = new_producer(self.suite.kafka_bootstrap)
        await producer.start()
        try:
            partition = partition_of(property_id, PARTITIONS)
            await producer.send_and_wait(
                BOOKING_RESERVATIONS.name, value, key=property_id.encode(), partition=partition
            )
        finally:
            await producer.stop()

    async def say(self, property_id: str, version: int, type_name: str = "BlockCreated", **more: Any) -> None:
        """Write a change that booking never made."""
        change = {
            "property_id": property_id,
            "inventory_version": version,
            "commit_version": version,
            "block_id": str(uuid.uuid4()),
            "start_date": str(day(5)),
            "end_date": str(day(6)),
            "source": "test",
            **{
                name: value.model_dump(mode="json") if isinstance(value, EventModel) else value
                for name, value in more.items()
            },
        }
        await self.put(property_id, envelope(type_name, change, uuid.UUID(self.booking.id)))

    async def sql(self, statement: str, *arguments: Any) -> Any:
        """The first value of a statement on booking's database, past row security."""
        database = urlsplit(self.suite.databases.booking.owner).path.lstrip("/")
        connection = await asyncpg.connect(in_database(self.stack.postgres_admin_dsn, database))
        try:
            return await connection.fetchval(statement, *arguments)
        finally:
            await connection.close()

    @asynccontextmanager
    async def replica(self, name: str, **env: str) -> AsyncIterator[tuple[Agency, str]]:
        """One more availability for a while, asked as the same agency; and its address."""
        port = free_port()
        spec = self.suite.process(AVAILABILITY, name=name, port=port, env=env)
        await asyncio.to_thread(self.supervisor.start, spec)
        url = f"http://{HOST}:{port}"
        try:
            async with Agency(url, self.suite.secrets.jwt_secret, self.booking.id) as agency:
                yield agency, url
        finally:
            await asyncio.to_thread(self.supervisor.stop, name)

    async def resynced(self, replica: str, property_id: str, times: int = 1) -> None:
        """Return once a replica fetched a property so many times."""

        async def look() -> None:
            if len(found := self.resyncs(replica, property_id)) < times:
                raise NotYet(f"{found}")

        await until(look, f"{times} resyncs")

    def resyncs(self, replica: str, property_id: str | None = None) -> list[str]:
        """The causes for which a replica fetched a property, or any, in order, from its log."""
        return [
            line["cause"]
            for line in self.lines(replica)
            if line["event"] == "resynced" and property_id in (None, line["property_id"])
        ]

    def lines(self, replica: str) -> list[dict[str, Any]]:
        """What a replica has logged."""
        with self.supervisor.log_path(replica).open(encoding="utf-8") as log:
            return [json.loads(line) for line in log if line.startswith("{")]


@asynccontextmanager
async def running_pair() -> AsyncIterator[Pair]:
    """Booking and availability at work; snapshots are published at booking's start only, digests compared once."""
    supervisor = Supervisor(new_run_dir())
    supervisor.open()
    try:
        secrets = load_secrets(supervisor.run_dir)
        stack = EmbeddedStack(supervisor, secrets.postgres_password)
        await asyncio.to_thread(stack.start)
        databases = await provision(stack.postgres_admin_dsn, secrets, exclusive=True)
        suite = Suite(stack.kafka_bootstrap, databases, secrets, Ports.free(), kafka_partitions=PARTITIONS)
        await migrate_database(BOOKING, databases.booking)
        await create_all_topics(suite)
        for spec in (
            suite.process(BOOKING, env={"SNAPSHOT_INTERVAL_S": "3600"}),
            suite.process(AVAILABILITY, env=ONE_ROUND),
        ):
            await asyncio.to_thread(supervisor.start, spec)
        async with AsyncExitStack() as clients:
            booking = await clients.enter_async_context(Agency(suite.url(BOOKING), secrets.jwt_secret))
            availability = await clients.enter_async_context(
                Agency(suite.url(AVAILABILITY), secrets.jwt_secret, booking.id)
            )
            yield Pair(supervisor, stack, suite, booking, availability)
    finally:
        supervisor.close()
        remove_run_dir(supervisor.run_dir)
