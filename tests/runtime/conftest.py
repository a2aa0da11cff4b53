"""Owns what the tests of the floor share: finished spans, a database with the floor's tables only, and fresh topics."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeAlias, TypeVar

import pytest
import pytest_asyncio
import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from contracts.topics import CONSUMED_MAX_BYTES, PRODUCER_MAX_BYTES, Topic
from deploy.local.provision import DatabaseUrls, create_database
from runtime.kafka import create_topics, new_producer
from runtime.migrate import FLOOR, migrate, read_migrations
from runtime.postgres import Pool, create_pool
from runtime.settings import KafkaSettings
from tests.conftest import Provisioned

Found = TypeVar("Found")
Consumed: TypeAlias = "ConsumerRecord[bytes, bytes]"

SERVICE = "tests"
PARTITIONS = 6
ROLES = {"app": "booking_app", "system": "booking_system"}


@pytest.fixture(scope="session", autouse=True)
def plain_logs() -> Iterator[None]:
    """One line per event: structlog's default prints every traceback with its locals, which takes seconds."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ]
    )
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def span_exporter() -> InMemorySpanExporter:
    """Collects the spans of this process; the provider can be set only once in a process."""
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        provider = TracerProvider()
        trace.set_tracer_provider(provider)
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return exporter


@pytest.fixture
def spans(span_exporter: InMemorySpanExporter) -> Iterator[InMemorySpanExporter]:
    """The spans finished during one test."""
    span_exporter.clear()
    yield span_exporter
    span_exporter.clear()


async def new_database(provisioned: Provisioned) -> DatabaseUrls:
    """An empty database with the roles of a service, that nothing else uses."""
    name = f"pms_runtime_{uuid.uuid4().hex[:8]}"
    await create_database(provisioned.stack.postgres_admin_dsn, "booking", name)
    return provisioned.databases.booking.moved_to(name)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def database(provisioned: Provisioned) -> DatabaseUrls:
    """A database with the floor's tables and nothing of a service."""
    urls = await new_database(provisioned)
    await migrate(urls.owner, read_migrations("floor", FLOOR, ROLES))
    return urls


@asynccontextmanager
async def pool_of(url: str, size: int = 8) -> AsyncIterator[Pool]:
    """A pool as the services make it."""
    pool = await create_pool(url, size=size, application_name=SERVICE)
    try:
        yield pool
    finally:
        await pool.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def system_pool(database: DatabaseUrls) -> AsyncIterator[Pool]:
    """The system role's pool, which sees every agency: the relay's."""
    async with pool_of(database.system) as pool:
        yield pool


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def app_pool(database: DatabaseUrls) -> AsyncIterator[Pool]:
    """The application role's pool, under row security."""
    async with pool_of(database.app) as pool:
        yield pool


@pytest_asyncio.fixture(loop_scope="session")
async def empty_outbox(system_pool: Pool) -> Pool:
    """The system role's pool, with nothing to send and nobody holding a lease."""
    await system_pool.execute("DELETE FROM outbox")
    await system_pool.execute("DELETE FROM relay_leases")
    return system_pool


@dataclass(frozen=True)
class TopicOf:
    """A fresh topic, and reading of it and its dead letters from the first record on."""

    topic: Topic
    settings: KafkaSettings

    async def records(self, topic: str | None = None) -> list[Consumed]:
        """Everything on the topic (or another one) now, partition by partition in order of offset."""
        return await read_all(self.settings.kafka_bootstrap_servers, topic or self.topic.name)

    async def letters(self) -> list[Consumed]:
        """The dead letters."""
        return await self.records(self.topic.dead_letter_name(SERVICE))


def topic_named(name: str, **changes: Any) -> Topic:
    """A topic like the suite's."""
    topic = Topic(
        name=name,
        owner=SERVICE,
        key="id",
        cleanup="delete",
        retention=timedelta(days=7),
        max_message_bytes=CONSUMED_MAX_BYTES,
        null_is_legal=False,
        consumers=(SERVICE,),
        description="For tests.",
    )
    return replace(topic, **changes)


@pytest.fixture(scope="session")
def kafka_settings(provisioned: Provisioned) -> KafkaSettings:
    """Where Kafka is, as a service is told."""
    return KafkaSettings(kafka_bootstrap_servers=provisioned.stack.kafka_bootstrap, kafka_partitions=PARTITIONS)


async def new_topic(settings: KafkaSettings, partitions: int) -> TopicOf:
    """A fresh topic of that many partitions."""
    settings = settings.model_copy(update={"kafka_partitions": partitions})
    topic = topic_named(f"runtime.{uuid.uuid4().hex[:8]}.v1")
    await create_topics(settings, [topic])
    return TopicOf(topic, settings)


@pytest_asyncio.fixture(loop_scope="session")
async def single(kafka_settings: KafkaSettings) -> TopicOf:
    """A fresh topic of one partition."""
    return await new_topic(kafka_settings, 1)


@pytest_asyncio.fixture(loop_scope="session")
async def with_letters(single: TopicOf) -> TopicOf:
    """A fresh topic of one partition with its dead letters."""
    name = single.topic.dead_letter_name(SERVICE)
    letters = topic_named(name, cleanup="compact,delete", max_message_bytes=PRODUCER_MAX_BYTES)
    await create_topics(single.settings, [letters])
    return single


@pytest_asyncio.fixture(loop_scope="session")
async def sharded(kafka_settings: KafkaSettings) -> TopicOf:
    """A fresh topic of six partitions."""
    return await new_topic(kafka_settings, PARTITIONS)


async def read_all(bootstrap_servers: str, topic: str) -> list[Consumed]:
    """Everything on a topic now, partition by partition in order of offset."""
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap_servers,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=PRODUCER_MAX_BYTES,
    )
    await consumer.start()
    try:
        ends: dict[TopicPartition, int] = await consumer.end_offsets(consumer.assignment())
        found: dict[TopicPartition, list[Consumed]] = {place: [] for place in sorted(ends)}
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            for place, batch in (await consumer.getmany(timeout_ms=200)).items():
                found[place] += [record for record in batch if record.offset < ends[place]]
        return [record for batch in found.values() for record in batch]
    finally:
        await consumer.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def producer(kafka_settings: KafkaSettings) -> AsyncIterator[AIOKafkaProducer]:
    made = new_producer(kafka_settings.kafka_bootstrap_servers)
    await made.start()
    yield made
    await made.stop()
