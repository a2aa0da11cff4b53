"""Owns writing booking's two topics as booking does, for tests of one availability process without a booking."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.errors import KafkaError

from contracts.booking_properties_v1 import PropertySnapshot
from contracts.booking_reservations_v1 import (
    BlockCreated,
    InventoryChange,
    PropertyChanged,
    PropertyCreated,
    PropertyDeleted,
)
from contracts.topics import BOOKING_PROPERTIES, BOOKING_RESERVATIONS, PRODUCER_MAX_BYTES, Topic
from contracts.values import DateRange, EventModel, InventoryRange, PropertyProfile, RangeKind, Rates, StayRules
from runtime.kafka import partition_of
from runtime.telemetry import carrier_of

PARTITIONS = 2
WATERMARK_INTERVAL_S = 0.2
DAY = datetime.now(UTC).date() + timedelta(days=30)


def day(number: int) -> date:
    """A date some weeks ahead."""
    return DAY + timedelta(days=number)


def taken(start: int, end: int, *, preparation_days: int = 0, expires_at: datetime | None = None) -> InventoryRange:
    """A stored range of the nights `[day(start), day(end))`."""
    return InventoryRange(
        range_id=uuid.uuid4(),
        kind=RangeKind.BLOCK if expires_at is None else RangeKind.HOLD,
        source_id=uuid.uuid4(),
        stay=DateRange(start_date=day(start), end_date=day(end)),
        occupied=DateRange(start_date=day(start), end_date=day(end + preparation_days)),
        expires_at=expires_at,
    )


@dataclass
class PropertyInMaking:
    """A property whose changes a test writes: it counts its versions and keeps its ranges.

    `more` are fields of its profile beside the usual ones.
    """

    agency_id: UUID = field(default_factory=uuid.uuid4)
    id: UUID = field(default_factory=uuid.uuid4)
    preparation_days: int = 0
    more: Mapping[str, Any] = field(default_factory=dict)
    stay_rules: StayRules = field(default_factory=StayRules)
    rates: Rates = field(default_factory=Rates)
    version: int = 0
    ranges: dict[UUID, InventoryRange] = field(default_factory=dict)

    @property
    def profile(self) -> PropertyProfile:
        usual = {"name": "Casa", "time_zone": "Europe/Lisbon", "currency": "EUR", "max_occupancy": 4}
        return PropertyProfile.model_validate({**usual, "preparation_days": self.preparation_days, **self.more})

    @property
    def partition(self) -> int:
        return partition_of(str(self.id), PARTITIONS)

    def created(self) -> PropertyCreated:
        """Its first change."""
        self.version += 1
        return PropertyCreated(
            property_id=self.id,
            inventory_version=self.version,
            commit_version=self.version,
            rules_version=self.version,
            profile=self.profile,
            stay_rules=self.stay_rules,
            rates=self.rates,
        )

    def block(self, start: int, end: int, *, last_of_commit: int | None = None) -> BlockCreated:
        """A change that blocks the nights `[day(start), day(end))`."""
        return self.take(taken(start, end, preparation_days=self.preparation_days), last_of_commit=last_of_commit)

    def take(self, occupied: InventoryRange, *, last_of_commit: int | None = None) -> BlockCreated:
        """A change that stores a range."""
        self.version += 1
        self.ranges[occupied.range_id] = occupied
        return BlockCreated(
            property_id=self.id,
            inventory_version=self.version,
            commit_version=last_of_commit or self.version,
            occupied=[occupied],
            block_id=occupied.source_id,
            start_date=occupied.stay.start_date,
            end_date=occupied.stay.end_date,
            source="test",
        )

    def changed(self, **sections: Any) -> PropertyChanged:
        """A change of the property itself: the sections that changed."""
        self.version += 1
        return PropertyChanged(
            property_id=self.id,
            inventory_version=self.version,
            commit_version=self.version,
            rules_version=self.version,
            **sections,
        )

    def deleted(self) -> PropertyDeleted:
        """Its last change."""
        self.version += 1
        return PropertyDeleted(
            property_id=self.id,
            inventory_version=self.version,
            commit_version=self.version,
            rules_version=self.version,
        )

    def snapshot(self) -> PropertySnapshot:
        """Its whole state now."""
        return PropertySnapshot(
            property_id=self.id,
            agency_id=self.agency_id,
            inventory_version=self.version,
            rules_version=1,
            profile=self.profile,
            stay_rules=self.stay_rules,
            rates=self.rates,
            ranges=list(self.ranges.values()),
        )


def envelope(type_name: str, data: EventModel | dict[str, Any], agency_id: UUID | None = None) -> bytes:
    """The bytes of an event."""
    return orjson.dumps(
        {
            "event_id": uuid.uuid4(),
            "type": type_name,
            "subject": "test",
            "agency_id": agency_id,
            "occurred_at": datetime.now(UTC),
            "producer": "booking",
            "data": data if isinstance(data, dict) else data.model_dump(mode="json"),
        }
    )


class BookingTopics:
    """A writer of both topics. Its watermarks flow while `has_relay`, as those of booking's relay do; they say nothing
    of the properties in `held_back`.
    """

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        self.has_relay = True
        self.held_back: set[UUID] = set()

    async def write(self, place: PropertyInMaking, *changes: InventoryChange) -> None:
        """Write changes of a property in order, with the current trace."""
        headers = [(name, value.encode()) for name, value in carrier_of().items()]
        for change in changes:
            value = envelope(type(change).__name__, change, place.agency_id)
            await self.put(BOOKING_RESERVATIONS.name, value, str(place.id).encode(), place.partition, headers)

    async def write_snapshot(self, place: PropertyInMaking) -> None:
        """Write the state of a property to the compacted topic."""
        value = envelope("PropertySnapshot", place.snapshot(), place.agency_id)
        await self.put(BOOKING_PROPERTIES.name, value, str(place.id).encode(), place.partition)

    async def write_marks(self, delta_offsets: Mapping[int, int]) -> None:
        """Say of each partition that the snapshots contain every change below an offset."""
        for partition, offset in delta_offsets.items():
            value = envelope("DeltaOffset", {"partition": partition, "delta_offset": offset})
            await self.put(BOOKING_PROPERTIES.name, value, f"delta_offset/{partition}".encode(), partition)

    async def put(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None = None,
        partition: int = 0,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> int:
        """Write any bytes; the record's offset."""
        done = await self._producer.send_and_wait(topic, value, key=key, partition=partition, headers=list(headers))
        return int(done.offset)

    async def watermarks(self) -> None:
        """Write watermarks until cancelled; Kafka being away is waited for, as the relay does."""
        while True:
            for partition in range(PARTITIONS):
                said = {"partition": partition, "database_time": datetime.now(UTC), "held_back": list(self.held_back)}
                value = envelope("Watermark", said)
                with contextlib.suppress(KafkaError):
                    if self.has_relay:
                        await self.put(BOOKING_RESERVATIONS.name, value, partition=partition)
            await asyncio.sleep(WATERMARK_INTERVAL_S)


