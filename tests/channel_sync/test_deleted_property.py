"""Proves with the real booking that a deleted property is closed at its channels, and what they still sell is kept."""

from datetime import date, timedelta

import pytest

from deploy.local.services import BOOKING, CHANNEL_SYNC
from tests.channel_sync.conftest import Agency
from tests.e2e.infra.ota_simulator import OtaSimulator
from tests.waiting import eventually

pytestmark = pytest.mark.stack

HORIZON_DAYS = 365


async def test_a_deleted_property_is_closed_throughout_and_cannot_be_listed_again(
    agency: Agency, ota: OtaSimulator, soon: date
) -> None:
    connection = await agency.connect(ota)
    house = await agency.new_property()
    await agency.map_listing(connection["id"], house, "L1")
    await ota.wait_until("L1", soon, "open")

    answer = await agency.call(BOOKING, "DELETE", f"/properties/{house}")
    assert answer.status == 200, answer

    told = await ota.wait_until("L1", soon, "closed")
    assert told.inventory_version == answer.body["inventory_version"]
    assert len(ota.closed_nights("L1")) >= HORIZON_DAYS
    path = f"/channel-connections/{connection['id']}/listings"

    async def clean() -> bool | None:
        (listing,) = (await agency.get(CHANNEL_SYNC, path))["items"]
        return None if listing["dirty"] else True

    await eventually(clean, "a listing that was told everything")
    refused = await agency.call(CHANNEL_SYNC, "POST", path, {"property_id": house, "ota_listing_id": "L2"})
    assert (refused.status, refused.body["code"]) == (404, "not_found")


async def test_what_a_channel_still_sells_of_it_is_applied_as_overbooked(
    agency: Agency, ota: OtaSimulator, soon: date
) -> None:
    connection = await agency.connect(ota)
    house = await agency.new_property()
    await agency.map_listing(connection["id"], house, "L1")
    await agency.call(BOOKING, "DELETE", f"/properties/{house}")

    reply = await ota.send_revision(
        agency.inbound_url(connection), ota_listing_id="L1", check_in=soon, check_out=soon + timedelta(days=2)
    )

    settled = await agency.settled(reply.body["log_id"])
    assert settled["state"] == "applied"
    assert "deleted" in settled["reason"]
    booking = await agency.get(BOOKING, f"/bookings/{settled['reservation_id']}")
    assert (booking["status"], booking["property_id"]) == ("overbooked", house)
    (conflict,) = (await agency.get(BOOKING, "/channel-conflicts?state=open"))["items"]
    assert conflict["reservation_id"] == booking["id"]
    target = await agency.new_property()
    body = {"action": "move", "property_id": target}
    await agency.post(BOOKING, f"/channel-conflicts/{conflict['id']}/resolve", body)
    assert (await agency.get(BOOKING, f"/bookings/{booking['id']}"))["status"] == "confirmed"
