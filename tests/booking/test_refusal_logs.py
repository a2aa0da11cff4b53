"""Proves that every 409 over nights leaves one log line that tells why, for every way to ask, and names no guest."""

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
import structlog

from booking.service import channel
from tests.booking.checks import revision_of
from tests.booking.conftest import Ledger
from tests.booking.served import Served, served_booking
from tests.conftest import Provisioned

pytestmark = pytest.mark.stack

NAME, EMAIL, PHONE, NOTES = "Zacharias Quill", "zacharias.quill@example.com", "+351 987 654", "allergic to quince"
GUEST = {"name": NAME, "email": EMAIL, "phone": PHONE}
PARTY = {"adults": 2}
TAKEN = {"check_in": "2027-03-10", "check_out": "2027-03-15"}
WANTED = {"check_in": "2027-03-08", "check_out": "2027-03-11"}
FREE = {"check_in": "2027-04-08", "check_out": "2027-04-11"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def served(ledger: Ledger, provisioned: Provisioned) -> AsyncIterator[Served]:
    """Booking's application on its real database."""
    async with served_booking(ledger, provisioned) as running:
        yield running


async def made(served: Served, agency: UUID, path: str, body: dict[str, Any]) -> str:
    answer = await served.call("POST", path, body, agency_id=agency)
    assert answer.status == 201, answer.text
    return str(answer.body["id"])


async def asked(served: Served, agency: UUID, house: str, way: str) -> tuple[str, str, dict[str, Any]]:
    """What must be refused: method, path, body; what has to be there before is made."""
    stay: dict[str, Any] = {"property_id": house, **WANTED}
    booking: dict[str, Any] = {**stay, "occupancy": PARTY, "guest": GUEST, "notes": NOTES}
    nights = {"property_id": house, "start_date": WANTED["check_in"], "end_date": WANTED["check_out"]}
    elsewhere = str(await served.ledger.new_property(agency))
    match way:
        case "confirmed" | "pending":
            return "POST", "/bookings", {**booking, "status": way}
        case "group":
            guestless = {name: value for name, value in booking.items() if name != "guest"}
            stays = [{**guestless, "property_id": elsewhere}, guestless]
            return "POST", "/bookings/groups", {"stays": stays, "guest": GUEST}
        case "hold":
            return "POST", "/holds", stay
        case "block":
            return "POST", "/blocks", {**nights, "reason": NOTES}
        case "inquiry":
            inquiry = await made(served, agency, "/bookings", {**booking, "status": "inquiry"})
            return "POST", f"/bookings/{inquiry}/confirm", {}
        case "dates":
            other = await made(served, agency, "/bookings", {**booking, **FREE})
            return "PATCH", f"/bookings/{other}", {**WANTED, "notes": NOTES}
        case "move":
            other = await made(served, agency, "/bookings", {**booking, "property_id": elsewhere})
            return "PATCH", f"/bookings/{other}", {"property_id": house}
    # The OTA sold nights of another property twice; its stay cannot move here.
    await made(served, agency, "/bookings", {**booking, "property_id": elsewhere})
    revision = revision_of(agency, UUID(elsewhere), uuid4().hex, 1, -54, -51)
    await channel.apply_revision(served.ledger.system, revision)
    (conflict,) = (await served.call("GET", "/channel-conflicts", agency_id=agency)).body["items"]
    assert (conflict["check_in"], conflict["check_out"]) == tuple(WANTED.values())
    return "POST", f"/channel-conflicts/{conflict['id']}/resolve", {"action": "move", "property_id": house}


STATUS_OF = {
    "confirmed": "confirmed",
    "pending": "pending",
    "group": "confirmed",
    "hold": "hold",
    "block": "block",
    "inquiry": "inquiry",
    "dates": "confirmed",
    "move": "confirmed",
    "conflict": "overbooked",
}


@pytest.mark.parametrize("way", STATUS_OF)
async def test_a_409_over_nights_logs_constraint_property_dates_status_and_competing_range_and_no_guest(
    way: str, served: Served
) -> None:
    agency = uuid4()
    house = str(await served.ledger.new_property(agency))
    sold = {"property_id": house, **TAKEN, "occupancy": PARTY, "guest": GUEST, "notes": NOTES}
    await made(served, agency, "/bookings", sold)
    method, path, body = await asked(served, agency, house, way)
    with structlog.testing.capture_logs() as logs:
        answer = await served.call(method, path, body, agency_id=agency)
    assert (answer.status, answer.body["code"]) == (409, "inventory_overlap"), answer.text
    competing = {"kind": "reservation", "start_date": TAKEN["check_in"], "end_date": TAKEN["check_out"]}
    assert answer.body["conflict"] == competing
    assert [line for line in logs if line["event"] == "nights refused"] == [
        {
            "event": "nights refused",
            "log_level": "info",
            "module": "booking.service.refusals",
            "constraint": "inventory_ranges_no_overlap",
            "property_id": house,
            **WANTED,
            "status": STATUS_OF[way],
            "competing_kind": "reservation",
            "competing_start": TAKEN["check_in"],
            "competing_end": TAKEN["check_out"],
        }
    ]
    told = json.dumps(logs, default=str) + answer.text
    for text in (NAME, EMAIL, PHONE, NOTES, "Zacharias", "quill", "987"):
        assert text not in told


async def test_a_range_that_is_ignored_is_not_named_in_the_log(served: Served) -> None:
    agency = uuid4()
    house = str(await served.ledger.new_property(agency))
    body = {"property_id": house, **WANTED, "occupancy": PARTY, "guest": GUEST}
    with structlog.testing.capture_logs() as logs:
        await made(served, agency, "/bookings", {**body, "status": "inquiry"})
        await made(served, agency, "/bookings", body)
    assert not [line for line in logs if line["event"] == "nights refused"]
