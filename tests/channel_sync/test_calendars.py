"""Proves calendars over the real stack: theirs become blocks and follow them, ours shows what they may not sell."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pytest

from channel_sync.adapters.ical import ICal
from channel_sync.domain.pushes import ChannelAnswer
from deploy.local.services import BOOKING, CHANNEL_SYNC
from tests.channel_sync.channel_server import ChannelServer, served
from tests.channel_sync.channels.ical import CALENDAR_TYPE, CalendarChannel
from tests.channel_sync.conftest import Agency
from tests.waiting import eventually

pytestmark = pytest.mark.stack

Spans = list[tuple[str, str]]


@dataclass(frozen=True)
class Scene:
    """One property whose listing is a calendar."""

    agency: Agency
    channel: CalendarChannel
    server: ChannelServer
    connection_id: str
    property_id: str
    listing: Any

    async def blocks(self) -> Spans:
        """The blocks of the property, as nights."""
        found = await self.agency.get(BOOKING, f"/blocks?property_id={self.property_id}")
        return sorted((block["start_date"], block["end_date"]) for block in found["items"])

    async def wait_for(self, *expected: tuple[date, date]) -> None:
        """Wait until these are the blocks."""
        wanted = sorted((start.isoformat(), end.isoformat()) for start, end in expected)

        async def look() -> bool | None:
            return await self.blocks() == wanted or None

        await eventually(look, f"the blocks {wanted}")

    async def revisions(self) -> Any:
        """What the channel's calendar was understood as, oldest first."""
        found = await self.agency.get(CHANNEL_SYNC, f"/inbound-revisions?connection_id={self.connection_id}&limit=200")
        return found["items"][::-1]

    async def feed(self) -> Any:
        """How old what is known of the calendar is."""
        path = f"/channel-connections/{self.connection_id}/staleness"
        return (await self.agency.get(CHANNEL_SYNC, path))["feed"]

    async def polls(self, more: int = 2) -> None:
        """Wait until the calendar was asked for so many times more."""
        before = len(self.server.seen)

        async def look() -> bool | None:
            return len(self.server.seen) >= before + more + 1 or None

        await eventually(look, "more polls")

    async def ours(self, **headers: str) -> tuple[int, str, bytes]:
        """Our calendar as the channel reads it: status, ETag, bytes."""
        token = self.listing["calendar_url"].rpartition("/")[2].removesuffix(".ics")
        url = f"{self.agency.suite.url(CHANNEL_SYNC)}/ical/{token}"
        async with self.agency.session.get(url, headers=headers) as answer:
            return answer.status, answer.headers.get("ETag", ""), await answer.read()

    async def shown(self) -> list[tuple[date, date]]:
        """The nights our calendar closes."""
        status, _, body = await self.ours()
        assert status == 200, body
        events = ICal().read(ChannelAnswer(200, CALENDAR_TYPE, body), "L", "Europe/Lisbon").events
        return [(event.start, event.end) for event in events]


@asynccontextmanager
async def calendar_of(agency: Agency, property_id: str) -> AsyncIterator[Scene]:
    channel = CalendarChannel()
    async with served(channel) as server:
        body = {"name": "Calendar", "adapter": "ical", "endpoint_url": f"{server.url}/calendar.ics"}
        connection = await agency.post(CHANNEL_SYNC, "/channel-connections", body)
        listing = await agency.map_listing(connection["id"], property_id, "L1")
        yield Scene(agency, channel, server, connection["id"], property_id, listing)


def day(value: date) -> str:
    return f"{value:%Y%m%d}"


async def test_events_become_blocks_that_follow_the_calendar(agency: Agency, soon: date) -> None:
    async with calendar_of(agency, await agency.new_property()) as scene:
        first, second = (soon, soon + timedelta(days=3)), (soon + timedelta(days=9), soon + timedelta(days=10))
        scene.channel.show("zoe@guest.example", *map(day, first))
        scene.channel.show("b", *map(day, second))
        await scene.wait_for(first, second)
        moved = (first[0], first[1] + timedelta(days=1))
        scene.channel.show("zoe@guest.example", *map(day, moved))
        await scene.wait_for(moved, second)
        del scene.channel.events["b"]
        await scene.polls()
        assert len(await scene.blocks()) == 2, "the grace is not over"
        await scene.wait_for(moved)

        async def decided() -> Any:
            found = await scene.revisions()
            return found if all(revision["state"] == "applied" for revision in found) else None

        revisions = await eventually(decided, "what booking decided of every revision")
        assert len(revisions) == 4
        assert len({revision["block_id"] for revision in revisions}) == 2
        assert "zoe" not in str(revisions)


