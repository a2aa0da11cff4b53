"""Proves that no revision of a feed is lost: stored before it is acknowledged, read by one process, stay by stay."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from channel_sync.adapters.channex import Channex
from channel_sync.domain.channels import NewConnection
from channel_sync.domain.revisions import ParsedRevision
from channel_sync.service import alarms, batches, connections, feeds, inbound
from channel_sync.service.deps import Deps
from deploy.local.services import BOOKING, CHANNEL_SYNC
from tests.channel_sync.channel_server import ChannelServer, served
from tests.channel_sync.channels.channex import ChannexChannel
from tests.channel_sync.channels.ota_xml import OtaXmlChannel, reservation, stay
from tests.channel_sync.conftest import Agency
from tests.channel_sync.inbound_scene import map_listing, outbox
from tests.waiting import eventually

pytestmark = pytest.mark.stack

KEY = "the key of the account"


@dataclass(frozen=True)
class Fed:
    """A connection with a feed, in the database of the use cases."""

    deps: Deps
    agency_id: UUID
    connection_id: UUID
    channel: ChannexChannel
    server: ChannelServer

    async def poll(self) -> int:
        """Poll this feed at once, if nobody else has it; how many revisions were new."""
        await self.deps.system_pool.execute(
            "UPDATE feeds SET next_poll_at = now() - interval '1 day' WHERE connection_id = $1", self.connection_id
        )
        claimed = await feeds.claim_feeds(self.deps, 1000)
        own = [feed for feed in claimed if feed.door.connection_id == self.connection_id]
        return sum([await feeds.poll(self.deps, feed) for feed in own])

    async def due(self) -> Any:
        """Whether the feed is to be polled at once."""
        query = "SELECT next_poll_at <= now() AS is_due FROM feeds WHERE connection_id = $1"
        return await self.deps.system_pool.fetchrow(query, self.connection_id)

    async def rows(self) -> list[Any]:
        """The stored revisions, in the order of their numbers."""
        return await self.deps.system_pool.fetch(
            "SELECT * FROM inbound_revisions WHERE connection_id = $1 ORDER BY revision_no, revision_id",
            self.connection_id,
        )

    async def states(self) -> dict[str, str]:
        """State by revision."""
        return {row["revision_id"]: row["state"] for row in await self.rows()}

    def publish(self, revision_id: str, **changes: Any) -> None:
        """The channel has a revision."""
        self.channel.revisions[revision_id] = revision(revision_id, **changes)


def revision(revision_id: str, *, status: str = "new", rooms: int = 1, at: int = 0, **changes: Any) -> dict[str, Any]:
    """A revision of booking B, published `at` minutes past noon."""
    day = date(2027, 3, 1)
    attributes = {
        "property_id": "P",
        "unique_id": "BDC-B",
        "ota_name": "Booking.com",
        "status": status,
        "rooms": [
            {
                "checkin_date": day.isoformat(),
                "checkout_date": (day + timedelta(days=2)).isoformat(),
                "room_type_id": f"R{number}",
                "amount": "100.00",
                "occupancy": {"adults": 2, "children": 0, "infants": 0},
            }
            for number in range(1, rooms + 1)
        ],
        "customer": {"name": "Zoe", "surname": "Guest", "mail": "zoe@guest.example"},
        "amount": "200.00",
        "currency": "EUR",
        "inserted_at": f"2026-11-01T12:{at:02d}:00.000000",
        **changes,
    }
    return {"id": revision_id, "type": "booking_revision", "attributes": attributes}


@pytest_asyncio.fixture(loop_scope="session")
async def fed(deps: Deps) -> AsyncIterator[Fed]:
    """A connection with a feed and two mapped rooms."""
    async with served(ChannexChannel(KEY)) as server:
        agency_id = uuid4()
        new = NewConnection("Channel", "channex", f"{server.url}/api/v1", {}, KEY)
        answer = await connections.create_connection(deps, agency_id, new, None, lambda made, _: str(made.id))
        connection_id = UUID(answer.body)
        assert isinstance(server.channel, ChannexChannel)
        yield Fed(deps, agency_id, connection_id, server.channel, server)


async def test_a_revision_is_stored_handed_over_and_only_then_acknowledged(fed: Fed) -> None:
    property_id = await map_listing(fed.deps, fed.agency_id, fed.connection_id, "P/R1")
    fed.publish("r1")
    assert await fed.poll() == 1
    (row,) = await fed.rows()
    assert (row["state"], row["source"], row["revision_status"]) == ("published", "feed", "new")
    assert row["acknowledged_at"] is not None
    assert fed.channel.acknowledged == ["r1"]
    (event,) = await outbox(fed.deps, property_id)
    assert (event["ota_reservation_code"], event["total_amount_minor"]) == ("BDC-B", 20_000)
    assert await fed.poll() == 0


async def test_an_acknowledgement_that_failed_is_made_up_for_and_stores_nothing_twice(fed: Fed) -> None:
    fed.publish("r1")
    fed.server.fail("/ack", 500)
    assert await fed.poll() == 1
    assert (fed.channel.acknowledged, (await fed.rows())[0]["acknowledged_at"]) == ([], None)
    assert await fed.poll() == 0
    assert fed.channel.acknowledged == ["r1"]
    (row,) = await fed.rows()
    assert row["acknowledged_at"] is not None


async def test_a_revision_that_cannot_be_read_is_kept_and_acknowledged_and_does_not_keep_the_others_back(
    fed: Fed,
) -> None:
    fed.publish("bad", status="upside down")
    fed.publish("good", at=1)
    assert await fed.poll() == 1
    assert await fed.states() == {"bad": "unparseable", "good": "unmapped"}
    assert fed.channel.acknowledged == ["bad", "good"]


async def test_of_many_pollers_at_once_one_asks_the_channel(fed: Fed) -> None:
    fed.publish("r1")
    assert sum(await asyncio.gather(*(fed.poll() for _ in range(8)))) == 1
    assert fed.server.seen.count("GET /api/v1/booking_revisions/feed") == 1


async def test_a_feed_of_several_pages_is_read_to_its_end(fed: Fed) -> None:
    for number in range(230):
        fed.publish(f"r{number}", at=number % 60, unique_id=f"B{number}")
    found = await fed.poll()
    while found < 230:  # a poll ends in good time before its lease
        assert (await fed.due())["is_due"]
        found += await fed.poll()
    assert not (await fed.due())["is_due"]
    assert len(fed.channel.acknowledged) == 230


async def test_a_page_that_cannot_be_acknowledged_does_not_go_on_for_ever(fed: Fed) -> None:
    # Not even where a slow machine has all the time it needs.
    fed = replace(fed, deps=replace(fed.deps, push=replace(fed.deps.push, lease_s=600.0)))
    for number in range(150):
        fed.publish(f"r{number}", at=number % 60, unique_id=f"B{number}")
    fed.server.fail("/ack", 403, times=1000)
    assert await fed.poll() == 100
    assert await fed.poll() == 0
    assert fed.server.seen.count("GET /api/v1/booking_revisions/feed") == 3


async def test_a_booking_of_several_rooms_is_a_stay_in_each(fed: Fed) -> None:
    first = await map_listing(fed.deps, fed.agency_id, fed.connection_id, "P/R1")
    second = await map_listing(fed.deps, fed.agency_id, fed.connection_id, "P/R2")
    fed.publish("r1", rooms=2)
    await fed.poll()
    assert await fed.states() == {"r1": "published", "r1#2": "published"}
    codes = [(await outbox(fed.deps, property_id))[0]["ota_reservation_code"] for property_id in (first, second)]
    assert codes == ["BDC-B", "BDC-B#2"]


async def test_a_room_that_a_modification_does_not_name_any_more_is_cancelled(fed: Fed) -> None:
    for number in (1, 2, 3):
        await map_listing(fed.deps, fed.agency_id, fed.connection_id, f"P/R{number}")
    fed.publish("r1", rooms=3)
    fed.publish("r2", status="modified", rooms=1, at=5)
    await fed.poll()
    statuses = {row["revision_id"]: row["revision_status"] for row in await fed.rows()}
    assert statuses == {
        **dict.fromkeys(("r1", "r1#2", "r1#3"), "new"),
        "r2": "modified",
        **dict.fromkeys(("r2#2", "r2#3"), "cancelled"),
    }
    fed.publish("r3", status="modified", rooms=1, at=9)
    await fed.poll()
    assert "r3#2" not in await fed.states(), "it is cancelled already"


async def test_a_cancellation_that_names_no_room_cancels_all_where_they_are(fed: Fed) -> None:
    first = await map_listing(fed.deps, fed.agency_id, fed.connection_id, "P/R1")
    second = await map_listing(fed.deps, fed.agency_id, fed.connection_id, "P/R2")
    fed.publish("r1", rooms=2)
    fed.publish("r2", status="cancelled", rooms=0, at=5)
    await fed.poll()
    for property_id in (first, second):
        assert [event["status"] for event in await outbox(fed.deps, property_id)] == ["new", "cancelled"]


async def test_what_is_handed_over_again_is_the_stay_of_its_row(fed: Fed) -> None:
    await map_listing(fed.deps, fed.agency_id, fed.connection_id, "P/R1")
    second = await map_listing(fed.deps, fed.agency_id, fed.connection_id, "P/R2")
    fed.publish("r1", rooms=2)
    fed.publish("r2", status="modified", rooms=1, at=5)
    await fed.poll()
    before = await outbox(fed.deps, second)
    for row in await fed.rows():
        if row["property_id"] == second:
            await inbound.reprocess(fed.deps, fed.agency_id, row["id"])
    after = await outbox(fed.deps, second)
    assert after[len(before) :] == before


async def test_a_revision_that_could_not_be_read_is_read_again_by_a_better_adapter(fed: Fed) -> None:
    property_id = await map_listing(fed.deps, fed.agency_id, fed.connection_id, "P/R1")
    fed.publish("r1", status="upside down")
    await fed.poll()
    (kept,) = await fed.rows()
    better = replace(fed.deps, adapters={**fed.deps.adapters, "channex": Better()})
    read_as = await inbound.reprocess(better, fed.agency_id, kept["id"])
    assert read_as != kept["id"]
    states = {row["id"]: (row["state"], row["revision_id"]) for row in await fed.rows()}
    assert states[read_as] == ("published", "r1")
    assert states[kept["id"]][0] == "duplicate"
    assert len(await outbox(fed.deps, property_id)) == 1


class Better(Channex):
    """The adapter, repaired."""

    def parse(self, raw: bytes) -> ParsedRevision:
        return super().parse(raw.replace(b"upside down", b"new"))


async def test_a_synchronisation_of_bookings_is_a_task_that_ends(fed: Fed) -> None:
    fed.publish("r1")
    started = await batches.start_sync(fed.deps, fed.agency_id, fed.connection_id, "bookings")
    batch, operations = await batches.get_batch(fed.deps, fed.agency_id, fed.connection_id, started.batch_id)
    assert (batch.batch_status, [one.status for one in operations]) == ("running", ["triggered"])
    await fed.poll()
    batch, operations = await batches.get_batch(fed.deps, fed.agency_id, fed.connection_id, started.batch_id)
    assert (batch.batch_status, operations[0].operation_type, operations[0].direction) == (
        "success",
        "bookings_sync",
        "inbound",
    )
    assert tuple(one.task_id for one in operations) == started.task_ids


@pytest.mark.parametrize("status", [401, 429, 500, 302])
async def test_a_feed_that_fails_is_explained_once_and_goes_on(fed: Fed, status: int) -> None:
    fed.server.fail("/feed", status, times=2)
    fed.publish("r1")
    assert [await fed.poll() for _ in range(3)] == [0, 0, 1]
    found, _ = await batches.list_operations(fed.deps, fed.agency_id, fed.connection_id, 10, 0)
    assert [operation.status for operation in found] == ["success", "failed"]
    assert str(status) in str(found[1].error)


async def test_revisions_that_wait_too_long_raise_an_alarm(fed: Fed) -> None:
    before = await alarms.raise_alarms(fed.deps)
    fed.publish("r1")
    fed.server.fail("/ack", 500)
    await fed.poll()
    await fed.deps.system_pool.execute(
        "UPDATE inbound_revisions SET received_at = received_at - interval '2 hours' WHERE connection_id = $1",
        fed.connection_id,
    )
    after = await alarms.raise_alarms(fed.deps)
    assert after["unmapped"] == before["unmapped"] + 1
    assert after["unacknowledged"] == before["unacknowledged"] + 1


async def test_a_booking_of_a_feed_is_in_the_ledger_and_its_nights_are_told_closed(agency: Agency, soon: date) -> None:
    channel = ChannexChannel(KEY)
    async with served(channel) as server:
        body = {"name": "C", "adapter": "channex", "endpoint_url": f"{server.url}/api/v1", "secret": KEY}
        connection = await agency.post(CHANNEL_SYNC, "/channel-connections", body)
        property_id = await agency.new_property()
        path = f"/channel-connections/{connection['id']}/listings"
        wanted = {"property_id": property_id, "ota_listing_id": "P/R1", "ota_rate_plan_id": "plan"}
        await agency.post(CHANNEL_SYNC, path, wanted)
        rooms = [{"room_type_id": "R1", "checkin_date": str(soon), "checkout_date": str(soon + timedelta(days=2))}]
        channel.revisions["r1"] = revision("r1")
        channel.revisions["r1"]["attributes"]["rooms"] = rooms

        async def told() -> bool | None:
            night = channel.nights.get(("R1", soon), {})
            other = channel.nights.get(("R1", soon + timedelta(days=2)), {})
            return True if (night.get("availability"), other.get("availability")) == (0, 1) else None

        await eventually(told, "the sold nights closed and the next one open")
        found = (await agency.get(BOOKING, f"/bookings?property_id={property_id}"))["items"]
        assert [one["ota_reservation_code"] for one in found] == ["BDC-B"]
        assert channel.acknowledged == ["r1"]


async def test_both_queues_of_an_xml_channel_are_emptied_in_one_poll(deps: Deps) -> None:
    channel = OtaXmlChannel("user:password", {("H", "R1"): ("T1",)})
    night = date(2027, 3, 1)
    channel.queues["OTA_HotelResNotif"]["77"] = reservation("77", stay("H", "R1", "T1", [night]))
    gone = reservation("78", stay("H", "R1", "T1", [night]), attributes=' ResStatus="Cancel"')
    channel.queues["OTA_HotelResModifyNotif"]["78"] = gone
    async with served(channel) as server:
        new = NewConnection("Channel", "ota-xml", server.url, {}, "user:password")
        answer = await connections.create_connection(deps, uuid4(), new, None, lambda made, _: str(made.id))
        claimed = await feeds.claim_feeds(deps, 1000)
        (feed,) = [one for one in claimed if str(one.door.connection_id) == answer.body]
        assert await feeds.poll(deps, feed) == 2
        rows = await deps.system_pool.fetch(
            "SELECT ota_reservation_code, revision_status, acknowledged_at FROM inbound_revisions"
            " WHERE connection_id = $1 ORDER BY 1",
            UUID(answer.body),
        )
    assert [(row["ota_reservation_code"], row["revision_status"]) for row in rows] == [
        ("77", "new"),
        ("78", "cancelled"),
    ]
    assert all(row["acknowledged_at"] is not None for row in rows)
    assert channel.queues == {"OTA_HotelResNotif": {}, "OTA_HotelResModifyNotif": {}}


async def test_nights_are_told_to_an_xml_channel(agency: Agency, soon: date) -> None:
    channel = OtaXmlChannel("user:password", {("H", "R1"): ("T1",)})
    async with served(channel) as server:
        body = {"name": "C", "adapter": "ota-xml", "endpoint_url": server.url, "secret": "user:password and more"}
        refused = await agency.post(CHANNEL_SYNC, "/channel-connections", body)
        tested = await agency.call(CHANNEL_SYNC, "POST", f"/channel-connections/{refused['id']}/test")
        assert (tested.body["ok"], tested.body["status"]) == (False, 401)
        channel.user_and_password = "user:password and more"
        property_id = await agency.new_property()
        await agency.call(BOOKING, "PUT", f"/properties/{property_id}/rates", {"default_minor": 9000})
        path = f"/channel-connections/{refused['id']}/listings"
        wanted = {"property_id": property_id, "ota_listing_id": "H/R1", "ota_rate_plan_id": "T1"}
        await agency.post(CHANNEL_SYNC, path, wanted)
        await agency.book(property_id, soon, soon + timedelta(days=1))

        async def clean() -> bool | None:
            (listing,) = (await agency.get(CHANNEL_SYNC, path))["items"]
            return True if not listing["dirty"] and listing.get("pushed_version", 0) >= 3 else None

        await eventually(clean, "a channel that was told everything")
    told = [values for (room, _, night), values in channel.nights.items() if (room, night) == ("R1", soon)]
    assert any(values.get("BookingLimit") == "0" for values in told), told
