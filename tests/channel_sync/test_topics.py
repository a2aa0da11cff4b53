"""Proves what channel-sync does with every record of the topics it reads: good ones, poison, tombstones."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from contracts import dead_letters_v1 as dlq
from contracts.topics import BOOKING_PROPERTIES, BOOKING_RESERVATIONS, CHANNEL_SYNC_ACTIVITY, OTA_INBOUND, Topic
from deploy.local.services import CHANNEL_SYNC, Suite
from runtime.kafka import PARTITION_FETCH_MAX_BYTES, new_producer, partition_of
from tests.channel_sync.conftest import Agency
from tests.e2e.infra.ota_simulator import OtaSimulator
from tests.waiting import eventually

pytestmark = pytest.mark.stack

TWO_MB = 2 * 1024 * 1024
WRONG_TYPE = {
    "event_id": str(uuid.uuid4()),
    "type": "SomethingElse",
    "subject": "x",
    "agency_id": str(uuid.uuid4()),
    "occurred_at": datetime.now(UTC).isoformat(),
    "producer": "test",
    "data": {},
}
POISON: dict[str, bytes | None] = {
    "random bytes": b"\x00\x01\x02\xfe",
    "truncated JSON": b'{"event_id": "',
    "bad UTF-8": b'{"type": "\xff\xfe"}',
    "a list": b"[]",
    "empty": b"",
    "an unknown type": json.dumps(WRONG_TYPE).encode(),
    "two megabytes": b'{"revision_id": "' + b"x" * TWO_MB + b'"}',
    "a tombstone": None,
}


@pytest_asyncio.fixture(loop_scope="session")
async def producer(suite: Suite) -> AsyncIterator[AIOKafkaProducer]:
    """Writes whatever a test wants."""
    made = new_producer(suite.kafka_bootstrap)
    await made.start()
    yield made
    await made.stop()


async def records(suite: Suite, topic: str) -> list[Any]:
    """Everything that is on a topic now."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=suite.kafka_bootstrap, max_partition_fetch_bytes=PARTITION_FETCH_MAX_BYTES
    )
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, number) for number in range(suite.kafka_partitions)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        await consumer.seek_to_beginning(*partitions)
        found: list[Any] = []
        for partition, end in ends.items():
            while await consumer.position(partition) < end:
                found += await _some(consumer, partition)
        return found
    finally:
        await consumer.stop()


async def _some(consumer: AIOKafkaConsumer, partition: TopicPartition) -> list[Any]:
    batch = await consumer.getmany(partition, timeout_ms=200)
    return [record for read in batch.values() for record in read]


async def letters(suite: Suite, topic: Topic, offsets: set[tuple[int, int]]) -> list[Any]:
    """The dead letters of those origins, once there is one for each."""

    async def look() -> list[Any] | None:
        wanted = {dlq.dead_letter_key(topic.name, *offset) for offset in offsets}
        found = [
            letter for letter in await records(suite, topic.dead_letter_name(CHANNEL_SYNC)) if letter.key in wanted
        ]
        return found if {letter.key for letter in found} == wanted else None

    return await eventually(look, f"{len(offsets)} dead letters of {topic.name}", timeout_s=30)


@pytest.mark.parametrize("topic", [BOOKING_RESERVATIONS, BOOKING_PROPERTIES, OTA_INBOUND], ids=lambda topic: topic.name)
async def test_poison_goes_to_the_dead_letters_once_with_its_origin(
    topic: Topic, agency: Agency, ota: OtaSimulator, producer: AIOKafkaProducer
) -> None:
    connection = await agency.connect(ota)
    key = connection["id"].encode()
    poison = {what: value for what, value in POISON.items() if value is not None or not topic.null_is_legal}
    origins = {}
    for what, value in poison.items():
        sent = await producer.send_and_wait(topic.name, value=value, key=key, partition=0)
        origins[(sent.partition, sent.offset)] = what

    found = await letters(agency.suite, topic, set(origins))

    assert len(found) == len(poison)
    for letter in found:
        headers = dict(letter.headers)
        origin = int(headers[dlq.HEADER_PARTITION]), int(headers[dlq.HEADER_OFFSET])
        assert headers[dlq.HEADER_TOPIC].decode() == topic.name
        assert headers[dlq.HEADER_SERVICE] == b"channel-sync"
        assert letter.value == (poison[origins[origin]] or b"")
        assert (dlq.HEADER_TOMBSTONE in headers) == (poison[origins[origin]] is None)


