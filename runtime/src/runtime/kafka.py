"""Kafka's plumbing: topics by command, producers, partitions, dead letters; used by relay, consumers and caches."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import NoError, ProducerClosed, TopicAlreadyExistsError, for_code
from aiokafka.partitioner import murmur2
from aiokafka.producer.message_accumulator import BatchBuilder

from contracts import dead_letters_v1 as dlq
from contracts.topics import CONSUMED_MAX_BYTES, PRODUCER_MAX_BYTES, Topic
from runtime.settings import KafkaSettings
from runtime.telemetry import carrier_from_headers

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
    return int(murmur2(key.encode()) & 0x7FFFFFFF) % partitions


async def create_topics(settings: KafkaSettings, topics: Sequence[Topic]) -> list[str]:
    """Create the missing topics and return their names; raises `WrongPartitionCount` for one that differs."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    try:
        await admin.start()
        response = await admin.create_topics([_new_topic(topic, settings) for topic in topics])
        errors = {name: (for_code(code), message) for name, code, *message in response.topic_errors}
        for name, (error_class, message) in errors.items():
            if error_class not in (NoError, TopicAlreadyExistsError):
                raise error_class(f"{name}: {message}")
        for found in await admin.describe_topics(list(errors)):
            count, wanted = len(found["partitions"]), settings.kafka_partitions
            # A topic created just now may not be described yet.
            if found["error_code"] == 0 and count != wanted:
                raise WrongPartitionCount(f"{found['topic']} has {count} partitions and KAFKA_PARTITIONS is {wanted}")
        return [name for name, (error_class, _) in errors.items() if error_class is NoError]
    finally:
        await admin.close()


def _new_topic(topic: Topic, settings: KafkaSettings) -> NewTopic:
    configs = {"cleanup.policy": topic.cleanup, "max.message.bytes": str(topic.max_message_bytes)}
    if topic.retention is not None:
        configs["retention.ms"] = str(int(topic.retention.total_seconds() * 1000))
    return NewTopic(topic.name, settings.kafka_partitions, settings.kafka_replication_factor, topic_configs=configs)


async def _started(client: Any) -> Any:
    """Start a consumer or producer; one that fails to start is left closed."""
    try:
        await client.start()
    except BaseException:
        await client.stop()
        raise
    return client


def new_producer(bootstrap_servers: str) -> AIOKafkaProducer:
    """An idempotent `acks=all` producer that takes records up to the registry's limit; the caller starts it."""
    return AIOKafkaProducer(
        bootstrap_servers=bootstrap_servers,
        acks="all",
        enable_idempotence=True,
        max_request_size=PRODUCER_MAX_BYTES,
        max_batch_size=256 * 1024,
        request_timeout_ms=30_000,
    )


async def abort_producer(producer: AIOKafkaProducer) -> None:
    """Stop a producer at once: nothing it still holds is ever sent, and whoever waits for it gets `ProducerClosed`.

    `stop()` would first send what is queued: after a timeout that would put old records behind newer ones. aiokafka
    has no public way to do this, hence the private names.
    """
    producer._closed = True
    sender = producer._sender.sender_task
    # Cancelled once, the sender still waits for what is in flight, half a minute when the broker hangs.
    while sender is not None and not sender.done():
        sender.cancel()
        await asyncio.sleep(0)
    producer._message_accumulator.fail_all(ProducerClosed())
    await producer.client.close()


class TopicWriter:
    """One producer for many callers at once, started when first needed and made anew after a failure."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._producer: AIOKafkaProducer | None = None
        self._consumer: AIOKafkaConsumer | None = None
        self._starting = asyncio.Lock()

    async def producer(self) -> AIOKafkaProducer:
        """The producer, started."""
        async with self._starting:
            self._producer = self._producer or await _started(new_producer(self._bootstrap_servers))
            return self._producer

    async def send(
        self,
        topic: str,
        partition: int | None,
        key: bytes,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        """Write one record (without `partition`: to that of its key); returns after Kafka's acknowledgement.

        A value of None deletes the key from a compacted topic.
        """
        producer = await self.producer()
        try:
            await producer.send_and_wait(topic, value=value, key=key, partition=partition, headers=list(headers))
        except BaseException:
            if producer is self._producer:
                await self.abort()
            raise

    async def abort(self) -> None:
        """Drop the producer with all it still holds; the next use starts a fresh one."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await abort_producer(producer)

    async def end_offset(self, topic: str, partition: int) -> int:
        """The offset the next record of a partition will get."""
        async with self._starting:
            self._consumer = self._consumer or await _started(
                AIOKafkaConsumer(bootstrap_servers=self._bootstrap_servers, enable_auto_commit=False)
            )
        place = TopicPartition(topic, partition)
        return int((await self._consumer.end_offsets([place]))[place])

    async def close(self) -> None:
        """Close both clients."""
        await self.abort()
        if self._consumer is not None:
            await self._consumer.stop()


class Batches:
    """Records on their way in batches made here, which costs less than handing each to the producer by itself."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        self._batches: dict[tuple[str, int], list[BatchBuilder]] = {}

    def add(self, topic: str, partition: int, key: bytes, value: bytes, headers: Sequence[tuple[str, bytes]]) -> None:
        """Put a record behind those of its partition; a batch takes its first one whatever its size."""
        record = {"timestamp": None, "key": key, "value": value, "headers": headers}
        batches = self._batches.setdefault((topic, partition), [])
        if not batches or batches[-1].append(**record) is None:
            batches.append(self._producer.create_batch())
            batches[-1].append(**record)

    async def send(self) -> None:
        """Send everything added; returns after Kafka's acknowledgement. A batch goes when the one before it arrived."""
        await asyncio.gather(*(self._send(place, batches) for place, batches in self._batches.items()))

    async def _send(self, place: tuple[str, int], batches: Sequence[BatchBuilder]) -> None:
        for batch in batches:
            await (await self._producer.send_batch(batch, place[0], partition=place[1]))


class DeadLetters(TopicWriter):
    """Puts what a service could not process into `<topic>.<service>.dlq`, original bytes and origin headers."""

    def __init__(self, bootstrap_servers: str, service: str) -> None:
        super().__init__(bootstrap_servers)
        self._service = service

    async def put(self, topic: Topic, record: Record, error: Exception) -> None:
        """Store one record durably; returns after Kafka's acknowledgement."""
        headers = [
            (dlq.HEADER_TOPIC, record.topic.encode()),
            (dlq.HEADER_PARTITION, str(record.partition).encode()),
            (dlq.HEADER_OFFSET, str(record.offset).encode()),
            (dlq.HEADER_KEY, record.key or b""),
            (dlq.HEADER_ERROR, type(error).__name__.encode()),
            (dlq.HEADER_REASON, str(error)[:MAX_REASON_LENGTH].encode("utf-8", "replace")),
            (dlq.HEADER_SERVICE, self._service.encode()),
            (dlq.HEADER_FAILED_AT, datetime.now(UTC).isoformat().encode()),
            *((dlq.HEADER_TOMBSTONE, b"1") for _ in range(record.value is None)),
            *((name, value.encode()) for name, value in carrier_from_headers(record.headers).items()),
        ]
        key = dlq.dead_letter_key(record.topic, record.partition, record.offset)
        # A null value would delete the letter from the compacted topic: a tombstone is kept as empty bytes.
        await self.send(topic.dead_letter_name(self._service), None, key, record.value or b"", headers)
