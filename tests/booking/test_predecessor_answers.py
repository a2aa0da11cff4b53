"""Proves that what the predecessor told wrongly is told rightly here: guests, figures, instants, money, limits.

docs/predecessor.md says which test is for what. Requests are real HTTP to booking's application on its real database.
"""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest
import pytest_asyncio

from booking.domain.revisions import Revision
from booking.service import channel, guests
from tests.booking.checks import revision_of
from tests.booking.conftest import Ledger, night
from tests.booking.predecessor_scene import GUEST, Client, dates, new_client, stay
from tests.booking.served import Served, served_booking
from tests.conftest import Provisioned

pytestmark = pytest.mark.stack


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def served(ledger: Ledger, provisioned: Provisioned) -> AsyncIterator[Served]:
    async with served_booking(ledger, provisioned) as running:
        yield running


@pytest.fixture
def client(served: Served) -> Client:
    """An agency of its own."""
    return new_client(served)


async def test_stays_and_ranges_without_a_guest_are_read_everywhere(client: Client) -> None:
    """`guest_id` was nullable in the database and not in the response model: GET 500."""
    ledger = client.served.ledger
    house = await client.house()
    await channel.apply_revision(ledger.system, _nameless(revision_of(client.agency, UUID(house), "NOBODY", 1, 0, 3)))
    await channel.apply_revision(ledger.system, _nameless(revision_of(client.agency, UUID(house), "WAITS", 1, 2, 5)))
    await client.call(
        "POST", "/blocks", {"property_id": house, "start_date": str(night(9)), "end_date": str(night(11))}
    )
    erased_stay = await client.booked(house, 14, 16)
    erased = (await client.call("GET", f"/bookings/{erased_stay}")).body["guest_id"]
    await guests.erase(ledger.api, client.agency, UUID(erased))
    items = (await client.call("GET", f"/bookings?property_id={house}")).body["items"]
    assert [item["guest_id"] for item in items].count(None) == 2
    (conflict,) = (await client.call("GET", "/channel-conflicts?state=open")).body["items"]
    paths = [f"/channel-conflicts/{conflict['id']}", "/blocks", f"/blocks?property_id={house}", "/guests", "/bookings"]
    paths += [f"/guests/{erased}", f"/guests/{erased}/timeline", f"/bookings?guest_id={erased}", "/bookings?q=nobody"]
    paths += [f"/internal/properties/{house}/state", "/internal/properties/digests?after=2027-01-01"]
    for item in items:
        paths += [f"/bookings/{item['id']}", f"/bookings/{item['id']}/history"]
    answers = {path: (await client.call("GET", path)).status for path in paths}
    assert answers == dict.fromkeys(paths, 200)
    for item in items:
        if item["guest_id"] is None:
            assert (await client.call("POST", f"/bookings/{item['id']}/cancel")).status == 200


def _nameless(revision: Revision) -> Revision:
    return replace(revision, guest_name=None, guest_email=None, guest_phone=None)


async def test_a_guests_counters_equal_their_timeline_whatever_was_cancelled(client: Client) -> None:
    """Counter and timeline disagreed about cancelled reservations."""
    house = await client.house()
    await client.call("PUT", f"/properties/{house}/rates", {"default_minor": 3333})
    stays = [await client.booked(house, 3 * number, 3 * number + 3) for number in range(4)]
    asked = await client.booked(house, 20, 22, status="inquiry")
    ana = (await client.call("GET", f"/bookings/{stays[0]}")).body["guest_id"]
    for path in (f"{stays[1]}/cancel", f"{stays[1]}/cancel", f"{stays[2]}/no-show", f"{asked}/decline"):
        assert (await client.call("POST", f"/bookings/{path}")).status == 200
    timeline = (await client.call("GET", f"/guests/{ana}/timeline")).body["items"]
    last_status: dict[str, str] = {}
    for entry in reversed(timeline):
        last_status[entry["booking_id"]] = entry["after"].get("status", last_status.get(entry["booking_id"]))
    counted = [each for each, status in last_status.items() if status in ("confirmed", "checked_in", "checked_out")]
    found = (await client.call("GET", f"/guests/{ana}")).body
    assert sorted(counted) == sorted([stays[0], stays[3]])
    assert (found["total_bookings"], found["total_spent"]) == (len(counted), {"EUR": 3333 * 3 * len(counted)})
    wrong = await guests.reconcile(client.served.ledger.system)
    assert [each for each in wrong if each.agency_id == client.agency] == []