async def dead_letters(bootstrap_servers: str, topic: Topic) -> dict[str, list[dict[str, bytes]]]:
    """The headers of availability's dead letters of a topic, by key: `topic/partition/offset` of the origin."""
    places = [TopicPartition(topic.dead_letter_name("availability"), number) for number in range(PARTITIONS)]
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap_servers, enable_auto_commit=False, max_partition_fetch_bytes=PRODUCER_MAX_BYTES
    )
    consumer.assign(places)
    await consumer.start()
    try:
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(places)
        found: dict[str, list[dict[str, bytes]]] = {}
        while any([await consumer.position(place) < ends[place] for place in places]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    headers = {**dict(record.headers), "value": record.value or b""}
                    found.setdefault((record.key or b"").decode(), []).append(headers)
        return found
    finally:
        await consumer.stop()


async def ends_of(bootstrap_servers: str, topic: Topic) -> dict[int, int]:
    """The end offset of each partition."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, enable_auto_commit=False)
    await consumer.start()
    try:
        ends = await consumer.end_offsets([TopicPartition(topic.name, number) for number in range(PARTITIONS)])
        return {place.partition: offset for place, offset in ends.items()}
    finally:
        await consumer.stop()


async def expire(bootstrap_servers: str, topic: Topic, offsets: Mapping[int, int]) -> None:
    """Delete what lies before an offset of each partition, as retention does."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        await admin.delete_records(
            {TopicPartition(topic.name, number): RecordsToDelete(offset) for number, offset in offsets.items()}
        )
    finally:
        await admin.close()


@asynccontextmanager
async def booking_topics(bootstrap_servers: str) -> AsyncIterator[BookingTopics]:
    """A started writer whose watermarks flow."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap_servers, acks="all", max_request_size=5 * 1024 * 1024, request_timeout_ms=2000
    )
    await producer.start()
    topics = BookingTopics(producer)
    flow = asyncio.create_task(topics.watermarks())
    try:
        yield topics
    finally:
        flow.cancel()
        await asyncio.gather(flow, return_exceptions=True)
        await producer.stop()
