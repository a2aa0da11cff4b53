"""Owns reading topics from outside: records, events of a property, ends, how far a group came; for the e2e tests."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from contracts.topics import PRODUCER_MAX_BYTES
from runtime.kafka import new_producer


@dataclass(frozen=True)
class SentEvent:
    """One event as it lies on a topic."""

    event_id: str
    type: str
    data: dict[str, Any]
    partition: int
    offset: int

    @property
    def version(self) -> int:
        """The inventory version it takes."""
        return int(self.data["inventory_version"])

    @property
    def property_id(self) -> str:
        """The property it is about."""
        return str(self.data["property_id"])


class TopicReader:
    """Reads from one Kafka; every call connects anew, so that Kafka may be stopped between two."""

    def __init__(self, bootstrap_servers: str, partitions: int) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._partitions = partitions

    def places(self, topics: Iterable[str]) -> list[TopicPartition]:
        """All partitions of these topics."""
        return [TopicPartition(topic, number) for topic in topics for number in range(self._partitions)]

    async def ends(self, topics: Iterable[str]) -> dict[TopicPartition, int]:
        """The offset the next record of each partition will get."""
        async with self._consumer() as consumer:
            found: dict[TopicPartition, int] = await consumer.end_offsets(self.places(topics))
            return found

    async def committed(self, group: str) -> dict[TopicPartition, int]:
        """How far a consumer group has committed."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap_servers)
        await admin.start()
        try:
            offsets = await admin.list_consumer_group_offsets(group)
        finally:
            await admin.close()
        return {place: found.offset for place, found in offsets.items()}

    async def records(self, topic: str) -> list[ConsumerRecord[bytes, bytes]]:
        """Everything on a topic from its beginning to its end of now, in offset order within a partition."""
        async with self._consumer() as consumer:
            places = self.places([topic])
            ends = await consumer.end_offsets(places)
            consumer.assign(places)
            await consumer.seek_to_beginning(*places)
            found: list[ConsumerRecord[bytes, bytes]] = []
            while any([await consumer.position(place) < ends[place] for place in places]):
                for batch in (await consumer.getmany(timeout_ms=200)).values():
                    found += batch
            return sorted(found, key=lambda record: (record.partition, record.offset))

    async def events(self, topic: str) -> list[SentEvent]:
        """The changes on a topic in the order they lie there, watermarks and what is no event left out."""
        return [event for record in await self.records(topic) if (event := _event(record)) is not None]

    async def events_of(self, topic: str, property_id: str) -> list[SentEvent]:
        """The changes of one property."""
        return [event for event in await self.events(topic) if event.property_id == property_id]

    async def send(
        self, topic: str, partition: int, messages: Sequence[tuple[bytes | None, bytes | None]]
    ) -> list[tuple[int, int]]:
        """Write (key, value) records as anybody could who may write there; their (partition, offset)."""
        producer = new_producer(self._bootstrap_servers)
        await producer.start()
        try:
            sent = [
                await producer.send_and_wait(topic, value=value, key=key, partition=partition)
                for key, value in messages
            ]
        finally:
            await producer.stop()
        return [(metadata.partition, metadata.offset) for metadata in sent]

    @asynccontextmanager
    async def _consumer(self) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap_servers,
            enable_auto_commit=False,
            max_partition_fetch_bytes=PRODUCER_MAX_BYTES,
        )
        await consumer.start()
        try:
            yield consumer
        finally:
            await consumer.stop()


def first_appearances(events: Iterable[SentEvent]) -> dict[str, list[int]]:
    """Per property the versions in the order in which their events first appeared."""
    seen: set[str] = set()
    versions: dict[str, list[int]] = {}
    for event in events:
        if event.event_id not in seen:
            seen.add(event.event_id)
            versions.setdefault(event.property_id, []).append(event.version)
    return versions


def _event(record: ConsumerRecord[bytes, bytes]) -> SentEvent | None:
    try:
        envelope = json.loads(record.value or b"")
        if "inventory_version" not in envelope["data"] or "commit_version" not in envelope["data"]:
            return None
        return SentEvent(envelope["event_id"], envelope["type"], envelope["data"], record.partition, record.offset)
    except (ValueError, KeyError, TypeError):
        return None  # planted poison
