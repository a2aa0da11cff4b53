"""Proves that channels end right whatever is killed, frozen or stopped in between, and whoever else wants the night."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import date
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from deploy.local.journey_client import Agency, NotYet, nights_of, until
from deploy.local.journey_scene import Scene
from tests.channel_sync.channel_server import ChannelServer, served
from tests.channel_sync.channels.channex import ChannexChannel
from tests.e2e.infra.channel_processes import RELAY, WORKERS, channel_sync_by_roles, frozen
from tests.e2e.infra.drain import drain
from tests.e2e.infra.ota_simulator import OtaSimulator
from tests.e2e.infra.running import Running, days

SCALE = int(os.environ.get("PMS_CHANNEL_SCALE", "1"))
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240 * SCALE)]

RACES, AT_ONCE, HITS = 100 * SCALE, 10, 5
RACES_OF_A_PROPERTY = 100
MAX_HEAD_START_S = 5.0
KEY = "the key of the account"
PATIENCE_S = 60.0


@pytest_asyncio.fixture
async def by_roles(running: Running) -> AsyncIterator[None]:
    """Channel-sync as a process a role, two of them workers."""
    async with channel_sync_by_roles(running):
        yield


async def kill_workers(running: Running) -> None:
    """Both at once: nobody is left who would go on."""
    await asyncio.gather(*(running.kill(name) for name in WORKERS))


async def restart_workers(running: Running) -> None:
    """Both again."""
    await asyncio.gather(*(running.restart(name) for name in WORKERS))


async def test_an_ota_and_a_direct_guest_who_race_for_a_night_are_both_accounted_for(
    running: Running, scene: Scene, report_counts: Callable[[str], None]
) -> None:
    dice, ends = random.Random(), Counter[tuple[int, str]]()
    # A webhook reaches the ledger later than a direct booking, by how much depends on the machine: who lost starts
    # earlier the next time.
    head_start_s = 0.1

    async def race(number: int, where: Scene) -> None:
        nonlocal head_start_s
        stay, code = days(number, number + 1), f"R{number}"
        wait_s = head_start_s * dice.uniform(0.5, 1.5)

        async def direct() -> int:
            await asyncio.sleep(wait_s)
            return (await where.agency.book(where.property_id, stay)).status

        status, _ = await asyncio.gather(direct(), where.sell(stay, code))
        ends[status, await status_of(running, where, code)] += 1
        head_start_s = min(head_start_s * 1.2, MAX_HEAD_START_S) if status == 201 else head_start_s / 1.2

    for first in range(0, RACES, AT_ONCE):
        if first and first % RACES_OF_A_PROPERTY == 0:
            scene = await another(scene)
        numbers = range(first % RACES_OF_A_PROPERTY, first % RACES_OF_A_PROPERTY + AT_ONCE)
        await asyncio.gather(*(race(number, scene) for number in numbers))
    report_counts(f"{RACES} races: {ends[201, 'overbooked']} won by the guest, {ends[409, 'confirmed']} by the OTA")
    assert set(ends) == {(201, "overbooked"), (409, "confirmed")}, "each of them must have been first at least once"
    assert ends.total() == RACES
    await drain(running)
    assert nights_of(days(0, RACES_OF_A_PROPERTY)) <= scene.ota.closed_nights(scene.listing_id)


async def status_of(running: Running, scene: Scene, code: str) -> str:
    """How the only reservation of a code stands, once there is one."""

    async def look() -> str:
        rows = await running.ledger.fetch(
            "SELECT status FROM reservations WHERE property_id = $1 AND ota_reservation_code = $2",
            UUID(scene.property_id),
            code,
        )
        if not rows:
            raise NotYet("nothing")
        (row,) = rows
        return str(row["status"])

    return await until(look, f"the reservation {code}", PATIENCE_S)


async def another(scene: Scene) -> Scene:
    """The same with a property of its own."""
    property_id = (await scene.agency.create_property()).expect(201)["id"]
    (await scene.agency.map_listing(scene.connection_id, property_id, property_id)).expect(201)
    return Scene(
        scene.agency, scene.ota, property_id, scene.connection_id, scene.inbound_url, property_id, scene.created
    )


async def test_with_availability_stopped_a_booking_still_closes_its_nights_at_every_channel(
    running: Running, scene: Scene
) -> None:
    async with OtaSimulator() as second:
        connection = await scene.agency.connect(second.endpoint_url, second.secret)
        (await scene.agency.map_listing(connection["id"], scene.property_id, "second")).expect(201)
        await second.wait_until("second", days(0, 1)[0], "open")
        stay = days(0, 3)
        names = list(running.replicas)
        await running.stop(*names)
        try:
            (await scene.agency.book(scene.property_id, stay)).expect(201)
            await scene.told(stay, "closed")
            for night in nights_of(stay):
                await second.wait_until("second", night, "closed")
        finally:
            for name in names:
                await running.restart(name)


async def listed(stack: AsyncExitStack, agency: Agency, property_id: str, count: int) -> list[OtaSimulator]:
    """Channels where the property is listed as `L`, told that it is open."""
    found = []
    for _ in range(count):
        ota = await stack.enter_async_context(OtaSimulator())
        connection = await agency.connect(ota.endpoint_url, ota.secret)
        (await agency.map_listing(connection["id"], property_id, "L")).expect(201)
        found.append(ota)
    for ota in found:
        await ota.wait_until("L", days(0, 1)[0], "open")
    return found


async def lease_owners(running: Running, property_id: str) -> list[str]:
    """Who pushes the listings of a property now."""
    rows = await running.channel.fetch(
        "SELECT lease_owner FROM listings WHERE property_id = $1 AND lease_owner IS NOT NULL", UUID(property_id)
    )
    return [row["lease_owner"] for row in rows]


async def told_everything(running: Running, property_id: str) -> None:
    """Wait until nothing is left to be told of a property, at the ledger's version."""

    async def look() -> None:
        version = await running.ledger.fetchval(
            "SELECT inventory_version FROM inventory_versions WHERE property_id = $1", UUID(property_id)
        )
        rows = await running.channel.fetch(
            "SELECT stale_since, pushed_version FROM listings WHERE property_id = $1", UUID(property_id)
        )
        if any(row["stale_since"] is not None or row["pushed_version"] != version for row in rows):
            raise NotYet(f"{rows} of version {version}")

    await until(look, "every channel told everything", PATIENCE_S)


