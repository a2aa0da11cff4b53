"""Proves with a real booking what memory cannot answer is asked of the ledger, and what memory lost is repaired."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from contracts.topics import BOOKING_RESERVATIONS
from deploy.local.journey_client import Agency, Api, NotYet, until
from deploy.local.places import remove_run_dir
from deploy.local.ports import HOST, free_port
from deploy.local.prepare import create_all_topics, migrate_database
from deploy.local.provision import provision
from deploy.local.secrets_file import load_secrets
from deploy.local.services import AVAILABILITY, BOOKING, Ports, Suite
from deploy.local.stack import EmbeddedStack
from deploy.local.supervisor import Supervisor
from runtime.kafka import new_producer, partition_of
from runtime.tokens import issue_service_token
from tests.availability.booking_topics import day, ends_of, envelope, expire
from tests.availability.conftest import DIGESTS
from tests.conftest import new_run_dir

pytestmark = pytest.mark.stack

# Two, because `ends_of` and `expire` know the partitions of this folder's topics.
PARTITIONS = 2
STAY = (day(0), day(3))
WINDOW = (day(-1), day(30))


@dataclass(frozen=True)
class Pair:
    """A booking and its availability, asked as one agency."""

    supervisor: Supervisor
    suite: Suite
    booking: Agency
    availability: Agency

    async def new_property(self) -> str:
        """A property with a reservation of `STAY`, known to availability."""
        created = (await self.booking.create_property()).expect(201)
        property_id = str(created["id"])
        booked = (await self.booking.book(property_id, STAY)).expect(201)
        await self.from_cache(self.availability, property_id, booked["inventory_version"])
        return property_id

    async def from_cache(self, replica: Agency, property_id: str, version: int) -> dict[str, Any]:
        """The answer at this version, once memory gives it."""

        async def look() -> dict[str, Any]:
            reply = await replica.availability(property_id, WINDOW)
            body: dict[str, Any] = reply.body
            if (reply.status, body.get("source"), body.get("inventory_version")) != (200, "cache", version):
                raise NotYet(f"{reply.status} {body}")
            return body

        return await until(look, f"version {version} from the cache")

    async def put(self, property_id: str, value: bytes) -> None:
        """Write a record about a property that booking never wrote."""
        producer = new_producer(self.suite.kafka_bootstrap)
        await producer.start()
        try:
            partition = partition_of(property_id, PARTITIONS)
            await producer.send_and_wait(
                BOOKING_RESERVATIONS.name, value, key=property_id.encode(), partition=partition
            )
        finally:
            await producer.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def pair() -> AsyncIterator[Pair]:
    """Booking and availability on a stack of this module's own; snapshots are published at booking's start only."""
    supervisor = Supervisor(new_run_dir())
    supervisor.open()
    try:
        secrets = load_secrets(supervisor.run_dir)
        stack = EmbeddedStack(supervisor, secrets.postgres_password)
        await asyncio.to_thread(stack.start)
        databases = await provision(stack.postgres_admin_dsn, secrets, exclusive=True)
        suite = Suite(stack.kafka_bootstrap, databases, secrets, Ports.free(), kafka_partitions=PARTITIONS)
        await migrate_database(BOOKING, databases.booking)
        await create_all_topics(suite)
        for spec in (suite.process(BOOKING, env={"SNAPSHOT_INTERVAL_S": "3600"}), suite.process(AVAILABILITY)):
            await asyncio.to_thread(supervisor.start, spec)
        async with AsyncExitStack() as clients:
            booking = await clients.enter_async_context(Agency(suite.url(BOOKING), secrets.jwt_secret))
            availability = await clients.enter_async_context(
                Agency(suite.url(AVAILABILITY), secrets.jwt_secret, booking.id)
            )
            yield Pair(supervisor, suite, booking, availability)
    finally:
        supervisor.close()
        remove_run_dir(supervisor.run_dir)


async def test_what_memory_has_not_heard_of_yet_is_answered_from_the_ledger(pair: Pair) -> None:
    created = (await pair.booking.create_property()).expect(201)
    version = created["inventory_version"]
    body = (await pair.availability.availability(created["id"], WINDOW, min_version=version)).expect(200)
    assert body["inventory_version"] == version
    assert body["source"] in ("cache", "ledger")
    await pair.from_cache(pair.availability, created["id"], version)


async def test_an_unknown_property_and_another_agencys_get_the_same_404(pair: Pair) -> None:
    property_id = await pair.new_property()
    async with Agency(pair.suite.url(AVAILABILITY), pair.suite.secrets.jwt_secret) as stranger:
        answers = [
            (await asker.availability(asked, WINDOW)).expect(404)
            for asker, asked in ((stranger, property_id), (stranger, str(uuid.uuid4())))
        ]
    for answer in answers:
        answer.pop("trace_id")
    assert answers[0] == answers[1]


async def test_a_version_the_property_never_had_gets_422(pair: Pair) -> None:
    property_id = await pair.new_property()
    reply = await pair.availability.availability(property_id, WINDOW, min_version=1_000)
    assert [error["field"] for error in reply.expect(422)["errors"]] == ["query.min_version"]


async def test_a_property_with_a_gap_is_healed_from_the_ledger_within_a_second(pair: Pair) -> None:
    property_id = await pair.new_property()
    before = (await pair.availability.availability(property_id, WINDOW)).expect(200)
    change = {
        "property_id": property_id,
        "inventory_version": 9,
        "commit_version": 9,
        "block_id": str(uuid.uuid4()),
        "start_date": str(day(5)),
        "end_date": str(day(6)),
        "source": "test",
    }
    await pair.put(property_id, envelope("BlockCreated", change, uuid.UUID(pair.booking.id)))
    await asyncio.sleep(1)
    after = (await pair.availability.availability(property_id, WINDOW)).expect(200)
    assert (after["source"], after["ranges"]) == ("cache", before["ranges"])
    # What booking writes next is its next version, which the made-up one must not hide.
    booked = (await pair.booking.book(property_id, (day(10), day(12)))).expect(201)
    assert booked["inventory_version"] == before["inventory_version"] + 1
    await pair.from_cache(pair.availability, property_id, booked["inventory_version"])


async def test_every_answer_is_right_while_a_property_is_parked_and_repaired(pair: Pair) -> None:
    property_id = await pair.new_property()
    before = (await pair.availability.availability(property_id, WINDOW)).expect(200)
    for _ in range(20):
        await pair.put(property_id, b"what did it say?")
        after = (await pair.availability.availability(property_id, WINDOW)).expect(200)
        assert after["ranges"] == before["ranges"]


async def test_a_property_whose_record_cannot_be_read_is_healed_within_a_second(pair: Pair) -> None:
    property_id = await pair.new_property()
    before = (await pair.availability.availability(property_id, WINDOW)).expect(200)
    await pair.put(property_id, b"what did it say?")
    await asyncio.sleep(1)
    after = (await pair.availability.availability(property_id, WINDOW)).expect(200)
    assert (after["source"], after["ranges"]) == ("cache", before["ranges"])


async def test_a_replica_that_finds_its_changes_expired_compares_with_booking_and_fetches_what_differs(
    pair: Pair,
) -> None:
    places = {await pair.new_property(): 2 for _ in range(5)}
    suite = pair.suite
    await expire(
        suite.kafka_bootstrap, BOOKING_RESERVATIONS, await ends_of(suite.kafka_bootstrap, BOOKING_RESERVATIONS)
    )
    port = free_port()
    late = suite.process(AVAILABILITY, name="availability-late", port=port)
    await asyncio.to_thread(pair.supervisor.start, late)
    try:
        url = f"http://{HOST}:{port}"
        async with Agency(url, suite.secrets.jwt_secret, pair.booking.id) as replica:
            for property_id, version in places.items():
                body = await pair.from_cache(replica, property_id, version)
                assert [found["kind"] for found in body["ranges"]] == ["reservation"]
        assert await _digests(suite, url) == await _digests(suite, suite.url(BOOKING))
    finally:
        await asyncio.to_thread(pair.supervisor.stop, late.name)


async def _digests(suite: Suite, url: str) -> list[Any]:
    async with Api(url, lambda: issue_service_token(suite.secrets.jwt_secret, "test")) as api:
        params = {"after": str(day(-40)), "limit": "1000"}
        items: list[Any] = (await api.request("GET", DIGESTS, params=params)).expect(200)["items"]
        return items