async def test_a_raw_revision_is_applied_by_key_or_header_after_poison_on_its_partition(
    agency: Agency, ota: OtaSimulator, producer: AIOKafkaProducer, soon: date
) -> None:
    connection = await agency.connect(ota)
    await agency.map_listing(connection["id"], await agency.new_property(), "L1")

    def raw(revision_id: str, first_night: date) -> bytes:
        message = {
            "revision_id": revision_id,
            "status": "new",
            "ota_name": "feed",
            "ota_reservation_code": revision_id,
            "ota_listing_id": "L1",
            "check_in": first_night.isoformat(),
            "check_out": (first_night + timedelta(days=1)).isoformat(),
        }
        return json.dumps(message).encode()

    identity = connection["id"].encode()
    by_key = {"key": identity}
    by_header = {"key": b"a connector's own key", "headers": [("connection-id", b'"' + identity + b'"')]}
    await producer.send_and_wait(OTA_INBOUND.name, value=b"{", partition=1, **by_key)
    await producer.send_and_wait(OTA_INBOUND.name, value=raw("by-key", soon), partition=1, **by_key)
    await producer.send_and_wait(
        OTA_INBOUND.name, value=raw("by-header", soon + timedelta(days=5)), partition=1, **by_header
    )

    async def applied() -> Any:
        found = (await agency.get(CHANNEL_SYNC, "/inbound-revisions?state=applied"))["items"]
        return found if len(found) == 2 else None

    found = await eventually(applied, "both raw revisions applied")
    assert {revision["revision_id"] for revision in found} == {"by-key", "by-header"}
    await ota.wait_until("L1", soon, "closed")


async def test_a_raw_revision_of_an_unknown_connection_is_a_dead_letter(
    suite: Suite, producer: AIOKafkaProducer
) -> None:
    sent = await producer.send_and_wait(OTA_INBOUND.name, value=b"{}", key=str(uuid.uuid4()).encode(), partition=2)
    (letter,) = await letters(suite, OTA_INBOUND, {(sent.partition, sent.offset)})
    assert dict(letter.headers)[dlq.HEADER_REASON] == b"There is no such channel connection."


async def test_a_tombstone_of_a_property_is_legal_and_changes_nothing(
    agency: Agency, ota: OtaSimulator, producer: AIOKafkaProducer, soon: date
) -> None:
    connection = await agency.connect(ota)
    property_id = await agency.new_property()
    await agency.map_listing(connection["id"], property_id, "L1")
    await ota.wait_until("L1", soon, "open")
    stranger = str(uuid.uuid4())
    partition = partition_of(property_id, agency.suite.kafka_partitions)
    sent = await producer.send_and_wait(BOOKING_PROPERTIES.name, value=None, key=stranger.encode(), partition=partition)

    await agency.book(property_id, soon, soon + timedelta(days=1))

    await ota.wait_until("L1", soon, "closed")
    await asyncio.sleep(0.5)
    topic = BOOKING_PROPERTIES.dead_letter_name(CHANNEL_SYNC)
    key = dlq.dead_letter_key(BOOKING_PROPERTIES.name, sent.partition, sent.offset)
    assert key not in {letter.key for letter in await records(agency.suite, topic)}


async def test_every_push_is_told_on_the_activity_topic(agency: Agency, ota: OtaSimulator, soon: date) -> None:
    connection = await agency.connect(ota)
    await agency.map_listing(connection["id"], await agency.new_property(), "L1")
    await ota.wait_until("L1", soon, "open")

    async def told() -> Any:
        found = await records(agency.suite, CHANNEL_SYNC_ACTIVITY.name)
        events = [json.loads(record.value) for record in found if record.key == connection["id"].encode()]
        return {event["type"]: event for event in events} if len(events) > 1 else None

    by_type = await eventually(told, "an operation and its batch")
    event, batch = by_type["SyncOperationChanged"], by_type["SyncBatchChanged"]
    operations = await agency.get(CHANNEL_SYNC, f"/channel-connections/{connection['id']}/operations")
    assert operations["total"] == 1
    (operation,) = operations["items"]
    assert (batch["data"]["batch_id"], batch["data"]["batch_status"]) == (operation["batch_id"], "success")
    assert event["agency_id"] == str(agency.id)
    assert event["data"].items() <= operation.items()
