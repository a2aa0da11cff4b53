"""Proves that poison is put aside with its origin, once per origin, and that what comes after it is processed.

On every topic a service consumes, with two replicas of availability, which both read everything.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio

from contracts import dead_letters_v1 as dlq
from contracts.topics import (
    BOOKING_PROPERTIES,
    BOOKING_RESERVATIONS,
    CHANNEL_SYNC_RESERVATIONS,
    OTA_INBOUND,
    TOPICS,
    Topic,
)
from deploy.local.journey_client import NotYet, nights_of, until
from deploy.local.journey_scene import Scene, new_code
from runtime.kafka import partition_of
from tests.e2e.infra.drain import check_everything, digests, drain
from tests.e2e.infra.running import Running, days

pytestmark = pytest.mark.e2e

TWO_MB = 2 * 1024 * 1024
STAY = days(0, 3)
CONSUMED = [BOOKING_RESERVATIONS, BOOKING_PROPERTIES, CHANNEL_SYNC_RESERVATIONS, OTA_INBOUND]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def two_replicas(running: Running) -> AsyncIterator[None]:
    """A second replica of availability."""
    async with running.second_replica():
        yield


@dataclass(frozen=True)
class Letter:
    """A dead letter: its key and what it says of its origin."""

    key: str
    value: bytes
    headers: dict[str, bytes]


def poison(topic: Topic) -> dict[str, bytes | None]:
    """What can never be processed, by what is wrong with it; a tombstone where it is not legal."""
    envelope = {
        "event_id": str(uuid.uuid4()),
        "type": "NobodyKnowsThis",
        "subject": "nothing/0",
        "agency_id": str(uuid.uuid4()),
        "occurred_at": datetime.now(UTC).isoformat(),
        "producer": "test",
        "data": {},
    }
    messages: dict[str, bytes | None] = {
        "malformed bytes": b"\x00\x01\x02 no message",
        "truncated JSON": json.dumps(envelope)[:60].encode(),
        "bad UTF-8": json.dumps(envelope).encode().replace(b"nothing", b"\xff\xfe\xfa"),
        "unknown type": json.dumps(envelope).encode(),
        "2 MB": b"x" * TWO_MB,
    }
    if not topic.null_is_legal:
        messages["tombstone"] = None
    return messages


async def plant(running: Running, topic: Topic, key: str) -> dict[str, bytes | None]:
    """Write the poison under a key, as the topic's own producers would; the values by the key of their letter."""
    partition = partition_of(key, running.suite.kafka_partitions)
    messages = poison(topic)
    sent = await running.topics.send(topic.name, partition, [(key.encode(), value) for value in messages.values()])
    origins = [dlq.dead_letter_key(topic.name, *place).decode() for place in sent]
    return dict(zip(origins, messages.values(), strict=True))


async def letters(running: Running, topic: Topic, service: str) -> list[Letter]:
    return [
        Letter((record.key or b"").decode(), record.value or b"", dict(record.headers))
        for record in await running.topics.records(topic.dead_letter_name(service))
    ]


async def wait_for_letters(running: Running, topic: Topic, service: str, origins: set[str]) -> None:
    async def look() -> None:
        missing = origins - {letter.key for letter in await letters(running, topic, service)}
        if missing:
            raise NotYet(f"missing {missing}")

    await until(look, f"{len(origins)} dead letters of {service}")


async def require_letters(running: Running, topic: Topic, planted: dict[str, bytes | None], before: set[str]) -> None:
    """Every consumer of the topic has put each planted message aside, once per origin, whole, and nothing else."""
    for service in topic.consumers:
        await wait_for_letters(running, topic, service, set(planted))
    await drain(running)
    for service in topic.consumers:
        found = await letters(running, topic, service)
        assert {letter.key for letter in found} - before == set(planted)
        for letter in found:
            if letter.key in planted:
                name, partition, offset = letter.key.split("/")
                assert letter.value == (planted[letter.key] or b"")
                assert letter.headers[dlq.HEADER_TOPIC].decode() == name == topic.name
                assert letter.headers[dlq.HEADER_PARTITION].decode() == partition
                assert letter.headers[dlq.HEADER_OFFSET].decode() == offset
                assert letter.headers[dlq.HEADER_SERVICE].decode() == service
                assert letter.headers[dlq.HEADER_ERROR]
                assert (dlq.HEADER_TOMBSTONE in letter.headers) == (planted[letter.key] is None)


async def keys_before(running: Running, topic: Topic) -> set[str]:
    return {letter.key for service in topic.consumers for letter in await letters(running, topic, service)}