async def test_a_worker_killed_between_a_channels_acceptance_and_its_record_leaves_no_channel_wrong(
    running: Running, agency: Agency, by_roles: None, report_hits: Callable[[int, int], None]
) -> None:
    property_id = (await agency.create_property()).expect(201)["id"]
    stay, hits = days(0, 2), 0
    async with AsyncExitStack() as stack:
        channels = await listed(stack, agency, property_id, HITS)
        await told_everything(running, property_id)
        for _ in range(SCALE):
            for ota in channels:
                ota.slow_next(0.8)
            booked = (await agency.book(property_id, stay)).expect(201)
            await asyncio.gather(*(ota.wait_until_under_way(10) for ota in channels))
            await kill_workers(running)
            # Each accepts what nobody is there to record; then the nights are free again.
            await asyncio.gather(*(ota.wait_until("L", stay[0], "closed") for ota in channels))
            hits += len(await lease_owners(running, property_id))
            (await agency.cancel(booked["id"])).expect(200)
            await restart_workers(running)
            await asyncio.gather(*(ota.wait_until("L", stay[0], "open", PATIENCE_S) for ota in channels))
            await told_everything(running, property_id)
            assert [ota.closed_nights("L") & nights_of(stay) for ota in channels] == [set()] * HITS
    report_hits(HITS * SCALE, hits)
    assert hits >= HITS * SCALE


async def test_a_pusher_frozen_past_its_lease_wakes_up_and_every_channel_ends_right(
    running: Running, agency: Agency, by_roles: None, report_hits: Callable[[int, int], None]
) -> None:
    property_id = (await agency.create_property()).expect(201)["id"]
    first, second, third = days(0, 2), days(4, 6), days(8, 9)
    async with AsyncExitStack() as stack:
        (ota,) = await listed(stack, agency, property_id, 1)
        await told_everything(running, property_id)
        ota.slow_next(0.8)
        booked = (await agency.book(property_id, first)).expect(201)
        await ota.wait_until_under_way(10)
        (owner,) = await lease_owners(running, property_id)
        (name,) = [name for name in WORKERS if owner.endswith(f"/{running.supervisor.pid(name)}")]
        with frozen(running, name):
            (await agency.cancel(booked["id"])).expect(200)
            (await agency.book(property_id, second)).expect(201)
            await ota.wait_until("L", second[0], "closed", PATIENCE_S)
            await told_everything(running, property_id)
        (await agency.book(property_id, third)).expect(201)
        await ota.wait_until("L", third[0], "closed", PATIENCE_S)
        await told_everything(running, property_id)
        wanted = nights_of(second) | nights_of(third)
        assert ota.closed_nights("L") & nights_of(days(0, 30)) == wanted
    report_hits(1, 1)


def revision(code: str, stay: tuple[date, date]) -> dict[str, Any]:
    """What Channex says of a new booking."""
    room = {
        "checkin_date": stay[0].isoformat(),
        "checkout_date": stay[1].isoformat(),
        "room_type_id": "R",
        "amount": "100.00",
        "occupancy": {"adults": 2, "children": 0, "infants": 0},
    }
    attributes = {
        "property_id": "P",
        "unique_id": code,
        "ota_name": "Booking.com",
        "status": "new",
        "rooms": [room],
        "customer": {"name": "Zoe", "surname": "Guest"},
        "amount": "100.00",
        "currency": "EUR",
        "inserted_at": "2026-11-01T12:00:00.000000",
    }
    return {"id": f"revision-{code}", "type": "booking_revision", "attributes": attributes}


