"""Owns a booking database that nothing else uses, with a topic and a relay of its own; for tests that break things."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import asyncpg
import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition

from booking.clients import TopicLog
from booking.service.audits import Auditor
from booking.service.writing import Deps
from booking.workers import snapshot_publisher
from contracts.topics import CONSUMED_MAX_BYTES, Topic
from deploy.local.prepare import migrate_database
from deploy.local.provision import DatabaseUrls, create_database, in_database
from runtime.kafka import TopicWriter, create_topics, new_producer, partition_of
from runtime.loops import Loops
from runtime.postgres import create_pool
from runtime.relay import Relay
from runtime.settings import KafkaSettings
from tests.booking.conftest import TTL, Ledger
from tests.conftest import Provisioned
from tests.waiting import eventually

Found = TypeVar("Found")
PARTITIONS = 2
INTO_OWN_TOPIC = """
CREATE FUNCTION into_own_topic() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN NEW.topic := '{topic}'; RETURN NEW; END $$;
CREATE TRIGGER into_own_topic BEFORE INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION into_own_topic()"""


async def new_booking_database(provisioned: Provisioned) -> DatabaseUrls:
    """A migrated database with the roles of booking."""
    name = f"pms_booking_{uuid.uuid4().hex[:8]}"
    await create_database(provisioned.stack.postgres_admin_dsn, "booking", name)
    own = provisioned.databases.booking.moved_to(name)
    await migrate_database("booking", own)
    return own


async def _as_admin(dsn: str, *statements: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


@dataclass(frozen=True)
class OwnLedger:
    """A ledger of one's own; `urls` are its addresses, `kafka` where its topic is."""

    ledger: Ledger
    urls: DatabaseUrls
    kafka: KafkaSettings
    topic: Topic

    async def as_admin(self, *statements: str) -> None:
        """Run statements no role of booking may."""
        await _as_admin(self.ledger.admin_dsn, *statements)

    async def admin_value(self, query: str) -> Any:
        """One value, read past row security."""
        connection = await asyncpg.connect(self.ledger.admin_dsn)
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()

    async def relayed(self) -> None:
        """Have a real relay send all that is unsent, to the topic of one's own."""
        pool = self.ledger.system.pool
        async with self.relaying():

            async def drained() -> bool | None:
                return await pool.fetchval("SELECT count(*) FROM outbox WHERE sent_at IS NULL") == 0 or None

            await eventually(drained, "every event sent")

    @asynccontextmanager
    async def relaying(self) -> AsyncIterator[None]:
        """A real relay at work."""
        relay = Relay(self.ledger.system.pool, self.kafka, "booking", [self.topic])
        async with Loops() as loops:
            loops.keep(relay.run, "relay")
            yield
        await relay.close()

    @asynccontextmanager
    async def auditor(self) -> AsyncIterator[Auditor]:
        """An auditor of this ledger and topic."""
        log = TopicLog(self.kafka.kafka_bootstrap_servers, self.topic.name, PARTITIONS)
        auditor = Auditor(self.ledger.system.pool, log, self.topic.name)
        try:
            yield auditor
        finally:
            await auditor.close()

    @asynccontextmanager
    async def publishing(self) -> AsyncIterator[str]:
        """The snapshot worker of this ledger at work; the name of its fresh topic."""
        topic = await new_topic(self.kafka)
        writer = TopicWriter(self.kafka.kafka_bootstrap_servers)

        async def send(partition: int, key: bytes, value: bytes | None) -> None:
            await writer.send(topic.name, partition, key, value)

        async def end_offset(partition: int) -> int:
            return await writer.end_offset(self.topic.name, partition)

        async with Loops() as loops:
            loops.every(0.1, snapshot_publisher(self.ledger.system, PARTITIONS, end_offset, send), "snapshots")
            yield topic.name
        await writer.close()

    def environment(self) -> dict[str, str]:
        """What a command of booking reads."""
        return {
            "DATABASE_URL": self.urls.app,
            "SYSTEM_DATABASE_URL": self.urls.system,
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka.kafka_bootstrap_servers,
            "KAFKA_PARTITIONS": str(self.kafka.kafka_partitions),
        }

    async def audited(self) -> list[tuple[str, str, UUID | None]]:
        """The open findings after a full pass: invariant, kind, property."""
        async with self.auditor() as auditor:
            found = await auditor.full_pass()
        return sorted((finding.invariant, finding.kind, finding.property_id) for finding in found)

    async def records(self, property_id: UUID, topic: str | None = None) -> list["ConsumerRecord[bytes, bytes]"]:
        """What is on the topic (or another one) about a property."""
        place = TopicPartition(topic or self.topic.name, partition_of(str(property_id), PARTITIONS))
        consumer = AIOKafkaConsumer(bootstrap_servers=self.kafka.kafka_bootstrap_servers, enable_auto_commit=False)
        consumer.assign([place])
        await consumer.start()
        try:
            await consumer.seek_to_beginning(place)
            end = (await consumer.end_offsets([place]))[place]
            found: list[ConsumerRecord[bytes, bytes]] = []
            while await consumer.position(place) < end:
                found += (await consumer.getmany(timeout_ms=200)).get(place, [])
            return [record for record in found if record.key == str(property_id).encode()]
        finally:
            await consumer.stop()

    async def publish(self, property_id: UUID, *values: bytes) -> None:
        """Write records that did not come from the outbox."""
        producer: AIOKafkaProducer = new_producer(self.kafka.kafka_bootstrap_servers)
        await producer.start()
        try:
            for value in values:
                partition = partition_of(str(property_id), PARTITIONS)
                await producer.send_and_wait(self.topic.name, value, str(property_id).encode(), partition)
        finally:
            await producer.stop()


def under_another_id(value: bytes) -> bytes:
    """The same event under a new event id."""
    return orjson.dumps({**orjson.loads(value), "event_id": str(uuid4())})


async def new_topic(kafka: KafkaSettings) -> Topic:
    """A fresh topic."""
    topic = Topic(
        name=f"booking.{uuid.uuid4().hex[:8]}.v1",
        owner="booking",
        key="property_id",
        cleanup="delete",
        retention=timedelta(days=7),
        max_message_bytes=CONSUMED_MAX_BYTES,
        null_is_legal=False,
        consumers=(),
        description="For tests.",
    )
    await create_topics(kafka, [topic])
    return topic


@asynccontextmanager
async def own_ledger(provisioned: Provisioned) -> AsyncIterator[OwnLedger]:
    """A database and a topic of one's own."""
    urls = await new_booking_database(provisioned)
    kafka = KafkaSettings(kafka_bootstrap_servers=provisioned.stack.kafka_bootstrap, kafka_partitions=PARTITIONS)
    topic = await new_topic(kafka)
    app = await create_pool(urls.app, size=4, application_name="test-own-app")
    system = await create_pool(urls.system, size=4, application_name="test-own-system")
    admin_dsn = in_database(provisioned.stack.postgres_admin_dsn, urlsplit(urls.owner).path.lstrip("/"))
    await _as_admin(admin_dsn, INTO_OWN_TOPIC.format(topic=topic.name))
    deps = [Deps(pool, _sleep_on, PARTITIONS, TTL) for pool in (app, system)]
    try:
        yield OwnLedger(Ledger(deps[0], deps[1], admin_dsn, urls.owner), urls, kafka, topic)
    finally:
        await app.close()
        await system.close()


def _sleep_on() -> None:
    """The relay runs only when a test wants it to."""
