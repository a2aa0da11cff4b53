"""Owns an agency with a row in every table of channel-sync, made over HTTP; used by tests of separation."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from deploy.local.services import BOOKING, CHANNEL_SYNC
from runtime.postgres import Pool
from tests.booking.served import Operation
from tests.channel_sync.conftest import Agency, Answer
from tests.e2e.infra.ota_simulator import OtaSimulator, Reply
from tests.waiting import eventually

# Both agencies use the same, so that nothing but the agency tells their rows apart.
KEY = {"Idempotency-Key": "one key of two agencies"}
OTA_LISTING_ID = "L1"


@dataclass(frozen=True)
class Tenant:
    """An agency with a row in every table, the bodies that made its connection and listing, and its ids by name."""

    agency: Agency
    ota: OtaSimulator
    connection: dict[str, Any]
    listing: dict[str, str]
    ids: dict[str, str]

    async def call(self, operation: Operation, ids: dict[str, str], body: Any = None, query: str = "") -> Answer:
        """One request of this agency."""
        return await self.agency.call(CHANNEL_SYNC, operation.method, operation.url(ids) + query, body)


async def sell(agency: Agency, ota: OtaSimulator, connection_id: str) -> Reply:
    """The same revision each time: of an agency, signed by a channel, for a connection."""
    day = datetime.now(UTC).date() + timedelta(days=30)
    return await ota.send_revision(
        agency.inbound_url({"id": connection_id}),
        ota_listing_id=OTA_LISTING_ID,
        ota_reservation_code="SAME",
        revision_id="same",
        check_in=day,
        check_out=day + timedelta(days=2),
    )


async def seed_calendar(agency: Agency, ota: OtaSimulator, system: Pool) -> None:
    """A calendar that was asked for in vain, and ours that was read."""
    body = {"name": "Calendar", "adapter": "ical", "endpoint_url": f"{ota.endpoint_url}/none.ics"}
    connection = await agency.post(CHANNEL_SYNC, "/channel-connections", body)
    wanted = {"property_id": await agency.new_property(), "ota_listing_id": OTA_LISTING_ID, "close_out": True}
    listing = await agency.post(CHANNEL_SYNC, f"/channel-connections/{connection['id']}/listings", wanted)
    token = listing["calendar_url"].rpartition("/")[2].removesuffix(".ics")
    assert (await agency.session.get(f"{agency.suite.url(CHANNEL_SYNC)}/ical/{token}")).status == 200
    known = "INSERT INTO calendars (listing_id, agency_id) VALUES ($1, $2)"
    await system.execute(known, UUID(listing["id"]), agency.id)

    async def failed() -> bool | None:
        path = f"/channel-connections/{connection['id']}/operations"
        return bool((await agency.get(CHANNEL_SYNC, path))["items"]) or None

    await eventually(failed, "a calendar that was asked for once")


async def seeded(agency: Agency, ota: OtaSimulator, system: Pool) -> Tenant:
    """A channel sold a stay, was told of it, and its guest was erased: all over HTTP."""
    body = {
        "name": "Channel",
        "adapter": "generic-json",
        "endpoint_url": ota.endpoint_url,
        "secret": ota.secret,
        "settings": {"calls_per_minute": 6000},
    }
    connection = await agency.post(CHANNEL_SYNC, "/channel-connections", body, KEY)
    property_id = await agency.new_property()
    wanted = {"property_id": property_id, "ota_listing_id": OTA_LISTING_ID}
    path = f"/channel-connections/{connection['id']}/listings"
    listing = await agency.post(CHANNEL_SYNC, path, wanted)
    sold = await sell(agency, ota, connection["id"])
    revision = await agency.settled(sold.body["log_id"])
    reservation = await agency.get(BOOKING, f"/bookings/{revision['reservation_id']}")
    erased = await agency.call(BOOKING, "POST", f"/guests/{reservation['guest_id']}/erase")
    assert erased.status == 200, erased

    async def at_rest() -> bool | None:
        version = (await agency.get(BOOKING, f"/properties/{property_id}"))["inventory_version"]
        (told,) = (await agency.get(CHANNEL_SYNC, path))["items"]
        forgotten = await system.fetchval("SELECT count(*) FROM erased_reservations WHERE agency_id = $1", agency.id)
        return True if told.get("pushed_version") == version and not told["dirty"] and forgotten else None

    await eventually(at_rest, "the channel told everything and the guest forgotten")
    feed = {"name": "Feed", "adapter": "channex", "endpoint_url": ota.endpoint_url}
    polled = await agency.post(CHANNEL_SYNC, "/channel-connections", feed)

    async def failed() -> bool | None:
        query = "SELECT error FROM feeds WHERE connection_id = $1"
        return True if await system.fetchval(query, UUID(polled["id"])) else None

    await eventually(failed, "a feed that was asked once")
    await seed_calendar(agency, ota, system)
    (batch,) = (await agency.get(CHANNEL_SYNC, f"/channel-connections/{connection['id']}/sync-batches"))["items"]
    operations = await agency.get(CHANNEL_SYNC, f"/channel-connections/{connection['id']}/operations")
    ids = {
        "connection_id": connection["id"],
        "batch_id": batch["batch_id"],
        "property_id": property_id,
        "listing_id": listing["id"],
        "log_id": operations["items"][0]["log_id"],
        "revision_log_id": sold.body["log_id"],
        "reservation_id": reservation["id"],
    }
    return Tenant(agency, ota, body, wanted, ids)