@pytest.mark.parametrize(
    "failure",
    [
        ChannelAnswer(500, {}, b""),
        ChannelAnswer(200, {"Content-Type": "text/html"}, b"<!doctype html><p>Sign in</p>"),
        ChannelAnswer(200, CALENDAR_TYPE, b""),
        ChannelAnswer(200, CALENDAR_TYPE, b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nEND:VCALENDAR\r\n"),
        ChannelAnswer(302, {"Location": "http://127.0.0.1:1/"}, b""),
    ],
    ids=["error", "web page", "nothing", "no event", "redirect"],
)
async def test_a_failing_calendar_keeps_what_is_known_and_is_reported(
    agency: Agency, soon: date, failure: ChannelAnswer
) -> None:
    async with calendar_of(agency, await agency.new_property()) as scene:
        nights = (soon, soon + timedelta(days=3))
        scene.channel.show("a", *map(day, nights))
        await scene.wait_for(nights)
        scene.channel.failure = failure

        async def failed() -> Any:
            found = await agency.get(CHANNEL_SYNC, f"/channel-connections/{scene.connection_id}/operations")
            return next((one for one in found["items"] if one["status"] == "failed"), None)

        operation = await eventually(failed, "a failed poll in the history")
        assert (operation["operation_type"], operation["error_class"]) == ("bookings_sync", "FeedUnreadable")
        await scene.polls(1)
        await scene.wait_for(nights)
        feed = await scene.feed()
        await scene.polls(1)
        assert feed["error"]
        assert (await scene.feed())["age_ms"] > feed["age_ms"], "nobody believes that it was read"
        scene.channel.failure = None
        del scene.channel.events["a"]
        scene.channel.show("b", day(soon + timedelta(days=5)), day(soon + timedelta(days=6)))
        await scene.wait_for((soon + timedelta(days=5), soon + timedelta(days=6)))


async def test_our_calendar_shows_what_others_sold_and_not_what_its_reader_did(agency: Agency, soon: date) -> None:
    async with calendar_of(agency, await agency.new_property()) as scene:
        theirs = (soon, soon + timedelta(days=2))
        scene.channel.show("a", *map(day, theirs))
        await scene.wait_for(theirs)
        booked = (soon + timedelta(days=10), soon + timedelta(days=12))
        await agency.book(scene.property_id, *booked)

        async def near() -> Any:
            found = [nights for nights in await scene.shown() if nights[0] < soon + timedelta(days=100)]
            return found if booked in found and theirs not in found else None

        assert await eventually(near, "the booked nights and no others") == [booked]
        _, etag, body = await scene.ours()
        assert await scene.ours(**{"If-None-Match": etag}) == (304, etag, b"")
        assert b"Ana" not in body

        async def listed() -> Any:
            found = await agency.get(CHANNEL_SYNC, f"/channel-connections/{scene.connection_id}/listings")
            return found["items"][0]

        assert (await listed())["dirty"] is False, "the channel read everything"
        await agency.book(scene.property_id, soon + timedelta(days=20), soon + timedelta(days=21))

        async def stale() -> Any:
            found = await listed()
            return found if found["dirty"] else None

        await eventually(stale, "a listing the channel has not read")


async def test_nights_the_channel_was_shown_come_back_as_echoes_and_close_nothing(agency: Agency, soon: date) -> None:
    async with calendar_of(agency, await agency.new_property()) as scene:
        booked = await agency.book(scene.property_id, soon, soon + timedelta(days=4))

        async def shown() -> bool | None:
            return (soon, soon + timedelta(days=4)) in await scene.shown() or None

        await eventually(shown, "the booked nights in our calendar")
        scene.channel.show("copied@channel.example", day(soon + timedelta(days=1)), day(soon + timedelta(days=4)))
        own = (soon + timedelta(days=8), soon + timedelta(days=9))
        scene.channel.show("sold@channel.example", *map(day, own))
        await scene.wait_for(own)
        await agency.call(BOOKING, "POST", f"/bookings/{booked['id']}/cancel", {})
        await scene.polls()
        assert await scene.blocks() == [(own[0].isoformat(), own[1].isoformat())]
        assert len(await scene.revisions()) == 1


async def test_an_event_over_sold_nights_waits_and_its_calendar_is_not_told_of_it(agency: Agency, soon: date) -> None:
    async with calendar_of(agency, await agency.new_property()) as scene:
        booking = await agency.book(scene.property_id, soon, soon + timedelta(days=2))
        sold = (soon + timedelta(days=1), soon + timedelta(days=5))
        scene.channel.show("a", *map(day, sold))
        await scene.wait_for(sold)
        (conflict,) = (await agency.get(BOOKING, "/channel-conflicts?state=open"))["items"]
        assert conflict["competing_source_ids"] == [booking["id"]]
        (revision,) = await scene.revisions()
        assert conflict["block_id"] == revision["block_id"]

        async def shown() -> bool | None:
            near = [nights for nights in await scene.shown() if nights[0] < soon + timedelta(days=100)]
            return near == [(soon, soon + timedelta(days=2))] or None

        await eventually(shown, "the direct booking alone")


async def test_a_calendar_has_one_listing_and_another_property_gets_all_of_it(agency: Agency, soon: date) -> None:
    async with calendar_of(agency, await agency.new_property()) as scene:
        nights = (soon, soon + timedelta(days=3))
        scene.channel.show("a", *map(day, nights))
        await scene.wait_for(nights)
        path = f"/channel-connections/{scene.connection_id}/listings"
        other = await agency.new_property()
        second = await agency.call(CHANNEL_SYNC, "POST", path, {"property_id": other, "ota_listing_id": "L2"})
        assert second.status == 409
        status, _, _ = await scene.ours()
        await agency.call(CHANNEL_SYNC, "DELETE", f"{path}/{scene.listing['id']}")
        assert (status, (await scene.ours())[0]) == (200, 404), "the old address shows nothing any more"
        await agency.map_listing(scene.connection_id, other, "L1")
        moved = Scene(agency, scene.channel, scene.server, scene.connection_id, other, None)
        await moved.wait_for(nights)


async def test_what_cannot_be_read_is_shown_once_and_what_cannot_be_told_is_refused(agency: Agency, soon: date) -> None:
    async with calendar_of(agency, await agency.new_property()) as scene:
        scene.channel.show("r", day(soon), day(soon + timedelta(days=1)), "RRULE:FREQ=WEEKLY")
        nights = (soon, soon + timedelta(days=3))
        scene.channel.show("a", *map(day, nights))
        await scene.wait_for(nights)
        await scene.polls(3)
        refused = [one for one in await scene.revisions() if one["state"] == "unparseable"]
        assert [one["reason"] for one in refused] == [
            "RRULE: recurring events are not imported: enter each stay as its own event"
        ]
        path = f"/channel-connections/{scene.connection_id}/sync"
        answer = await agency.call(CHANNEL_SYNC, "POST", path, {"sync_type": "availability", "dry_run": False})
        assert answer.status == 409
        answer = await agency.call(CHANNEL_SYNC, "POST", path, {"sync_type": "full", "dry_run": False})
        assert (answer.status, len(answer.body["task_ids"])) == (202, 1)
        batch = f"/channel-connections/{scene.connection_id}/sync-batches/{answer.body['batch_id']}"

        async def ended() -> bool | None:
            return (await agency.get(CHANNEL_SYNC, batch))["batch_status"] == "success" or None

        await eventually(ended, "the batch's end")


async def test_nobody_guesses_an_address(agency: Agency) -> None:
    async with agency.session.get(f"{agency.suite.url(CHANNEL_SYNC)}/ical/{uuid.uuid4()}") as answer:
        assert answer.status == 404
    async with agency.session.get(f"{agency.suite.url(CHANNEL_SYNC)}/ical/calendar") as answer:
        assert answer.status == 422
