"""Owns what availability's tests share: a Kafka of their own with booking's topics, and replicas to ask."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from contracts.topics import BOOKING_PROPERTIES, BOOKING_RESERVATIONS, owned_by
from deploy.local import kafka
from deploy.local.jars import class_path
from deploy.local.journey_client import Api, NotYet, Reply, until
from deploy.local.places import CACHE_DIR, remove_run_dir
from deploy.local.ports import HOST, free_port
from deploy.local.services import http_ready
from deploy.local.supervisor import ProcessSpec, Supervisor
from runtime.kafka import create_topics
from runtime.settings import KafkaSettings
from runtime.tokens import issue_service_token, issue_token
from tests.availability.booking_topics import PARTITIONS, BookingTopics, PropertyInMaking, booking_topics, day
from tests.availability.pair import Pair, running_pair
from tests.conftest import new_run_dir

SECRET = "a secret of these tests, long enough"
DIGESTS = "/internal/properties/digests"


@dataclass(frozen=True)
class Replica:
    """One availability process, asked as the gateway and other services ask it."""

    name: str
    url: str
    public: Api
    internal: Api
    nobody: Api

    async def availability(
        self, place: PropertyInMaking, first: int = 0, last: int = 30, *, min_version: int | None = None
    ) -> Reply:
        """Ask for the nights `[day(first), day(last))` as an agency would."""
        return await self.ask(place.agency_id, place.id, day(first), day(last), min_version=min_version)

    async def ask(self, agency_id: UUID, property_id: UUID, first: date, last: date, **more: Any) -> Reply:
        """Ask as one agency for any property."""
        params = {"property_id": str(property_id), "from_date": str(first), "to_date": str(last)}
        params |= {name: str(value) for name, value in more.items() if value is not None}
        headers = {"Authorization": f"Bearer {agency_token(agency_id)}"}
        return await self.nobody.request("GET", "/availability", params=params, headers=headers)

    async def from_cache(self, place: PropertyInMaking, *, under_ms: int = 1000) -> dict[str, Any]:
        """The answer for a property at its present version, once memory gives it with a lag under `under_ms`."""

        async def look() -> dict[str, Any]:
            reply = await self.availability(place)
            body: dict[str, Any] = reply.body
            if reply.status != 200 or body["source"] != "cache" or body["lag_ms"] >= under_ms:
                raise NotYet(f"{reply.status} {body}")
            if body["inventory_version"] != place.version:
                raise NotYet(f"version {body['inventory_version']} of {place.version}")
            return body

        return await until(look, f"version {place.version} from the cache")

    async def unready_because(self) -> str | None:
        """Why the replica is not ready; None when it is."""
        reply = await self.nobody.request("GET", "/health/ready")
        return None if reply.status == 200 else str(reply.expect(503)["detail"])


def agency_token(agency_id: UUID) -> str:
    """The token of somebody of an agency."""
    return issue_token(SECRET, subject="user:test", agency_id=agency_id, roles=["manager"])


def replica_spec(name: str, bootstrap_servers: str, booking_url: str | None = None, **env: str) -> ProcessSpec:
    """How to run one replica; without `booking_url` booking is away."""
    port = free_port()
    environment = {
        "PORT": str(port),
        "JWT_SECRET": SECRET,
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
        "KAFKA_PARTITIONS": str(PARTITIONS),
        "BOOKING_URL": booking_url or f"http://{HOST}:{free_port()}",
        "VERSION_WAIT_MS": "500",  # a busy machine may need longer than a client has to wait
        **env,
    }
    return ProcessSpec(
        name=name,
        argv=(sys.executable, "-m", "availability", "serve"),
        env=environment,
        ready=http_ready(f"http://{HOST}:{port}/health/ready"),
    )


@asynccontextmanager
async def started(supervisor: Supervisor, spec: ProcessSpec, *, until_ready: bool = True) -> AsyncIterator[Replica]:
    """Run a replica for a while; `until_ready` or at least until it is alive."""
    url = f"http://{HOST}:{spec.env['PORT']}"
    await asyncio.to_thread(supervisor.start, spec, wait=until_ready)
    try:
        async with AsyncExitStack() as stack:
            secret = spec.env["JWT_SECRET"]
            agency_id = uuid.uuid4()
            public = await stack.enter_async_context(Api(url, lambda: agency_token(agency_id)))
            internal = await stack.enter_async_context(Api(url, lambda: issue_service_token(secret, "booking")))
            nobody = await stack.enter_async_context(Api(url, lambda: None))
            await until(lambda: _alive(nobody), "a living process")
            yield Replica(spec.name, url, public, internal, nobody)
    finally:
        await asyncio.to_thread(supervisor.stop, spec.name)


async def _alive(api: Api) -> None:
    try:
        await api.request("GET", "/health")
    except OSError as error:
        raise NotYet(repr(error)) from error


@pytest.fixture(scope="package")
def own_supervisor() -> Iterator[Supervisor]:
    """The supervisor of this folder's processes."""
    supervisor = Supervisor(new_run_dir())
    supervisor.open()
    yield supervisor
    supervisor.close()
    remove_run_dir(supervisor.run_dir)


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def own_kafka(own_supervisor: Supervisor) -> str:
    """The address of a Kafka of this folder's own, with the topics: its tests stop it and delete from its logs."""
    port = free_port()
    jars = await asyncio.to_thread(class_path, CACHE_DIR)
    await asyncio.to_thread(
        lambda: own_supervisor.start(kafka.prepare(own_supervisor.run_dir, port, free_port(), jars))
    )
    settings = KafkaSettings(kafka_bootstrap_servers=f"{HOST}:{port}", kafka_partitions=PARTITIONS)
    await create_topics(settings, [BOOKING_PROPERTIES, BOOKING_RESERVATIONS, *owned_by("availability")])
    return settings.kafka_bootstrap_servers


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def topics(own_kafka: str) -> AsyncIterator[BookingTopics]:
    """A writer of booking's topics whose watermarks flow."""
    async with booking_topics(own_kafka) as writer:
        yield writer


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def replica(own_supervisor: Supervisor, own_kafka: str, topics: BookingTopics) -> AsyncIterator[Replica]:
    """A ready replica; its booking is away, so whatever it answers it answers from memory."""
    async with started(own_supervisor, replica_spec("availability", own_kafka)) as running:
        yield running


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def pair() -> AsyncIterator[Pair]:
    """A real booking with its availability, on a stack of their own."""
    async with running_pair() as running:
        yield running