async def test_poison_among_bookings_changes_is_put_aside_and_the_next_booking_is_heard(
    running: Running, two_replicas: None, scene: Scene
) -> None:
    before = await keys_before(running, BOOKING_RESERVATIONS)
    planted = await plant(running, BOOKING_RESERVATIONS, scene.property_id)
    (await scene.agency.book(scene.property_id, STAY)).expect(201)
    await scene.shown(STAY, closed=nights_of(STAY))
    await scene.told(STAY, "closed")
    await require_letters(running, BOOKING_RESERVATIONS, planted, before)
    await check_everything(running)


async def test_poison_among_snapshots_is_put_aside_and_the_next_snapshot_and_tombstone_are_applied(
    running: Running, two_replicas: None, scene: Scene
) -> None:
    before = await keys_before(running, BOOKING_PROPERTIES)
    async with running.service_api(running.suite.url("booking")) as booking:
        answer = await booking.request("GET", f"/internal/properties/{scene.property_id}/state")
    other = str(uuid.uuid4())
    planted = await plant(running, BOOKING_PROPERTIES, other)
    partition = partition_of(other, running.suite.kafka_partitions)
    await running.topics.send(BOOKING_PROPERTIES.name, partition, [(other.encode(), snapshot_of(answer.body, other))])
    await wait_for_version(running, other, 7)
    await running.topics.send(BOOKING_PROPERTIES.name, partition, [(other.encode(), None)])
    await wait_for_version(running, other, None)
    await require_letters(running, BOOKING_PROPERTIES, planted, before)
    await check_everything(running)


def snapshot_of(answer: Any, property_id: str) -> bytes:
    """A good snapshot of a property only this test knows, at version 7."""
    envelope = {
        "event_id": str(uuid.uuid4()),
        "type": "PropertySnapshot",
        "subject": f"property/{property_id}",
        "agency_id": answer["state"]["agency_id"],
        "occurred_at": answer["as_of"],
        "producer": "booking",
        "data": {**answer["state"], "property_id": property_id, "inventory_version": 7},
    }
    return json.dumps(envelope).encode()


async def wait_for_version(running: Running, property_id: str, version: int | None) -> None:
    """Once every replica holds the property at that version, or not at all."""

    async def look() -> None:
        for name, url in running.replicas.items():
            held = (await digests(running, url)).get(property_id, (None, ""))[0]
            if held != version:
                raise NotYet(f"{name} at {held}")

    await until(look, f"every replica at {version}")


async def test_poison_among_normalised_revisions_is_put_aside_and_the_next_revision_is_applied(
    running: Running, two_replicas: None, scene: Scene
) -> None:
    before = await keys_before(running, CHANNEL_SYNC_RESERVATIONS)
    planted = await plant(running, CHANNEL_SYNC_RESERVATIONS, scene.property_id)
    code = new_code()
    await scene.sell(STAY, code)
    await scene.reservation(code, "confirmed")
    await require_letters(running, CHANNEL_SYNC_RESERVATIONS, planted, before)
    await check_everything(running)


async def test_poison_among_raw_revisions_is_put_aside_and_the_next_raw_revision_becomes_a_reservation(
    running: Running, two_replicas: None, scene: Scene
) -> None:
    before = await keys_before(running, OTA_INBOUND)
    planted = await plant(running, OTA_INBOUND, scene.connection_id)
    code = new_code()
    raw = {
        "revision_id": str(uuid.uuid4()),
        "status": "new",
        "ota_name": "connector",
        "ota_reservation_code": code,
        "ota_listing_id": scene.listing_id,
        "check_in": str(STAY[0]),
        "check_out": str(STAY[1]),
        "occupancy": {"adults": 2},
        "guest": {"name": "Guest of a connector"},
    }
    partition = partition_of(scene.connection_id, running.suite.kafka_partitions)
    key = scene.connection_id.encode()
    await running.topics.send(OTA_INBOUND.name, partition, [(key, json.dumps(raw).encode())])
    await scene.reservation(code, "confirmed")
    await require_letters(running, OTA_INBOUND, planted, before)
    await check_everything(running)


def test_every_topic_the_suite_consumes_is_poisoned_here() -> None:
    ours = {"booking", "availability", "channel-sync", "gateway"}
    assert [topic for topic in TOPICS if ours & set(topic.consumers)] == CONSUMED


async def test_replicas_that_started_at_different_times_hold_the_same(running: Running, two_replicas: None) -> None:
    await drain(running)
    ledger = await digests(running, running.suite.url("booking"))
    assert [await digests(running, url) for url in running.replicas.values()] == [ledger, ledger]