async def test_every_instant_says_its_offset_from_utc(client: Client) -> None:
    """Naive instants: nobody could tell what time it was."""
    house = await client.house()
    own = await client.booked(house, 0, 3)
    hold = await client.made("/holds", {"property_id": house, **dates(5, 7)})
    await client.call("POST", f"/bookings/{own}/cancel")
    paths = [f"/properties/{house}", "/bookings", f"/bookings/{own}/history", f"/holds/{hold}", "/guests", "/blocks"]
    found = [(await client.call("GET", path)).body for path in paths]
    found.append((await client.call("GET", f"/internal/properties/{house}/state")).body)
    rows = await client.served.ledger.system.pool.fetch("SELECT data FROM outbox WHERE key = $1", house)
    instants = list(_named("_at", [*found, *(row["data"] for row in rows)]))
    assert len(instants) > 20
    for name, value in instants:
        if value is not None:
            assert datetime.fromisoformat(value).utcoffset() == timedelta(0), (name, value)
    columns = "SELECT count(*) FROM information_schema.columns WHERE data_type = 'timestamp without time zone'"
    assert await client.served.ledger.system.pool.fetchval(f"{columns} AND table_schema = 'public'") == 0


def _named(ending: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Every field of a document whose name ends so."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name.endswith(ending):
                yield name, inner
            yield from _named(ending, inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _named(ending, inner)


async def test_money_is_kept_to_the_minor_unit(client: Client) -> None:
    """Money was truncated."""
    house = await client.house()
    rates = {"default_minor": 10_001, "cleaning_fee_minor": 99, "weekday_minor": {"5": 33_333}}
    assert (await client.call("PUT", f"/properties/{house}/rates", rates)).status == 200
    wanted = 99 + sum(33_333 if night(offset).weekday() == 5 else 10_001 for offset in range(7))
    asked = {"property_id": house, **dates(0, 7), "occupancy": {"adults": 2}}
    quoted = (await client.call("POST", "/quotes", asked)).body
    booked = (await client.book(house, 0, 7, expected_total_minor=wanted)).body
    await client.ota_sends(house, "CENTS", 1, 10, 12)
    largest = 10**12
    huge = await client.house()
    await client.call("PUT", f"/properties/{huge}/rates", {"default_minor": largest})
    dear = (await client.book(huge, 0, 7)).body
    assert (quoted["total_minor"], booked["total_amount_minor"]) == (wanted, wanted)
    assert dear["total_amount_minor"] == 7 * largest
    spent = (await client.call("GET", f"/guests/{booked['guest_id']}")).body["total_spent"]
    assert spent == {"EUR": wanted + 7 * largest}
    everything = [quoted, booked, dear, (await client.call("GET", "/bookings")).body]
    rows = await client.served.ledger.system.pool.fetch("SELECT data FROM outbox WHERE key = ANY ($1)", [house, huge])
    amounts = list(_named("_minor", orjson.loads(orjson.dumps([*everything, *(row["data"] for row in rows)]))))
    plain = [value for _, value in amounts if not isinstance(value, dict)]
    by_weekday = [each for _, value in amounts if isinstance(value, dict) for each in value.values()]
    assert {type(value) for value in [*plain, *by_weekday] if value is not None} == {int}
    columns = """SELECT data_type FROM information_schema.columns
                 WHERE table_schema = 'public' AND column_name LIKE '%\\_minor'"""
    assert {row["data_type"] for row in await client.served.ledger.system.pool.fetch(columns)} == {"bigint"}


async def test_more_guests_than_the_property_takes_are_refused_at_every_writer(client: Client) -> None:
    """Maximum guests was not enforced."""
    house, small = await client.house(max_occupancy=4), await client.house(max_occupancy=2)
    own = await client.booked(house, 0, 3, adults=4)
    asked = await client.booked(house, 10, 13, adults=4, status="inquiry")
    assert (await client.call("PATCH", f"/properties/{house}", {"max_occupancy": 3})).status == 200
    group = {"stays": [{k: v for k, v in stay(house, 20, 22, adults=4).items() if k != "guest"}], "guest": GUEST}
    refusals = {
        "POST": await client.book(house, 20, 22, adults=3, children=1),
        "POST inquiry": await client.book(house, 20, 22, adults=4, status="inquiry"),
        "POST group": await client.call("POST", "/bookings/groups", group),
        "quote": await client.call(
            "POST", "/quotes", {"property_id": house, **dates(20, 22), "occupancy": {"adults": 4}}
        ),
        "PATCH occupancy": await client.call("PATCH", f"/bookings/{own}", {"occupancy": {"adults": 5}}),
        "PATCH property": await client.call("PATCH", f"/bookings/{own}", {"property_id": small}),
        "confirm": await client.call("POST", f"/bookings/{asked}/confirm"),
    }
    told = {
        name: (answer.status, [each["code"] for each in answer.body.get("violations", [])])
        for name, answer in refusals.items()
    }
    assert told == dict.fromkeys(refusals, (422, ["max_occupancy"]))


async def test_guests_are_indexed_on_their_three_dates(client: Client) -> None:
    found = await client.served.ledger.system.pool.fetch("SELECT indexdef FROM pg_indexes WHERE tablename = 'guests'")
    for column in ("first_booking_at", "last_booking_at", "updated_at"):
        assert [row for row in found if f"(agency_id, {column})" in row["indexdef"]], column