class Feeds:
    """Channels with a feed each, one property at each."""

    def __init__(self, running: Running, agency: Agency) -> None:
        self.running, self.agency = running, agency
        self.servers: list[ChannelServer] = []
        self.channels: list[ChannexChannel] = []
        self.properties: list[str] = []
        self.connections: list[UUID] = []

    async def open(self, stack: AsyncExitStack, count: int) -> None:
        """Connect the channels and map a listing of each."""
        for _ in range(count):
            channel = ChannexChannel(KEY)
            server = await stack.enter_async_context(served(channel))
            body = {"name": "Feed", "adapter": "channex", "endpoint_url": f"{server.url}/api/v1", "secret": KEY}
            connection = (await self.agency.request("POST", "/channel-connections", body)).expect(201)
            property_id = (await self.agency.create_property()).expect(201)["id"]
            (await self.agency.map_listing(connection["id"], property_id, "P/R")).expect(201)
            self.servers.append(server)
            self.channels.append(channel)
            self.properties.append(property_id)
            self.connections.append(UUID(connection["id"]))

    def sell(self, code: str, stay: tuple[date, date]) -> None:
        """Every channel sells the same nights of its own property."""
        for channel in self.channels:
            channel.revisions[f"revision-{code}"] = revision(code, stay)

    async def stored(self, code: str, *, acknowledged: bool) -> int:
        """How many channels' revision is stored, and acknowledged or not."""
        count: int = await self.running.channel.fetchval(
            """SELECT count(*) FROM inbound_revisions
               WHERE connection_id = ANY ($1) AND revision_id = $2 AND (acknowledged_at IS NOT NULL) = $3""",
            self.connections,
            f"revision-{code}",
            acknowledged,
        )
        return count

    async def wait_for(self, code: str, *, acknowledged: bool) -> None:
        """Wait until the revision of every channel is stored so."""

        async def look() -> None:
            found = await self.stored(code, acknowledged=acknowledged)
            if found < len(self.channels):
                raise NotYet(f"{found} of {len(self.channels)}")

        await until(look, f"{code} stored, acknowledged: {acknowledged}", PATIENCE_S)

    async def wait_until_booked_once(self, codes: list[str]) -> None:
        """Wait until each property has exactly a confirmed stay for each code; then nothing more may come."""

        async def look() -> None:
            for property_id in self.properties:
                found = sorted(
                    (item["ota_reservation_code"], item["status"]) for item in await self.agency.bookings(property_id)
                )
                if found != [(code, "confirmed") for code in sorted(codes)]:
                    raise NotYet(f"{found}")

        await until(look, f"{codes} booked once at each property", PATIENCE_S)
        assert [sorted(set(channel.acknowledged)) for channel in self.channels] == [
            sorted(f"revision-{code}" for code in codes)
        ] * len(self.channels)


@pytest_asyncio.fixture
async def feeds(running: Running, agency: Agency, by_roles: None) -> AsyncIterator[Feeds]:
    """Five channels with feeds."""
    async with AsyncExitStack() as stack:
        found = Feeds(running, agency)
        await found.open(stack, HITS)
        yield found


async def test_a_worker_killed_between_storing_and_acknowledging_loses_and_doubles_no_revision(
    running: Running, feeds: Feeds, report_hits: Callable[[int, int], None]
) -> None:
    hits, codes = 0, [f"A{number}" for number in range(SCALE)]
    for number, code in enumerate(codes):
        for server in feeds.servers:
            server.hold("/ack")
        feeds.sell(code, days(number * 3, number * 3 + 2))
        await asyncio.gather(*(server.wait_until_held() for server in feeds.servers))
        await kill_workers(running)
        hits += await feeds.stored(code, acknowledged=False)
        for server in feeds.servers:
            server.release()
        await restart_workers(running)
        await feeds.wait_for(code, acknowledged=True)
    await feeds.wait_until_booked_once(codes)
    report_hits(HITS * SCALE, hits)
    assert hits >= HITS * SCALE


async def test_processes_killed_between_acknowledging_and_publishing_lose_and_double_no_revision(
    running: Running, feeds: Feeds, report_hits: Callable[[int, int], None]
) -> None:
    unsent = "SELECT count(*) FROM outbox WHERE sent_at IS NULL AND data ->> 'ota_reservation_code' = $1"
    hits, codes = 0, [f"B{number}" for number in range(SCALE)]
    for number, code in enumerate(codes):
        await running.kill(RELAY)
        feeds.sell(code, days(number * 3, number * 3 + 2))
        await feeds.wait_for(code, acknowledged=True)
        await kill_workers(running)
        hits += await running.channel.fetchval(unsent, code)
        await running.channel.execute("DELETE FROM relay_leases")
        await asyncio.gather(running.restart(RELAY), restart_workers(running))
    await feeds.wait_until_booked_once(codes)
    report_hits(HITS * SCALE, hits)
    assert hits >= HITS * SCALE
