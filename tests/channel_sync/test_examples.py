"""Proves that channel-sync writes and reads its topics as the contracts' examples say."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from channel_sync import events
from channel_sync.adapters import ADAPTERS
from channel_sync.consumers import handlers
from channel_sync.domain.batches import Operation
from channel_sync.domain.channels import NewConnection, NewListing
from channel_sync.domain.paging import Slice
from channel_sync.domain.revisions import PendingRevision
from channel_sync.repository import connections as connection_rows
from channel_sync.repository import listings as listing_rows
from channel_sync.service import inbound
from channel_sync.service.deps import Deps
from contracts.topics import (
    BOOKING_PROPERTIES,
    BOOKING_RESERVATIONS,
    CHANNEL_SYNC_ACTIVITY,
    CHANNEL_SYNC_RESERVATIONS,
    OTA_INBOUND,
    Topic,
)
from deploy.local.places import REPOSITORY
from runtime.kafka import Record, partition_of
from runtime.outbox import OutboxRow
from runtime.postgres import transaction

EXAMPLES = REPOSITORY / "contracts/examples"
NOW = datetime(2026, 5, 1, tzinfo=UTC)
PARTITIONS = 6


def example(topic: Topic, name: str) -> dict[str, Any]:
    """One example record."""
    found: dict[str, Any] = json.loads((EXAMPLES / topic.name / f"{name}.v1.json").read_text())
    return found


def assert_written_as(row: OutboxRow, topic: Topic, expected: dict[str, Any]) -> None:
    """The outbox row becomes the example, on the partition of its key."""
    assert (row.topic, row.type, row.subject) == (topic.name, expected["type"], expected["subject"])
    assert str(row.agency_id) == expected["agency_id"]
    assert row.subject.endswith(row.key)
    assert row.shard == partition_of(row.key, PARTITIONS)
    assert row.data == expected["data"]


def test_a_revision_of_the_generic_protocol_is_written_as_the_example() -> None:
    raw = (EXAMPLES / OTA_INBOUND.name / "GenericJsonRevision.v1.json").read_bytes()
    expected = example(CHANNEL_SYNC_RESERVATIONS, "ChannelReservationReceived")
    data = expected["data"]
    pending = PendingRevision(
        log_id=UUID(data["log_id"]),
        agency_id=UUID(expected["agency_id"]),
        connection_id=UUID(data["connection_id"]),
        property_id=UUID(data["property_id"]),
        adapter="generic-json",
        revision_id=data["revision_id"],
        ota_reservation_code=data["ota_reservation_code"],
        ota_listing_id="L1",
        revision_no=data["revision_no"],
        raw=raw,
    )
    row = events.channel_reservation_received(uuid4(), pending, ADAPTERS["generic-json"].parse(raw), PARTITIONS)
    assert_written_as(row, CHANNEL_SYNC_RESERVATIONS, expected)


def test_an_operation_is_written_as_the_example() -> None:
    expected = example(CHANNEL_SYNC_ACTIVITY, "SyncOperationChanged")
    data: dict[str, Any] = {
        name: UUID(value) if name.endswith("_id") else value for name, value in expected["data"].items()
    }
    unsaid: dict[str, Any] = dict.fromkeys(("error", "error_class", "payload_digest", "staleness_ms", "trace_id"))
    operation = Operation(**data, **unsaid, attempt=1, created_at=NOW, updated_at=NOW)
    row = events.sync_operation_changed(uuid4(), UUID(expected["agency_id"]), operation, PARTITIONS)
    assert_written_as(row, CHANNEL_SYNC_ACTIVITY, expected)


def record(topic: Topic, path: Path, offset: int) -> Record:
    """The example as it would be consumed."""
    return Record(topic.name, 0, offset, b"key", path.read_bytes(), ())


@pytest.mark.stack
async def test_every_example_of_bookings_topics_is_understood(deps: Deps) -> None:
    applied = example(BOOKING_RESERVATIONS, "ChannelRevisionApplied")
    agency_id, origin = UUID(applied["agency_id"]), applied["data"]["channel"]
    property_id, connection_id = UUID(applied["data"]["property_id"]), UUID(origin["connection_id"])
    async with transaction(deps.pool, agency_id) as conn:
        connection = NewConnection("Channel", "generic-json", "http://127.0.0.1:9/", {})
        await connection_rows.insert_connection(conn, agency_id, connection_id, connection, deps.cipher.seal("secret"))
        listing = NewListing(property_id, "EX-4711", None)
        ids = (uuid4(), uuid4())
        await listing_rows.insert_listing(
            conn, agency_id, connection_id, listing, ids=ids, version=0, traceparent=None, calendar_token=None
        )
    raw = json.loads((EXAMPLES / OTA_INBOUND.name / "GenericJsonRevision.v1.json").read_text())
    revision = {**raw, "revision_id": origin["revision_id"]}
    await inbound.receive_record(deps, str(connection_id), json.dumps(revision).encode())
    handle = handlers(deps)
    newest = 0

    for topic in (BOOKING_RESERVATIONS, BOOKING_PROPERTIES):
        for offset, path in enumerate(sorted((EXAMPLES / topic.name).glob("*.v1.json"))):
            await handle[topic](record(topic, path, offset))
            data = json.loads(path.read_text())["data"]
            if data.get("property_id") == str(property_id):
                newest = max(newest, data["inventory_version"])

    assert newest > 0
    dirty = await deps.system_pool.fetchval(
        "SELECT dirty_version FROM listings WHERE connection_id = $1", connection_id
    )
    assert dirty == newest
    (stored,) = (await inbound.list_revisions(deps, agency_id, connection_id, None, Slice(10))).items
    assert stored.settled_at is not None
