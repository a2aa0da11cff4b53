"""Kafka's plumbing: topics by command, producers, partitions, dead letters; used by relay, consumers and caches."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code
from aiokafka.partitioner import murmur2

from contracts import dead_letters_v1 as dlq
from contracts.topics import CONSUMED_MAX_BYTES, PRODUCER_MAX_BYTES, Topic
from runtime.settings import KafkaSettings

# Let every registered topic's largest record through; Kafka's defaults are 1 MiB.
PARTITION_FETCH_MAX_BYTES = CONSUMED_MAX_BYTES + 64 * 1024
FETCH_MAX_BYTES = 16 * 1024 * 1024
MAX_REASON_LENGTH = 500


class PoisonMessage(Exception):
    """A record that can never be processed: it goes to the dead letters at once, with this reason."""


class WrongPartitionCount(Exception):
    """A topic has another partition count than KAFKA_PARTITIONS: keys would change their partition."""


@dataclass(frozen=True, slots=True)
class Record:
    """One Kafka record as a consumer sees it; `value` is None for a tombstone."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


def partition_of(key: str, partitions: int) -> int:
    """Partition of a key: Kafka's default (murmur2), so producers in any language agree."""
    digest: int = murmur2(key.encode())
    return (digest & 0x7FFFFFFF) % partitions


async def create_topics(settings: KafkaSettings, topics: Sequence[Topic]) -> list[str]:
    """Create the missing topics and return their names; raises `WrongPartitionCount` for one that differs."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    await admin.start()
    try:
        existing = set(await admin.list_topics())
        missing = [topic for topic in topics if topic.name not in existing]
        if missing:
            response = await admin.create_topics([_new_topic(topic, settings) for topic in missing])
            for name, code, *message in response.topic_errors:
                error_class = for_code(code)
                if code != 0 and error_class is not TopicAlreadyExistsError:
                    raise error_class(f"{name}: {message}")
        await _check_partitions(admin, settings, [topic.name for topic in topics])
        return [topic.name for topic in missing]
    finally:
        await admin.close()


def _new_topic(topic: Topic, settings: KafkaSettings) -> NewTopic:
    configs = {"cleanup.policy": topic.cleanup, "max.message.bytes": str(topic.max_message_bytes)}
    if topic.retention is not None:
        configs["retention.ms"] = str(int(topic.retention.total_seconds() * 1000))
    return NewTopic(
        name=topic.name,
        num_partitions=settings.kafka_partitions,
        replication_factor=settings.kafka_replication_factor,
        topic_configs=configs,
    )


async def _check_partitions(admin: AIOKafkaAdminClient, settings: KafkaSettings, names: list[str]) -> None:
    for _ in range(50):  # a new topic's metadata needs a moment to spread
        described = await admin.describe_topics(names)
        if all(topic["error_code"] == 0 for topic in described):
            break
        await asyncio.sleep(0.1)
    for topic in described:
        count = len(topic["partitions"])
        if count != settings.kafka_partitions:
            raise WrongPartitionCount(
                f"{topic['topic']} has {count} partitions and KAFKA_PARTITIONS is {settings.kafka_partitions}"
            )


def new_producer(bootstrap_servers: str, *, linger_ms: int = 0) -> AIOKafkaProducer:
    """An idempotent `acks=all` producer that takes records up to the registry's limit; the caller starts it."""
    return AIOKafkaProducer(
        bootstrap_servers=bootstrap_servers,
        acks="all",
        enable_idempotence=True,
        linger_ms=linger_ms,
        max_request_size=PRODUCER_MAX_BYTES,
        max_batch_size=256 * 1024,
        request_timeout_ms=30_000,
    )


async def abort_producer(producer: AIOKafkaProducer) -> None:
    """Stop a producer without flushing, so that nothing it still holds is ever sent.

    `stop()` would first send what is queued: after a timeout that would put old records behind newer ones.
    aiokafka has no public way to do this, hence the private names.
    """
    producer._closed = True
    if producer._sender is not None:
        await producer._sender.close()
    await producer.client.close()


class DeadLetters:
    """Puts what a service could not process into `<topic>.<service>.dlq`, original bytes and origin headers."""

    def __init__(self, bootstrap_servers: str, service: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._service = service
        self._producer: AIOKafkaProducer | None = None

    async def put(self, topic: Topic, record: Record, error: Exception) -> None:
        """Store one record durably; returns after Kafka's acknowledgement."""
        if self._producer is None:
            producer = new_producer(self._bootstrap_servers)
            await producer.start()
            self._producer = producer
        reason = f"{error}"[:MAX_REASON_LENGTH]
        headers = [
            (dlq.HEADER_TOPIC, record.topic.encode()),
            (dlq.HEADER_PARTITION, str(record.partition).encode()),
            (dlq.HEADER_OFFSET, str(record.offset).encode()),
            (dlq.HEADER_KEY, record.key or b""),
            (dlq.HEADER_ERROR, type(error).__name__.encode()),
            (dlq.HEADER_REASON, reason.encode("utf-8", "replace")),
            (dlq.HEADER_SERVICE, self._service.encode()),
            (dlq.HEADER_FAILED_AT, datetime.now(UTC).isoformat().encode()),
            *((dlq.HEADER_TOMBSTONE, b"1") for _ in range(record.value is None)),
            *((key, value) for key, value in record.headers if key in ("traceparent", "tracestate")),
        ]
        # A null value would delete the letter from the compacted topic: a tombstone is kept as empty bytes.
        await self._producer.send_and_wait(
            topic.dead_letter_name(self._service),
            value=record.value or b"",
            key=dlq.dead_letter_key(record.topic, record.partition, record.offset),
            headers=headers,
        )

    async def close(self) -> None:
        """Flush and close the producer, if one was needed."""
        if self._producer is not None:
            await self._producer.stop()


class TopicWriter:
    """Writes single records to chosen partitions and reads end offsets; for states that do not go by the outbox."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._producer: AIOKafkaProducer | None = None
        self._consumer: AIOKafkaConsumer | None = None

    async def send(self, topic: str, partition: int, key: bytes, value: bytes) -> None:
        """Write one record; returns after Kafka's acknowledgement. A failure drops the producer for a fresh one."""
        if self._producer is None:
            producer = new_producer(self._bootstrap_servers)
            await producer.start()
            self._producer = producer
        try:
            await self._producer.send_and_wait(topic, value=value, key=key, partition=partition)
        except BaseException:
            failed, self._producer = self._producer, None
            await abort_producer(failed)
            raise

    async def end_offset(self, topic: str, partition: int) -> int:
        """The offset the next record of a partition will get."""
        if self._consumer is None:
            consumer = AIOKafkaConsumer(bootstrap_servers=self._bootstrap_servers, enable_auto_commit=False)
            await consumer.start()
            self._consumer = consumer
        offsets = await self._consumer.end_offsets([TopicPartition(topic, partition)])
        offset: int = offsets[TopicPartition(topic, partition)]
        return offset

    async def close(self) -> None:
        """Close both clients."""
        if self._producer is not None:
            await abort_producer(self._producer)
        if self._consumer is not None:
            await self._consumer.stop()
